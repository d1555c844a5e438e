import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { openAuthenticator } from '../../../src/gateway/auth.ts';
import type { AuthAnswer } from '../../../src/gateway/auth.ts';
import { tenantOfPeer } from '../../../src/gateway/auth-peer.ts';
import type { Peer } from '../../../src/gateway/auth-peer.ts';
import { Turns } from '../../../src/gateway/auth-turns.ts';
import { keyMac, mintKey, parseKey, sameMac } from '../../../src/gateway/keys.ts';
import { NOW_MS, PEPPER, ask, bearer, headOf, keyRule, minted } from './rig.ts';
import { pairOf, routesOf, ruleOf, shown, tenantOf, token } from './rig.ts';

const pair = pairOf('EdDSA', 'k-1');
const jwt = [ruleOf([pair.jwk])];

describe('what is remembered', () => {
  test('AU5: a hundred requests with one new token check it once', async () => {
    const auth = openAuthenticator({ turns: { runningMax: 1, waitingMax: 0, sourceMax: 0 } });
    auth.use(routesOf({ jwt }));
    const head = bearer(token(pair));
    // With one turn and no room to wait, a second check would be refused as busy.
    const answers = Array.from({ length: 100 }, () => auth.authenticate(head, NOW_MS));
    assert.ok(answers.every((answer) => answer instanceof Promise));
    for (const answer of await Promise.all(answers)) assert.equal(shown(answer), 'acme user:ann');
    assert.ok(!(auth.authenticate(head, NOW_MS) instanceof Promise), 'a promise only once');
  });

  test('AU5: who finds no turn is told busy, which is forgotten at once', async () => {
    const auth = openAuthenticator({ turns: { runningMax: 1, waitingMax: 1, sourceMax: 1 } });
    auth.use(routesOf({ jwt }));
    const heads = [1, 2, 3].map((n) => bearer(token(pair, { jti: n })));
    const [one, two, three] = heads.map((head) => auth.authenticate(head, NOW_MS, undefined, 'a'));
    assert.deepEqual(three, { kind: 'refused', reason: 'busy' });
    assert.ok(one !== undefined && two !== undefined);
    for (const answer of [await one, await two]) assert.equal(shown(answer), 'acme user:ann');
    const last = heads[2];
    assert.ok(last !== undefined);
    assert.equal(await ask(auth, last), 'acme user:ann');
  });

  test('AU5: a refused token is not looked at again for 2 seconds, and then is', async () => {
    const wanted: string[] = [];
    const auth = openAuthenticator({ onKeysWanted: (issuer) => wanted.push(issuer) });
    auth.use(routesOf({ jwt }));
    const [a = '', b = ''] = token(pair).split('.');
    const forged = bearer(`${a}.${b}.${Buffer.alloc(64, 7).toString('base64url')}`);
    assert.ok(auth.authenticate(forged, NOW_MS) instanceof Promise);
    await ask(auth, bearer(token(pair)));
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(await ask(auth, forged), 'invalid');
    assert.deepEqual(auth.authenticate(forged, NOW_MS + 1_999), {
      kind: 'refused',
      reason: 'invalid',
    });
    assert.ok(auth.authenticate(forged, NOW_MS + 2_001) instanceof Promise);
  });

  test('AU5: ten thousand bad tokens of one source let a good one of another in', async () => {
    const auth = openAuthenticator();
    auth.use(routesOf({ jwt }));
    const [a = '', b = ''] = token(pair).split('.');
    const flood: (AuthAnswer | Promise<AuthAnswer>)[] = [];
    for (let i = 0; i < 10_000; i += 1) {
      const third = Buffer.alloc(64, `${i}`).toString('base64url');
      flood.push(auth.authenticate(bearer(`${a}.${b}.${third}`), NOW_MS, undefined, '10.0.0.1'));
    }
    assert.equal(
      await ask(auth, bearer(token(pair)), NOW_MS, undefined, '10.0.0.2'),
      'acme user:ann',
    );
    const reasons = new Set(
      (await Promise.all(flood.map(async (answer) => await answer))).map(shown),
    );
    assert.deepEqual([...reasons].toSorted(), ['busy', 'invalid']);
  });

  test('AU4: a new table counts at once: tenants, keys, what was refused', async () => {
    const auth = openAuthenticator();
    assert.equal(await ask(auth, bearer(token(pair))), 'invalid', 'no table yet');
    auth.use(routesOf({ jwt, tenants: [tenantOf('globex')] }));
    const head = bearer(token(pair));
    assert.equal(await ask(auth, head), 'invalid');
    auth.use(routesOf({ jwt }));
    // The same rules: what the token says is kept, and its tenant is that of the new table.
    const suspended = tenantOf('acme', { status: 'suspended' });
    auth.use(routesOf({ jwt, tenants: [suspended] }));
    const answer = auth.authenticate(head, NOW_MS);
    assert.ok(!(answer instanceof Promise) && answer.kind === 'known');
    assert.equal(answer.tenant.status, 'suspended');
    const next = pairOf('EdDSA', 'k-2');
    auth.use(routesOf({ jwt: [ruleOf([next.jwk])] }));
    assert.equal(await ask(auth, head), 'invalid', 'its key was withdrawn');
    auth.use(routesOf({ jwt: [ruleOf([pair.jwk, next.jwk])] }));
    assert.equal(await ask(auth, head), 'acme user:ann');
    auth.use(routesOf({ jwt: [] }));
    assert.equal(await ask(auth, head), 'invalid');
  });

  test('AU4: a key that is withdrawn while it is used accepts nothing any more', async () => {
    const auth = openAuthenticator();
    auth.use(routesOf({ jwt }));
    const running = auth.authenticate(bearer(token(pair)), NOW_MS);
    auth.use(routesOf({ jwt: [ruleOf([])] }));
    assert.equal(shown(await running), 'busy');
    assert.equal(await ask(auth, bearer(token(pair))), 'invalid');
  });

  test('AU6: an unknown kid asks once in 10 s an issuer, a forged issuer never', async () => {
    const wanted: string[] = [];
    const auth = openAuthenticator({ onKeysWanted: (issuer) => wanted.push(issuer) });
    const other = ruleOf([pair.jwk], { issuer: 'https://two.test' });
    auth.use(routesOf({ jwt: [...jwt, other] }));
    const at = async (afterMs: number, kid: string, iss?: string): Promise<void> => {
      const text = token(pair, iss === undefined ? {} : { iss }, { kid });
      assert.equal(await ask(auth, bearer(text), NOW_MS + afterMs), 'invalid');
    };
    for (let i = 0; i < 50; i += 1) await at(i, `new-${i}`);
    assert.deepEqual(wanted, ['https://id.test']);
    await at(100, 'new', 'https://two.test');
    await at(100, 'new', 'https://three.test');
    assert.deepEqual(wanted.slice(1), ['https://two.test']);
    await at(9_999, 'later');
    assert.equal(wanted.length, 2);
    await at(10_000, 'later-still');
    assert.equal(wanted.length, 3);
    // With the key there, the token that asked for it is good from that table on.
    const next = pairOf('EdDSA', 'later');
    assert.equal(await ask(auth, bearer(token(next)), NOW_MS), 'invalid');
    auth.use(routesOf({ jwt: [ruleOf([pair.jwk, next.jwk])] }));
    assert.equal(await ask(auth, bearer(token(next)), NOW_MS), 'acme user:ann');
    assert.equal(await ask(auth, bearer(token(pair)), NOW_MS), 'acme user:ann', 'the overlap');
  });
});

