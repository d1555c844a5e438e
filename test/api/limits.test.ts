import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Problem } from '../../src/api/contract.ts';
import { CALL_LIMITS, callLimits, TooManyCalls } from '../../src/api/limits.ts';
import { pageLimit, pageOf } from '../../src/api/pages.ts';
import { KinError } from '../../src/model/errors.ts';
import { fakeEvidence } from './fake-evidence.ts';
import { rig, send } from './harness.ts';

const ACME = 'kin_clinic_acmekey';
const GLOBEX = 'kin_clinic_globexkey';
const HEAD = '/v1/tenants/acme/ledger/head';
const problem = (value: unknown): Problem => value as Problem;
const waitOf = (call: () => unknown): number => {
  try {
    call();
  } catch (error) {
    if (error instanceof TooManyCalls) return error.retryAfterMs;
    throw error;
  }
  return 0;
};

test('LI1. a caller gets its burst, then one at its rate, and others notice nothing', () => {
  let now = 1_000;
  const limits = callLimits(() => now);
  const read = (name: string): number => waitOf(() => limits.enter(name, 'read')());
  for (let i = 0; i < 20; i += 1) assert.equal(read('tenant:acme'), 0);
  assert.equal(read('tenant:acme'), 100);
  assert.equal(read('tenant:globex'), 0);
  now += 99;
  assert.ok(read('tenant:acme') > 0);
  now += 2;
  assert.equal(read('tenant:acme'), 0);
  assert.ok(read('tenant:acme') > 0);
  for (let i = 0; i < 3; i += 1) limits.enter('tenant:acme', 'heavy')();
  assert.equal(
    waitOf(() => limits.enter('tenant:acme', 'heavy')),
    10_000,
  );
  for (let i = 0; i < 10; i += 1) limits.spend('tenant:acme', 'reveal');
  assert.equal(
    waitOf(() => limits.spend('tenant:acme', 'reveal')),
    1_000,
  );
});

test('LI1. two calls under way are enough, and a place is given back once', () => {
  const limits = callLimits(() => 0);
  const leave = limits.enter('a', 'read');
  limits.enter('a', 'read');
  assert.ok(waitOf(() => limits.enter('a', 'read')) > 0);
  leave();
  leave();
  limits.enter('a', 'read');
  assert.ok(waitOf(() => limits.enter('a', 'read')) > 0);
});

test('LI2. what is kept about callers is bounded, and who is under way is kept', () => {
  const limits = callLimits(() => 0, { ...CALL_LIMITS, callers: 3, underWay: 1 });
  limits.enter('stays', 'read');
  for (let i = 0; i < 1_000; i += 1) limits.enter(`caller-${i}`, 'read')();
  assert.ok(waitOf(() => limits.enter('stays', 'read')) > 0, 'forgotten with a call under way');
  limits.enter('b', 'read');
  limits.enter('c', 'read');
  assert.ok(waitOf(() => limits.enter('d', 'read')) > 0);
});

test('LI3. a clock that goes back gives nothing and locks nobody out', () => {
  let now = 1_000_000;
  const limits = callLimits(() => now);
  for (let i = 0; i < 20; i += 1) limits.enter('a', 'read')();
  now = 5;
  assert.equal(
    waitOf(() => limits.enter('a', 'read')),
    100,
  );
  now = 105;
  assert.equal(
    waitOf(() => limits.enter('a', 'read')()),
    0,
  );
});

test('GT6. a tenant that floods the API is told 429 and when to come back', async (t) => {
  let now = 1_000_000;
  const evidence = { ...(await fakeEvidence()), nowMs: () => now };
  const { call, log } = await rig(t, { evidence, callLimits: CALL_LIMITS });
  for (let i = 0; i < 20; i += 1) {
    assert.equal((await call('GET', HEAD, { token: ACME })).status, 200);
  }
  const before = [evidence.calls.length, evidence.notes.length];
  for (const path of [HEAD, '/v1/status', '/v1/nothing', `/v1/${'x'.repeat(300)}`, '/v1/%zz']) {
    const refused = await call('GET', path, { token: ACME });
    assert.equal(refused.status, 429, path);
    assert.equal(problem(refused.json()).code, 'KIN_API_TOO_MANY');
    assert.equal(refused.headers['retry-after'], '1');
  }
  assert.deepEqual([evidence.calls.length, evidence.notes.length], before);
  const other = await call('GET', '/v1/tenants/globex/ledger/head', { token: GLOBEX });
  assert.equal(other.status, 200);
  for (let i = 0; i < 40; i += 1) assert.equal((await call('GET', HEAD)).status, 200, 'operator');
  now += 100;
  assert.equal((await call('GET', HEAD, { token: ACME })).status, 200);
  const body = { tenant: 'globex', subject: 's', ref: 'C-1' };
  for (const wanted of [200, 200, 200, 429]) {
    const made = await call('POST', '/v1/privacy/exports', { token: GLOBEX, body });
    assert.equal(made.status, wanted);
    if (wanted === 429) assert.equal(made.headers['retry-after'], '10');
  }
  assert.deepEqual(log, []);
});

