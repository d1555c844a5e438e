// Do shards hold with real replicas behind a real gateway?
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { tenantId } from '../../../src/model/ids.ts';
import { shardOf } from '../../../src/model/shards.ts';
import { openRig, until } from '../rig.ts';
import type { Rig } from '../rig.ts';

let rig: Rig | undefined;
after(() => rig?.close());

async function places(r: Rig, tenant: string): Promise<Set<string>> {
  const answers = await Promise.all(
    Array.from({ length: 12 }, () => r.send({ path: '/api/records', tenant })),
  );
  for (const { status, body } of answers) assert.equal(status, 200, body);
  return new Set(answers.map(({ body }) => (JSON.parse(body) as { name: string }).name));
}

test('CE1: each tenant lives on its shard; when that dies it is served by the others', async () => {
  const r = await openRig({ replicas: 4, minRouted: 1 });
  rig = r;
  const table = r.table();
  const services = table.services.map((service) => ({ ...service, shardSize: 1 }));
  const pushed = await r.hub.push({ ...table, services }, 5_000);
  assert.equal(pushed.kind, 'applied');
  const replicas = services[0]?.replicas ?? [];
  const homeOf = (tenant: string): string[] =>
    shardOf(tenantId(tenant), replicas, 1).map(({ id }) => id);
  for (const tenant of ['acme', 'globex']) {
    assert.deepEqual([...(await places(r, tenant))], homeOf(tenant));
  }
  const [home] = homeOf('acme');
  const victim = r.replicas.find(({ id }) => id === home);
  assert.ok(victim !== undefined);
  victim.child.kill('SIGKILL');
  await until('it is dead', () => victim.child.signalCode !== null);
  const others = await places(r, 'acme');
  assert.equal(others.has(victim.id), false);
  if (homeOf('globex')[0] !== home) {
    assert.deepEqual([...(await places(r, 'globex'))], homeOf('globex'));
  }
});
