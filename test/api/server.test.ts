import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { AnySchema } from 'ajv/dist/2020.js';
import { KinError } from '../../src/model/errors.ts';
import type { Problem } from '../../src/api/contract.ts';
import { EVIDENCE_ROUTES } from '../../src/api/evidence-routes.ts';
import { ROUTES as CONTROL_ROUTES } from '../../src/api/routes.ts';
import { startControlApi } from '../../src/api/server.ts';
import { STORY } from './fake.ts';
import { bookLog, CLOCK, rig } from './harness.ts';

const ROUTES = [...CONTROL_ROUTES, ...EVIDENCE_ROUTES];
const problem = (value: unknown): Problem => value as Problem;
const filled = (url: string): string => url.replaceAll(/:[a-z]+/giu, '1');
const PLAIN = ['/openapi.json', '/metrics', '/v1/events'];

test('GA1. SV1. without a token every path and method answers 401, unknown ones too', async (t) => {
  const { call, control } = await rig(t);
  assert.ok(ROUTES.length >= 25, 'the walk must have seen the routes');
  const paths = [
    ...ROUTES.map((route) => [route.method, filled(route.url)] as const),
    ...PLAIN.map((path) => ['GET', path] as const),
    ...['/', '/v1', '/v1/nothing', '/healthz/', '/healthz/..', '//healthz', '/v1/status/'].map(
      (path) => ['GET', path] as const,
    ),
    ['HEAD', '/v1/status'] as const,
    ['PUT', '/v1/status'] as const,
    ['OPTIONS', '/v1/status'] as const,
  ];
  for (const [method, path] of paths) {
    const body = method === 'POST' ? {} : undefined;
    const answer = await call(method, path, { anonymous: true, body });
    assert.equal(answer.status, 401, `${method} ${path}`);
    assert.ok(answer.headers['www-authenticate'], `${method} ${path}`);
    if (method !== 'HEAD') assert.equal(problem(answer.json()).code, 'KIN_API_UNAUTHORIZED');
  }
  assert.deepEqual(control.calls, []);
});

test('TK1. a wrong, shorter, longer or misplaced token is refused', async (t) => {
  const { call, token } = await rig(t);
  const wrong = [
    'Bearer',
    'Bearer ',
    `Bearer ${token}x`,
    `Bearer ${token.slice(0, -1)}`,
    `Bearer ${token.toUpperCase()}`,
    `Basic ${token}`,
    token,
    `Bearer ${token} ${token}`,
  ];
  for (const authorization of wrong) {
    const answer = await call('GET', '/v1/status', { anonymous: true, headers: { authorization } });
    assert.equal(answer.status, 401, authorization);
    assert.ok(!answer.text.includes(token));
  }
  const path = `/v1/status?token=${token}&access_token=${token}`;
  assert.equal((await call('GET', path, { anonymous: true })).status, 401);
});

test('GA2. a Host that was rebound to loopback is refused even with the token', async (t) => {
  const { call, api } = await rig(t);
  for (const host of ['evil.example', `evil.example:${api.port}`, '127.0.0.1', 'localhost:1']) {
    for (const path of ['/v1/status', '/healthz']) {
      const answer = await call('GET', path, { headers: { host } });
      assert.ok([400, 403].includes(answer.status), `${host} ${path} ${answer.status}`);
    }
  }
  for (const host of [`localhost:${api.port}`, `127.0.0.1:${api.port}`, `[::1]:${api.port}`]) {
    assert.equal((await call('GET', '/v1/status', { headers: { host } })).status, 200, host);
  }
});

test('GA3. a page of another origin gets nothing, and no CORS header is ever sent', async (t) => {
  const { call, api } = await rig(t);
  const evil = await call('GET', '/v1/status', { headers: { origin: 'https://evil.example' } });
  assert.equal(evil.status, 403);
  const own = await call('GET', '/v1/status', {
    headers: { origin: `http://127.0.0.1:${api.port}` },
  });
  assert.equal(own.status, 200);
  for (const answer of [evil, own]) {
    assert.ok(!Object.keys(answer.headers).some((name) => name.startsWith('access-control')));
  }
});

test('a control API on anything but loopback does not start', async () => {
  const options = {
    control: (await import('./fake.ts')).fakeControl(),
    token: 'x',
    port: 0,
    version: '0',
    clock: CLOCK,
    ids: { next: () => 'x' },
    log: bookLog([]),
  };
  await assert.rejects(startControlApi({ ...options, host: '0.0.0.0' }), {
    code: 'KIN_MANIFEST_CONTROL_HOST',
  });
});

test('a taken port is told with its fix', async (t) => {
  const { api, control } = await rig(t);
  const second = startControlApi({
    control,
    token: 'x',
    host: '127.0.0.1',
    port: api.port,
    version: '0',
    clock: CLOCK,
    ids: { next: () => 'x' },
    log: bookLog([]),
  });
  await assert.rejects(second, (error) => {
    assert.ok(error instanceof KinError);
    assert.equal(error.code, 'KIN_PORT_TAKEN');
    assert.match(error.fix, /--control-port/u);
    return true;
  });
});

