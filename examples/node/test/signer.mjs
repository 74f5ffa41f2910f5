// An encoder and a signer for the tests. It shares no code with the verifier, so
// that a misreading of the format would have to be made twice, and it encodes
// whatever it is told, also what no honest party would sign.

import { createHash, generateKeyPairSync, sign } from 'node:crypto';

export const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts.map((part) => Buffer.from(part)))).digest();
export const bytes16 = (label) => sha256(label).subarray(0, 16);
export const commit = (opening) => sha256('onbehalf/v1 opening\0', opening).subarray(0, 16);

export function varint(value) {
  const bytes = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(rest)]);
}

export const tag = (number, wire) => varint((BigInt(number) << 3n) | BigInt(wire));
export const number = (n, value) => Buffer.concat([tag(n, 0), varint(value)]);

export function bytes(n, content) {
  const value = Buffer.from(content);
  return Buffer.concat([tag(n, 2), varint(value.length), value]);
}

export const list = (n, contents) => Buffer.concat(contents.map((content) => bytes(n, content)));
export const join = (...parts) => Buffer.concat(parts);

/** merge encodes fields by ascending number; an override replaces a field, null removes it. */
export function merge(fields, overrides = {}) {
  const all = Object.entries({ ...fields, ...overrides });
  return Buffer.concat(all.filter(([, field]) => field !== null).sort(([a], [b]) => a - b).map(([, field]) => field));
}

const n256 = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const toNumber = (buffer) => BigInt(`0x${buffer.toString('hex')}`);
export const to32 = (value) => Buffer.from(value.toString(16).padStart(64, '0'), 'hex');

/** flip replaces s by n-s: the second signature that plain ECDSA would accept. */
export const flip = (signature) => join(signature.subarray(0, 32), to32(n256 - toNumber(signature.subarray(32))));

function signP256(privateKey, message) {
  const signature = sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return toNumber(signature.subarray(32)) > n256 / 2n ? flip(signature) : signature;
}

/** newSigner makes a key pair with the record that a KeySet loads. */
export function newSigner(role, owner, keyId, algorithm = 'ed25519') {
  const isP256 = algorithm === 'p256';
  const pair = isP256 ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519');
  const { x, y } = pair.publicKey.export({ format: 'jwk' });
  return {
    keyId,
    record: { role, owner, keyId, algorithm, x, ...(isP256 && { y }) },
    sign: (message) => (isP256 ? signP256(pair.privateKey, message) : sign(null, message, pair.privateKey)),
  };
}

const size = (content, width) => {
  const prefix = Buffer.alloc(width);
  prefix.writeUIntBE(content.length, 0, width);
  return prefix;
};

/** transcript is T after the given blocks. */
export function transcript(blocks) {
  return blocks.reduce(
    (t, { payload, keyId, signature }) =>
      sha256(t, size(payload, 4), payload, size(keyId, 1), keyId, size(signature, 1), signature),
    Buffer.alloc(32),
  );
}

/** append signs `payload` behind `blocks`. */
export function append(blocks, signer, payload) {
  const label = blocks.length === 0 ? 'onbehalf/v1 authority\0' : 'onbehalf/v1 link\0';
  const { keyId } = signer;
  const message = join(Buffer.from(label), transcript(blocks), size(keyId, 1), Buffer.from(keyId), payload);
  return [...blocks, { payload, keyId, signature: signer.sign(message) }];
}

const encodeBlock = ({ payload, keyId, signature }) => join(bytes(1, payload), bytes(2, keyId), bytes(3, signature));

/** seal writes the outer message. */
export function seal([authority, ...links], opening) {
  return join(
    bytes(1, encodeBlock(authority)),
    list(2, links.map(encodeBlock)),
    opening === undefined ? Buffer.alloc(0) : bytes(3, opening),
  );
}

export const toHeader = (message) => message.toString('base64').replaceAll('=', '');
