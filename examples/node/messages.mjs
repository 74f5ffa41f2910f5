// The messages of onbehalf.principal.v1 with the rules of their fields: what a
// payload must satisfy on its own, before it is related to anything.

import { before, count, decode, nested, raw, readText, refuse, repeated, text, time } from './wire.mjs';

const maxLinks = 6;
const maxDelegations = 6;
const maxScopes = 64;
const maxRoles = 16;
const maxAttributes = 16;
const maxAttributeBytes = 1024;

const serviceName = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;
const keyId = /^[A-Za-z0-9_-]{1,32}$/;

export const isServiceName = (string) => typeof string === 'string' && serviceName.test(string);
export const isKeyId = (string) => typeof string === 'string' && keyId.test(string);
export const isText = (string) => typeof string === 'string' && readText(Buffer.from(string)) === string;

/** isTrustDomain tells `mesh:prod` from a service name; the colon keeps the two apart. */
export const isTrustDomain = (string) =>
  typeof string === 'string' && string.startsWith('mesh:') && isServiceName(string.slice('mesh:'.length));

const bytes16 = (name) => raw(name, (bytes) => bytes.length === 16);
const bytes64 = (name) => raw(name, (bytes) => bytes.length === 64);
const notEmpty = (name) => raw(name, (bytes) => bytes.length > 0);
const ascending = (list, next) => list.length === 0 || before(list.at(-1), next);
const sorted = (name, max, accepts) => repeated(text(name, accepts), max, ascending);

/** isScope is the scope-token of RFC 6749: OAuth joins scopes by spaces, so none may have one. */
const isScope = (string) => /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(string);

function required(...names) {
  return (message) => demand(message, names, 'malformed');
}

function demand(message, names, reason) {
  if (names.some((name) => message[name] === undefined)) refuse(reason);
}

const block = {
  fields: {
    1: notEmpty('payload'),
    2: text('keyId', isKeyId),
    3: bytes64('signature'),
  },
  end: required('payload', 'keyId', 'signature'),
};

const signedPrincipal = {
  fields: {
    1: nested('authority', block),
    2: repeated(nested('links', block), maxLinks),
    3: bytes16('tailOpening'),
  },
  end: required('authority'),
};

const uuidDigits = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}';
const uuidSpellings = new RegExp(`^(?:(?:urn:uuid:)?(?:${uuidDigits})|\\{(?:${uuidDigits})\\})$`, 'i');

/** isName refuses a second spelling of an id: it would evade the revocation of the first. */
function isName(string) {
  return !uuidSpellings.test(string) && !/^(?:hm|am|svc)-/.test(string);
}

function formatUuid(bytes) {
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** spelling is one case of Identity's oneof; the case is the kind. */
function spelling(field, prefix, format = (value) => value) {
  return {
    name: 'id',
    wire: field.wire,
    read(bytes, identity) {
      if (identity.id !== undefined) refuse('malformed');
      return { prefix, value: format(field.read(bytes)) };
    },
  };
}

const anyText = text('issuer');

const identityIssuer = {
  ...anyText,
  read(bytes, _, principal) {
    const issuer = anyText.read(bytes);
    if (issuer === principal.issuer) refuse('malformed');
    return issuer;
  },
};

const identity = {
  open: true,
  fields: {
    1: identityIssuer,
    2: spelling(bytes16('human'), 'hm', formatUuid),
    3: spelling(text('human', isName), 'hm'),
    4: spelling(bytes16('agent'), 'am', formatUuid),
    5: spelling(text('agent', isName), 'am'),
    6: spelling(text('service', (name) => isName(name) && isServiceName(name)), 'svc'),
  },
  // No case known to us may be a kind that came later.
  end(message) {
    if (message.id === undefined) refuse('unsupported');
  },
};

// An agent, never anything else: human to agent to service would launder the kind.
const isAgent = (actor) => actor.id.prefix === 'am';

const delegation = {
  open: true,
  fields: {
    1: bytes16('grantId'),
    2: nested('actor', identity, isAgent),
  },
  end: required('grantId', 'actor'),
};

const authentication = {
  open: true,
  fields: {
    1: time('time'),
    2: text('acr'),
    3: sorted('amr', maxRoles),
    4: text('source'),
  },
};

const attribute = {
  open: true,
  fields: {
    1: text('name'),
    2: text('value'),
  },
  end: required('name', 'value'),
};

const attributeBytes = ({ name, value }) => Buffer.byteLength(name) + Buffer.byteLength(value);

function attributeFits(list, next) {
  const total = [...list, next].reduce((sum, each) => sum + attributeBytes(each), 0);
  const follows = list.length === 0 || before(list.at(-1).name, next.name);
  return follows && total <= maxAttributeBytes;
}

const principal = {
  open: true,
  fields: {
    1: bytes16('id'),
    2: text('issuer'),
    3: text('audience', (name) => isServiceName(name) || isTrustDomain(name)),
    4: text('presenter', isServiceName),
    5: time('issuedAt'),
    6: time('expiresAt'),
    7: time('streamUntil'),
    8: nested('subject', identity),
    9: repeated(nested('delegations', delegation), maxDelegations),
    10: sorted('scopes', maxScopes, isScope),
    11: sorted('roles', maxRoles),
    12: text('tenant'),
    13: text('clientId'),
    14: bytes16('sessionId'),
    15: bytes16('transactionId'),
    16: nested('authentication', authentication),
    17: repeated(nested('attributes', attribute), maxAttributes, attributeFits),
    18: count('maxLinks', BigInt(maxLinks)),
    19: count('revocationSequence', 2n ** 64n - 1n),
    20: bytes16('commitment'),
  },
  end(message) {
    demand(message, ['id', 'issuer', 'audience', 'subject'], 'malformed');
    demand(message, ['issuedAt', 'expiresAt'], 'time');
  },
};

const scopeSet = {
  open: true,
  fields: { 1: sorted('values', maxScopes, isScope) },
};

const link = {
  open: true,
  fields: {
    1: text('audience', isServiceName),
    2: nested('scopes', scopeSet),
    3: time('expiresAt'),
    4: bytes16('commitment'),
  },
  end(message) {
    demand(message, ['audience', 'commitment'], 'malformed');
    demand(message, ['expiresAt'], 'time');
  },
};

/**
 * readChain reads the decoded header into `blocks`, the authority first, each with
 * its payload's `message`, and the `opening`. Nothing in it is verified yet.
 */
export function readChain(bytes) {
  const outer = decode(bytes, signedPrincipal);
  const blocks = [
    { ...outer.authority, message: decode(outer.authority.payload, principal) },
    ...outer.links.map((each) => ({ ...each, message: decode(each.payload, link) })),
  ];
  return { blocks, opening: outer.tailOpening };
}

/** formatIdentity writes the one spelling of an identity, e.g. `svc-payments`. */
export function formatIdentity({ id }) {
  return `${id.prefix}-${id.value}`;
}
