import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVIDENCE_ROUTES } from '../../src/api/evidence-routes.ts';
import { ROUTES } from '../../src/api/routes.ts';
import { get } from '../../src/api/route.ts';
import { anything } from '../../src/api/schema.ts';
import type { Problem } from '../../src/api/contract.ts';
import { controlClient } from '../../src/api/client.ts';
import { bookLog, CLOCK, rig, send } from './harness.ts';
import type { Rig } from './harness.ts';
import { startControlApi } from '../../src/api/server.ts';
import { fakeControl } from './fake.ts';

const ACME = 'kin_clinic_acmekey';
const DAY_MS = 86_400_000;
const ALL = [...ROUTES, ...EVIDENCE_ROUTES];
const problem = (value: unknown): Problem => value as Problem;

const BODIES: Readonly<Record<string, unknown>> = {
  deploy: { path: '/srv/records' },
  scale: { replicas: 2 },
  decideApproval: { decision: 'approve' },
  applyManifest: { path: '/srv/kintsugi.yaml', text: 'v: 1', dryRun: true },
  drill: { name: 'kill', target: 'records-1' },
  shutdown: { mode: 'controller' },
  liftQuarantine: { route: '' },
  holdTenant: { mode: 'deny', reason: 'a test' },
  eraseSubject: { tenant: 'acme', subject: 's', basis: { code: 'gdpr-17-1-b', ref: 'C-1' } },
  placeHold: { tenant: 'acme', basis: { code: 'litigation', ref: 'C-1' } },
  releaseHold: { ref: 'C-1' },
  restrictSubject: { tenant: 'acme', subject: 's', basis: { code: 'gdpr-18-1-a', ref: 'C-1' } },
  liftRestriction: { ref: 'C-1' },
  exportSubject: { tenant: 'acme', subject: 's', ref: 'C-1' },
  addAuditor: { name: 'berta', lifetimeMs: DAY_MS },
};

function pathOf(url: string, tenant = 'acme'): string {
  return url
    .replace(':tenant', tenant)
    .replace('*', 'checkpoint')
    .replaceAll(/:[a-z]+/giu, '1');
}

async function auditorToken({ evidence }: Rig): Promise<string> {
  return (await evidence.auditors.add('anna', DAY_MS)).token;
}

/** What an auditor and a tenant are admitted to, word for word: a new row is a decision. */
const AUDITOR_MAY = [
  'getLedgerHead',
  'listLedgerEntries',
  'proveLedgerEntry',
  'getLogTile',
  'getTenantLogTile',
  'listTenantLogs',
  'getTenantHead',
  'listTenantEntries',
  'proveTenantHead',
  'proveTenantEntry',
  'proveTenantLogAfter',
  'getWitnesses',
  'listAnchors',
  'listHolds',
];
const TENANT_MAY = [
  'getTenantLogTile',
  'getTenantHead',
  'listTenantEntries',
  'proveTenantHead',
  'proveTenantEntry',
  'proveTenantLogAfter',
  'exportSubject',
];

test('EP1. the operator reaches every operation on evidence, and is named', async (t) => {
  const { call, evidence } = await rig(t);
  await evidence.auditors.add('1', DAY_MS);
  for (const route of EVIDENCE_ROUTES) {
    const body = route.method === 'POST' ? (BODIES[route.id] ?? {}) : undefined;
    const answer = await call(route.method, pathOf(route.url), { body });
    assert.equal(answer.status, 200, `${route.id}: ${answer.text}`);
  }
  assert.ok(evidence.calls.every(({ actor }) => actor === 'operator'));
  assert.equal(new Set(evidence.calls.map(({ name }) => name)).size, 15);
  const acts = evidence.notes.filter(({ kind }) => kind === 'evidence.act');
  assert.deepEqual(
    acts.map(({ tenant, detail }) => [detail['action'], tenant, detail['principal']]),
    [
      ['Publish', undefined, 'operator'],
      ['Erase', 'acme', 'operator'],
      ['Hold', 'acme', 'operator'],
      ['Hold', undefined, 'operator'],
      ['Hold', 'acme', 'operator'],
      ['Hold', undefined, 'operator'],
    ],
  );
  const added = evidence.notes.filter(({ kind }) => kind.startsWith('auditor.'));
  assert.deepEqual(
    added.map(({ kind }) => kind),
    ['auditor.added', 'auditor.removed'],
  );
});

