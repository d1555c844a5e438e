// What happens to one request? Who may pass, what the replica is told, what is refused and why;
// over real sockets.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { crc32 } from 'node:zlib';
import { SignJWT, exportJWK, generateKeyPair, UnsecuredJWT } from 'jose';
import { mintKey, parseKey } from '../../src/gateway/keys.ts';
import { fingerprint, tenantId } from '../../src/model/ids.ts';
import type { JwtRule } from '../../src/model/routing.ts';
import { ASSERTION_KEY, SERVICE, openRig, until } from './rig.ts';
import type { Answer, Rig, SendOptions } from './rig.ts';
import { verifyAssertion } from '../../packages/sdk/src/tenant.ts';

const pairs = await Promise.all(
  ['EdDSA', 'ES256', 'RS256', 'ES384'].map(async (alg) => {
    const pair = await generateKeyPair(alg, { extractable: true });
    return { alg, ...pair, jwk: { ...(await exportJWK(pair.publicKey)), alg, kid: alg } };
  }),
);
const jwt: JwtRule[] = [
  {
    issuer: 'https://id.test',
    audience: 'api',
    tenantClaim: 'org',
    jwks: { keys: pairs.map((p) => p.jwk) },
  },
  {
    issuer: 'https://id.test',
    audience: 'partner',
    tenantClaim: 'org',
    jwks: { keys: pairs.map((p) => p.jwk) },
  },
];

let rig: Rig;
before(async () => {
  rig = await openRig({ replicas: 2, jwt, tenant: { bodyBytes: 300_000 } });
});
after(() => rig.close());

const reasonOf = (answer: Answer): string => (JSON.parse(answer.body) as { reason: string }).reason;
const seenBy = (answer: Answer): Record<string, string[]> =>
  (JSON.parse(answer.body) as { headers: Record<string, string[]> }).headers;
const send = (options: SendOptions): Promise<Answer> => rig.send(options);

async function token(
  change: { aud?: string; iss?: string; exp?: string; org?: string; alg?: string } = {},
): Promise<string> {
  const pair = pairs.find((p) => p.alg === (change.alg ?? 'EdDSA'));
  assert.ok(pair !== undefined);
  return new SignJWT({ org: change.org ?? 'globex', sub: 'ann' })
    .setProtectedHeader({ alg: pair.alg, kid: pair.alg })
    .setIssuer(change.iss ?? 'https://id.test')
    .setAudience(change.aud ?? 'api')
    .setIssuedAt()
    .setExpirationTime(change.exp ?? '5m')
    .sign(pair.privateKey);
}

const withToken = (text: string): Promise<Answer> =>
  send({ path: '/api/x', bare: true, headers: { authorization: `Bearer ${text}` } });

