import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeySet } from '../keys.mjs';
import { verify } from '../verify.mjs';
import { append, bytes, bytes16, commit, newSigner, number, seal, toHeader } from './signer.mjs';
import {
  agent, bff, decide, decideBytes, decideRelay, keysOf, kms, linkTo, linked, linkedPrincipal, now,
  openingFor, openingOf, outcome, owners, relay, relayPrincipal, scopeSet, services, settings,
} from './world.mjs';

const anyScopes = ['orders.read', 'orders.write', 'payments.read'];

function each(cases, run) {
  for (const [name, expected, ...input] of cases) {
    test(name, () => assert.equal(outcome(run(...input)), expected));
  }
}

test('a relay is accepted with all that it says', () => {
  assert.deepEqual(decideRelay(relay()), {
    accept: true,
    mode: 'relay',
    subject: `hm-${uuidOf('human')}`,
    actor: 'am-buyer',
    scopes: anyScopes,
    roles: ['clerk', 'teller'],
    path: [],
    delegations: ['am-planner', 'am-buyer'],
  });
});

test('a chain is accepted with what its links left', () => {
  const blocks = linked([{ 2: scopeSet('orders.read', 'payments.read') }, {}]);
  const { mode, scopes, roles, path } = decide(blocks);
  assert.deepEqual([mode, scopes, roles], ['linked', ['orders.read', 'payments.read'], []]);
  assert.deepEqual(path, ['edge', 'payments', 'ledger']);
});

test('without delegations the subject acts', () => {
  const service = decide(linked([], { 8: bytes(8, bytes(6, 'stock')), 9: null }));
  assert.deepEqual([service.subject, service.actor, service.delegations], ['svc-stock', 'svc-stock', []]);
  const agentItself = decide(linked([], { 8: bytes(8, agent('crawler')), 9: null, 10: null, 11: null }));
  assert.deepEqual([agentItself.subject, agentItself.scopes, agentItself.roles], ['am-crawler', [], []]);
});

test('a verified principal is immutable', () => {
  const decision = decideRelay(relay());
  assert.throws(() => decision.scopes.push('admin'), TypeError);
  assert.throws(() => { decision.subject = 'hm-root'; }, TypeError);
});

