import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';
import { openAuthenticator } from '../../../src/gateway/auth.ts';
import type { Authenticator } from '../../../src/gateway/auth.ts';
import { readKeySet } from '../../../src/gateway/auth-keys.ts';
import type { JwtRule } from '../../../src/model/routing.ts';
import { CLAIMS, NOW_MS, NOW_S, ask, bearer, headOf, pairOf, routesOf } from './rig.ts';
import { ruleOf, signature, tenantOf, token } from './rig.ts';

const ed = pairOf('EdDSA', 'ed-1');
const ec = pairOf('ES256', 'ec-1');
const rsa = pairOf('RS256', 'rsa-1');
const strange = pairOf('EdDSA', 'ed-1');
const ALL = [ed.jwk, ec.jwk, rsa.jwk];

function authOf(...jwt: readonly JwtRule[]): Authenticator {
  const auth = openAuthenticator();
  auth.use(routesOf({ jwt: jwt.length === 0 ? [ruleOf(ALL)] : jwt }));
  return auth;
}

const verdict = (text: string, auth = authOf()): Promise<string> => ask(auth, bearer(text));

describe('tokens', () => {
  test('AU2: EdDSA, ES256 and RS256 are taken, and say tenant, subject, roles, end', async () => {
    for (const pair of [ed, ec, rsa]) {
      assert.equal(await verdict(token(pair)), 'acme user:ann', pair.alg);
      assert.equal(await verdict(token(pair, {}, { typ: 'JWT' })), 'acme user:ann');
      assert.equal(await verdict(token(pair, {}, { typ: 'application/AT+JWT' })), 'acme user:ann');
    }
    assert.equal(await verdict(token(ed, {}, { alg: 'Ed25519' })), 'acme user:ann');
    const text = token(ed, { roles: ['clerk', '*', 7, 'a b', 'nurse', 'clerk'] });
    const answer = await authOf().authenticate(bearer(text), NOW_MS);
    assert.ok(answer.kind === 'known');
    assert.deepEqual(answer.roles, ['clerk', 'nurse']);
    assert.equal(answer.expiresAtMs, (NOW_S + 305) * 1_000);
  });

  test('RO1 RO2: roles come from the claim that the rule names, and are bounded', async () => {
    const rolesWith = async (claims: Record<string, unknown>, rolesClaim: string) => {
      const auth = authOf(ruleOf(ALL, { rolesClaim }));
      const answer = await auth.authenticate(bearer(token(ed, claims)), NOW_MS);
      return answer.kind === 'known' ? answer.roles : answer.reason;
    };
    assert.deepEqual(await rolesWith({ scope: 'read:all write' }, 'scope'), ['read:all', 'write']);
    const keycloak = { realm_access: { roles: ['admin'] } };
    assert.deepEqual(await rolesWith(keycloak, 'realm_access.roles'), ['admin']);
    assert.deepEqual(await rolesWith({ 'https://x/roles': ['a'] }, 'https://x/roles'), ['a']);
    assert.deepEqual(await rolesWith({ roles: { length: 1, 0: 'admin' } }, 'roles'), []);
    assert.deepEqual(await rolesWith({}, 'constructor.name'), []);
    const many = Array.from({ length: 500 }, (_, i) => `r${i}`);
    assert.equal((await rolesWith({ roles: many }, 'roles')).length, 64);
    for (const name of ['*', '@user', '', ' ', 'x'.repeat(65), 'a,b', 'ä', 'a\nb', '-x']) {
      assert.deepEqual(await rolesWith({ roles: [name] }, 'roles'), [], name);
    }
  });

  test('TK1 TK2 TK3: a corpus of malicious tokens, and none of them is let in', async () => {
    const auth = authOf();
    for (const [fear, text] of Object.entries(malicious())) {
      const answer = await verdict(text, auth);
      assert.match(answer, /^(?:invalid|expired)$/u, fear);
      // The same again, and behind a good one: nothing of it was kept as good.
      assert.equal(await verdict(text, auth), answer, fear);
    }
    assert.equal(await verdict(token(ed), auth), 'acme user:ann');
  });

  test('TK3: exp and nbf hold with 5 seconds of skew and not with 6', async () => {
    assert.equal(await verdict(token(ed, { exp: NOW_S - 4 })), 'acme user:ann');
    assert.equal(await verdict(token(ed, { exp: NOW_S - 5 })), 'expired');
    assert.equal(await verdict(token(ed, { nbf: NOW_S + 5 })), 'acme user:ann');
    assert.equal(await verdict(token(ed, { nbf: NOW_S + 6 })), 'invalid');
    const auth = authOf();
    const text = token(ed, { exp: NOW_S + 10 });
    assert.equal(await ask(auth, bearer(text)), 'acme user:ann');
    assert.equal(await ask(auth, bearer(text), NOW_MS + 14_999), 'acme user:ann');
    assert.equal(await ask(auth, bearer(text), NOW_MS + 15_000), 'expired');
  });

  test('TK4: one issuer with two audiences, each with keys and a claim of its own', async () => {
    const other = pairOf('EdDSA', 'ed-2');
    const auth = authOf(
      ruleOf([ed.jwk]),
      ruleOf([other.jwk], { audience: 'partner', tenantClaim: 'customer' }),
    );
    const partner = { aud: 'partner', customer: 'globex' };
    assert.equal(await verdict(token(ed), auth), 'acme user:ann');
    assert.equal(await verdict(token(other, partner), auth), 'globex user:ann');
    // The key of one audience is worth nothing for the other.
    assert.equal(await verdict(token(ed, partner), auth), 'invalid');
    assert.equal(await verdict(token(other), auth), 'invalid');
  });

  test('TK4: a token that two rules take for different tenants is nobody’s', async () => {
    const auth = authOf(ruleOf(ALL), ruleOf(ALL, { audience: 'partner', tenantClaim: 'customer' }));
    const both = { aud: ['api', 'partner'] };
    assert.equal(await verdict(token(ed, { ...both, customer: 'globex' }), auth), 'ambiguous');
    assert.equal(await verdict(token(ed, { ...both, customer: 'acme' }), auth), 'acme user:ann');
    assert.equal(await verdict(token(ed, both), auth), 'acme user:ann');
  });

  test('a tenant’s claim that is no text names no tenant', async () => {
    for (const org of [['acme'], { toString: 'acme' }, 7, null, true, '', 'nobody', '__proto__']) {
      assert.equal(await verdict(token(ed, { org })), 'invalid', JSON.stringify(org));
    }
    const auth = openAuthenticator();
    auth.use(routesOf({ jwt: [ruleOf(ALL)], tenants: [tenantOf('true'), tenantOf('null')] }));
    assert.equal(await verdict(token(ed, { org: true }), auth), 'invalid');
    assert.equal(await verdict(token(ed, { org: null }), auth), 'invalid');
  });

  test('AU3: two credentials are none; other schemes and spellings are no bearer', async () => {
    const text = token(ed);
    const auth = authOf();
    const line = `authorization: Bearer ${text}`;
    const x = 'x-api-key: kin_test_1';
    for (const lines of [
      [line, line],
      [line, x],
      [x, line],
      [x, x],
    ]) {
      assert.equal(await ask(auth, headOf(lines)), 'ambiguous');
    }
    assert.equal(await ask(auth, headOf([])), 'missing');
    for (const value of [`Basic ${text}`, `Bearer${text}`, `Bearer ${text} x`, text, 'Bearer']) {
      assert.equal(await ask(auth, headOf([`authorization: ${value}`])), 'invalid', value);
    }
    assert.equal(await ask(auth, headOf([`x-api-key: ${text}`])), 'invalid');
    assert.equal(await ask(auth, headOf([`authorization: bEARER  ${text}`])), 'acme user:ann');
  });
});

