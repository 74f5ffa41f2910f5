// One issuer, some services, and the chains they make of each other's headers.

import { KeySet } from '../keys.mjs';
import { verify } from '../verify.mjs';
import { append, bytes, bytes16, commit, join, list, merge, newSigner, number, seal, toHeader } from './signer.mjs';

export const now = 1_800_000_000;
export const issuer = 'https://bff.example';
export const services = ['payments', 'ledger', 'audit', 'mail', 'stock', 'tax', 'fx'];

export const bff = newSigner('authority', issuer, 'edge-1');
export const kms = newSigner('authority', issuer, 'kms-1', 'p256');
export const owners = Object.fromEntries(
  services.map((name, i) => [name, newSigner('link', name, 'k1', i % 2 === 0 ? 'ed25519' : 'p256')]),
);

export function keysOf(...signers) {
  const keys = new KeySet();
  for (const { record } of signers) keys.add(record);
  return keys;
}

export const keys = keysOf(bff, kms, ...Object.values(owners));

export const human = bytes(2, bytes16('human'));
export const agent = (name) => bytes(5, name);
export const delegation = (grant, actor) => join(bytes(1, bytes16(grant)), bytes(2, actor));
export const openingOf = (i) => bytes16(`opening ${i}`);

const shared = {
  1: bytes(1, bytes16('id')),
  2: bytes(2, issuer),
  5: number(5, now - 5),
  6: number(6, now + 295),
  7: number(7, now + 3600),
  8: bytes(8, human),
  9: list(9, [delegation('g1', agent('planner')), delegation('g2', agent('buyer'))]),
  10: list(10, ['orders.read', 'orders.write', 'payments.read']),
  11: list(11, ['clerk', 'teller']),
  12: bytes(12, 'tenant-1'),
  13: bytes(13, 'web'),
  14: bytes(14, bytes16('session')),
  15: bytes(15, bytes16('transaction')),
  16: bytes(16, join(number(1, now - 60), bytes(2, 'aal2'), list(3, ['otp', 'pwd']), bytes(4, 'oidc'))),
  17: list(17, [join(bytes(1, 'region'), bytes(2, 'eu')), join(bytes(1, 'tier'), bytes(2, 'gold'))]),
  19: number(19, 7),
};

/** relayPrincipal is the payload of a relay; overrides are encoded fields by number. */
export const relayPrincipal = (overrides) => merge({ ...shared, 3: bytes(3, 'mesh:prod') }, overrides);

/** linkedPrincipal is the payload of an authority for `payments`. */
export const linkedPrincipal = (overrides) =>
  merge(
    {
      ...shared,
      3: bytes(3, 'payments'),
      4: bytes(4, 'edge'),
      18: number(18, 6),
      20: bytes(20, commit(openingOf(0))),
    },
    overrides,
  );

/** linkTo is the payload of link i. */
export const linkTo = (audience, i, overrides) =>
  merge({ 1: bytes(1, audience), 3: number(3, now + 40), 4: bytes(4, commit(openingOf(i))) }, overrides);

export const scopeSet = (...scopes) => bytes(2, list(1, scopes));

/** relay returns the blocks of a relay. */
export const relay = (overrides, signer = bff) => append([], signer, relayPrincipal(overrides));

/** linked returns the blocks of a chain with one link per element of `links`, each with its overrides. */
export function linked(links = [], overrides, signer = bff) {
  let blocks = append([], signer, linkedPrincipal(overrides));
  links.forEach((changes, i) => {
    const payload = linkTo(services[i + 1], i + 1, changes);
    blocks = append(blocks, owners[services[i]], payload);
  });
  return blocks;
}

/** tailOf returns the service that may consume a chain. */
export const tailOf = (blocks) => services[blocks.length - 1];
export const openingFor = (blocks) => openingOf(blocks.length - 1);

export const settings = (changes) => ({ now, audience: 'payments', trustDomain: 'mesh:prod', keys, ...changes });

/** decideBytes verifies decoded bytes. */
export const decideBytes = (message, changes) => verify([toHeader(message)], settings(changes));

/** decide verifies blocks at the service that their tail names, unless told otherwise. */
export const decide = (blocks, changes, opening = openingFor(blocks)) =>
  decideBytes(seal(blocks, opening), { audience: tailOf(blocks), ...changes });

/** decideRelay verifies the one block of a relay. */
export const decideRelay = (blocks, changes) => decideBytes(seal(blocks), changes);

/** outcome is 'accept' or the reason, and reports an internal error as itself. */
export function outcome(decision) {
  if (decision.cause) throw decision.cause;
  return decision.accept ? 'accept' : decision.reason;
}
