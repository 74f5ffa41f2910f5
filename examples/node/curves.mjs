// The arithmetic that loading a public key needs. It runs once per key and on
// public values only, so it is plain BigInt and not constant in time.

const mod = (n, p) => ((n % p) + p) % p;

function power(base, exponent, p) {
  let result = 1n;
  for (let b = mod(base, p), e = exponent; e > 0n; e >>= 1n) {
    if (e & 1n) result = (result * b) % p;
    b = (b * b) % p;
  }
  return result;
}

const inverse = (n, p) => power(n, p - 2n, p);

const bigEndian = (bytes) => BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
const littleEndian = (bytes) => bigEndian(Buffer.from(bytes).reverse());

const p25519 = 2n ** 255n - 19n;
const d = mod(-121665n * inverse(121666n, p25519), p25519);
const rootOfMinusOne = power(2n, (p25519 - 1n) / 4n, p25519);

/**
 * isSoundEd25519 tells whether 32 bytes are the one encoding (RFC 8032, 5.1.3) of
 * a point whose order is not small. Under a low-order key, signatures verify that
 * nobody made; node:crypto takes such keys.
 */
export function isSoundEd25519(bytes) {
  if (bytes.length !== 32) return false;
  let point = decompress(bytes);
  if (point === undefined) return false;
  for (let i = 0; i < 3; i++) point = double(point);
  return !(point.x === 0n && point.y === 1n);
}

function decompress(bytes) {
  const encoded = littleEndian(bytes);
  const sign = encoded >> 255n;
  const y = encoded & (2n ** 255n - 1n);
  if (y >= p25519) return undefined;
  const x = squareRoot((y * y - 1n) * inverse(d * y * y + 1n, p25519));
  if (x === undefined || (x === 0n && sign === 1n)) return undefined;
  return { x: (x & 1n) === sign ? x : p25519 - x, y };
}

function squareRoot(square) {
  const wanted = mod(square, p25519);
  const candidate = power(wanted, (p25519 + 3n) / 8n, p25519);
  for (const root of [candidate, (candidate * rootOfMinusOne) % p25519]) {
    if ((root * root) % p25519 === wanted) return root;
  }
  return undefined;
}

function double({ x, y }) {
  const t = d * x * x * y * y;
  return {
    x: mod(2n * x * y * inverse(1n + t, p25519), p25519),
    y: mod((y * y + x * x) * inverse(1n - t, p25519), p25519),
  };
}

const p256 = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
const b256 = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;
const n256 = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** isSoundP256 tells whether two coordinates of 32 bytes are a point of P-256. */
export function isSoundP256(xBytes, yBytes) {
  if (xBytes.length !== 32 || yBytes.length !== 32) return false;
  const x = bigEndian(xBytes);
  const y = bigEndian(yBytes);
  return x < p256 && y < p256 && mod(y * y - (x ** 3n - 3n * x + b256), p256) === 0n;
}

/**
 * isLowP256Signature tells whether r is in [1, n-1] and s in [1, n/2]. With s
 * and n-s both accepted, whoever holds a header could write a second one.
 */
export function isLowP256Signature(signature) {
  const r = bigEndian(signature.subarray(0, 32));
  const s = bigEndian(signature.subarray(32, 64));
  return r > 0n && r < n256 && s > 0n && s <= n256 / 2n;
}