test('GT1. GT2. RT1. an auditor gets 200 or 403 on exactly the routes that say so', async (t) => {
  const made = await rig(t);
  const token = await auditorToken(made);
  assert.ok(ALL.length >= 45, 'the walk must have seen the routes');
  const admitted: string[] = [];
  for (const route of ALL) {
    const body = route.method === 'POST' ? (BODIES[route.id] ?? {}) : undefined;
    const answer = await made.call(route.method, pathOf(route.url), { body, token });
    if (answer.status === 200) admitted.push(route.id);
    else assert.ok([401, 403].includes(answer.status), `${route.id} ${answer.status}`);
  }
  assert.deepEqual(admitted.toSorted(), AUDITOR_MAY.toSorted());
  const plain = ['/metrics', '/openapi.json', '/v1/events', '/', '/v1/nothing', '/healthz/'];
  for (const path of plain) {
    assert.equal((await made.call('GET', path, { token })).status, 403, path);
  }
  assert.deepEqual(made.control.calls, []);
  const reveal = '/v1/tenants/acme/ledger/entries?reveal=true';
  const refused = await made.call('GET', reveal, { token });
  assert.equal(refused.status, 403);
  assert.match(problem(refused.json()).detail, /no-policy/u);
  assert.ok(!made.evidence.calls.some(({ name }) => name === 'reveal'));
});

test('GT2. a tenant gets 200 on exactly the routes of its own log', async (t) => {
  const { call, control, evidence } = await rig(t);
  const admitted: string[] = [];
  for (const route of ALL) {
    const body = route.method === 'POST' ? (BODIES[route.id] ?? {}) : undefined;
    const answer = await call(route.method, pathOf(route.url), { body, token: ACME });
    if (answer.status === 200) admitted.push(route.id);
    else assert.ok([401, 403].includes(answer.status), `${route.id} ${answer.status}`);
  }
  assert.deepEqual(admitted.toSorted(), TENANT_MAY.toSorted());
  assert.deepEqual(control.calls, []);
  assert.ok(evidence.calls.every(({ tenant, actor }) => `tenant:${tenant}` === actor));
  for (const path of ['/metrics', '/openapi.json', '/v1/events', '/v1/status', '/nope']) {
    assert.equal((await call('GET', path, { token: ACME })).status, 403, path);
  }
});

test('GT3. one tenant never gets anything of another, however it is asked', async (t) => {
  const { call, evidence } = await rig(t);
  const others = ['globex', 'GLOBEX', 'acme2', 'acm', 'acme%20', 'acme%00', '%D0%B0cme'];
  const paths = EVIDENCE_ROUTES.filter(({ url }) => url.includes(':tenant'));
  for (const route of paths) {
    for (const tenant of others) {
      const answer = await call(route.method, pathOf(route.url, tenant), { token: ACME });
      assert.ok([400, 403].includes(answer.status), `${route.id} ${tenant} ${answer.status}`);
      assert.ok(!answer.text.includes('secret-of'), tenant);
    }
  }
  const mixed = [
    '/v1/tenants/acme/ledger/head?tenant=globex',
    '/v1/tenants/acme/ledger/entries?tenant=globex',
    '/v1/tenants/acme/log/../../globex/log/checkpoint',
    '/v1/tenants/acme/log/..%2f..%2fglobex%2flog%2fcheckpoint',
    '/v1/tenants/acme/log/%2e%2e/checkpoint',
    '/v1/tenants/acme/../globex/ledger/head',
    '/v1/tenants/acme%2f..%2fglobex/ledger/head',
    '/v1/tenants/acme;globex/ledger/head',
    '//v1/tenants/globex/ledger/head',
    '/v1/tenants/globex/ledger/head/',
    '/V1/tenants/globex/ledger/head',
  ];
  for (const path of mixed) {
    const answer = await call('GET', path, { token: ACME });
    assert.ok([400, 403, 404].includes(answer.status), `${path} ${answer.status}`);
    assert.ok(!answer.text.includes('checkpoint":'), path);
  }
  const bodies = [
    { tenant: 'globex', subject: 's', ref: 'C-1' },
    '{"tenant":"acme","subject":"s","ref":"C-1","tenant":"globex"}',
    { tenant: ['acme', 'globex'], subject: 's', ref: 'C-1' },
    { tenant: { id: 'globex' }, subject: 's', ref: 'C-1' },
    '{"tenant":"acme","__proto__":{"tenant":"globex"},"subject":"s","ref":"C-1"}',
    { tenant: 'acme', subject: 's', ref: 'C-1', of: 'globex' },
  ];
  for (const body of bodies) {
    const answer = await call('POST', '/v1/privacy/exports', { token: ACME, body });
    assert.ok([400, 403].includes(answer.status), `${JSON.stringify(body)} ${answer.status}`);
    assert.ok(!answer.text.includes('records'));
  }
  assert.ok(!evidence.calls.some(({ tenant }) => tenant !== 'acme' && tenant !== ''));
  // The key decides: the other tenant reads its own by the same path.
  const own = { token: 'kin_clinic_globexkey' };
  const theirs = await call('GET', '/v1/tenants/globex/ledger/entries', own);
  assert.match(theirs.text, /globex/u);
});