test('health needs no token and says nothing else', async (t) => {
  const { call } = await rig(t);
  const answer = await call('GET', '/healthz', { anonymous: true });
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.json(), { status: 'ok' });
});

test('PO1. calls that change something carry the actor and the request id', async (t) => {
  const { call, control } = await rig(t);
  await call('POST', '/v1/services/records/scale', { body: { replicas: 3 } });
  const named = await call('POST', '/v1/services/records/rollback', {
    headers: { 'kintsugi-actor': 'alice@example.org' },
  });
  assert.equal(named.status, 200);
  assert.deepEqual(
    control.calls.map((entry) => [entry.name, entry.actor?.name]),
    [
      ['scale', 'operator'],
      ['rollback', 'operator:alice@example.org'],
    ],
  );
  assert.equal(control.calls[1]?.actor?.requestId, named.headers['x-request-id']);
  const forged = await call('POST', '/v1/pause', { headers: { 'kintsugi-actor': 'a b\tc' } });
  assert.equal(forged.status, 400);
  assert.equal(control.calls.length, 2);
});

test('PO1. every operation reaches its call of the port', async (t) => {
  const { call, control } = await rig(t);
  const bodies: Readonly<Record<string, unknown>> = {
    deploy: { path: '/srv/records' },
    scale: { replicas: 2 },
    decideApproval: { decision: 'approve' },
    applyManifest: { path: '/srv/kintsugi.yaml', text: 'v: 1', dryRun: true },
    drill: { name: 'kill', target: 'records-1' },
    shutdown: { mode: 'controller' },
    liftQuarantine: { route: '' },
    holdTenant: { mode: 'deny', reason: 'a test' },
  };
  const ids: Readonly<Record<string, string>> = {
    explainIncident: '/v1/incidents/inc-01',
    getRun: '/v1/runs/run-01',
  };
  for (const route of CONTROL_ROUTES) {
    const path = ids[route.id] ?? filled(route.url);
    const body = route.method === 'POST' ? (bodies[route.id] ?? {}) : undefined;
    const answer = await call(route.method, path, { body });
    assert.equal(answer.status, 200, `${route.id}: ${answer.text}`);
  }
  const changing = ['decideApproval', 'deploy', 'rollback', 'scale', 'audit', 'createKey'];
  const made = new Set(control.calls.map((entry) => entry.name));
  const rest = [
    'revokeKey',
    'holdTenant',
    'releaseTenant',
    'liftQuarantine',
    'applyManifest',
    'drill',
    'shutdown',
    'pause',
  ];
  for (const name of [...changing, ...rest]) {
    assert.ok(made.has(name), name);
  }
  assert.ok(control.calls.every((entry) => entry.actor?.name === 'operator'));
});

test('SV2. an expected failure is a problem with its code, its fix and its status', async (t) => {
  const { call, control } = await rig(t);
  const cases = [
    ['KIN_DRILL_REFUSED', 403],
    ['KIN_STORE_FENCED', 503],
    ['KIN_SERVICE_UNKNOWN', 404],
    ['KIN_MANIFEST_INVALID', 422],
    ['KIN_SOMETHING_ELSE', 409],
  ] as const;
  for (const [code, status] of cases) {
    control.failWith = new KinError(code, 'what happened', 'what to do');
    const answer = await call('POST', '/v1/drills', { body: { name: 'kill', target: 'x' } });
    assert.equal(answer.status, status, code);
    assert.match(String(answer.headers['content-type']), /^application\/problem\+json/u);
    const told = problem(answer.json());
    assert.deepEqual(
      [told.code, told.detail, told.fix, told.status],
      [code, 'what happened', 'what to do', status],
    );
    assert.equal(told.requestId, answer.headers['x-request-id']);
  }
});

test('SV2. FA1. a bug answers 500 without a word of itself, and is in the log', async (t) => {
  const { call, control, log } = await rig(t);
  control.failWith = new Error('secret of the house');
  const answer = await call('POST', '/v1/pause');
  assert.equal(answer.status, 500);
  assert.ok(!answer.text.includes('secret of the house'));
  assert.equal(problem(answer.json()).code, 'KIN_API_INTERNAL');
  assert.match(JSON.stringify(log), /secret of the house/u);
});

test('SV3. unknown fields, wrong types and wrong media are refused before the port', async (t) => {
  const { call, control } = await rig(t);
  const scale = '/v1/services/records/scale';
  const bad: readonly unknown[] = [
    { replicas: '3' },
    { replicas: null },
    { replicas: 2.5 },
    { replicas: 0 },
    { replicas: 3, force: true },
    {},
    [],
    'not json',
    '{"__proto__": {"x": 1}, "replicas": 3}',
  ];
  for (const body of bad) {
    const answer = await call('POST', scale, { body });
    assert.equal(answer.status, 400, JSON.stringify(body));
    assert.equal(problem(answer.json()).code, 'KIN_API_BAD_REQUEST');
  }
  const apply = { path: '/x', text: 'x', dryRun: null };
  assert.equal((await call('POST', '/v1/manifest', { body: apply })).status, 400);
  const form = await call('POST', scale, {
    body: 'replicas=3',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  });
  assert.equal(form.status, 415);
  const plain = await call('POST', scale, {
    body: '{"replicas":3}',
    headers: { 'content-type': 'text/plain' },
  });
  assert.equal(plain.status, 415);
  assert.equal((await call('GET', '/v1/incidents?limit=100000')).status, 400);
  assert.equal((await call('GET', '/v1/incidents?page=2')).status, 400);
  assert.deepEqual(control.calls, []);
});