test('GT6. calls under way count until they are answered', async (t) => {
  const evidence = await fakeEvidence();
  let go = (): void => undefined;
  const gate = new Promise<void>((resolve) => (go = resolve));
  let waiting = 0;
  const { port } = evidence;
  const slow = {
    ...port,
    tenantHead: async (...ask: Parameters<typeof port.tenantHead>) => {
      waiting += 1;
      await gate;
      return port.tenantHead(...ask);
    },
  };
  const { call } = await rig(t, { evidence: { ...evidence, port: slow }, callLimits: CALL_LIMITS });
  const one = call('GET', HEAD, { token: ACME });
  const two = call('GET', HEAD, { token: ACME });
  while (waiting < 2) await new Promise((resolve) => setImmediate(resolve));
  assert.equal((await call('GET', HEAD, { token: ACME })).status, 429);
  go();
  assert.deepEqual([(await one).status, (await two).status], [200, 200]);
  // The place is free when the answer is out, which its reader may hear of first.
  let status = 429;
  while (status === 429) status = (await call('GET', HEAD, { token: ACME })).status;
  assert.equal(status, 200);
});

test('GT6. a caller that hangs up keeps its place until the work is over', async (t) => {
  const evidence = await fakeEvidence();
  let go = (): void => undefined;
  const gate = new Promise<void>((resolve) => (go = resolve));
  let waiting = 0;
  const tenantHead = async (...ask: Parameters<typeof evidence.port.tenantHead>) => {
    waiting += 1;
    await gate;
    return evidence.port.tenantHead(...ask);
  };
  const port = { ...evidence.port, tenantHead };
  const { api, call } = await rig(t, {
    evidence: { ...evidence, port },
    callLimits: CALL_LIMITS,
  });
  const hangUp = new AbortController();
  const headers = { authorization: `Bearer ${ACME}` };
  const calls = [1, 2].map(() => fetch(`${api.url}${HEAD}`, { headers, signal: hangUp.signal }));
  while (waiting < 2) await new Promise((resolve) => setImmediate(resolve));
  hangUp.abort();
  for (const made of calls) await assert.rejects(made, { name: 'AbortError' });
  assert.equal((await call('GET', HEAD, { token: ACME })).status, 429);
  assert.equal((await call('GET', HEAD, { token: ACME })).status, 429);
  go();
  let status = 429;
  while (status === 429) status = (await call('GET', HEAD, { token: ACME })).status;
  assert.equal(status, 200);
});

test('GT5. EN4. nobody sees a private field that could not be recorded first', async (t) => {
  const evidence = await fakeEvidence();
  const { call, token } = await rig(t, { evidence });
  evidence.durable = async () => {
    throw new KinError('KIN_LEDGER_DEADLINE', '/srv/ledger/log/seg/1 is not synced', 'Wait.');
  };
  const reveal = '/v1/tenants/acme/ledger/entries?reveal=true';
  const body = { tenant: 'acme', subject: 's', ref: 'C-1' };
  for (const by of [ACME, token]) {
    for (const [method, path, sent] of [
      ['GET', reveal, undefined],
      ['POST', '/v1/privacy/exports', body],
    ] as const) {
      const refused = await call(method, path, { token: by, body: sent });
      assert.equal(refused.status, 503, refused.text);
      assert.equal(problem(refused.json()).code, 'KIN_LEDGER_DEADLINE');
      assert.doesNotMatch(refused.text, /shown|records/u);
    }
  }
  assert.equal((await call('GET', '/v1/tenants/acme/ledger/entries', { token: ACME })).status, 200);
  // What is not there is no reason to begin a log.
  evidence.durable = async () => undefined;
  evidence.notes.length = 0;
  assert.equal((await call('GET', reveal.replace('acme', 'nobody'))).status, 404);
  assert.deepEqual(evidence.notes, []);
  assert.equal((await call('GET', reveal)).status, 200);
  assert.equal((await call('GET', reveal)).status, 200);
  const shown = evidence.notes.filter(({ detail }) => detail['action'] === 'RevealPrivate');
  assert.equal(shown.length, 2, 'each reveal has a record of its own');
});

test('GT5. EN4. without a durable record nothing is revealed at all', async (t) => {
  const { record: _, ...without } = await fakeEvidence();
  const { call } = await rig(t, { evidence: without });
  const refused = await call('GET', '/v1/tenants/acme/ledger/entries?reveal=true');
  assert.deepEqual([refused.status, problem(refused.json()).code], [503, 'KIN_ACCESS_UNRECORDED']);
});

