import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readChain } from '../messages.mjs';
import { decodeBase64, decodeBase64url, readText } from '../wire.mjs';
import { append, bytes, bytes16, commit, join, list, number, seal, tag, varint } from './signer.mjs';
import { agent, bff, delegation, human, issuer, linkTo, linked, linkedPrincipal, now, openingOf, relayPrincipal } from './world.mjs';

function reasonOf(read) {
  try {
    read();
    return 'read';
  } catch (error) {
    return error.reason ?? assert.fail(error);
  }
}

const readPayload = (payload) => reasonOf(() => readChain(seal(append([], bff, payload), openingOf(0))));
const readLink = (payload) => reasonOf(() => readChain(seal([...linked(), { payload, keyId: 'k', signature: Buffer.alloc(64) }])));
const readOuter = (message) => reasonOf(() => readChain(message));

function each(cases, run) {
  for (const [name, expected, ...input] of cases) {
    test(name, () => assert.equal(run(...input), expected));
  }
}

const show = (buffer) => buffer?.toString('latin1');

each(
  [
    ['base64: empty', '', ''],
    ['base64: unpadded', 'a', 'YQ'],
    ['base64: padded', 'a', 'YQ=='],
    ['base64: padded once', 'ab', 'YWI='],
    ['base64: whole', 'abc', 'YWJj'],
    ['base64: standard alphabet', '\xfb\xff', '+/8'],
    ['base64: too little padding', undefined, 'YQ='],
    ['base64: too much padding', undefined, 'YWI=='],
    ['base64: padding after a whole group', undefined, 'YWJj===='],
    ['base64: padding only', undefined, '===='],
    ['base64: padding inside', undefined, 'YQ==YQ=='],
    ['base64: one character left', undefined, 'YWJjY'],
    ['base64: stray bits', undefined, 'YR'],
    ['base64: stray bits, padded', undefined, 'YWJ='],
    ['base64: url alphabet', undefined, '-_8'],
    ['base64: space', undefined, 'YQ '],
    ['base64: line feed', undefined, 'YWJj\n'],
    ['base64: line feed inside', undefined, 'YW\nJj'],
    ['base64: a character above 255', undefined, 'YQ\u0141\u0141'],
  ],
  (text) => show(decodeBase64(text)),
);

each(
  [
    ['base64url: its alphabet', '\xfb\xff', '-_8'],
    ['base64url: standard alphabet', undefined, '+/8'],
    ['base64url: padding', undefined, 'YQ=='],
    ['base64url: stray bits', undefined, 'YR'],
  ],
  (text) => show(decodeBase64url(text)),
);

test('base64: every length agrees with an encoder', () => {
  for (let length = 0; length < 300; length++) {
    const content = Buffer.from(Array.from({ length }, (_, i) => (i * 151 + length) & 0xff));
    const padded = content.toString('base64');
    assert.deepEqual(decodeBase64(padded), content);
    assert.deepEqual(decodeBase64(padded.replaceAll('=', '')), content);
  }
});

each(
  [
    ['text: a byte order mark is kept, and so refused', undefined, '\ufeffa'],
    ['text: NUL', undefined, 'a\0'],
    ['text: C1 control', undefined, 'a\u0085'],
    ['text: DEL', undefined, '\x7f'],
    ['text: right-to-left override', undefined, 'a\u202eb'],
    ['text: Arabic letter mark', undefined, '\u061c'],
    ['text: isolate', undefined, '\u2066'],
    ['text: line separator', undefined, '\u2028'],
    ['text: empty', undefined, ''],
    ['text: 256 bytes', 'é'.repeat(128), 'é'.repeat(128)],
    ['text: 257 bytes', undefined, `${'é'.repeat(128)}a`],
    ['text: overlong', undefined, Buffer.from([0xc0, 0xaf])],
    ['text: surrogate', undefined, Buffer.from([0xed, 0xa0, 0x80])],
    ['text: beyond Unicode', undefined, Buffer.from([0xf4, 0x90, 0x80, 0x80])],
    ['text: cut short', undefined, Buffer.from([0xe2, 0x82])],
    ['text: beyond the first plane', '\u{1f600}', '\u{1f600}'],
  ],
  (content) => readText(Buffer.from(content)),
);

