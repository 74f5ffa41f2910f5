import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseVector, runVector } from '../run-vectors.mjs';
import { seal, toHeader } from './signer.mjs';
import { bff, kms, linked, now, openingOf, owners, relay } from './world.mjs';

const keyLine = ({ record: { role, owner, keyId, algorithm, x, y } }) =>
  `key: ${[role, owner, keyId, algorithm, x, y].filter((part) => part !== undefined).join(' ')}`;

const header = `header: ${toHeader(seal(linked([{}]), openingOf(1)))}`;

const whole = [
  '# a comment',
  'about: a chain of one link',
  `now: ${now}`,
  'audience: ledger',
  keyLine(bff),
  `${keyLine(owners.payments)} 1 9999999999`,
  header,
  'expect: accept',
  'mode: linked',
  'actor: am-buyer',
  'scopes: orders.read orders.write payments.read',
  'path: edge payments',
];

const text = (lines) => `${lines.join('\n')}\n`;
const without = (name) => whole.filter((line) => !line.startsWith(`${name}:`));
const instead = (name, value) => whole.map((line) => (line.startsWith(`${name}:`) ? `${name}: ${value}` : line));

test('a vector that holds', () => assert.deepEqual(runVector(text(whole)), []));

test('a relay behind a P-256 key, with facts that are empty', () => {
  const lines = [
    'about: a relay', `now: ${now}`, 'audience: payments', 'trust-domain: mesh:prod', keyLine(kms),
    `header: ${toHeader(seal(relay({ 10: null }, kms)))}`, 'expect: accept', 'scopes:', 'path:',
  ];
  assert.deepEqual(runVector(text(lines)), []);
});

test('a vector that does not hold says what came instead', () => {
  assert.deepEqual(runVector(text(instead('audience', 'stock'))), [{ expected: 'accept', got: 'audience' }]);
  assert.deepEqual(runVector(text(instead('path', 'edge'))), [{ expected: 'path: edge', got: 'path: edge payments' }]);
});

test('no header line is a call without a header', () => {
  const lines = without('header').slice(0, -5);
  assert.deepEqual(runVector(text([...lines, 'expect: missing'])), []);
});

test('a bad key that is loaded fails its vector', () => {
  const sound = keyLine(kms).replace('key:', 'bad-key:');
  assert.throws(() => runVector(text([...whole.slice(0, 4), sound, ...whole.slice(4)])), /a bad key was loaded/);
  const low = `bad-key: authority other k1 ed25519 ${'A'.repeat(43)}`;
  assert.deepEqual(runVector(text([...whole.slice(0, 4), low, ...whole.slice(4)])), []);
});

const broken = {
  'unknown line': [...whole.slice(0, -4), 'colour: red'],
  'no now': without('now'),
  'no expectation': without('expect').slice(0, -4),
  'two audiences': [...whole.slice(0, 4), 'audience: x', ...whole.slice(4)],
  'a fact before the expectation': ['mode: linked', ...whole],
  'facts after a refusal': instead('expect', 'audience'),
  'an unknown expectation': instead('expect', 'fine'),
  'an unknown binding': ['binding: none', ...whole],
  'a line that is none': ['now 5', ...whole],
  'two spaces are part of the value': instead('now', ` ${now}`),
  'half of a window': instead('key', `${keyLine(bff).slice('key: '.length)} 1`),
};

for (const [name, lines] of Object.entries(broken)) {
  test(`not a vector: ${name}`, () => assert.throws(() => runVector(text(lines))));
}

test('a value may be empty, and a line may not', () => {
  assert.equal(parseVector(text(['covers:', ...whole])).get('covers')[0], '');
  assert.throws(() => parseVector(text(['', ...whole])), /not a line/);
});

const script = fileURLToPath(new URL('../run-vectors.mjs', import.meta.url));

test('the last line counts, and the exit code tells', () => {
  const dir = mkdtempSync(join(tmpdir(), 'vectors-'));
  const run = () => {
    const { status, stdout } = spawnSync(process.execPath, [script, dir], { encoding: 'utf8' });
    return [status, stdout.trim().split('\n')];
  };
  try {
    assert.deepEqual(run(), [1, ['node verifier: 0 vectors, 0 failed']]);
    writeFileSync(join(dir, 'a.txt'), text(whole));
    assert.deepEqual(run(), [0, ['node verifier: 1 vectors, 0 failed']]);
    writeFileSync(join(dir, 'b.txt'), text(instead('audience', 'stock')));
    assert.deepEqual(run(), [1, ['b.txt: expected accept, got audience', 'node verifier: 2 vectors, 1 failed']]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
