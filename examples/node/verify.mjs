// The verifier: one header in, a principal or one reason out.

import { createHash } from 'node:crypto';
import { KeySet } from './keys.mjs';
import { formatIdentity, isServiceName, isTrustDomain, readChain } from './messages.mjs';
import { Refusal, decodeBase64, refuse } from './wire.mjs';

// The limit of 3,072 decoded bytes as well: 4,096 characters are never more.
const maxCharacters = 4096;
const skew = 30n;
const maxLife = 300n;
const maxLinkLife = 60n;

const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts)).digest();

/**
 * verify decides about the values of x-principal-bin: an array of strings with one
 * character per byte, as in node's `headersDistinct`, or undefined for none.
 *
 * Settings: `now` in whole seconds, `audience` (the service whose method is called)
 * and `keys`, a KeySet, are required; `trustDomain` lets relays of that domain in;
 * `mayName` is a Map from an issuer to those of whose identities it may name besides its own;
 * `binding` is 'mtls' or absent, and `peer` is the service name of the TLS peer.
 *
 * It never throws. A missing setting refuses every header, and so does an error
 * of our own; both leave a `cause` beside the reason, for the log.
 */
export function verify(headerValues, settings) {
  try {
    return decide(headerValues, readSettings(settings));
  } catch (error) {
    if (!(error instanceof Refusal)) return { accept: false, reason: 'malformed', cause: error };
    const { reason, cause } = error;
    return cause === undefined ? { accept: false, reason } : { accept: false, reason, cause };
  }
}

function readSettings({ now, audience, trustDomain, keys, binding, peer, mayName = new Map() }) {
  const demand = (holds, reason, text) => {
    if (!holds) refuse(reason, new TypeError(`verify: ${text}`));
  };
  demand(Number.isSafeInteger(now) && now > 0, 'time', 'now is not in whole seconds');
  demand(isServiceName(audience), 'audience', 'the audience is not a service name');
  demand(trustDomain === undefined || isTrustDomain(trustDomain), 'audience', 'not a trust domain');
  demand(keys instanceof KeySet, 'no_keys', 'keys is not a KeySet');
  demand(binding === undefined || binding === 'mtls', 'presenter', 'the binding is unknown');
  return { now: BigInt(now), audience, trustDomain, keys, binding, peer, mayName };
}

function decide(headerValues, settings) {
  const { blocks, opening } = readChain(decodeHeader(headerValues));
  const mode = modeOf(blocks, opening);
  checkAudience(mode, blocks.at(-1), settings);
  checkTimes(blocks, settings.now);
  const checks = findKeys(blocks, settings);
  checkNames(blocks[0].message, settings.mayName);
  if (mode === 'linked') checkOpening(blocks, opening);
  const rights = narrow(blocks);
  checkSignatures(blocks, checks);
  checkPresenter(mode, blocks, settings);
  return describe(mode, blocks, rights);
}

function decodeHeader(values) {
  if (values === undefined || values === null || values.length === 0) refuse('missing');
  if (!Array.isArray(values) || !values.every((value) => typeof value === 'string')) refuse('malformed');
  // Proxies join repeated headers with a comma.
  if (values.length > 1 || values[0].includes(',')) refuse('multiple');
  if (values[0].length > maxCharacters) refuse('size');
  const bytes = decodeBase64(values[0]);
  if (bytes === undefined) refuse('malformed');
  return bytes;
}

/** modeOf holds a relay to carrying nothing of a chain: a link on it would widen. */
function modeOf([authority, ...links], opening) {
  const { audience, presenter, maxLinks, commitment } = authority.message;
  if (isTrustDomain(audience)) {
    const chained = [presenter, maxLinks, commitment, opening, links[0]];
    if (chained.some((part) => part !== undefined)) refuse('malformed');
    return 'relay';
  }
  if (commitment === undefined || opening === undefined) refuse('malformed');
  return 'linked';
}

function checkAudience(mode, tail, { audience, trustDomain }) {
  const accepted = mode === 'relay' ? trustDomain : audience;
  if (tail.message.audience !== accepted) refuse('audience');
}

function checkTimes([authority, ...links], now) {
  const { issuedAt, expiresAt, streamUntil } = authority.message;
  const sound = [
    now < expiresAt + skew,
    issuedAt <= now + skew,
    issuedAt < expiresAt,
    expiresAt - issuedAt <= maxLife,
    streamUntil === undefined || streamUntil >= expiresAt,
    ...links.map((link) => linkEndsWithin(link, expiresAt)),
    links.length === 0 || mayBePresented(links.at(-1), now),
  ];
  if (sound.includes(false)) refuse('time');
}

