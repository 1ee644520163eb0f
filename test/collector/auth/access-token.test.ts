import assert from 'node:assert/strict';
import { createHmac, hash, type KeyObject, randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { accessTokenAudience, accessTokenKeys, jwtAccessTokens } from '../../../collector/auth/access-token.ts';
import { generateKeyPair, keyPairFromSeed, rawPublicKey, signBytes } from '../../../common/keys.ts';
import { limits } from '../../../common/limits.ts';

const collector = keyPairFromSeed(hash('sha256', 'collector', 'buffer'));
const origin = 'test.local/ledger';
const keys = accessTokenKeys(collector.privateKey, origin);
const tokens = jwtAccessTokens({ keys, origin, randomBytes });
const nowMs = Date.UTC(2026, 10, 23, 12);
const claims = { user: 'ada', role: 'operator', session: 'f00', expiresAtMs: nowMs + 900_000 } as const;

const refused = { code: 'auth.token' };

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function decode(part = ''): Record<string, unknown> {
  return JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
}

/** The parts of a good token, changed, and signed by `key`. */
async function forged(
  change: { header?: Record<string, unknown>; payload?: Record<string, unknown> },
  key: KeyObject = keys.privateKey,
): Promise<string> {
  const [header, payload] = (await tokens.issue(claims, nowMs)).split('.');
  const text = `${encode({ ...decode(header), ...change.header })}.${encode({ ...decode(payload), ...change.payload })}`;
  return `${text}.${signBytes(key, Buffer.from(text)).toString('base64url')}`;
}

describe('an access token', () => {
  test('says who it was given to, of which session, and until when', async () => {
    const token = await tokens.issue(claims, nowMs);
    assert.deepEqual(await tokens.verify(token, nowMs), claims);
    const [header, payload] = token.split('.').map((part, at) => (at < 2 ? decode(part) : {}));
    assert.deepEqual(header, { alg: 'EdDSA', typ: 'at+jwt' });
    const { jti, ...rest } = payload ?? {};
    assert.equal(typeof jti, 'string');
    assert.deepEqual(rest, {
      ...{ iss: origin, aud: accessTokenAudience, sub: 'ada', role: 'operator', sid: 'f00' },
      ...{ iat: nowMs / 1000, nbf: nowMs / 1000, exp: nowMs / 1000 + 900 },
    });
  });

  test('a token that the tests sign anew without a change is taken: what is refused below is refused for its change', async () => {
    assert.deepEqual(await tokens.verify(await forged({}), nowMs), claims);
  });

  test('is taken by another collector with a copy of the key, and by none with another key or of another ledger', async () => {
    const token = await tokens.issue(claims, nowMs);
    const verifier = (key: KeyObject, of: string) =>
      jwtAccessTokens({ keys: accessTokenKeys(key, of), origin: of, randomBytes });
    assert.deepEqual(await verifier(collector.privateKey, origin).verify(token, nowMs), claims);
    await assert.rejects(verifier(generateKeyPair().privateKey, origin).verify(token, nowMs), refused);
    await assert.rejects(verifier(collector.privateKey, 'other.local/ledger').verify(token, nowMs), refused);
  });

  test("is not signed with the collector's own key, and what that signs is no token", async () => {
    assert.notDeepEqual(rawPublicKey(keys.publicKey), rawPublicKey(collector.publicKey));
    await assert.rejects(tokens.verify(await forged({}, collector.privateKey), nowMs), refused);
  });

  test('without a signature and the algorithm "none" is refused, in any spelling', async () => {
    const [, payload] = (await tokens.issue(claims, nowMs)).split('.');
    for (const alg of ['none', 'None', 'NONE', 'nOnE', '']) {
      const header = encode({ alg, typ: 'at+jwt' });
      await assert.rejects(tokens.verify(`${header}.${payload}.`, nowMs), refused, alg);
      await assert.rejects(tokens.verify(await forged({ header: { alg } }), nowMs), refused, alg);
    }
  });

  test('with the public key as the secret of an HMAC is refused', async () => {
    const { publicKey } = keys;
    const secrets = [
      rawPublicKey(publicKey),
      publicKey.export({ format: 'der', type: 'spki' }),
      publicKey.export({ format: 'pem', type: 'spki' }),
      JSON.stringify(publicKey.export({ format: 'jwk' })),
    ];
    const [, payload] = (await tokens.issue(claims, nowMs)).split('.');
    for (const secret of secrets) {
      const text = `${encode({ alg: 'HS256', typ: 'at+jwt' })}.${payload}`;
      const mac = createHmac('sha256', secret).update(text).digest('base64url');
      await assert.rejects(tokens.verify(`${text}.${mac}`, nowMs), refused);
    }
  });

  test('that brings its own key along is refused', async () => {
    const own = generateKeyPair();
    const jwk = own.publicKey.export({ format: 'jwk' });
    await assert.rejects(tokens.verify(await forged({ header: { jwk } }, own.privateKey), nowMs), refused);
    const elsewhere = { jku: 'https://attacker.example/keys', kid: '../../dev/null' };
    await assert.rejects(tokens.verify(await forged({ header: elsewhere }, own.privateKey), nowMs), refused);
  });

  test('of another type is refused: no other signed JSON passes for one', async () => {
    for (const typ of ['JWT', 'rt+jwt', 'jwt', undefined]) {
      await assert.rejects(tokens.verify(await forged({ header: { typ } }), nowMs), refused, String(typ));
    }
  });

  const wrong: Readonly<Record<string, Record<string, unknown>>> = {
    'for another audience': { aud: 'sigilwatch-agent' },
    'without an audience': { aud: undefined },
    'of another issuer': { iss: 'other.local/ledger' },
    'without an issuer': { iss: undefined },
    'without an end': { exp: undefined },
    'with an end that is no number': { exp: '9999999999' },
    'not good before tomorrow': { nbf: nowMs / 1000 + 86_400 },
    'without a beginning': { nbf: undefined },
    'without a number': { jti: undefined },
    'without a session': { sid: undefined },
    'without a user': { sub: undefined },
    'in a role that nobody has': { role: 'root' },
    'for nobody': { role: 'anonymous' },
  };
  for (const [what, payload] of Object.entries(wrong)) {
    test(`${what} is refused, though well signed`, async () => {
      await assert.rejects(tokens.verify(await forged({ payload }), nowMs), refused);
    });
  }

  test('holds until its end and a few seconds for clocks that differ, not longer', async () => {
    const token = await tokens.issue(claims, nowMs);
    const lastMs = claims.expiresAtMs + limits.tokenClockToleranceMs;
    assert.deepEqual(await tokens.verify(token, lastMs - 1_000), claims);
    await assert.rejects(tokens.verify(token, lastMs), { ...refused, details: { reason: 'expired' } });
    await assert.rejects(tokens.verify(token, nowMs - limits.tokenClockToleranceMs - 1_000), refused);
  });

  test('with any part changed, cut or swapped is refused', async () => {
    const [header = '', payload = '', signature = ''] = (await tokens.issue(claims, nowMs)).split('.');
    const admin = encode({ ...decode(payload), role: 'admin' });
    const [, , other = ''] = (await tokens.issue({ ...claims, user: 'bob' }, nowMs)).split('.');
    const flipped = `${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`;
    const bad = [
      `${header}.${admin}.${signature}`,
      `${header}.${payload}.${other}`,
      `${header}.${payload}.${flipped}`,
      `${header}.${payload}.${signature.slice(0, -2)}`,
      `${header}.${payload}.`,
      `${header}.${payload}`,
      `${header}.${payload}.${signature}.`,
      `.${payload}.${signature}`,
      '',
      '...',
      'x'.repeat(4_000),
    ];
    for (const token of bad) await assert.rejects(tokens.verify(token, nowMs), refused, token.slice(0, 80));
  });
});