describe('who may pass', () => {
  test('AU1: a good key passes by either header; a bad, foreign or torn one does not', async () => {
    assert.equal((await send({ path: '/api/x' })).status, 200);
    const key = rig.key('acme');
    const plain = await send({ path: '/api/x', bare: true, headers: { 'x-api-key': key } });
    assert.equal(plain.status, 200);
    const foreign = mintKey('test', randomBytes(9), randomBytes(32)).key;
    const [, , id = ''] = key.split('_');
    const secret = mintKey('test', randomBytes(9), randomBytes(32)).secret;
    const body = `kin_test_${id}_${secret}`;
    const guessed = `${body}_${crc32(body).toString(36).padStart(7, '0')}`;
    assert.equal(parseKey(guessed)?.id, id);
    for (const bad of [guessed, foreign, key.slice(0, -1), 'x', `${key}a`]) {
      const headers = { authorization: `Bearer ${bad}` };
      const answer = await send({ path: '/api/x', bare: true, headers });
      assert.equal(answer.status, 401, bad.slice(0, 8));
      assert.equal(answer.headers['content-type'], 'application/problem+json');
    }
    assert.equal((await send({ path: '/api/x', bare: true })).status, 401);
    const basic = { authorization: 'Basic abc' };
    assert.equal((await send({ path: '/api/x', bare: true, headers: basic })).status, 401);
  });

  test('AU1: an expired key is refused, also one that was accepted a moment ago', async () => {
    const acme = rig.table().tenants.find((t) => t.id === 'acme');
    const [rule] = acme?.keys ?? [];
    assert.ok(rule !== undefined);
    await rig.push({ tenant: { keys: [{ ...rule, expiresAtMs: Date.now() - 1 }] } });
    assert.equal((await send({ path: '/api/x' })).status, 401);
    await rig.push({ tenant: { keys: [{ ...rule, expiresAtMs: Date.now() + 400 }] } });
    assert.equal((await send({ path: '/api/x' })).status, 200);
    await until('expired', async () => (await send({ path: '/api/x' })).status === 401);
    await rig.push({ tenant: {} });
  });

  test('AU2: tokens of all three algorithms pass and name the tenant and the user', async () => {
    for (const alg of ['EdDSA', 'ES256', 'RS256']) {
      const text = await token({ alg });
      for (const answer of [await withToken(text), await withToken(text)]) {
        assert.equal(answer.status, 200);
        assert.deepEqual(seenBy(answer)['x-kintsugi-tenant'], ['globex']);
        assert.deepEqual(seenBy(answer)['x-kintsugi-subject'], ['user:ann']);
      }
    }
  });

  test('AU2: an issuer with two audiences has a rule for each, and both count', async () => {
    assert.equal((await withToken(await token({ aud: 'partner' }))).status, 200);
    assert.equal((await withToken(await token({ aud: 'partner', exp: '-1m' }))).status, 401);
  });

  test('AU2: alg none, HS256, ES384, wrong audience or issuer, no exp … are refused', async () => {
    const claims = { org: 'globex', iss: 'https://id.test', aud: 'api' };
    const none = new UnsecuredJWT(claims).setExpirationTime('5m').encode();
    const publicBytes = Buffer.from(JSON.stringify(pairs[0]?.jwk));
    const hs = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256', kid: 'EdDSA' })
      .setExpirationTime('5m')
      .sign(publicBytes);
    const stranger = await generateKeyPair('EdDSA');
    const forged = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'EdDSA', kid: 'EdDSA' })
      .setExpirationTime('5m')
      .sign(stranger.privateKey);
    const pair = pairs[0];
    assert.ok(pair !== undefined);
    const forever = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'EdDSA', kid: 'EdDSA' })
      .sign(pair.privateKey);
    const bad = [none, hs, forged, forever, 'a.b.c', (await token()).slice(0, -4)];
    bad.push(await token({ aud: 'other' }), await token({ iss: 'https://evil.test' }));
    // Its key is in the set, but its algorithm is not on the list.
    bad.push(await token({ alg: 'ES384' }));
    bad.push(await token({ org: 'nobody' }), await token({ exp: '-1m' }));
    for (const text of bad) assert.equal((await withToken(text)).status, 401);
  });

  test('AU3: two credentials at once are none', async () => {
    const line = `x-api-key: ${rig.key('acme')}\r\n`;
    const twice = await raw(`GET /api/x HTTP/1.1\r\nhost: x\r\n${line}${line}\r\n`);
    assert.match(twice, /^HTTP\/1\.1 401 .*ambiguous/su);
    const answer = await send({ path: '/api/x', headers: { 'x-api-key': rig.key('globex') } });
    assert.equal(answer.status, 401);
  });

  test('AU4: a key that leaves the table is refused at once, so are its tokens', async () => {
    const text = await token();
    assert.equal((await withToken(text)).status, 200);
    assert.equal((await send({ path: '/api/x' })).status, 200);
    await rig.push({ jwt: [], tenant: { keys: [] } });
    assert.equal((await withToken(text)).status, 401);
    assert.equal((await send({ path: '/api/x' })).status, 401);
    await rig.push({ jwt, tenant: {} });
    assert.equal((await withToken(text)).status, 200);
  });

  test('a suspended tenant gets 403, an unknown route 404, an odd target 400', async () => {
    await rig.push({ tenant: { status: 'suspended' } });
    assert.equal((await send({ path: '/api/x' })).status, 403);
    assert.equal((await send({ path: '/api/x', tenant: 'globex' })).status, 200);
    await rig.push({ tenant: {} });
    assert.equal((await send({ path: '/nowhere' })).status, 404);
    assert.equal((await send({ path: '/api/../nowhere' })).status, 400);
    assert.equal((await send({ path: '/api/%2e%2e/x' })).status, 400);
  });
});

