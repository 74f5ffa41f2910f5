import assert from 'node:assert/strict';
import { createPublicKey, verify as verifySignature } from 'node:crypto';
import { test } from 'node:test';
import { KeySet } from '../keys.mjs';
import { flip, newSigner, to32 } from './signer.mjs';

const fresh = (algorithm) => newSigner('authority', 'bff', 'k1', algorithm).record;
const ed25519 = fresh('ed25519');
const p256 = fresh('p256');
const load = (record) => new KeySet().add(record);
const refused = (record) => assert.throws(() => load(record), /^Error: keys: /);

const p = 2n ** 255n - 19n;
const little = (value) => to32(value).reverse();
const withSign = (value) => little(value + 2n ** 255n);

// The points of order 8 as libsodium's ge25519_has_small_order lists them.
const ofOrder8 = ['26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05', 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a'];
const [y8, other8] = ofOrder8.map((encoded) => BigInt(`0x${Buffer.from(encoded, 'hex').reverse().toString('hex')}`));
const lowOrderY = { 'order 4': 0n, neutral: 1n, 'order 2': p - 1n, 'order 8': y8, 'order 8, negative': other8 };

for (const [name, y] of Object.entries(lowOrderY)) {
  test(`Ed25519 of low order: ${name}`, () => {
    for (const encoded of [little(y), withSign(y)]) refused({ ...ed25519, x: encoded.toString('base64url') });
  });
}

test('Ed25519: every y that is not reduced', () => {
  for (let y = p; y < 2n ** 255n; y++) {
    for (const encoded of [little(y), withSign(y)]) refused({ ...ed25519, x: encoded.toString('base64url') });
  }
});

test('Ed25519: off the curve', () => refused({ ...ed25519, x: little(2n).toString('base64url') }));

test('Ed25519: the neutral point verifies in node what nobody signed', () => {
  const key = createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x: little(1n).toString('base64url') } });
  const forged = Buffer.concat([little(1n), Buffer.alloc(32)]);
  assert.equal(verifySignature(null, Buffer.from('anything'), key, forged), true);
});

test('Ed25519: s + L is refused', () => {
  const signer = newSigner('authority', 'bff', 'k1');
  const keys = new KeySet();
  keys.add(signer.record);
  const check = keys.find('authority', 'bff', 'k1', 1n);
  const message = Buffer.from('message');
  const signature = signer.sign(message);
  assert.equal(check(message, signature), true);
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const s = BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString('hex')}`);
  const other = Buffer.concat([signature.subarray(0, 32), little(s + order)]);
  assert.equal(check(message, other), false);
});

test('P-256: the point with x = 0, also written as x = p', () => {
  const p256Prime = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
  const y = to32(0x66485c780e2f83d72433bd5d84a06bb6541c2af31dae871728bf856a174f93f4n).toString('base64url');
  load({ ...p256, x: to32(0n).toString('base64url'), y });
  refused({ ...p256, x: to32(p256Prime).toString('base64url'), y });
});

test('sound keys load', () => {
  for (let i = 0; i < 20; i++) {
    load(fresh('ed25519'));
    load(fresh('p256'));
  }
});

const malformed = {
  'no x': { ...ed25519, x: undefined },
  'x of 31 bytes': { ...ed25519, x: Buffer.alloc(31, 7).toString('base64url') },
  'x of 33 bytes': { ...ed25519, x: Buffer.alloc(33, 7).toString('base64url') },
  'padded x': { ...ed25519, x: `${ed25519.x}=` },
  'x with a line feed': { ...ed25519, x: `${ed25519.x}\n` },
  'x with stray bits': { ...ed25519, x: ed25519.x.slice(0, -1) + nextOf(ed25519.x.at(-1)) },
  'Ed25519 with y': { ...ed25519, y: ed25519.x },
  'P-256 without y': { ...p256, y: undefined },
  'P-256 off the curve': { ...p256, y: p256.x },
  'P-256 at (0, 0)': { ...p256, x: to32(0n).toString('base64url'), y: to32(0n).toString('base64url') },
  'P-256, x not reduced': { ...p256, x: to32(2n ** 256n - 1n).toString('base64url') },
  'P-256, x with a leading zero byte': { ...p256, x: Buffer.concat([Buffer.alloc(1), Buffer.from(p256.x, 'base64url')]).toString('base64url') },
  'unknown algorithm': { ...ed25519, algorithm: 'rsa' },
  'unknown role': { ...ed25519, role: 'constructor' },
  'owner of a link key is not a service': { ...ed25519, role: 'link', owner: 'mesh:prod' },
  'empty owner': { ...ed25519, owner: '' },
  'owner with a lone surrogate': { ...ed25519, owner: '\ud800' },
  'empty key id': { ...ed25519, keyId: '' },
  'window of fractions': { ...ed25519, notBefore: 1.5 },
};

function nextOf(digit) {
  return String.fromCharCode(digit.charCodeAt(0) + 1);
}

for (const [name, record] of Object.entries(malformed)) test(`refused when loaded: ${name}`, () => refused(record));

test('a key id and a public key belong to one record', () => {
  const keys = new KeySet();
  keys.add(ed25519);
  assert.throws(() => keys.add({ ...fresh('ed25519') }), /the key id is taken/);
  assert.throws(() => keys.add({ ...ed25519, role: 'link', owner: 'payments' }), /belongs to another record/);
  assert.equal(keys.size, 1);
});

test('a refused key is not in the set', () => {
  const keys = new KeySet();
  assert.throws(() => keys.add({ ...ed25519, x: little(1n).toString('base64url') }));
  assert.equal(keys.size, 0);
  assert.equal(keys.find('authority', 'bff', 'k1', 1n), undefined);
});

test('role, owner and key id find a key together', () => {
  const keys = new KeySet();
  keys.add(ed25519);
  assert.ok(keys.find('authority', 'bff', 'k1', 1n));
  assert.equal(keys.find('link', 'bff', 'k1', 1n), undefined);
  assert.equal(keys.find('authority', 'bff2', 'k1', 1n), undefined);
  assert.equal(keys.find('authority', 'bff', 'k2', 1n), undefined);
});

test('the window has 30 s of skew on either side', () => {
  const keys = new KeySet();
  keys.add({ ...ed25519, notBefore: 1000, notAfter: 2000 });
  const open = (now) => keys.find('authority', 'bff', 'k1', now) !== undefined;
  assert.deepEqual([969n, 970n, 2029n, 2030n].map(open), [false, true, true, false]);
});

test('P-256: signatures out of range or with a high s are malformed', () => {
  const signer = newSigner('authority', 'bff', 'k1', 'p256');
  const keys = new KeySet();
  keys.add(signer.record);
  const check = keys.find('authority', 'bff', 'k1', 1n);
  const message = Buffer.from('message');
  const signature = signer.sign(message);
  const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const r = signature.subarray(0, 32);
  const s = signature.subarray(32);
  assert.equal(check(message, signature), true);
  assert.equal(check(Buffer.from('other'), signature), false);
  assert.equal(check(message, Buffer.concat([r, to32(n / 2n)])), false);
  const others = [flip(signature), [r, to32(0n)], [to32(0n), s], [to32(n), s], [r, to32(n)], [r, to32(n / 2n + 1n)]];
  for (const other of others) {
    assert.throws(() => check(message, Buffer.concat([other].flat())), { reason: 'malformed' });
  }
});
