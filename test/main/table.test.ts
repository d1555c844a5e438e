// What stands in the routing table, and is it made anew only where something changed?
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildTable } from '../../src/main/table.ts';
import type { TableInputs } from '../../src/main/table.ts';
import { loadManifestText } from '../../src/manifest/index.ts';
import { EMPTY_FLEET } from '../../src/model/fleet.ts';
import type { Fleet } from '../../src/model/fleet.ts';
import { releaseId, replicaId, serviceName, tenantId } from '../../src/model/ids.ts';
import type { Manifest } from '../../src/model/manifest.ts';
import type { Replica } from '../../src/model/replica.ts';

const TEXT = `
name: clinic
services:
  records:
    command: [sleep, '1']
    concurrency: 400
    routes:
      - prefix: /records
      - { prefix: /records/vip, tenants: [north], dependencies: [db] }
  billing: { command: [sleep, '1'] }
dependencies:
  db: { kind: tcp, url: 'tcp://127.0.0.1:1' }
tenants:
  north: { priority: 9, hosts: [north.example.com], certificates: ['dns:north.example.com'] }
  south: {}
`;

async function inputsOf(): Promise<TableInputs> {
  const { manifest } = await loadManifestText(TEXT, '/kintsugi.yaml', { env: {} });
  return { manifest, keys: keysOf(), jwt: [], assertionRoot: 'cm9vdA' };
}

/** New objects at each call, as the key ring makes them. */
const keysOf = (): TableInputs['keys'] =>
  new Map([['north', [{ id: 'k1', mac: 'm1', expiresAtMs: undefined }]]]);

function fleetOf(weight = 100): Fleet {
  const replicas = ['records', 'billing'].map((name): Replica => ({
    id: replicaId(serviceName(name), 1),
    service: serviceName(name),
    release: releaseId('r-1'),
    role: 'active',
    phase: 'ready',
    weight: name === 'records' ? weight : 100,
    region: 'any',
    endpoint: { host: '127.0.0.1', port: 20_001 },
    createdAtMs: 1,
  }));
  return { ...EMPTY_FLEET, replicas: new Map(replicas.map((r) => [r.id, r])) };
}

test('what the manifest says of routes, tenants and concurrency stands in the table', async () => {
  const table = buildTable(fleetOf(), 1, await inputsOf());
  const [records, billing] = table.services;
  assert.equal(records?.concurrencyMax, 400);
  assert.deepEqual(records?.prefixes, [
    { prefix: '/records', timeoutMs: 30_000, retry: true },
    {
      prefix: '/records/vip',
      timeoutMs: 30_000,
      retry: true,
      tenants: ['north'],
      dependencies: ['db'],
    },
  ]);
  assert.ok(billing && !('concurrencyMax' in billing));
  const [north, south] = table.tenants;
  assert.deepEqual(
    [north?.priority, north?.hosts, north?.certificates],
    [9, ['north.example.com'], ['dns:north.example.com']],
  );
  assert.ok(south && !('priority' in south) && !('hosts' in south));
  assert.deepEqual(
    north?.keys.map(({ id }) => id),
    ['k1'],
  );
});

test('TA3: the same inputs give the same objects, also when the keys are listed anew', async () => {
  const inputs = await inputsOf();
  const fleet = fleetOf();
  const before = buildTable(fleet, 1, inputs);
  const after = buildTable({ ...fleet }, 2, { ...inputs, keys: keysOf() });
  assert.equal(after.tenants, before.tenants);
  assert.equal(after.services[0], before.services[0]);
  assert.equal(after.version, 2);
});

test('TA3: of a manifest that is read anew, unchanged tenants are the same objects', async () => {
  const inputs = await inputsOf();
  const before = buildTable(fleetOf(), 1, inputs);
  const copies = new Map([...inputs.manifest.tenants].map(([id, spec]) => [id, { ...spec }]));
  const again = { ...inputs, manifest: { ...inputs.manifest, tenants: copies } };
  assert.equal(buildTable(fleetOf(), 2, again).tenants, before.tenants);
  const [first, second] = before.tenants;
  const spec = copies.get(first?.id ?? tenantId('none'));
  assert.ok(first && second && spec);
  const changes = [
    { region: 'elsewhere' },
    { status: 'suspended' as const },
    { quotas: { ...spec.quotas, burst: spec.quotas.burst + 1 } },
    { priority: 9 },
    { hosts: ['first.example.com'] },
    { certificates: ['dns:first'] },
  ];
  for (const change of changes) {
    const tenants = new Map(copies).set(spec.id, { ...spec, ...change });
    const manifest = { ...inputs.manifest, tenants };
    const after = buildTable(fleetOf(), 3, { ...inputs, manifest });
    assert.notEqual(after.tenants[0], first, JSON.stringify(change));
    assert.equal(after.tenants[1], second);
    assert.deepEqual(after.tenants[0]?.keys, first.keys);
  }
  const fewer = new Map(copies);
  fewer.delete(spec.id);
  const shorter = { ...inputs, manifest: { ...inputs.manifest, tenants: fewer } };
  assert.deepEqual(
    buildTable(fleetOf(), 4, shorter).tenants.map(({ id }) => id),
    [second.id],
  );
});

test('TA3: what changed is new, and only that', async () => {
  const inputs = await inputsOf();
  const fleet = fleetOf();
  const before = buildTable(fleet, 1, inputs);
  const [records, billing] = fleet.replicas.values();
  assert.ok(records && billing);
  const replicas = new Map(fleet.replicas).set(records.id, { ...records, weight: 7 });
  const lighter = buildTable({ ...fleet, replicas }, 2, inputs);
  assert.equal(lighter.services[0]?.replicas[0]?.weight, 7);
  assert.equal(lighter.services[1], before.services[1]);
  const keys = new Map([['south', [{ id: 'k2', mac: 'm2', expiresAtMs: 5 }]]]);
  const rekeyed = buildTable(fleet, 3, { ...inputs, keys });
  assert.deepEqual(
    rekeyed.tenants.map((t) => t.keys.map(({ id }) => id)),
    [[], ['k2']],
  );
  const rooted = buildTable(fleet, 4, { ...inputs, assertionRoot: 'b3RoZXI' });
  assert.notEqual(rooted.services[0]?.assertionKey, before.services[0]?.assertionKey);
  const budget = { ...inputs.manifest.healing.budget, maxUnavailable: 0 };
  const manifest: Manifest = {
    ...inputs.manifest,
    healing: { ...inputs.manifest.healing, budget },
  };
  const strict = buildTable(fleet, 5, { ...inputs, manifest });
  assert.equal(strict.services[0]?.minRouted, 2);
  assert.equal(before.services[0]?.minRouted, 1);
});