const [authority, link] = linked([{}]);
const block = (...fields) => join(...fields);
const whole = [bytes(1, authority.payload), bytes(2, 'k'), bytes(3, Buffer.alloc(64))];
const outer = (content, ...rest) => join(bytes(1, content), ...rest);
const sealedLink = bytes(2, block(bytes(1, link.payload), bytes(2, 'k'), bytes(3, Buffer.alloc(64))));
const opening = bytes(3, Buffer.alloc(16));

each(
  [
    ['outer: whole', 'read', outer(block(...whole), sealedLink, opening)],
    ['outer: empty', 'malformed', Buffer.alloc(0)],
    ['outer: no authority', 'malformed', join(sealedLink, opening)],
    ['outer: two authorities', 'malformed', join(outer(block(...whole)), outer(block(...whole)))],
    ['outer: descending', 'malformed', outer(block(...whole), opening, sealedLink)],
    ['outer: two openings', 'malformed', outer(block(...whole), opening, opening)],
    ['outer: opening of 15 bytes', 'malformed', outer(block(...whole), bytes(3, Buffer.alloc(15)))],
    ['outer: empty opening', 'malformed', outer(block(...whole), bytes(3, ''))],
    ['outer: unknown field', 'malformed', outer(block(...whole), opening, bytes(4, 'x'))],
    ['outer: critical field', 'malformed', outer(block(...whole), opening, bytes(1000, 'x'))],
    ['outer: trailing byte', 'malformed', join(outer(block(...whole)), Buffer.from([0]))],
    ['outer: overlong length', 'malformed', join(outer(block(...whole)), tag(3, 2), Buffer.from([0x90, 0]), Buffer.alloc(16))],
    ['outer: overlong tag', 'malformed', join(outer(block(...whole)), Buffer.from([0x9a, 0, 16]), Buffer.alloc(16))],
    ['outer: a length of 2^64-1', 'malformed', join(tag(1, 2), varint(-1))],
    ['outer: six links', 'read', outer(block(...whole), ...Array(6).fill(sealedLink))],
    ['outer: seven links', 'malformed', outer(block(...whole), ...Array(7).fill(sealedLink))],
    ['block: no payload', 'malformed', outer(block(whole[1], whole[2]))],
    ['block: empty payload', 'malformed', outer(block(bytes(1, ''), whole[1], whole[2]))],
    ['block: no key id', 'malformed', outer(block(whole[0], whole[2]))],
    ['block: no signature', 'malformed', outer(block(whole[0], whole[1]))],
    ['block: signature of 63 bytes', 'malformed', outer(block(whole[0], whole[1], bytes(3, Buffer.alloc(63))))],
    ['block: signature of 65 bytes', 'malformed', outer(block(whole[0], whole[1], bytes(3, Buffer.alloc(65))))],
    ['block: key id of 33', 'malformed', outer(block(whole[0], bytes(2, 'k'.repeat(33)), whole[2]))],
    ['block: key id with a dot', 'malformed', outer(block(whole[0], bytes(2, 'k.1'), whole[2]))],
    ['block: key id with a line feed', 'malformed', outer(block(whole[0], bytes(2, 'k\n'), whole[2]))],
    ['block: unknown field', 'malformed', outer(block(...whole, bytes(4, 'x')))],
    ['block: wrong wire type', 'malformed', outer(block(whole[0], number(2, 1), whole[2]))],
  ],
  readOuter,
);

const changed = (overrides) => linkedPrincipal(overrides);
const subject = (...fields) => changed({ 8: bytes(8, join(...fields)) });
const named = (name) => subject(bytes(3, name));
const delegated = (...fields) => changed({ 9: bytes(9, join(...fields)) });
const attributes = (...pairs) => changed({ 17: list(17, pairs.map(([name, value]) => join(bytes(1, name), bytes(2, value)))) });
const after = (...fields) => join(linkedPrincipal(), ...fields);
const numbered = (count, prefix) => Array.from({ length: count }, (_, i) => `${prefix}${String(i).padStart(3, '0')}`);
const uuid = '2bd1d63d-77e2-560e-821a-dcf3b7bef64e';
const hex = uuid.replaceAll('-', '');