test('GT1. wrong tokens of every kind answer 401 and are counted, not listed', async (t) => {
  const made = await rig(t);
  const token = await auditorToken(made);
  await made.evidence.auditors.remove('anna');
  for (const wrong of [
    token,
    `${ACME}x`,
    ACME.toUpperCase(),
    'kin_au_x',
    'toString',
    '__proto__',
  ]) {
    const answer = await made.call('GET', '/v1/ledger/head', { token: wrong });
    assert.equal(answer.status, 401, wrong);
    assert.ok(!answer.text.includes(wrong));
  }
  const denied = made.evidence.notes.filter(({ kind }) => kind === 'evidence.denied');
  assert.equal(denied.length, 1);
  assert.equal(denied[0]?.detail['principal'], 'unknown');
});

test('GT4. reads and refusals are recorded once a minute, in the log concerned', async (t) => {
  const made = await rig(t);
  const token = await auditorToken(made);
  const tile = '/v1/tenants/globex/log/tile/0/000.p/3';
  for (let i = 0; i < 20; i += 1) {
    assert.equal((await made.call('GET', tile, { token })).status, 200);
  }
  await made.call('GET', '/v1/tenants/globex/ledger/entries', { token: ACME });
  await made.call('GET', '/v1/tenants/nobody/ledger/head', { token });
  const notes = made.evidence.notes.map(({ kind, tenant, detail }) => [
    kind,
    tenant,
    detail['principal'],
    detail['policy'],
  ]);
  assert.deepEqual(notes, [
    ['evidence.read', 'globex', 'auditor:anna', 'auditor-reads'],
    ['evidence.denied', 'acme', 'tenant:acme', 'own-log-only'],
  ]);
});

test('EP2. private fields are sealed until they are asked for, and that is recorded', async (t) => {
  const { call, evidence } = await rig(t);
  const path = '/v1/tenants/acme/ledger/entries';
  assert.match((await call('GET', path, { token: ACME })).text, /"kind":"sealed"/u);
  assert.match((await call('GET', `${path}?reveal=true`, { token: ACME })).text, /"shown"/u);
  const actions = evidence.notes.map(({ detail }) => detail['action']);
  assert.deepEqual(actions, ['ReadTenantLog', 'RevealPrivate']);
});

test('a tile is passed on as it is, and a path that is none never reaches the port', async (t) => {
  const { call, evidence } = await rig(t);
  const good = await call('GET', '/v1/ledger/log/tile/entries/x001/234.p/7');
  assert.equal(good.text, 'acme and globex tile/entries/x001/234.p/7');
  assert.equal(good.headers['content-type'], 'text/plain');
  const own = await call('GET', '/v1/tenants/acme/log/checkpoint', { token: ACME });
  assert.equal(own.headers['cache-control'], 'private, no-store');
  const before = evidence.calls.length;
  const bad = ['../checkpoint', 'tile', 'tile/0/../000', 'checkpoint/', 'tile/0/000/../../x', 'x'];
  for (const path of bad) {
    assert.equal((await call('GET', `/v1/ledger/log/${path}`)).status, 404, path);
  }
  assert.equal(evidence.calls.length, before);
});