/** By the fear that each of them is for. */
function malicious(): Record<string, string> {
  const good = token(ed);
  const [first = '', second = '', third = ''] = good.split('.');
  const b64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const unsigned = (header: unknown): string => `${b64(header)}.${second}`;
  const hmac = (secret: Buffer | string, header: unknown): string => {
    const text = unsigned(header);
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
  };
  const pem = rsa.publicKey.export({ format: 'pem', type: 'spki' });
  const der = rsa.publicKey.export({ format: 'der', type: 'spki' });
  const own = strange.publicKey.export({ format: 'jwk' });
  const cases: Record<string, string> = {
    'no signature, alg none': `${unsigned({ alg: 'none' })}.`,
    'alg none with a signature': `${unsigned({ alg: 'none' })}.${third}`,
    'alg nOnE': `${unsigned({ alg: 'nOnE', kid: 'ed-1' })}.${third}`,
    'no alg': `${unsigned({ kid: 'ed-1' })}.${third}`,
    'alg as a list': `${unsigned({ alg: ['EdDSA'], kid: 'ed-1' })}.${third}`,
    'alg with a NUL': `${unsigned({ alg: 'EdDSA\0', kid: 'ed-1' })}.${third}`,
    'HS256 with the PEM of the RSA key': hmac(pem, { alg: 'HS256', kid: 'rsa-1' }),
    'HS256 with the DER of the RSA key': hmac(der, { alg: 'HS256', kid: 'rsa-1' }),
    'HS256 with the modulus': hmac(String(rsa.jwk['n']), { alg: 'HS256', kid: 'rsa-1' }),
    'HS256 with nothing': hmac('', { alg: 'HS256', kid: 'rsa-1' }),
    'RS256 signed with HMAC of the PEM': hmac(pem, { alg: 'RS256', kid: 'rsa-1' }),
    'the empty signature': `${first}.${second}.AA`,
    'a signature of zeros (ES256)': `${unsigned({ alg: 'ES256', kid: 'ec-1' })}.${'A'.repeat(86)}`,
    'a signature of another content': `${first}.${b64({ ...CLAIMS, org: 'globex' })}.${third}`,
    'a key of its own in jwk': token(strange, {}, { jwk: own, kid: 'x' }),
    'a key of its own under our kid': token(strange, {}, { jwk: own }),
    'a key behind jku': token(strange, {}, { jku: 'http://127.0.0.1:1/jwks', kid: 'x' }),
    'a key behind x5u': token(strange, {}, { x5u: 'http://127.0.0.1:1/c', kid: 'ed-1' }),
    'the algorithm of another key': token(ed, {}, { alg: 'ES256' }),
    'the kid of another key': token(ed, {}, { kid: 'rsa-1' }),
    'kid as a path': token(ed, {}, { kid: '../../../../dev/null' }),
    'kid as SQL': token(ed, {}, { kid: "x' union select 'a" }),
    'kid __proto__': token(ed, {}, { kid: '__proto__' }),
    'kid as a number': token(ed, {}, { kid: 1 }),
    'kid null': token(ed, {}, { kid: null }),
    'kid empty': token(ed, {}, { kid: '' }),
    'kid huge': token(ed, {}, { kid: 'k'.repeat(1_000) }),
    'crit of nothing we know': token(ed, {}, { crit: ['exp'], exp: NOW_S + 9 }),
    'crit empty': token(ed, {}, { crit: [] }),
    'crit with b64': token(ed, {}, { crit: ['b64'], b64: false }),
    'b64 without crit': token(ed, {}, { b64: false }),
    'another kind: logout token': token(ed, {}, { typ: 'logout+jwt' }),
    'another kind: proof': token(ed, {}, { typ: 'dpop+jwt' }),
    'typ as a list': token(ed, {}, { typ: ['JWT'] }),
    'a token in a token': token(ed, {}, { cty: 'JWT' }),
    encrypted: `${unsigned({ alg: 'RSA-OAEP', enc: 'A256GCM' })}.${third}`,
    'five parts': `${good}.a.b`,
    'two parts': `${first}.${second}`,
    'another issuer': token(ed, { iss: 'https://evil.test' }),
    'issuer with a slash more': token(ed, { iss: 'https://id.test/' }),
    'issuer as a list': token(ed, { iss: ['https://id.test'] }),
    'no issuer': token(ed, { iss: undefined }),
    'another audience': token(ed, { aud: 'web' }),
    'no audience': token(ed, { aud: undefined }),
    'audience as an object': token(ed, { aud: { api: true } }),
    'audience with a prefix': token(ed, { aud: 'api.evil' }),
    'no end': token(ed, { exp: undefined }),
    'end as a text': token(ed, { exp: String(NOW_S + 300) }),
    'end null': token(ed, { exp: null }),
    'ended long ago': token(ed, { exp: 1 }),
    'nbf as a text': token(ed, { nbf: '0' }),
    'of tomorrow': token(ed, { nbf: NOW_S + 86_400 }),
    'claims as a list': token(ed, '[1]'),
    'claims null': token(ed, 'null'),
    'claims no JSON': token(ed, '{"iss":'),
    'header as a list': token(ed, {}, '["EdDSA"]'),
    'header null': token(ed, {}, 'null'),
    'alg twice, the first good': token(ed, {}, '{"alg":"EdDSA","kid":"ed-1","alg":"none"}'),
    'header of 3 KiB': token(ed, {}, { x: 'x'.repeat(3_000) }),
    'token of 20 KiB': token(ed, { x: 'x'.repeat(20_000) }),
    'padding and plus': `${first}=.${second}.${third}`,
    'other alphabet': `${first}.${second}.${third.replaceAll('-', '+').replaceAll('_', '/')}+`,
    dots: '...',
    empty: '',
  };
  for (let i = 0; i < 64; i += 1) {
    const bytes = Buffer.from(third, 'base64url');
    bytes[i] = (bytes[i] ?? 0) ^ (1 << (i % 8));
    cases[`a flipped bit in byte ${i}`] = `${first}.${second}.${bytes.toString('base64url')}`;
  }
  return cases;
}

