// The public keys a verifier trusts, each with the role and the owner it speaks for.

import { createPublicKey, verify as verifySignature } from 'node:crypto';
import { isLowP256Signature, isSoundEd25519, isSoundP256 } from './curves.mjs';
import { isKeyId, isServiceName, isText } from './messages.mjs';
import { decodeBase64url, refuse } from './wire.mjs';

const skew = 30n;

/**
 * KeySet finds a key by role, owner and key id together. By key id alone, a
 * service could sign as an issuer, or as another service.
 */
export class KeySet {
  #records = new Map();
  #publicKeys = new Set();

  get size() {
    return this.#records.size;
  }

  /**
   * add loads `{role, owner, keyId, algorithm, x, y?, notBefore?, notAfter?}` and
   * throws for a record that must not be trusted: a low-order or malformed public
   * key, or one that another record holds already. `x` and `y` are unpadded
   * base64url as in a JWK; the window is in seconds and absent when always open.
   */
  add(record) {
    const { role, owner, keyId } = record;
    checkNames(record);
    const window = readWindow(record);
    const name = nameOf(role, owner, keyId);
    if (this.#records.has(name)) throw new Error('keys: the key id is taken');
    const { identity, check } = load(record);
    if (this.#publicKeys.has(identity)) throw new Error('keys: the public key belongs to another record');
    this.#publicKeys.add(identity);
    this.#records.set(name, { check, ...window });
  }

  /** find returns the check of a key whose window is open at `now`, or undefined. */
  find(role, owner, keyId, now) {
    const record = this.#records.get(nameOf(role, owner, keyId));
    if (record === undefined) return undefined;
    const { check, notBefore, notAfter } = record;
    if (notBefore !== undefined && notBefore > now + skew) return undefined;
    if (notAfter !== undefined && now >= notAfter + skew) return undefined;
    return check;
  }
}

const nameOf = (...parts) => JSON.stringify(parts);

function checkNames({ role, owner, keyId }) {
  const owns = { authority: isText, link: isServiceName };
  if (!Object.hasOwn(owns, role)) throw new Error('keys: the role is neither authority nor link');
  if (!owns[role](owner)) throw new Error('keys: the owner is not a name');
  if (!isKeyId(keyId)) throw new Error('keys: the key id is malformed');
}

function readWindow({ notBefore, notAfter }) {
  return { notBefore: readSeconds(notBefore), notAfter: readSeconds(notAfter) };
}

function readSeconds(seconds) {
  if (seconds === undefined) return undefined;
  if (!Number.isSafeInteger(seconds) || seconds < 0) throw new Error('keys: a time is not in whole seconds');
  return BigInt(seconds);
}

function load({ algorithm, x, y }) {
  if (algorithm === 'ed25519' && y === undefined) return loadEd25519(readCoordinate(x));
  if (algorithm === 'p256') return loadP256(readCoordinate(x), readCoordinate(y));
  throw new Error('keys: the algorithm is unknown, or its coordinates are not as many as it has');
}

function readCoordinate(text) {
  const bytes = typeof text === 'string' ? decodeBase64url(text) : undefined;
  if (bytes?.length !== 32) throw new Error('keys: a coordinate is not 32 bytes of unpadded base64url');
  return bytes;
}

function loadEd25519(bytes) {
  if (!isSoundEd25519(bytes)) throw new Error('keys: a low-order or malformed Ed25519 point');
  const x = bytes.toString('base64url');
  const key = createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x } });
  return {
    identity: nameOf('ed25519', x),
    // OpenSSL refuses s >= L here; a test holds it to that.
    check: (signed, signature) => verifySignature(null, signed, key, signature),
  };
}

function loadP256(xBytes, yBytes) {
  if (!isSoundP256(xBytes, yBytes)) throw new Error('keys: not a point of P-256');
  const [x, y] = [xBytes, yBytes].map((bytes) => bytes.toString('base64url'));
  const key = createPublicKey({ format: 'jwk', key: { kty: 'EC', crv: 'P-256', x, y } });
  return {
    identity: nameOf('p256', x, y),
    check(signed, signature) {
      if (!isLowP256Signature(signature)) refuse('malformed');
      return verifySignature('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, signature);
    },
  };
}