each(
  [
    ['principal: whole', 'read', linkedPrincipal()],
    ['principal: of a relay', 'read', relayPrincipal()],
    ['principal: no id', 'malformed', changed({ 1: null })],
    ['principal: id of 15 bytes', 'malformed', changed({ 1: bytes(1, Buffer.alloc(15)) })],
    ['principal: no issuer', 'malformed', changed({ 2: null })],
    ['principal: no audience', 'malformed', changed({ 3: null })],
    ['principal: no subject', 'malformed', changed({ 8: null })],
    ['principal: no scopes', 'read', changed({ 10: null })],
    ['principal: audience in capitals', 'malformed', changed({ 3: bytes(3, 'Payments') })],
    ['principal: audience ends in a dot', 'malformed', changed({ 3: bytes(3, 'payments.') })],
    ['principal: audience with a line feed', 'malformed', changed({ 3: bytes(3, 'payments\n') })],
    ['principal: audience of 63', 'read', changed({ 3: bytes(3, 'a'.repeat(63)) })],
    ['principal: audience of 64', 'malformed', changed({ 3: bytes(3, 'a'.repeat(64)) })],
    ['principal: trust domain without a name', 'malformed', changed({ 3: bytes(3, 'mesh:') })],
    ['principal: presenter is a trust domain', 'malformed', changed({ 4: bytes(4, 'mesh:prod') })],
    ['principal: time 0', 'time', changed({ 5: number(5, 0) })],
    ['principal: negative time', 'time', changed({ 6: number(6, -1) })],
    ['principal: the least time', 'time', changed({ 7: number(7, -(2n ** 63n)) })],
    ['principal: explicit max_links 0', 'malformed', changed({ 18: number(18, 0) })],
    ['principal: max_links 7', 'malformed', changed({ 18: number(18, 7) })],
    ['principal: max_links 2^32+1', 'malformed', changed({ 18: number(18, 2n ** 32n + 1n) })],
    ['principal: explicit sequence 0', 'malformed', changed({ 19: number(19, 0) })],
    ['principal: sequence 2^64-1', 'read', changed({ 19: number(19, -1) })],
    ['principal: sequence 2^64', 'malformed', changed({ 19: join(tag(19, 0), Buffer.from('80808080808080808002', 'hex')) })],
    ['principal: unknown field of 2^64', 'malformed', after(tag(21, 0), Buffer.from('80808080808080808002', 'hex'))],
    ['principal: varint of eleven bytes', 'malformed', changed({ 19: join(tag(19, 0), Buffer.from('8080808080808080808001', 'hex')) })],
    ['principal: padded varint', 'malformed', changed({ 19: join(tag(19, 0), Buffer.from('8700', 'hex')) })],
    ['principal: wrong wire type', 'malformed', changed({ 19: join(tag(19, 1), Buffer.alloc(8, 1)) })],
    ['principal: twice the same singular', 'malformed', changed({ 12: join(bytes(12, 'a'), bytes(12, 'a')) })],
    ['principal: descending', 'malformed', changed({ 12: join(bytes(13, 'a'), bytes(12, 'a')), 13: null })],
    ['principal: unknown fields below 1000', 'read', after(number(21, 0), join(tag(22, 1), Buffer.alloc(8)), bytes(23, ''), bytes(23, 'x'), join(tag(999, 5), Buffer.alloc(4)))],
    ['principal: unknown fields descending', 'malformed', after(number(22, 1), number(21, 1))],
    ['principal: unknown field, padded', 'malformed', after(tag(21, 0), Buffer.from([0x81, 0]))],
    ['principal: unknown field cut short', 'malformed', after(tag(21, 1), Buffer.alloc(7))],
    ['principal: group', 'malformed', after(tag(21, 3), tag(21, 4))],
    ['principal: wire type 6', 'malformed', after(tag(21, 6))],
    ['principal: field number 0', 'malformed', join(bytes(0, 'x'), linkedPrincipal())],
    ['principal: field number 2^29', 'malformed', after(number(2n ** 29n, 1))],
    ['principal: critical field', 'unsupported', after(bytes(1000, 'x'))],
    ['principal: critical field, whatever follows', 'unsupported', after(tag(1000, 2), Buffer.from([0xff]))],
    ['principal: the last critical field', 'unsupported', after(tag(2n ** 29n - 1n, 0))],
    ['scopes: twice', 'malformed', changed({ 10: list(10, ['a', 'a']) })],
    ['scopes: descending', 'malformed', changed({ 10: list(10, ['b', 'a']) })],
    ['roles: by byte, not by UTF-16 unit', 'read', changed({ 11: list(11, ['\uff5e', '\u{10000}']) })],
    ['roles: by UTF-16 unit', 'malformed', changed({ 11: list(11, ['\u{10000}', '\uff5e']) })],
    ['scopes: a prefix comes first', 'read', changed({ 10: list(10, ['a', 'ab', 'b']) })],
    ['scopes: empty', 'malformed', changed({ 10: list(10, ['', 'a']) })],
    ['scopes: 64', 'read', changed({ 10: list(10, numbered(64, 's')) })],
    ['scopes: 65', 'malformed', changed({ 10: list(10, numbered(65, 's')) })],
    ['roles: 16', 'read', changed({ 11: list(11, numbered(16, 'r')) })],
    ['roles: 17', 'malformed', changed({ 11: list(11, numbered(17, 'r')) })],
    ['tenant: 257 bytes', 'malformed', changed({ 12: bytes(12, 'x'.repeat(257)) })],
    ['session: 17 bytes', 'malformed', changed({ 14: bytes(14, Buffer.alloc(17)) })],
    ['authentication: empty', 'read', changed({ 16: bytes(16, '') })],
    ['authentication: time 0', 'time', changed({ 16: bytes(16, number(1, 0)) })],
    ['authentication: amr unsorted', 'malformed', changed({ 16: bytes(16, list(3, ['pwd', 'otp'])) })],
    ['authentication: amr 17', 'malformed', changed({ 16: bytes(16, list(3, numbered(17, 'a'))) })],
    ['attributes: one name twice', 'malformed', attributes(['a', '1'], ['a', '2'])],
    ['attributes: 1 KiB', 'read', attributes(['a', 'x'.repeat(255)], ['b', 'x'.repeat(255)], ['c', 'x'.repeat(255)], ['d', 'x'.repeat(255)])],
    ['attributes: above 1 KiB', 'malformed', attributes(['a', 'x'.repeat(255)], ['b', 'x'.repeat(255)], ['c', 'x'.repeat(255)], ['d', 'x'.repeat(256)])],
    ['attributes: 17', 'malformed', attributes(...numbered(17, 'a').map((name) => [name, '1']))],
    ['delegations: 6', 'read', changed({ 9: list(9, numbered(6, 'g').map((grant) => delegation(grant, agent('a')))) })],
    ['delegations: 7', 'malformed', changed({ 9: list(9, numbered(7, 'g').map((grant) => delegation(grant, agent('a')))) })],
    ['delegation: empty', 'malformed', delegated()],
    ['delegation: no grant', 'malformed', delegated(bytes(2, agent('a')))],
    ['delegation: no actor', 'malformed', delegated(bytes(1, bytes16('g')))],
    ['delegation: to a service', 'malformed', delegated(bytes(1, bytes16('g')), bytes(2, bytes(6, 'payments')))],
    ['delegation: to a human', 'malformed', delegated(bytes(1, bytes16('g')), bytes(2, human))],
    ['delegation: to nobody known', 'unsupported', delegated(bytes(1, bytes16('g')), bytes(2, ''))],
    ['identity: empty', 'unsupported', subject()],
    ['identity: an issuer only', 'unsupported', subject(bytes(1, 'https://other.example'))],
    ['identity: of a kind to come', 'unsupported', subject(bytes(7, 'x'))],
    ['identity: two cases', 'malformed', subject(bytes(2, bytes16('h')), bytes(3, 'alice'))],
    ['identity: critical field', 'unsupported', subject(human, bytes(1000, ''))],
    ['identity: an issuer of its own', 'read', subject(bytes(1, 'https://other.example'), human)],
    ['identity: the issuer of the principal', 'malformed', subject(bytes(1, issuer), human)],
    ['identity: UUID of 17 bytes', 'malformed', subject(bytes(2, Buffer.alloc(17)))],
    ['identity: service in capitals', 'malformed', subject(bytes(6, 'Payments'))],
    ['identity: service with the prefix', 'malformed', subject(bytes(6, 'svc-payments'))],
    ['name: plain', 'read', named('Åsa Öberg')],
    ['name: prefix of a human', 'malformed', named('hm-alice')],
    ['name: prefix of an agent', 'malformed', named('am-alice')],
    ['name: prefix of a service', 'malformed', named('svc-alice')],
    ['name: UUID', 'malformed', named(uuid)],
    ['name: UUID in capitals', 'malformed', named(uuid.toUpperCase())],
    ['name: UUID without hyphens', 'malformed', named(hex)],
    ['name: UUID as a URN', 'malformed', named(`URN:uuid:${uuid}`)],
    ['name: UUID as a URN without hyphens', 'malformed', named(`urn:uuid:${hex}`)],
    ['name: UUID in braces', 'malformed', named(`{${uuid}}`)],
    ['name: UUID in braces without hyphens', 'malformed', named(`{${hex}}`)],
    ['name: UUID in half of the braces', 'read', named(`{${uuid}`)],
    ['name: 31 hexadecimal digits', 'read', named(hex.slice(1))],
    ['name: UUID with hyphens elsewhere', 'read', named(`${hex.slice(0, 4)}-${uuid.slice(4).replace('-', '')}`)],
    ['unknown fields: at every level', 'read', changed({
      8: bytes(8, join(human, number(7, 1))),
      9: bytes(9, join(delegation('g', join(agent('a'), number(7, 1))), number(3, 1))),
      16: bytes(16, join(number(1, now), number(5, 1))),
      17: bytes(17, join(bytes(1, 'a'), bytes(2, 'b'), number(3, 1))),
    })],
    ['critical fields: in a delegation', 'unsupported', delegated(delegation('g', agent('a')), number(1000, 1))],
    ['order: the first in the bytes wins', 'time', changed({ 5: number(5, 0), 12: bytes(12, '\0') })],
    ['order: what is missing comes last', 'time', changed({ 1: null, 5: number(5, 0) })],
    ['order: critical before missing', 'unsupported', join(changed({ 1: null }), bytes(1000, ''))],
  ],
  readPayload,
);