function linkEndsWithin({ message: { expiresAt } }, end) {
  return expiresAt > 0n && expiresAt <= end;
}

/** mayBePresented is asked of the tail only: a link before it has been presented already. */
function mayBePresented({ message: { expiresAt } }, now) {
  return now < expiresAt + skew && expiresAt <= now + maxLinkLife + skew;
}

/** signerOf names who signed block i: no field says so, so none can lie. */
function signerOf(blocks, i) {
  return i === 0 ? blocks[0].message.issuer : blocks[i - 1].message.audience;
}

function findKeys(blocks, { keys, now }) {
  return blocks.map(({ keyId }, i) => {
    const role = i === 0 ? 'authority' : 'link';
    const check = keys.find(role, signerOf(blocks, i), keyId, now);
    return check ?? refuse(keys.size === 0 ? 'no_keys' : 'unknown_key');
  });
}

/** checkNames keeps one issuer from speaking for the humans and agents of another. */
function checkNames({ issuer, subject, delegations }, mayName) {
  const others = mayName.get(issuer) ?? [];
  for (const identity of [subject, ...delegations.map(({ actor }) => actor)]) {
    if (identity.issuer !== undefined && !others.includes(identity.issuer)) refuse('unknown_key');
  }
}

/**
 * checkOpening keeps a chain from being shortened: the holder of the last block
 * has only the last opening. One commitment twice would be opened twice by it.
 */
function checkOpening(blocks, opening) {
  const commitments = blocks.map(({ message }) => message.commitment);
  if (new Set(commitments.map((each) => each.toString('hex'))).size < blocks.length) refuse('opening');
  const commitment = sha256(Buffer.from('onbehalf/v1 opening\0'), opening).subarray(0, 16);
  if (!commitment.equals(commitments.at(-1))) refuse('opening');
}

/** narrow returns the rights that are left at the tail; a widening link is refused, not cut. */
function narrow([authority, ...links]) {
  let { scopes, roles } = authority.message;
  if (BigInt(links.length) > (authority.message.maxLinks ?? 0n)) refuse('widen');
  for (const { message: link } of links) {
    if (link.scopes === undefined) continue;
    const granted = new Set(scopes);
    if (!link.scopes.values.every((scope) => granted.has(scope))) refuse('widen');
    scopes = link.scopes.values;
    roles = [];
  }
  return { scopes, roles };
}

function length(bytes, size) {
  const prefix = Buffer.alloc(size);
  prefix.writeUIntBE(bytes.length, 0, size);
  return Buffer.concat([prefix, bytes]);
}

/** signedBytes returns what each block's signature covers; all before it is in T. */
export function signedBytes(blocks) {
  let transcript = Buffer.alloc(32);
  return blocks.map(({ payload, keyId, signature }, i) => {
    const tag = Buffer.from(i === 0 ? 'onbehalf/v1 authority\0' : 'onbehalf/v1 link\0');
    const name = length(Buffer.from(keyId), 1);
    const signed = Buffer.concat([tag, transcript, name, payload]);
    transcript = sha256(transcript, length(payload, 4), name, length(signature, 1));
    return signed;
  });
}

/** checkSignatures begins at the tail: a bad one behind good blocks costs one check, not seven. */
function checkSignatures(blocks, checks) {
  const signed = signedBytes(blocks);
  const tail = blocks.length - 1;
  for (const i of [tail, ...blocks.keys()].slice(0, blocks.length)) {
    if (!checks[i](signed[i], blocks[i].signature)) refuse('signature');
  }
}

function checkPresenter(mode, blocks, { binding, peer }) {
  if (binding !== 'mtls') return;
  if (!isServiceName(peer)) refuse('presenter');
  if (mode === 'relay') return;
  const tail = blocks.length - 1;
  const presenter = tail === 0 ? blocks[0].message.presenter : signerOf(blocks, tail);
  if (peer !== presenter) refuse('presenter');
}

function describe(mode, blocks, { scopes, roles }) {
  const { subject, delegations, presenter } = blocks[0].message;
  const actors = delegations.map(({ actor }) => formatIdentity(actor));
  const signers = blocks.slice(1).map((_, i) => signerOf(blocks, i + 1));
  const path = presenter === undefined ? signers : [presenter, ...signers];
  const lists = { scopes: [...scopes], roles: [...roles], path, delegations: actors };
  Object.values(lists).forEach(Object.freeze);
  const name = formatIdentity(subject);
  return Object.freeze({ accept: true, mode, subject: name, actor: actors.at(-1) ?? name, ...lists });
}
