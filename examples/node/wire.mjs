// Strict reading of what travels in the header: base64 and protobuf with one
// spelling per value. Two spellings of one header would be two cache keys, and
// two readings of one payload would be two principals.

/** Refusal ends a verification with one reason of the closed list. */
export class Refusal extends Error {
  constructor(reason, cause) {
    super(`refused: ${reason}`, { cause });
    this.reason = reason;
  }
}

export function refuse(reason, cause) {
  throw new Refusal(reason, cause);
}

const common = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const digitsOf = (alphabet) => new Map([...alphabet].map((char, digit) => [char, digit]));
const standardDigits = digitsOf(`${common}+/`);
const urlDigits = digitsOf(`${common}-_`);

/**
 * decodeBase64 reads the standard alphabet, unpadded or correctly padded.
 * It returns undefined for anything else: Buffer.from(text, 'base64') skips
 * what it does not know and takes either alphabet.
 */
export function decodeBase64(text) {
  const padding = /={0,2}$/.exec(text)[0].length;
  if (padding > 0 && text.length % 4 !== 0) return undefined;
  return fromDigits(text.slice(0, text.length - padding), standardDigits);
}

/** decodeBase64url reads the unpadded URL alphabet of a JWK, or returns undefined. */
export function decodeBase64url(text) {
  return fromDigits(text, urlDigits);
}

function fromDigits(text, digits) {
  if (text.length % 4 === 1) return undefined;
  const bytes = Buffer.alloc(Math.floor((text.length * 3) / 4));
  let bits = 0;
  let held = 0;
  let at = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = digits.get(text[i]);
    if (digit === undefined) return undefined;
    bits = ((bits << 6) | digit) & 0xffff;
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes[at++] = (bits >> held) & 0xff;
    }
  }
  const stray = bits & ((1 << held) - 1);
  return stray === 0 ? bytes : undefined;
}

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

const largestFieldNumber = 2n ** 29n - 1n;
const firstCritical = 1000n;

class Cursor {
  #bytes;
  #at = 0;

  constructor(bytes) {
    this.#bytes = bytes;
  }

  get done() {
    return this.#at === this.#bytes.length;
  }

  /** varint returns a BigInt: sequences and times do not fit a double. */
  varint() {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      if (this.done) refuse('malformed');
      const byte = this.#bytes[this.#at++];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte >= 0x80) continue;
      const padded = byte === 0 && shift > 0n;
      if (padded || value >= 2n ** 64n) refuse('malformed');
      return value;
    }
    return refuse('malformed');
  }

  take(length) {
    if (BigInt(length) > BigInt(this.#bytes.length - this.#at)) refuse('malformed');
    const start = this.#at;
    this.#at += Number(length);
    return this.#bytes.subarray(start, this.#at);
  }

  value(wire) {
    switch (wire) {
      case VARINT:
        return this.varint();
      case FIXED64:
        return this.take(8);
      case BYTES:
        return this.take(this.varint());
      case FIXED32:
        return this.take(4);
      default:
        return refuse('malformed');
    }
  }
}

/**
 * decode reads one message by its schema: `fields` by number, `open` if unknown
 * numbers below 1000 are let through, and `end`, called with the whole message.
 * `root` is the outermost message of the payload, for rules that look up.
 */
export function decode(bytes, schema, root) {
  const message = {};
  for (const field of Object.values(schema.fields)) {
    if (field.max) message[field.name] = [];
  }
  const cursor = new Cursor(bytes);
  let last = 0n;
  while (!cursor.done) {
    const { number, wire } = readTag(cursor, schema);
    const field = schema.fields[number];
    const again = number === last && field && !field.max;
    if (number < last || again) refuse('malformed');
    last = number;
    if (field) readField(cursor, wire, field, message, root ?? message);
    else cursor.value(wire);
  }
  schema.end?.(message, root ?? message);
  return message;
}

function readTag(cursor, schema) {
  const tag = cursor.varint();
  const number = tag >> 3n;
  if (number === 0n || number > largestFieldNumber) refuse('malformed');
  const known = schema.fields[number] !== undefined;
  if (!known && !schema.open) refuse('malformed');
  if (number >= firstCritical) refuse('unsupported');
  return { number, wire: Number(tag & 7n) };
}

function readField(cursor, wire, field, message, root) {
  if (wire !== field.wire) refuse('malformed');
  const list = message[field.name];
  if (field.max && list.length === field.max) refuse('malformed');
  const value = field.read(cursor.value(wire), message, root);
  if (!field.max) {
    message[field.name] = value;
    return;
  }
  if (!field.fits(list, value)) refuse('malformed');
  list.push(value);
}

/** raw is a bytes field that `accepts` must take. */
export function raw(name, accepts) {
  return {
    name,
    wire: BYTES,
    read(bytes) {
      if (!accepts(bytes)) refuse('malformed');
      return bytes;
    },
  };
}

/** text is a string field; `accepts` adds a grammar to the rules for all strings. */
export function text(name, accepts = () => true) {
  return {
    name,
    wire: BYTES,
    read(bytes) {
      const string = readText(bytes);
      if (string === undefined || !accepts(string)) refuse('malformed');
      return string;
    },
  };
}

/** time is an int64 of seconds since the epoch, above 0. */
export function time(name) {
  return {
    name,
    wire: VARINT,
    read(value) {
      if (BigInt.asIntN(64, value) <= 0n) refuse('time');
      return value;
    },
  };
}

/** count is an unsigned number from 1 to `most`. */
export function count(name, most) {
  return {
    name,
    wire: VARINT,
    read(value) {
      if (value === 0n || value > most) refuse('malformed');
      return value;
    },
  };
}

/** nested is a message field; `accepts` sees the message read. */
export function nested(name, schema, accepts = () => true) {
  return {
    name,
    wire: BYTES,
    read(bytes, _, root) {
      const message = decode(bytes, schema, root);
      if (!accepts(message, root)) refuse('malformed');
      return message;
    },
  };
}

/** repeated allows `max` values of a field; `fits` compares the next with those before it. */
export function repeated(field, max, fits = () => true) {
  return { ...field, max, fits };
}

const control = /[\p{Cc}\p{Bidi_Control}\uFEFF\u2028\u2029]/u;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** readText returns the string that 1 to 256 bytes of clean UTF-8 spell, or undefined. */
export function readText(bytes) {
  if (bytes.length < 1 || bytes.length > 256) return undefined;
  try {
    const string = utf8.decode(bytes);
    return control.test(string) ? undefined : string;
  } catch {
    return undefined;
  }
}

/** before compares by byte; the operators of JavaScript compare UTF-16 units. */
export function before(a, b) {
  return Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0;
}
