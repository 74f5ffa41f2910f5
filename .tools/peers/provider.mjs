// An OpenID provider on the loopback interface: node provider.mjs ISSUER. It ends
// with its standard input. A line there makes it rotate its keys.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { Provider } from 'oidc-provider';

const issuer = process.argv[2];

function newKeys() {
  const jwk = (type, options, alg) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg, use: 'sig',
  });
  return [jwk('rsa', { modulusLength: 2048 }, 'RS256'), jwk('ec', { namedCurve: 'P-256' }, 'ES256')];
}

// The resource that a token is asked for says who it is for, and how it is signed.
const resources = {
  'urn:shop:rs256': { audience: 'shop', alg: 'RS256' },
  'urn:shop:es256': { audience: 'shop', alg: 'ES256' },
  'urn:other': { audience: 'other', alg: 'RS256' },
};

function newProvider(keys) {
  return new Provider(issuer, {
    jwks: { keys },
    cookies: { keys: ['peers'] },
    clients: [
      { client_id: 'billing', client_secret: 'billing-secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [] },
      {
        client_id: 'web', token_endpoint_auth_method: 'none', application_type: 'native',
        grant_types: ['authorization_code'], redirect_uris: ['http://127.0.0.1/callback'], response_types: ['code'],
      },
    ],
    scopes: ['openid', 'orders:read'],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource) => ({
          scope: 'orders:read', accessTokenFormat: 'jwt', accessTokenTTL: 600,
          audience: resources[resource].audience, jwt: { sign: { alg: resources[resource].alg } },
        }),
      },
    },
    extraTokenClaims: (ctx, token) => ({ kind: token.accountId ? 'human' : 'service' }),
  });
}

let keys = newKeys();
let serve = newProvider(keys).callback();
const server = createServer((request, response) => serve(request, response));
server.listen(Number(new URL(issuer).port), '127.0.0.1', () => console.log('ready'));

const lines = createInterface({ input: process.stdin });
lines.on('line', () => {
  keys = newKeys();
  serve = newProvider(keys).callback();
  console.log('rotated');
});
lines.on('close', () => process.exit(0));