test('FA2. others than the operator get no path of this machine', async (t) => {
  const evidence = await fakeEvidence();
  const codes = ['KIN_LEDGER_IO', 'KIN_LEDGER_CORRUPT', 'KIN_STATE_FILE_INVALID'] as const;
  for (const code of codes) {
    const tenantHead = async (): Promise<never> => {
      throw new KinError(code, '/srv/secret/ledger/log/seg/0001: EIO', 'Look at /srv/secret.');
    };
    const broken = { ...evidence, port: { ...evidence.port, tenantHead } };
    const { call, log } = await rig(t, { evidence: broken });
    const told = await call('GET', HEAD, { token: ACME });
    assert.equal(problem(told.json()).code, code);
    assert.doesNotMatch(told.text, /srv|EIO/u);
    assert.equal(log.length, 1, 'the operator finds it in the log');
    assert.match((await call('GET', HEAD)).text, /srv.secret/u);
  }
});

test('SV1. SV2. what fails before routing meets the guard and is a problem document', async (t) => {
  const { call, api, token } = await rig(t);
  for (const path of ['/v1/%zz', `/v1/incidents/${'x'.repeat(300)}`]) {
    const bad = await call('GET', path);
    assert.equal(bad.status, 400, bad.text);
    assert.equal(problem(bad.json()).code, 'KIN_API_BAD_REQUEST');
    assert.match(String(bad.headers['content-type']), /problem\+json/u);
    assert.equal(bad.headers['x-request-id'], problem(bad.json()).requestId);
    assert.doesNotMatch(bad.text, /zz|xxx/u);
    assert.equal((await call('GET', path, { anonymous: true })).status, 401);
    const authorization = `Bearer ${token}`;
    const rebound = { authorization, host: 'evil.example' };
    assert.equal((await send(api.port, 'GET', path, undefined, rebound)).status, 403);
    const origin = { authorization, origin: 'https://evil.example' };
    assert.equal((await send(api.port, 'GET', path, undefined, origin)).status, 403);
    assert.equal((await call('GET', path, { token: ACME })).status, 403);
  }
});

test('a proof beyond the log is 404, one that only has to wait is 503', async (t) => {
  const evidence = await fakeEvidence();
  const tenantProof = async (): Promise<never> => {
    throw new KinError('KIN_LEDGER_NO_PROOF', 'no epoch covers it yet', 'Ask again.');
  };
  const { call } = await rig(t, {
    evidence: { ...evidence, port: { ...evidence.port, tenantProof } },
  });
  for (const kind of ['entries', 'after']) {
    const of = (index: number) =>
      call('GET', `/v1/tenants/acme/ledger/proofs/${kind}/${index}`, { token: ACME });
    assert.equal((await of(2)).status, 503);
    const past = await of(3);
    assert.deepEqual([past.status, problem(past.json()).code], [404, 'KIN_LEDGER_RANGE']);
  }
});

test('PA1. a page ends at 4 MiB, has one entry at least, and goes on behind the last', async () => {
  const log = Array.from({ length: 300 }, (_, index) => ({ index, entry: 'x'.repeat(60_000) }));
  const asked: number[] = [];
  const read = async ({ from, limit }: { readonly from: number; readonly limit: number }) => {
    asked.push(limit);
    return log.slice(from, from + limit);
  };
  const seen: number[] = [];
  while (seen.length < log.length) {
    const page = await pageOf({ from: seen.length, limit: 1_000 }, read);
    assert.ok(page.length > 0 && Buffer.byteLength(JSON.stringify(page)) <= 4 * 1024 * 1024);
    seen.push(...page.map(({ index }) => index));
  }
  assert.deepEqual(
    seen,
    log.map(({ index }) => index),
  );
  assert.ok(Math.max(...asked) <= 50);
  const huge = [{ index: 0, entry: 'x'.repeat(5 * 1024 * 1024) }];
  assert.equal((await pageOf({ from: 0, limit: 10 }, async () => huge)).length, 1);
  assert.deepEqual(await pageOf({ from: 9, limit: 10 }, async () => []), []);
});

test('PA2. only the operator gets more than 100 revealed entries a page', () => {
  assert.equal(pageLimit({ kind: 'tenant', tenant: 'acme' }, 1_000, true), 100);
  assert.equal(pageLimit({ kind: 'auditor', name: 'anna' }, 1_000, true), 100);
  assert.equal(pageLimit({ kind: 'tenant', tenant: 'acme' }, 1_000, false), 1_000);
  assert.equal(pageLimit({ kind: 'operator' }, 1_000, true), 1_000);
});
