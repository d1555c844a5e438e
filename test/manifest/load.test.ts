import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadManifest, loadManifestText } from '../../src/manifest/index.ts';
import { serviceName, tenantId, dependencyName } from '../../src/model/ids.ts';
import { SERVER, folder } from './fixture.ts';

const FULL = `# yaml-language-server: $schema=./kintsugi.schema.json
apiVersion: kintsugi/v1
name: clinic
gateway:
  workers: 3
  retryBudget: 10%
  jwt: [{ issuer: 'https://id.example', audience: api, jwks: ./jwks.json, tenantClaim: org }]
control: { port: 0 }
secrets: { db-app: { generate: 32 }, stripe: { file: ./x }, tok: { env: NAME } }
services:
  database:
    kind: stateful
    unlessEnv: DATABASE_URL
    command: [node, services/database.ts]
    env: { PASSWORD: '\${secret:db-app}' }
    startup: 30s
    resources: { memory: 512MiB, cpu: 1, logs: 16MiB }
  records:
    command: node --enable-source-maps "services/records.ts" --mode 'a b'
    env: { KEY: 'v \${env:NAME:-d} \${port:database} \${state} \${name}', N: 5, B: true }
    replicas: { min: 3, max: 6, spares: 1 }
    readiness: { http: /readyz, intervalMs: 250, timeout: 200ms, failures: 3 }
    liveness: { http: /healthz }
    resources: { memoryBytes: 1048576, cpu: 0.5 }
    dependsOn: [postgres]
    regions: [eu]
    routes: [{ prefix: /records/, timeout: 5s, retry: false }]
    slo: { availability: 99.9%, latency: 300ms, latencyTarget: 0.99 }
    rollout: { canary: 10%, bake: 3s, minRequests: 20 }
dependencies:
  postgres:
    kind: postgres
    service: database
    url: 'postgres://app:\${secret:db-app}@127.0.0.1:\${port:database}/x'
    adminUrl: 'postgres://owner@127.0.0.1:\${port:database}/x'
  cache: { kind: tcp, service: database }
tenants:
  northside: { region: eu, frameworks: [hipaa], quotas: { rate: 200/s, body: 2MiB } }
healing:
  mode: suggest
  freezeWindows: [{ reason: holidays, from: '2026-12-24T00:00Z', to: '2026-12-27T00:00Z' }]
  playbooks: { enforce-control: automatic, scale: off }
compliance:
  checks:
    - { id: rls, kind: rls-enforced, dependency: postgres, heal: automatic, frameworks: [gdpr] }
`;
const FILES = { 'services/records.ts': '', 'services/database.ts': '', 'jwks.json': '{"keys":[]}' };

test('LD2: a manifest of two lines has every default filled in', async (t) => {
  const { load, dir } = await folder(t);
  const { manifest, warnings, leftOut } = await load(`name: hello\n${SERVER}\n`);
  assert.deepEqual([...warnings, ...leftOut], []);
  assert.equal(manifest.baseDir, dir);
  assert.deepEqual(manifest.gateway, {
    host: '127.0.0.1',
    port: 8080,
    workers: 2,
    jwt: [],
    retryBudget: 0.2,
    accessLog: {
      enabled: true,
      query: [],
      headers: [],
      mask: [],
      paths: 'folded',
      sample: 1,
      maxBytes: 67_108_864,
      files: 5,
    },
    tracing: { headers: new Map(), ratio: 0.1 },
    serverTiming: 'on-demand',
    metrics: { tenants: 50 },
  });
  assert.deepEqual(manifest.control, { host: '127.0.0.1', port: 8081 });
  const web = manifest.services.get(serviceName('web'));
  const probe = { kind: 'tcp', path: '', intervalMs: 500, timeoutMs: 500, failures: 2 };
  assert.deepEqual(web, {
    name: 'web',
    kind: 'stateless',
    command: ['node', 'server.js'],
    cwd: '.',
    source: '.',
    env: new Map(),
    unlessEnv: undefined,
    port: 0,
    replicas: { min: 2, max: 2, spares: 0 },
    readiness: probe,
    liveness: probe,
    startupMs: 30_000,
    drainMs: 10_000,
    termMs: 5000,
    resources: { memoryBytes: undefined, cpuCores: undefined, logBytes: 16_777_216 },
    dependsOn: [],
    regions: ['any'],
    routes: [{ prefix: '/', timeoutMs: 30_000, retry: true }],
    slo: { availability: 0.999, latencyMs: 500, latencyTarget: 0.99 },
    rollout: { canaryPercent: 5, bakeMs: 10_000, minRequests: 0 },
  });
  assert.deepEqual([...manifest.tenants.keys()], ['default']);
  assert.equal(manifest.healing.mode, 'automatic');
});