describe('what the replica is told', () => {
  test('ID1 ID2 ID3: forged identity, credentials and hop-by-hop do not arrive', async () => {
    const answer = await send({
      path: '/api/x',
      headers: {
        'X-Kintsugi-Tenant': 'globex',
        'x-kintsugi-assertion': 'v1.forged.forged',
        X_Kintsugi_Region: 'moon',
        'x-forwarded-for': '6.6.6.6',
        connection: 'close, x-secret-hop',
        'x-secret-hop': '1',
        te: 'trailers',
        'x-plain': 'stays',
      },
    });
    const seen = seenBy(answer);
    assert.deepEqual(seen['x-kintsugi-tenant'], ['acme']);
    assert.deepEqual(seen['x-kintsugi-region'], ['eu']);
    assert.equal(seen['x_kintsugi_region'], undefined);
    assert.deepEqual(seen['x-forwarded-for'], ['127.0.0.1']);
    for (const name of ['authorization', 'x-api-key', 'x-secret-hop', 'te']) {
      assert.equal(seen[name], undefined, name);
    }
    assert.deepEqual(seen['x-plain'], ['stays']);
    assert.equal(seen['x-kintsugi-assertion']?.length, 1);
  });

  test('ID4: the SDK accepts the assertion for this service and for no other', async () => {
    const [value] = seenBy(await send({ path: '/api/x' }))['x-kintsugi-assertion'] ?? [];
    const key = Buffer.from(ASSERTION_KEY, 'base64url');
    const nowMs = Date.now();
    const fine = verifyAssertion(value, { key, service: SERVICE, nowMs });
    assert.ok(fine.kind === 'accepted');
    assert.equal(fine.tenant.tenant, 'acme');
    assert.equal(verifyAssertion(value, { key, service: 'other', nowMs }).kind, 'refused');
    const late = verifyAssertion(value, { key, service: SERVICE, nowMs: nowMs + 40_000 });
    assert.equal(late.kind === 'refused' && late.reason, 'expired');
  });

  test('request id and traceparent are kept when sound and made when not', async () => {
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
    const kept = await send({
      path: '/api/x',
      headers: { 'x-request-id': 'my-request-1', traceparent },
    });
    assert.deepEqual(seenBy(kept)['x-request-id'], ['my-request-1']);
    assert.deepEqual(seenBy(kept)['traceparent'], [traceparent]);
    assert.equal(kept.headers['x-request-id'], 'my-request-1');
    const made = await send({
      path: '/api/x',
      headers: { 'x-request-id': 'a b\tc', traceparent: `00-${'0'.repeat(32)}-x` },
    });
    assert.match(seenBy(made)['x-request-id']?.[0] ?? '', /^[0-9a-f-]{36}$/u);
    assert.match(seenBy(made)['traceparent']?.[0] ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/u);
  });
});