describe('turns', () => {
  test('AT1 AT2: never more than the limit, sources in turn, nobody lost', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.boolean()), { maxLength: 200 }),
        async (script) => {
          const limits = { runningMax: 3, waitingMax: 20, sourceMax: 8 };
          const turns = new Turns(limits);
          let running = 0;
          let promised = 0;
          let came = 0;
          for (const [source, ends] of script) {
            if (ends) {
              if (running === 0) continue;
              const before = turns.waiting;
              turns.done();
              if (before === 0) running -= 1;
            } else {
              const turn = turns.take(source);
              if (turn === 'now') running += 1;
              if (turn instanceof Promise) {
                promised += 1;
                void turn.then(() => (came += 1));
              }
            }
            assert.ok(turns.running <= limits.runningMax && turns.waiting <= limits.waitingMax);
            assert.equal(turns.running, running);
          }
          while (turns.running > 0) turns.done();
          await new Promise((resolve) => setImmediate(resolve));
          assert.equal(came, promised);
          assert.equal(turns.waiting, 0);
        },
      ),
      { numRuns: 200 },
    );
  });

  test('AT2: two hundred of one source delay another by one turn', async () => {
    const turns = new Turns({ runningMax: 1, waitingMax: 1_000, sourceMax: 500 });
    const order: string[] = [];
    assert.equal(turns.take('flood'), 'now');
    for (const source of [...Array.from({ length: 200 }, () => 'flood'), 'guest']) {
      const turn = turns.take(source);
      assert.ok(turn instanceof Promise);
      void turn.then(() => order.push(source));
    }
    turns.done();
    turns.done();
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(order, ['flood', 'guest']);
  });
});