test('a body past the limit is refused with 413', async (t) => {
  const { call } = await rig(t);
  const answer = await call('POST', '/v1/manifest', { body: `"${'x'.repeat(1_400_000)}"` });
  assert.equal(answer.status, 413);
  assert.equal(problem(answer.json()).code, 'KIN_API_TOO_LARGE');
});

test('unknown incidents, runs and paths answer 404 with a code', async (t) => {
  const { call } = await rig(t);
  assert.equal(problem((await call('GET', '/v1/incidents/nope')).json()).code, 'KIN_API_NOT_FOUND');
  assert.equal((await call('GET', '/v1/runs/nope')).status, 404);
  assert.equal((await call('GET', '/v1/ledger/proofs/999')).status, 404);
  assert.equal(problem((await call('GET', '/nope')).json()).code, 'KIN_API_ROUTE_UNKNOWN');
});

test('a story comes back as it was told', async (t) => {
  const { call } = await rig(t);
  const answer = await call('GET', '/v1/incidents/inc-01');
  assert.deepEqual(answer.json(), JSON.parse(JSON.stringify(STORY)));
});

test('metrics are Prometheus text with every population beside its control', async (t) => {
  const { call } = await rig(t);
  const { text, headers } = await call('GET', '/metrics');
  assert.match(String(headers['content-type']), /^text\/plain; version=0\.0\.4/u);
  assert.match(text, /^kintsugi_budget_may_lose\{service="records"\} 0$/mu);
  assert.match(text, /^kintsugi_control_population\{control="rls-records"\} 6$/mu);
  assert.match(text, /^kintsugi_control_age_seconds\{control="rls-records"\} 4$/mu);
  for (const line of text.trim().split('\n')) {
    assert.match(line, /^(?:# (?:HELP|TYPE) \S+ .+|[a-z_0-9]+(?:\{[^}]*\})? [0-9.e+-]+)$/u);
  }
});

interface OpenApi {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, AnySchema>> };
}
interface Operation {
  readonly operationId: string;
  readonly security: unknown;
  readonly responses: Readonly<
    Record<string, { readonly content: Readonly<Record<string, { readonly schema: unknown }>> }>
  >;
}

test('the OpenAPI 3.1 document has every route, and every reference in it resolves', async (t) => {
  const { call } = await rig(t);
  const document = (await call('GET', '/openapi.json')).json() as OpenApi;
  assert.equal(document.openapi, '3.1.0');
  const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
  assert.equal(operations.length, ROUTES.length);
  assert.equal(new Set(operations.map((o) => o.operationId)).size, ROUTES.length);
  for (const operation of operations) {
    const route = ROUTES.find(({ id }) => id === operation.operationId);
    const admitted = route?.admits.map((kind) => ({ [kind]: [] }));
    assert.deepEqual(operation.security, admitted, operation.operationId);
    assert.ok(operation.responses['200'], operation.operationId);
    assert.ok(operation.responses['default'], operation.operationId);
  }
  const refs = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/gu)].map((m) => m[1] ?? '');
  assert.ok(refs.length > 20);
  for (const ref of refs) {
    const name = /^#\/components\/schemas\/(\w+)$/u.exec(ref)?.[1] ?? ref;
    assert.ok(name in document.components.schemas, ref);
  }
});

test('C1. what the API answers is what its OpenAPI document says, field by field', async (t) => {
  const { call } = await rig(t);
  const document = (await call('GET', '/openapi.json')).json() as OpenApi;
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  ajv.addSchema({ $id: 'doc', ...document });
  const answers = {
    Status: '/v1/status',
    IncidentStory: '/v1/incidents/inc-01',
    RunStory: '/v1/runs/run-01',
    LedgerHead: '/v1/ledger/head',
    PublishState: '/v1/ledger/witnesses',
    TenantLogPage: '/v1/ledger/tenants',
    TenantHead: '/v1/tenants/acme/ledger/head',
    TenantProof: '/v1/tenants/acme/ledger/proofs/head',
    Problem: '/v1/runs/nope',
  };
  for (const [name, path] of Object.entries(answers)) {
    const check = ajv.compile({ $ref: `doc#/components/schemas/${name}` });
    const value = (await call('GET', path)).json();
    assert.ok(check(value), `${name}: ${JSON.stringify(check.errors)}`);
    assert.ok(!check({ ...(value as object), surplus: 1 }), `${name} refuses surplus fields`);
  }
});