describe('what is held back', () => {
  test('GP3: a quarantined route is refused in every spelling, and nothing else is', async () => {
    const rule = {
      id: fingerprint('poison', 'x'),
      tenant: tenantId('acme'),
      service: SERVICE,
      method: 'GET',
      route: '/api/bad/:id',
      reason: 'it crashed records-1 and records-2',
    };
    await rig.push({ quarantines: [rule] });
    for (const path of ['/api/bad/1', '/api/b%61d/77', '/api//bad/1/', '/api/bad/1?x=1']) {
      const answer = await send({ path });
      assert.equal(answer.status, 503, path);
      assert.equal(reasonOf(answer), 'quarantined');
      assert.match(answer.body, /it crashed records-1/u);
      assert.equal(answer.headers['retry-after'], '30');
    }
    assert.equal((await send({ path: '/api/bad/1', method: 'POST' })).status, 200);
    assert.equal((await send({ path: '/api/good/1' })).status, 200);
    assert.equal((await send({ path: '/api/bad/1', tenant: 'globex' })).status, 200);
    await rig.push({ quarantines: [] });
    assert.equal((await send({ path: '/api/bad/1' })).status, 200);
  });

  test('rate: past the burst 429 with retry-after, for this tenant only', async () => {
    await rig.push({ tenant: { ratePerSecond: 1, burst: 3 } });
    const statuses: number[] = [];
    for (let i = 0; i < 5; i += 1) statuses.push((await send({ path: '/api/x' })).status);
    assert.deepEqual(statuses, [200, 200, 200, 429, 429]);
    assert.equal((await send({ path: '/api/x', tenant: 'globex' })).status, 200);
    await rig.push({ tenant: { ratePerSecond: 1e5, burst: 1e5 } });
    await until('it may again', async () => (await send({ path: '/api/x' })).status === 200);
  });

  test('concurrency: one more than allowed gets 429', async () => {
    await rig.push({ tenant: { concurrency: 2 } });
    const slow = [send({ path: '/api/x?wait=300' }), send({ path: '/api/x?wait=300' })];
    await until('both are inside', async () => {
      const answer = await send({ path: '/api/x' });
      return answer.status === 429 && reasonOf(answer) === 'concurrency-limited';
    });
    for (const answer of await Promise.all(slow)) assert.equal(answer.status, 200);
    await rig.push({ tenant: {} });
  });

  test('a body past the limit gets 413, declared or chunked', async () => {
    await rig.push({ tenant: { bodyBytes: 300_000 } });
    const body = Buffer.alloc(300_001);
    const declared = await send({ path: '/api/x', method: 'POST', body });
    assert.equal(declared.status, 413);
    const chunked = await send({
      path: '/api/x',
      method: 'POST',
      body,
      headers: { 'transfer-encoding': 'chunked' },
    });
    assert.equal(chunked.status, 413);
    const fine = await send({ path: '/api/x', method: 'POST', body: Buffer.alloc(300_000) });
    assert.equal((JSON.parse(fine.body) as { bytes: number }).bytes, 300_000);
    const small = await send({
      path: '/api/x',
      method: 'POST',
      body: 'hello',
      headers: { 'transfer-encoding': 'chunked' },
    });
    assert.equal((JSON.parse(small.body) as { bytes: number }).bytes, 5);
  });

  test('a tenant is served only by replicas of its region or of any', async () => {
    await rig.push({ regions: { 'records-1': 'eu', 'records-2': 'us' } });
    for (let i = 0; i < 10; i += 1) {
      assert.match((await send({ path: '/api/x', tenant: 'acme' })).body, /"records-1"/u);
      assert.match((await send({ path: '/api/x', tenant: 'initech' })).body, /"records-2"/u);
    }
    await rig.push({ regions: { 'records-1': 'eu', 'records-2': 'eu' } });
    const nobody = await send({ path: '/api/x', tenant: 'initech' });
    assert.equal(nobody.status, 503);
    assert.equal(reasonOf(nobody), 'no-replica');
    await rig.push({ regions: {} });
  });
});