each(
  [
    ['link: whole', 'read', linkTo('ledger', 1)],
    ['link: empty scopes', 'read', linkTo('ledger', 1, { 2: bytes(2, '') })],
    ['link: unsorted scopes', 'malformed', linkTo('ledger', 1, { 2: bytes(2, list(1, ['b', 'a'])) })],
    ['link: 65 scopes', 'malformed', linkTo('ledger', 1, { 2: bytes(2, list(1, numbered(65, 's'))) })],
    ['link: to a trust domain', 'malformed', linkTo('mesh:prod', 1)],
    ['link: no audience', 'malformed', linkTo('ledger', 1, { 1: null })],
    ['link: no commitment', 'malformed', linkTo('ledger', 1, { 4: null })],
    ['link: commitment of 15 bytes', 'malformed', linkTo('ledger', 1, { 4: bytes(4, commit('x').subarray(1)) })],
    ['link: time 0', 'time', linkTo('ledger', 1, { 3: number(3, 0) })],
    ['link: unknown field', 'read', linkTo('ledger', 1, { 5: bytes(5, 'x') })],
    ['link: unknown field in its scopes', 'read', linkTo('ledger', 1, { 2: bytes(2, number(2, 1)) })],
    ['link: critical field', 'unsupported', linkTo('ledger', 1, { 1000: number(1000, now) })],
    ['link: critical field in its scopes', 'unsupported', linkTo('ledger', 1, { 2: bytes(2, number(1000, 1)) })],
  ],
  readLink,
);