test('a full manifest comes out in plain units, both spellings of a unit included', async (t) => {
  const { load } = await folder(t, FILES);
  const { manifest } = await load(FULL);
  const records = manifest.services.get(serviceName('records'));
  assert.ok(records !== undefined);
  const words = ['node', '--enable-source-maps', 'services/records.ts', '--mode', 'a b'];
  assert.deepEqual(records.command, words);
  assert.deepEqual(records.replicas, { min: 3, max: 6, spares: 1 });
  assert.deepEqual(records.readiness, {
    kind: 'http',
    path: '/readyz',
    intervalMs: 250,
    timeoutMs: 200,
    failures: 3,
  });
  assert.equal(records.resources.memoryBytes, 1_048_576);
  assert.equal(records.env.get('N'), '5');
  assert.equal(records.env.get('B'), 'true');
  assert.deepEqual(records.routes, [{ prefix: '/records', timeoutMs: 5000, retry: false }]);
  assert.deepEqual(records.slo, { availability: 0.999, latencyMs: 300, latencyTarget: 0.99 });
  const database = manifest.services.get(serviceName('database'));
  assert.deepEqual(database?.replicas, { min: 1, max: 1, spares: 0 });
  assert.deepEqual(database.routes, []);
  const cache = manifest.dependencies.get(dependencyName('cache'));
  assert.equal(cache?.url, 'tcp://127.0.0.1:${port:database}');
  const { quotas } = manifest.tenants.get(tenantId('northside')) ?? {};
  assert.deepEqual(quotas, {
    ratePerSecond: 200,
    burst: 400,
    concurrency: 50,
    bodyBytes: 2_097_152,
  });
  assert.deepEqual(manifest.compliance.frameworks, ['gdpr', 'hipaa']);
  assert.equal(manifest.healing.playbooks.get('scale'), 'off');
  assert.equal(manifest.gateway.jwt[0]?.tenantClaim, 'org');
  assert.deepEqual(manifest.secrets.get('tok'), { kind: 'env', name: 'NAME' });
});

test('unlessEnv leaves a service out, and its dependency is then run by others', async (t) => {
  const { load, problems } = await folder(t, FILES);
  const safe = FULL.replaceAll('${port:database}', '${env:DATABASE_PORT:-5432}').replace(
    '  cache: { kind: tcp, service: database }\n',
    '',
  );
  const env = { PATH: process.env['PATH'], DATABASE_URL: 'postgres://elsewhere' };
  const { manifest, leftOut } = await load(safe, { env });
  assert.deepEqual(leftOut, [{ service: 'database', because: 'DATABASE_URL' }]);
  assert.equal(manifest.services.has(serviceName('database')), false);
  assert.equal(manifest.dependencies.get(dependencyName('postgres'))?.service, undefined);
  // Somebody still needs its port: that is found now and not at the first start.
  const { text } = await problems(FULL, { env });
  assert.match(text, /\$\{port:database\}, a service that is left out because DATABASE_URL is set/);
});