describe('how an answer flows', () => {
  test('PS3: an event stream arrives piece by piece', async () => {
    const arrivals: number[] = [];
    const request = httpRequest({
      host: '127.0.0.1',
      port: rig.port,
      path: '/api/stream',
      headers: { authorization: `Bearer ${rig.key('acme')}` },
      agent: false,
    });
    request.end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    let text = '';
    for await (const chunk of response) {
      arrivals.push(performance.now());
      text += String(chunk);
    }
    assert.match(text, /data: 1\n\n.*data: 5\n\n$/su);
    assert.ok(arrivals.length >= 3);
  });

  test('FW5: a client that leaves frees what it held and blames no replica', async () => {
    const request = httpRequest({
      host: '127.0.0.1',
      port: rig.port,
      path: '/api/x?wait=5000',
      headers: { authorization: `Bearer ${rig.key('acme')}` },
      agent: false,
    });
    request.on('error', () => undefined);
    request.end();
    await until('it is inside', () => inside() === 1);
    request.destroy();
    await until('it is gone', () => inside() === 0);
    assert.equal(
      rig.events.some((e) => e.kind === 'ejected'),
      false,
    );
  });

  test('PS1 AT2: an error answer that is repeated elsewhere never shows', async () => {
    await rig.replicas[0]?.fault('errors');
    for (let i = 0; i < 6; i += 1) assert.equal((await send({ path: '/api/x' })).status, 200);
    await rig.replicas[1]?.fault('errors');
    assert.equal((await send({ path: '/api/x' })).status, 500);
    for (const replica of rig.replicas) await replica.fault('ok');
    rig.hub.forgive(rig.table().services[0]?.replicas.map((r) => r.id) ?? []);
    await rig.push();
    await until('fine', async () => (await send({ path: '/api/x' })).status === 200);
  });

  test('RE2: a POST without a key that got a 500 is not repeated', async () => {
    for (const replica of rig.replicas) await replica.fault('errors');
    const before = await served();
    assert.equal((await send({ path: '/api/x', method: 'POST', body: '{}' })).status, 500);
    assert.equal((await served()) - before, 1);
    const keyed = { path: '/api/x', method: 'POST', headers: { 'idempotency-key': 'k1' } };
    assert.equal((await send(keyed)).status, 500);
    assert.equal((await served()) - before, 3);
    for (const replica of rig.replicas) await replica.fault('ok');
  });

  test('a WebSocket passes: known by its key, counted inside until it ends, no hang', async () => {
    const socket = connect({ host: '127.0.0.1', port: rig.port });
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
    const upgrade = 'connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: a\r\n';
    const key = `x-api-key: ${rig.key('acme')}\r\nx-kintsugi-tenant: globex\r\n`;
    socket.write(`GET /api/socket HTTP/1.1\r\nhost: x\r\n${upgrade}${key}\r\n`);
    await until('it is switched', () => text.includes('\r\n\r\n'));
    assert.match(text, /^HTTP\/1\.1 101 .*x-seen: acme\r\n/su);
    socket.write('ping');
    await until('it echoes', () => text.endsWith('ping'));
    await new Promise((resolve) => setTimeout(resolve, 700));
    socket.write('pong');
    await until('it echoes still', () => text.endsWith('pong'));
    assert.equal(inside(), 1);
    assert.equal(
      rig.events.some((e) => e.kind === 'ejected'),
      false,
    );
    socket.end();
    await until('it is gone', () => inside() === 0);
  });

  test('a switch to anything else, and a tunnel, are not passed on', async () => {
    const auth = `x-api-key: ${rig.key('acme')}\r\n`;
    const lines = 'host: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n';
    const plain = await raw(`GET /api/x HTTP/1.1\r\n${lines}${auth}\r\n`);
    assert.match(plain, /^HTTP\/1\.1 200 /u);
    const tunnel = await raw(`CONNECT x:1 HTTP/1.1\r\nhost: x:1\r\n${auth}\r\n`);
    assert.match(tunnel, /^HTTP\/1\.1 (?:400|501) /u);
  });

  test('Expect: 100-continue is answered once the request is let in, and not before', async () => {
    const fields = 'host: x\r\ncontent-length: 2\r\nexpect: 100-continue\r\n';
    const head = `POST /api/x HTTP/1.1\r\n${fields}`;
    assert.match(await raw(`${head}\r\n`), /^HTTP\/1\.1 401 /u);
    const letIn = await raw(`${head}x-api-key: ${rig.key('acme')}\r\n\r\n`);
    assert.match(letIn, /^HTTP\/1\.1 100 Continue\r\n\r\n$/u);
  });

  test('an absolute target of the same host is served by its path, another is not', async () => {
    const auth = `x-api-key: ${rig.key('acme')}\r\nconnection: close\r\n`;
    const own = await raw(`GET http://x/api/x HTTP/1.1\r\nhost: x\r\n${auth}\r\n`);
    assert.match(own, /^HTTP\/1\.1 200 /u);
    const other = await raw(`GET http://y/api/x HTTP/1.1\r\nhost: x\r\n${auth}\r\n`);
    assert.match(other, /^HTTP\/1\.1 400 .*host-mismatch/su);
  });

  test('GP4: tenants that leave in every way leave nothing admitted behind', async () => {
    await rig.push({ tenant: { concurrency: 1 } });
    const auth = `x-api-key: ${rig.key('acme')}\r\n`;
    const head = `POST /api/x?wait=2000 HTTP/1.1\r\nhost: x\r\n${auth}`;
    for (const rest of [
      'content-length: 5\r\n\r\nab',
      'transfer-encoding: chunked\r\n\r\n2\r\nab\r\n',
      'transfer-encoding: chunked\r\n\r\nzz\r\n',
      'content-length: 2\r\n\r\nab',
    ]) {
      const socket = connect({ host: '127.0.0.1', port: rig.port });
      socket.on('error', () => undefined);
      socket.resume();
      await once(socket, 'connect');
      socket.write(head + rest);
      await new Promise((resolve) => setTimeout(resolve, 30));
      socket.destroy();
      await until('it is gone', () => inside() === 0);
      await until('another may', async () => (await send({ path: '/api/x' })).status === 200);
    }
    await rig.push({ tenant: {} });
  });

  test('HP4: messages that two servers could read differently are refused', async () => {
    const head = 'POST /api/x HTTP/1.1\r\nhost: x\r\n';
    const bad = [
      `${head}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      `${head}content-length: 3\r\ncontent-length: 4\r\n\r\nabcd`,
      `${head}content-length: +3\r\n\r\nabc`,
      `${head}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
      `${head}x y: 1\r\n\r\n`,
      `GET /api/x HTTP/1.1\r\n\r\n`,
      `GET  /api/x HTTP/1.1\r\nhost: x\r\n\r\n`,
      `${head}x-long: ${'a'.repeat(20_000)}\r\n\r\n`,
    ];
    for (const message of bad)
      assert.match(await raw(message), /^HTTP\/1\.1 4/u, message.slice(0, 60));
  });

  test('the gateway tells its own health without a credential', async () => {
    const answer = await send({ path: '/__kintsugi/health', bare: true });
    assert.equal(answer.status, 200);
    assert.match(answer.body, /"worker":"gateway-1"/u);
    assert.equal((await send({ path: '/__kintsugi/else', bare: true })).status, 404);
  });
});

const inside = (): number => rig.worker?.proxy.inFlight().reduce((n, c) => n + c.count, 0) ?? 0;

async function served(): Promise<number> {
  const counts = await Promise.all(rig.replicas.map((r) => r.served()));
  return counts.reduce((a, b) => a + b, 0);
}

async function raw(message: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: rig.port });
  socket.on('error', () => undefined);
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    if (text.includes('\r\n\r\n')) socket.end();
  });
  socket.write(message);
  await once(socket, 'close');
  return text;
}