describe('API keys', () => {
  const key = minted();
  const acme = tenantOf('acme', { keys: [keyRule(key, { roles: ['clerk', '*'] })] });
  const auth = openAuthenticator();
  auth.use(routesOf({ tenants: [acme, tenantOf('globex')] }));

  test('AU1: a key says tenant, roles and end, and never a role for everybody', () => {
    const answer = auth.authenticate(headOf([`x-api-key: ${key.key}`]), NOW_MS);
    assert.ok(!(answer instanceof Promise) && answer.kind === 'known');
    assert.equal(answer.subject, `key:${key.id}`);
    assert.deepEqual(answer.roles, ['clerk']);
    assert.equal(answer.expiresAtMs, Number.POSITIVE_INFINITY);
  });

  test('AU1: an expired key is refused to the ms, a key of another pepper always', async () => {
    const late = minted();
    const rules = [keyRule(late, { expiresAtMs: NOW_MS })];
    const other = openAuthenticator();
    other.use(routesOf({ tenants: [tenantOf('acme', { keys: rules })] }));
    assert.equal(await ask(other, bearer(late.key), NOW_MS - 1), `acme key:${late.id}`);
    assert.equal(await ask(other, bearer(late.key), NOW_MS), 'expired');
    const foreign = { ...keyRule(late), mac: keyMac(PEPPER.split('').toReversed().join(''), 'x') };
    other.use(routesOf({ tenants: [tenantOf('acme', { keys: [foreign] })] }));
    assert.equal(await ask(other, bearer(late.key)), 'invalid');
  });

  test('K1 K3: what is minted parses back; a changed, added or missing character does not', () => {
    const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
    const env = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,20}$/u);
    fc.assert(
      fc.property(env, bytes(9), bytes(32), fc.nat(), fc.nat(), (name, id, secret, at, shift) => {
        const made = mintKey(name, id, secret);
        assert.deepEqual(parseKey(made.key), { env: name, id: made.id, secret: made.secret });
        const i = at % made.key.length;
        const code = 33 + (((made.key.codePointAt(i) ?? 0) - 33 + 1 + (shift % 92)) % 94);
        const changed = made.key.slice(0, i) + String.fromCodePoint(code) + made.key.slice(i + 1);
        const shorter = made.key.slice(0, i) + made.key.slice(i + 1);
        for (const bad of [changed, shorter, `${made.key}a`, ` ${made.key}`]) {
          if (bad !== made.key) assert.equal(parseKey(bad), undefined, bad);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('K2: MACs are the same only when they are, whatever their length', () => {
    const text = fc.string({ maxLength: 50 });
    fc.assert(fc.property(text, text, (a, b) => sameMac(a, b) === (a === b)));
  });

  test('AU7: no part of a credential stands in an answer, an event or an error', async () => {
    const told: string[] = [];
    const silent = openAuthenticator({ onKeysWanted: (issuer) => told.push(issuer) });
    silent.use(routesOf({ jwt, tenants: [acme] }));
    const stolen = token(pair, { sub: 'ann' });
    const unknown = token(pair, {}, { kid: 'secret-kid-0123456789' });
    const [a = '', b = '', c = ''] = stolen.split('.');
    for (const text of [key.key, `${key.key}x`, unknown, `${a}.${b}.${c.slice(2)}AA`, stolen]) {
      told.push(JSON.stringify(await silent.authenticate(bearer(text), NOW_MS)));
    }
    // The rule that the key has in the table is its MAC, and the tenant is the table's.
    const all = told.join('\n');
    for (const secret of [key.secret, key.key, a, b, c, 'secret-kid']) {
      assert.ok(!all.includes(secret), 'a secret was told');
    }
  });
});

describe('client certificates', () => {
  const print = 'ab'.repeat(32);
  const tenants = [
    tenantOf('acme', { certificates: ['uri:spiffe://x/acme', `sha256:${print}`] }),
    tenantOf('globex', { certificates: ['dns:globex.test'] }),
  ];
  const auth = openAuthenticator();
  auth.use(routesOf({ jwt, tenants }));
  const peer = (more: Partial<Peer> = {}): Peer => ({
    uris: [],
    dnsNames: [],
    sha256: '00'.repeat(32),
    subject: 'CN=x',
    ...more,
  });
  const by = (more: Partial<Peer>, lines: readonly string[] = []): Promise<string> =>
    ask(auth, headOf(lines), NOW_MS, peer(more));

  test('CE1: names and print of a certificate say the tenant, unlisted nothing', async () => {
    assert.equal(await by({ uris: ['spiffe://x/acme'] }), 'acme cert:uri:spiffe://x/acme');
    assert.equal(await by({ dnsNames: ['gloBEX.test'] }), 'globex cert:dns:globex.test');
    const colons = print.toUpperCase().match(/../gu)?.join(':') ?? '';
    assert.equal(await by({ sha256: colons }), `acme cert:sha256:${print}`);
    assert.equal(await by({}), 'missing');
    assert.equal(await by({ uris: ['SPIFFE://X/ACME'], dnsNames: ['x.globex.test'] }), 'missing');
    assert.equal(await ask(auth, headOf([])), 'missing');
  });

  test('CE2: a certificate of several tenants is refused', async () => {
    const two = { uris: ['spiffe://x/acme'], dnsNames: ['globex.test'] };
    assert.equal(await by(two), 'ambiguous');
    assert.equal(await by(two, [`authorization: Bearer ${token(pair)}`]), 'ambiguous');
  });

  test('AU3: certificate and token of one tenant are the token; of two tenants none', async () => {
    const line = `authorization: Bearer ${token(pair)}`;
    assert.equal(await by({ uris: ['spiffe://x/acme'] }, [line]), 'acme user:ann');
    // Once as a promise, once from memory.
    assert.equal(await by({ dnsNames: ['globex.test'] }, [line]), 'ambiguous');
    const fresh = `authorization: Bearer ${token(pair, { jti: 'x' })}`;
    assert.equal(await by({ dnsNames: ['globex.test'] }, [fresh]), 'ambiguous');
    assert.equal(await by({ dnsNames: ['strange.test'] }, [line]), 'acme user:ann');
    // A bad token is not made good by a certificate.
    assert.equal(await by({ uris: ['spiffe://x/acme'] }, ['authorization: Bearer x']), 'invalid');
  });

  test('a certificate with an odd name becomes a subject that is one plain word', () => {
    const acme = tenantOf('acme');
    for (const uri of ['a b\r\nx-kintsugi-tenant: globex', 'ä', 'x'.repeat(300)]) {
      const answer = tenantOfPeer(
        { certificate: () => acme },
        peer({ uris: [uri], sha256: print }),
      );
      assert.ok(answer.kind === 'tenant');
      assert.equal(answer.subject, `cert:sha256:${print}`);
    }
  });
});