describe('keys of issuers', () => {
  const setOf = (...keys: readonly Readonly<Record<string, unknown>>[]) => readKeySet({ keys });

  test('KS1 KS2: weak, private, foreign and misnamed keys are refused with a reason', () => {
    const weak = pairOf('RS256', 'weak', 1_024);
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey;
    const x = generateKeyPairSync('x25519').publicKey;
    const bad: readonly (readonly [string, Readonly<Record<string, unknown>>])[] = [
      ['1024 bits', weak.jwk],
      ['exponent 3', { ...rsa.jwk, e: 'Aw' }],
      ['exponent 1', { ...rsa.jwk, e: 'AQ' }],
      ['private part', { ...ed.privateKey.export({ format: 'jwk' }), kid: 'p' }],
      ['secret', { kty: 'oct', k: 'AAAA', kid: 's' }],
      ['P-384', { ...p384.export({ format: 'jwk' }) }],
      ['X25519', { ...x.export({ format: 'jwk' }) }],
      ['for encryption', { ...rsa.jwk, use: 'enc' }],
      ['for another algorithm', { ...rsa.jwk, alg: 'RS512' }],
      ['for HMAC', { ...rsa.jwk, alg: 'HS256' }],
      ['to sign only', { ...ed.jwk, key_ops: ['sign'] }],
      ['no point', { ...ec.jwk, x: 'AAAA' }],
      ['x missing', { ...ed.jwk, x: undefined }],
      ['n too long', { ...rsa.jwk, n: 'A'.repeat(4_000) }],
      ['kid too long', { ...ed.jwk, kid: 'k'.repeat(300) }],
    ];
    for (const [fear, jwk] of bad) {
      const { set, refused } = setOf(jwk);
      assert.equal(set.size, 0, fear);
      assert.equal(refused.length, 1, fear);
      assert.ok(!refused.join().includes(String(jwk['n'] ?? jwk['x'] ?? jwk['k'])), fear);
    }
  });

  test('KS3: two keys of one name are none; one key twice is one', async () => {
    assert.equal(await verdict(token(ed), authOf(ruleOf([ed.jwk, strange.jwk]))), 'invalid');
    assert.equal(await verdict(token(strange), authOf(ruleOf([ed.jwk, strange.jwk]))), 'invalid');
    assert.equal(await verdict(token(ed), authOf(ruleOf([ed.jwk, ed.jwk]))), 'acme user:ann');
    // Of different types they can be told apart by the algorithm.
    const same = { ...rsa.jwk, kid: 'ed-1' };
    const auth = authOf(ruleOf([ed.jwk, same]));
    assert.equal(await verdict(token(ed), auth), 'acme user:ann');
    assert.equal(await verdict(token(rsa, {}, { kid: 'ed-1' }), auth), 'acme user:ann');
  });

  test('KS4: without a kid only a single key of the algorithm is tried', async () => {
    const bare = token(ed, {}, { kid: undefined });
    const second = pairOf('EdDSA', 'ed-2');
    const { kid: _kid, ...unnamed } = ed.jwk as { kid: string };
    assert.equal(await verdict(bare, authOf(ruleOf([ed.jwk, rsa.jwk]))), 'acme user:ann');
    assert.equal(await verdict(bare, authOf(ruleOf([unnamed]))), 'acme user:ann');
    assert.equal(await verdict(bare, authOf(ruleOf([ed.jwk, second.jwk]))), 'invalid');
    assert.equal(await verdict(bare, authOf(ruleOf([unnamed, second.jwk]))), 'invalid');
    assert.equal(await verdict(bare, authOf(ruleOf([ed.jwk, strange.jwk]))), 'invalid');
  });

  test('a signature over a prefix of the text is none', async () => {
    const text = token(ed);
    const [first = '', second = ''] = text.split('.');
    assert.equal(await verdict(`${first}.${second}.${signature(ed, first)}`), 'invalid');
  });
});