test('several stateless services get a prefix each; a fixed port means one replica', async (t) => {
  const { load } = await folder(t);
  const command = 'command: [node, server.js]';
  const { manifest } = await load(
    `name: two\nservices: { a: { ${command}, port: 7001 }, b: { ${command}, routes: [] } }`,
  );
  const a = manifest.services.get(serviceName('a'));
  assert.equal(a?.routes[0]?.prefix, '/a');
  assert.deepEqual(a.replicas, { min: 1, max: 1, spares: 0 });
  assert.deepEqual(manifest.services.get(serviceName('b'))?.routes, []);
});

test('anchors and aliases are values like any other', async (t) => {
  const { load } = await folder(t);
  const probe = 'readiness: &p { http: /ready, interval: 1s }, liveness: *p';
  const { manifest } = await load(
    `name: a\nservices: { web: { command: node server.js, ${probe} } }`,
  );
  const web = manifest.services.get(serviceName('web'));
  assert.deepEqual(web?.liveness, web?.readiness);
  assert.equal(web?.liveness.intervalMs, 1000);
});

test('overrides are checked like the file', async (t) => {
  const { load, problems } = await folder(t);
  const text = `name: hello\n${SERVER}\n`;
  const overrides = { 'gateway.port': 0, 'services.web.replicas': 3, 'services.web.drain': '1s' };
  const { manifest } = await load(text, { overrides });
  assert.equal(manifest.gateway.port, 0);
  assert.equal(manifest.services.get(serviceName('web'))?.replicas.min, 3);
  assert.equal(manifest.services.get(serviceName('web'))?.drainMs, 1000);
  const bad = await problems(text, { overrides: { 'gateway.prot': 1, 'control.port': '80 81' } });
  assert.deepEqual(
    bad.all.map((p) => [p.code.slice(13), p.path, p.suggestion]),
    [
      ['UNKNOWN_KEY', 'gateway', 'port'],
      ['TYPE', 'control.port', undefined],
    ],
  );
  const inside = await problems(text, { overrides: { 'name.first': 1 } });
  assert.deepEqual(inside.short, ['REFERENCE name.first 0:0']);
});

test('the example of the repository is a manifest without warnings', async () => {
  const path = join(import.meta.dirname, '../../examples/clinic/kintsugi.yaml');
  const { manifest, warnings } = await loadManifest(path, { env: { PATH: process.env['PATH'] } });
  assert.deepEqual(warnings, []);
  assert.ok(manifest.services.size >= 3);
  assert.ok(manifest.tenants.size >= 3);
  const text = await readFile(path, 'utf8');
  assert.deepEqual((await loadManifestText(text, path, { env: process.env })).warnings, []);
});

test('what is allowed but doubtful comes as a warning with its place', async (t) => {
  const { load } = await folder(t);
  const { warnings } = await load(`name: hello
gateway: { host: 0.0.0.0 }
services:
  web:
    command: [node, server.js]
    regions: [eu]
    readiness: { interval: 100ms, timeout: 2s }
    env: { API_TOKEN: abc, PUBLIC_KEY: abc, DB: 'postgres://u:pw@h/d', OK_TOKEN: '\${env:HOME:-x}' }
dependencies: { db: { kind: postgres, url: 'postgres://h/d' } }
tenants: { a: { region: us, frameworks: [hipa] } }
compliance: { frameworks: [], checks: [{ id: c, kind: rls-enforced, dependency: db }] }
`);
  assert.deepEqual(
    warnings.map((w) => `${w.line} ${w.kind} ${w.path}`),
    [
      '2 host-open gateway.host',
      '7 probe-overlap services.web.readiness.timeout',
      '8 secret-literal services.web.env.API_TOKEN',
      '8 secret-literal services.web.env.DB',
      '10 region-unserved tenants.a.region',
      '10 framework-unchecked tenants.a.frameworks[0]',
      '10 framework-unknown tenants.a.frameworks[0]',
      '11 control-not-healable compliance.checks[0]',
    ],
  );
  assert.ok(!JSON.stringify(warnings).includes('pw@'));
  const { warnings: none } = await load(`name: hello\n${SERVER}\ntenants: {}\n`);
  assert.deepEqual(
    none.map((w) => w.kind),
    ['nobody-may-enter'],
  );
});
