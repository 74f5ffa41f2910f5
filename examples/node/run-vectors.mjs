// Runs the golden vectors of a directory against this verifier.
//
//   node run-vectors.mjs [DIR]

import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { KeySet } from './keys.mjs';
import { verify } from './verify.mjs';

const defaultDir = fileURLToPath(new URL('../../principal/testdata/vectors/', import.meta.url));

const once = ['about', 'now', 'audience', 'expect'];
const atMostOnce = ['covers', 'trust-domain', 'binding', 'peer'];
const any = ['key', 'bad-key', 'may-name', 'header'];
const facts = ['mode', 'subject', 'actor', 'scopes', 'roles', 'path', 'delegations'];

const reasons = new Set(
  ('missing multiple size malformed unsupported audience time unknown_key signature opening widen ' +
    'presenter revoked floor replayed no_rule kind scope role caller delegations acr no_keys stale online').split(' '),
);

/** parseVector reads a vector file into a Map of line name to values, and throws for what the format lacks. */
export function parseVector(text) {
  const lines = new Map();
  for (const line of text.replace(/\n$/, '').split('\n')) {
    if (line.startsWith('#')) continue;
    const [, name, value = ''] = /^([a-z-]+):(?: (.*))?$/.exec(line) ?? fail(`not a line: ${JSON.stringify(line)}`);
    checkPlace(name, lines);
    lines.set(name, [...(lines.get(name) ?? []), value]);
  }
  for (const name of once) if (!lines.has(name)) fail(`no ${name} line`);
  return checkValues(lines);
}

function checkPlace(name, lines) {
  const known = [...once, ...atMostOnce, ...any, ...facts].includes(name);
  if (!known) fail(`unknown line: ${name}`);
  if (!any.includes(name) && lines.has(name)) fail(`more than one ${name} line`);
  if (facts.includes(name) && !lines.has('expect')) fail(`${name} before expect`);
}

function checkValues(lines) {
  const expected = lines.get('expect')[0];
  if (expected !== 'accept' && !reasons.has(expected)) fail(`unknown expectation: ${expected}`);
  if (expected !== 'accept' && facts.some((name) => lines.has(name))) fail('facts after a refusal');
  if ((lines.get('binding') ?? ['mtls'])[0] !== 'mtls') fail('unknown binding');
  return lines;
}

function fail(text) {
  throw new Error(text);
}

function readSeconds(text) {
  if (!/^(0|[1-9][0-9]*)$/.test(text)) fail(`not in seconds: ${text}`);
  return Number(text);
}

function parseKey(line) {
  const [role, owner, keyId, algorithm, ...rest] = line.split(' ');
  const coordinates = algorithm === 'p256' ? 2 : 1;
  const [x, y] = coordinates === 2 ? rest : [rest[0]];
  const window = rest.slice(coordinates).map(readSeconds);
  if (rest.length < coordinates || (window.length !== 0 && window.length !== 2)) fail(`not a key: ${line}`);
  return { role, owner, keyId, algorithm, x, y, notBefore: window[0], notAfter: window[1] };
}

function namesOf(values) {
  const names = new Map();
  for (const value of values) {
    const [issuer, other, rest] = value.split(' ');
    if (other === undefined || rest !== undefined) fail(`not two issuers: ${value}`);
    names.set(issuer, [...(names.get(issuer) ?? []), other]);
  }
  return names;
}

function loadKeys(lines) {
  const keys = new KeySet();
  for (const line of lines.get('key') ?? []) keys.add(parseKey(line));
  for (const line of lines.get('bad-key') ?? []) {
    const record = parseKey(line);
    let loaded = true;
    try {
      keys.add(record);
    } catch {
      loaded = false;
    }
    if (loaded) fail(`a bad key was loaded: ${line}`);
  }
  return keys;
}

function format(decision, name) {
  return [decision[name]].flat().join(' ');
}

// An HTTP server hands a header over with one character per byte.
const asReceived = (header) => Buffer.from(header).toString('latin1');

/** runVector returns what failed, as `{expected, got}` pairs. */
export function runVector(text) {
  const lines = parseVector(text);
  const one = (name) => lines.get(name)?.[0];
  const decision = verify(lines.get('header')?.map(asReceived), {
    now: readSeconds(one('now')),
    audience: one('audience'),
    trustDomain: one('trust-domain'),
    keys: loadKeys(lines),
    mayName: namesOf(lines.get('may-name') ?? []),
    binding: one('binding'),
    peer: one('peer'),
  });
  if (decision.cause) throw decision.cause;
  const expected = one('expect');
  const got = decision.accept ? 'accept' : decision.reason;
  if (got !== expected) return [{ expected, got }];
  return facts
    .filter((name) => lines.has(name) && one(name) !== format(decision, name))
    .map((name) => ({ expected: `${name}: ${one(name)}`, got: `${name}: ${format(decision, name)}` }));
}

function failuresOf(path) {
  try {
    return runVector(readFileSync(path, 'utf8'));
  } catch (error) {
    return [{ expected: 'a vector that runs', got: error.message }];
  }
}

function main(dir) {
  const files = readdirSync(dir).filter((name) => name.endsWith('.txt')).sort();
  let failed = 0;
  for (const file of files) {
    const failures = failuresOf(join(dir, file));
    const show = ({ expected, got }) => `expected ${expected}, got ${got}`;
    if (failures.length > 0) console.log(`${file}: ${failures.map(show).join('; ')}`);
    failed += failures.length > 0 ? 1 : 0;
  }
  console.log(`node verifier: ${files.length} vectors, ${failed} failed`);
  process.exitCode = failed > 0 || files.length === 0 ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv[2] ?? defaultDir);