function uuidOf(label) {
  const hex = bytes16(label).toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

for (const signer of [bff, kms]) {
  for (let count = 0; count <= 6; count++) {
    test(`a chain of ${count} links behind ${signer.keyId}`, () => {
      const blocks = linked(Array(count).fill({}), undefined, signer);
      assert.equal(outcome(decide(blocks)), 'accept');
    });
  }
}

const samples = {
  relay: [relay(), undefined, 'payments'],
  linked: [linked([{}, { 2: scopeSet('orders.read') }]), openingOf(2), 'audit'],
  'linked behind a KMS': [linked([{}], {}, kms), openingOf(1), 'ledger'],
};

for (const [name, [blocks, opening, audience]] of Object.entries(samples)) {
  const message = seal(blocks, opening);
  const result = (changed) => outcome(decideBytes(changed, { audience }));

  test(`${name}: as signed`, () => assert.equal(result(message), 'accept'));

  test(`${name}: any bit changed is refused`, () => {
    for (let bit = 0; bit < message.length * 8; bit++) {
      const changed = Buffer.from(message);
      changed[bit >> 3] ^= 1 << (bit & 7);
      assert.notEqual(result(changed), 'accept', `bit ${bit}`);
    }
  });

  test(`${name}: any byte inserted, removed or doubled is refused`, () => {
    for (let at = 0; at <= message.length; at++) {
      const [head, tail] = [message.subarray(0, at), message.subarray(at)];
      const edits = [0, 1, 0x80, 0xff].map((byte) => [head, Buffer.from([byte]), tail]);
      if (at < message.length) edits.push([head, tail.subarray(1)], [head, tail.subarray(0, 1), tail]);
      for (const edit of edits) assert.notEqual(result(Buffer.concat(edit)), 'accept', `byte ${at}`);
    }
  });

  test(`${name}: cut anywhere is refused`, () => {
    for (let length = 0; length < message.length; length++) {
      assert.notEqual(result(message.subarray(0, length)), 'accept');
      assert.notEqual(result(message.subarray(length + 1)), 'accept');
    }
  });

  test(`${name}: any character changed is refused`, () => {
    const header = toHeader(message);
    for (let at = 0; at < header.length; at++) {
      for (const char of ['A', '/', '=', ' ', ',', '-', '\u0100']) {
        if (header[at] === char) continue;
        const changed = header.slice(0, at) + char + header.slice(at + 1);
        assert.notEqual(outcome(verify([changed], settings({ audience }))), 'accept', `character ${at}`);
      }
    }
  });
}

const good = toHeader(seal(linked(), openingOf(0)));
const padded = seal(linked(), openingOf(0)).toString('base64');

each(
  [
    ['header: unpadded', 'accept', [good]],
    ['header: padded', 'accept', [padded]],
    ['header: none', 'missing', undefined],
    ['header: null', 'missing', null],
    ['header: no value', 'missing', []],
    ['header: two values', 'multiple', [good, good]],
    ['header: two values, one good', 'multiple', [good, '']],
    ['header: comma', 'multiple', [`${good},${good}`]],
    ['header: trailing comma', 'multiple', [`${good},`]],
    ['header: long with a comma', 'multiple', [`${'A'.repeat(5000)},`]],
    ['header: empty', 'malformed', ['']],
    ['header: space before', 'malformed', [` ${good}`]],
    ['header: line feed after', 'malformed', [`${good}\n`]],
    ['header: 4,096 characters', 'malformed', ['A'.repeat(4096)]],
    ['header: 4,097 characters', 'size', ['A'.repeat(4097)]],
    ['header: 4,097 characters that are not base64', 'size', ['*'.repeat(4097)]],
    ['header: not a string', 'malformed', [7]],
    ['header: a string instead of values', 'malformed', good],
  ],
  (values) => verify(values, settings()),
);

test('header: the largest, and one byte more', () => {
  const fill = (length) => append([], bff, Buffer.concat([linkedPrincipal(), bytes(999, 'x'.repeat(length))]));
  const rest = 3072 - seal(fill(2000), openingOf(0)).length + 2000;
  const header = (length) => toHeader(seal(fill(length), openingOf(0)));
  assert.equal(header(rest).length, 4096);
  assert.equal(outcome(verify([header(rest)], settings())), 'accept');
  assert.equal(outcome(verify([header(rest + 1)], settings())), 'size');
});

const bareRelay = (extra, opening) => [relay(extra), opening];
const relayWithLink = append(relay(), owners.payments, linkTo('ledger', 1));

each(
  [
    ['relay: with a presenter', 'malformed', ...bareRelay({ 4: bytes(4, 'edge') })],
    ['relay: with max_links', 'malformed', ...bareRelay({ 18: number(18, 1) })],
    ['relay: with a commitment', 'malformed', ...bareRelay({ 20: bytes(20, commit(openingOf(0))) })],
    ['relay: with an opening', 'malformed', ...bareRelay({}, openingOf(0))],
    ['relay: with a link', 'malformed', relayWithLink],
    ['linked: without a commitment', 'malformed', linked([], { 20: null }), openingOf(0)],
    ['linked: without an opening', 'malformed', linked()],
    ['linked: the mode is settled before the audience', 'malformed', linked([], { 3: bytes(3, 'stock'), 20: null }), openingOf(0)],
  ],
  (blocks, opening) => decideBytes(seal(blocks, opening)),
);

each(
  [
    ['audience: relay of a domain that is listed', 'accept', { trustDomain: 'mesh:prod' }, relay()],
    ['audience: relay of another domain', 'audience', { trustDomain: 'mesh:test' }, relay()],
    ['audience: relay where none is listed', 'audience', { trustDomain: undefined }, relay()],
    ['audience: relay to a service named like the domain', 'audience', { audience: 'prod', trustDomain: undefined }, relay()],
    ['audience: another service', 'audience', { audience: 'ledger' }, linked(), openingOf(0)],
    ['audience: the first of a chain', 'audience', { audience: 'payments' }, linked([{}]), openingOf(1)],
    ['audience: before the times', 'audience', { audience: 'ledger', now: now + 9999 }, linked(), openingOf(0)],
  ],
  (changes, blocks, opening) => decideBytes(seal(blocks, opening), changes),
);

const at = (offset) => ({ now: now + offset });
const end = 295;

each(
  [
    ['time: last second', 'accept', linked(), at(end + 29)],
    ['time: expired', 'time', linked(), at(end + 30)],
    ['time: first second', 'accept', linked(), at(-35)],
    ['time: not yet', 'time', linked(), at(-36)],
    ['time: a life of 300 s', 'accept', linked([], { 5: number(5, now), 6: number(6, now + 300) })],
    ['time: a life of 301 s', 'time', linked([], { 5: number(5, now), 6: number(6, now + 301) })],
    ['time: no life', 'time', linked([], { 5: number(5, now), 6: number(6, now) })],
    ['time: no issue time', 'time', linked([], { 5: null })],
    ['time: no end', 'time', linked([], { 6: null })],
    ['time: no stream', 'accept', linked([], { 7: null })],
    ['time: a stream to the end', 'accept', linked([], { 7: number(7, now + end) })],
    ['time: a stream that ends before', 'time', linked([], { 7: number(7, now + end - 1) })],
    ['time: the largest end', 'time', linked([], { 6: number(6, 2n ** 63n - 1n), 7: null })],
    ['time: the largest of all', 'time', linked([], { 5: number(5, 2n ** 63n - 2n), 6: number(6, 2n ** 63n - 1n), 7: null })],
    ['time: link, last second', 'accept', linked([{}]), at(40 + 29)],
    ['time: link, too late', 'time', linked([{}]), at(40 + 30)],
    ['time: link, 90 s ahead', 'accept', linked([{ 3: number(3, now + 90) }])],
    ['time: link, 91 s ahead', 'time', linked([{ 3: number(3, now + 91) }])],
    ['time: link without a deadline', 'time', linked([{ 3: null }])],
    ['time: a link before the tail without a deadline', 'time', linked([{ 3: null }, {}])],
    ['time: link beyond the authority', 'time', linked([{ 3: number(3, now + 51) }], { 6: number(6, now + 50) })],
    ['time: link as long as the authority', 'accept', linked([{ 3: number(3, now + 50) }], { 6: number(6, now + 50) })],
    ['time: a link before the tail may be past', 'accept', linked([{ 3: number(3, now - 100) }, {}], { 5: number(5, now - 150), 6: number(6, now + 150) })],
    ['time: a link before the tail may be far', 'accept', linked([{ 3: number(3, now + 290) }, {}])],
    ['time: a link before the tail, beyond the authority', 'time', linked([{ 3: number(3, now + 296) }, {}])],
    ['time: before the keys', 'time', linked(), { ...at(9999), keys: new KeySet() }],
  ],
  decide,
);

const stranger = newSigner('link', 'payments', 'k9');
const windowed = { ...bff, record: { ...bff.record, notBefore: now + 31, notAfter: now + 900 } };
const asLinkOf = (owner, signer) => ({ ...signer, record: { ...signer.record, role: 'link', owner } });
const payload1 = linkTo('ledger', 1);

each(
  [
    ['key: none at all', 'no_keys', linked(), { keys: new KeySet() }],
    ['key: only others', 'unknown_key', linked(), { keys: keysOf(owners.payments) }],
    ['key: outside its window', 'unknown_key', linked(), { keys: keysOf(windowed) }],
    ['key: a link key as an authority', 'unknown_key', append([], owners.payments, linkedPrincipal()), {}],
    ['key: a service that calls itself an issuer', 'unknown_key', append([], owners.payments, linkedPrincipal({ 2: bytes(2, 'payments') })), {}],
    ['key: an authority key as a link', 'unknown_key', append(linked(), bff, payload1), {}],
    ['key: an id nobody has', 'unknown_key', append(linked(), stranger, payload1), {}],
    ['key: of another issuer', 'unknown_key', linked([], { 2: bytes(2, 'https://evil.example') }), {}],
    ['key: of a service that is not the audience', 'signature', append(linked(), owners.stock, payload1), {}],
    ['key: of another service under an id of its own', 'unknown_key', append(linked(), stranger, payload1), { keys: keysOf(bff, owners.payments, asLinkOf('stock', stranger)) }],
  ],
  decide,
);

test('opening: a chain without its last link needs an opening that its holder lacks', () => {
  const whole = linked([{}, {}]);
  const shorter = whole.slice(0, 2);
  assert.equal(outcome(decide(shorter, {}, openingFor(whole))), 'opening');
  assert.equal(outcome(decide(shorter, {}, openingFor(shorter))), 'accept');
});

each(
  [
    ['opening: of nothing', 'opening', openingOf(9)],
    ['opening: the commitment itself', 'opening', commit(openingOf(0))],
  ],
  (opening) => decide(linked(), {}, opening),
);

test('opening: before the widening, which is before the signatures', () => {
  const forged = { ...bff, sign: () => Buffer.alloc(64) };
  const wider = linked([{ 2: scopeSet('admin') }], {}, forged);
  assert.equal(outcome(decide(wider, {}, openingOf(9))), 'opening');
  assert.equal(outcome(decide(wider)), 'widen');
  assert.equal(outcome(decide(linked([{}], {}, forged))), 'signature');
});

each(
  [
    ['narrow: to the same', 'accept', linked([{ 2: scopeSet(...anyScopes) }])],
    ['narrow: to one more', 'widen', linked([{ 2: scopeSet('admin', ...anyScopes) }])],
    ['narrow: to nothing', 'accept', linked([{ 2: bytes(2, '') }])],
    ['narrow: back from nothing', 'widen', linked([{ 2: bytes(2, '') }, { 2: scopeSet('orders.read') }])],
    ['narrow: back past a link that inherits', 'widen', linked([{ 2: scopeSet('orders.read') }, {}, { 2: scopeSet('orders.read', 'orders.write') }])],
    ['narrow: a widening that a later link takes back', 'widen', linked([{ 2: scopeSet('admin') }, { 2: bytes(2, '') }])],
    ['narrow: a prefix of a scope is another scope', 'widen', linked([{ 2: scopeSet('orders') }])],
    ['narrow: more links than allowed', 'widen', linked([{}, {}], { 18: number(18, 1) })],
    ['narrow: as many links as allowed', 'accept', linked([{}, {}], { 18: number(18, 2) })],
    ['narrow: no links allowed', 'widen', linked([{}], { 18: null })],
  ],
  decide,
);

test('narrow: scopes that are named drop the roles, also when they are the same', () => {
  assert.deepEqual(decide(linked([{ 2: scopeSet(...anyScopes) }])).roles, []);
  assert.deepEqual(decide(linked([{}])).roles, ['clerk', 'teller']);
  assert.deepEqual(decide(linked([{ 2: bytes(2, '') }])).scopes, []);
});

const base = linked([{}, {}, {}, {}]);
const other = linked([{}, { 2: scopeSet('orders.read') }, {}, {}], { 1: bytes(1, bytes16('other')) });
const behindKms = linked([{}], {}, kms);
const [again] = linked([], {}, kms);

const splices = {
  'another authority': [other[0], ...base.slice(1)],
  'another link inside': [base[0], base[1], other[2], base[3], base[4]],
  'another tail': [...base.slice(0, 4), other[4]],
  'a link removed inside': [base[0], base[1], base[3], base[4]],
  'two links removed inside': [base[0], base[3], base[4]],
  'links in another order': [base[0], base[2], base[1], base[3], base[4]],
  'a link twice': [base[0], base[1], base[1], base[2], base[3], base[4]],
  'another valid signature of the same authority': [{ ...behindKms[0], signature: again.signature }, behindKms[1]],
};

for (const [name, blocks] of Object.entries(splices)) {
  test(`splice: ${name}`, () => {
    const tail = blocks.length === 2 ? 1 : 4;
    const decision = decideBytes(seal(blocks, openingOf(tail)), { audience: services[tail] });
    // A block that comes twice brings its commitment twice. Where keys of both
    // algorithms meet, bytes of the one are out of the other's range.
    assert.match(outcome(decision), name === 'a link twice' ? /^opening$/ : /^(signature|malformed)$/);
  });
}

test('splice: another valid signature is valid where it belongs', () => {
  assert.equal(outcome(decide([again])), 'accept');
});

test('splice: a link where the authority is wanted, and the reverse', () => {
  assert.equal(outcome(decideBytes(seal([base[1]], openingOf(1)))), 'malformed');
  assert.equal(outcome(decideBytes(seal([base[0], base[0]], openingOf(0)))), 'malformed');
});

test('signature: a service cannot invent the authority before its own link', () => {
  const invented = append([], { ...bff, sign: () => Buffer.alloc(64, 1) }, linkedPrincipal({ 10: bytes(10, 'admin') }));
  assert.equal(outcome(decide(append(invented, owners.payments, payload1))), 'signature');
});

test('signature: before the presenter', () => {
  const [block] = linked();
  assert.equal(outcome(decide([{ ...block, signature: Buffer.alloc(64) }], { binding: 'mtls' })), 'signature');
});

test('signature: the tail is checked first', () => {
  const [authority, link] = linked([{}], {}, kms);
  const high = { ...authority, signature: Buffer.alloc(64, 0xff) };
  const bad = { ...link, signature: Buffer.alloc(64) };
  assert.equal(outcome(decide([high, bad])), 'signature');
  const [, resealed] = append([high], owners.payments, link.payload);
  assert.equal(outcome(decide([high, resealed])), 'malformed');
});

const mtls = (peer) => ({ binding: 'mtls', peer });

each(
  [
    ['presenter: the edge', 'accept', linked(), mtls('edge')],
    ['presenter: not the edge', 'presenter', linked(), mtls('payments')],
    ['presenter: no certificate', 'presenter', linked(), mtls(undefined)],
    ['presenter: no certificate, no presenter', 'presenter', linked([], { 4: null }), mtls(undefined)],
    ['presenter: none in the authority', 'presenter', linked([], { 4: null }), mtls('edge')],
    ['presenter: none needed behind a link', 'accept', linked([{}], { 4: null }), mtls('payments')],
    ['presenter: the signer of the tail', 'accept', linked([{}, {}]), mtls('ledger')],
    ['presenter: an earlier signer', 'presenter', linked([{}, {}]), mtls('payments')],
    ['presenter: the edge behind a link', 'presenter', linked([{}]), mtls('edge')],
    ['presenter: the audience itself', 'presenter', linked([{}]), mtls('ledger')],
    ['presenter: not asked for', 'accept', linked(), { peer: 'stock' }],
    ['presenter: empty', 'presenter', linked(), mtls('')],
    ['presenter: not a service', 'presenter', linked(), mtls(['edge'])],
  ],
  decide,
);

each(
  [
    ['presenter: relay, any member', 'accept', mtls('stock')],
    ['presenter: relay, no certificate', 'presenter', mtls(undefined)],
  ],
  (changes) => decideRelay(relay(), changes),
);

const misconfigured = {
  'no audience': ['audience', { audience: undefined }],
  'a trust domain as the audience': ['audience', { audience: 'mesh:prod' }],
  'a service as the trust domain': ['audience', { trustDomain: 'payments' }],
  'no keys': ['no_keys', { keys: undefined }],
  'keys that are no KeySet': ['no_keys', { keys: new Map() }],
  'no clock': ['time', { now: undefined }],
  'a clock with fractions': ['time', { now: now + 0.5 }],
  'a clock that is not a number': ['time', { now: NaN }],
  'an unknown binding': ['presenter', { binding: 'none' }],
};

for (const [name, [reason, changes]] of Object.entries(misconfigured)) {
  test(`settings: ${name}`, () => {
    const decision = verify([good], settings(changes));
    assert.deepEqual([decision.accept, decision.reason], [false, reason]);
    assert.ok(decision.cause instanceof TypeError);
  });
}

test('settings: none at all', () => assert.equal(verify([good]).accept, false));

test('an error of our own is a refusal', () => {
  class Broken extends KeySet {
    find() {
      throw new RangeError('broken');
    }
  }
  const { accept, cause } = verify([good], settings({ keys: new Broken() }));
  assert.equal(accept, false);
  assert.ok(cause instanceof RangeError);
});

/** mulberry32 makes the random edits the same in every run. */
function mulberry32(seed) {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
}

test('random edits never lead to an internal error, nor to an acceptance', () => {
  const next = mulberry32(1);
  const sources = Object.values(samples).map(([blocks, opening]) => seal(blocks, opening));
  for (let round = 0; round < 20000; round++) {
    const source = sources[next() % sources.length];
    const start = next() % source.length;
    const noise = Buffer.from(Array.from({ length: next() % 6 }, () => next() & 0xff));
    const edited = Buffer.concat([source.subarray(0, start), noise, source.subarray(start + (next() % 6))]);
    if (sources.some((each) => each.equals(edited))) continue;
    for (const audience of ['payments', 'ledger', 'audit']) {
      assert.notEqual(outcome(decideBytes(edited, { audience })), 'accept');
    }
  }
});

test('random edits of a payload that is then signed never lead to an internal error', () => {
  const next = mulberry32(2);
  const reasons = new Set();
  const sources = [linkedPrincipal(), relayPrincipal()];
  for (let round = 0; round < 20000; round++) {
    const payload = Buffer.from(sources[next() % 2]);
    payload[next() % payload.length] = next() & 0xff;
    const block = { payload, keyId: 'edge-1', signature: Buffer.alloc(64) };
    reasons.add(outcome(decideBytes(seal([block], next() % 2 === 0 ? openingOf(0) : undefined))));
  }
  for (const reason of ['malformed', 'unsupported', 'time', 'audience', 'opening', 'unknown_key', 'signature']) {
    assert.ok(reasons.has(reason), reason);
  }
});