test('failures keep their code: held 403, unknown 404, being erased 503', async (t) => {
  const { call } = await rig(t);
  const basis = { code: 'gdpr-17-1-b', ref: 'C-1' };
  const held = await call('POST', '/v1/privacy/erasures', {
    body: { tenant: 'acme', subject: 'held', basis },
  });
  assert.deepEqual([held.status, problem(held.json()).code], [403, 'KIN_LEDGER_HELD']);
  assert.equal((await call('GET', '/v1/tenants/nobody/ledger/head')).status, 404);
  const gone = await call('POST', '/v1/privacy/exports', {
    body: { tenant: 'acme', subject: 'gone', ref: 'C-1' },
  });
  assert.deepEqual([gone.status, problem(gone.json()).code], [503, 'KIN_LEDGER_ERASING']);
});

test('the client speaks every operation, and an export comes in pieces', async (t) => {
  const { api, token, evidence } = await rig(t);
  const { evidence: client } = controlClient({ url: api.url, token });
  assert.equal((await client.tenantLogs(undefined, 10)).logs.length, 2);
  assert.equal((await client.tenantHead('acme')).tenant, 'acme');
  const query = { from: 1, limit: 5, reveal: true };
  assert.equal((await client.tenantEntries('acme', query)).length, 2);
  for (const about of [
    { kind: 'head' },
    { kind: 'entry', index: 1 },
    { kind: 'after', index: 1 },
  ] as const) {
    assert.equal((await client.tenantProof('acme', about)).tenant, 'acme');
  }
  const basis = { code: 'gdpr-17-1-b', ref: 'C-1' };
  assert.equal((await client.erase({ tenant: 'acme', subject: 's', basis })).kind, 'erased');
  assert.equal((await client.hold({ tenant: 'acme', subject: undefined, basis })).scope, 'tenant');
  assert.equal((await client.release('f00d', 'C-1')).index, 8);
  assert.equal((await client.restrict({ tenant: 'acme', subject: 's', basis })).id, 'f00d');
  assert.equal((await client.unrestrict('f00d', 'C-1')).index, 9);
  assert.equal((await client.holds('acme')).holds.length, 1);
  assert.equal((await client.witnesses()).size, 12);
  assert.equal((await client.anchors()).length, 1);
  assert.equal((await client.publish()).size, 12);
  const { token: made } = await client.addAuditor('anna', DAY_MS);
  assert.equal(evidence.auditors.nameOf(made), 'anna');
  assert.equal((await client.auditors()).length, 1);
  assert.deepEqual(await client.removeAuditor('anna'), { removed: 'anna' });
  let text = '';
  const request = { tenant: 'acme', subject: 's', ref: 'C-1' };
  for await (const piece of client.subjectExport(request)) text += piece;
  assert.deepEqual(JSON.parse(text), { about: { tenant: 'acme' }, records: [] });
  const refused = client.subjectExport({ ...request, subject: 'gone' });
  await assert.rejects(refused.next(), { code: 'KIN_LEDGER_ERASING' });
});

test('RT1. an operation that admits others must say what it asks', () => {
  const spec = { id: 'x', url: '/x', tag: 'x', summary: 'x', answer: anything, run: () => 1 };
  assert.throws(() => get({ ...spec, admits: ['auditor'] }), /asks nothing/u);
  assert.deepEqual(get(spec).admits, ['operator']);
});

test('without evidence there are no operations on it, and nobody but the operator', async (t) => {
  const api = await startControlApi({
    control: fakeControl(),
    token: 'the-operator',
    host: '127.0.0.1',
    port: 0,
    version: '0',
    clock: CLOCK,
    ids: { next: () => 'x' },
    log: bookLog([]),
  });
  t.after(() => api.close());
  const as = (token: string) => ({
    authorization: `Bearer ${token}`,
    host: `127.0.0.1:${api.port}`,
  });
  const witnesses = '/v1/ledger/witnesses';
  assert.equal((await send(api.port, 'GET', witnesses, undefined, as('the-operator'))).status, 404);
  assert.equal((await send(api.port, 'GET', '/v1/ledger/head', undefined, as(ACME))).status, 401);
});
