// Is a tenant that a person holds to less held within 100 ms, and let go at its end, by plans that
// stand in the ledger, also when the control plane dies meanwhile?
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HoldMode } from '../../src/model/hold.ts';
import { asReplicaId, serviceName } from '../../src/model/ids.ts';
import type { TenantRule } from '../../src/model/routing.ts';
import { Simulation } from './simulation.ts';

async function standing(): Promise<Simulation> {
  const sim = new Simulation({ seed: 7, tuning: { probeMs: 1_000 } });
  sim.boot();
  await sim.run(8_000);
  return sim;
}

function hold(sim: Simulation, mode: HoldMode, forMs: number | undefined): void {
  const [tenant] = sim.manifest.tenants.keys();
  assert.ok(tenant !== undefined);
  const reason = 'a test';
  const answer = sim.loop?.change({ kind: 'hold-tenant', tenant, mode, reason, forMs }, 'ann');
  assert.equal(answer?.kind, 'plan');
}

const rules = (sim: Simulation): readonly TenantRule[] => sim.plane.table()?.tenantRules ?? [];

describe('a tenant held to less', () => {
  it('is in the table within 100 ms, and out of it when its time is over', async () => {
    const sim = await standing();
    hold(sim, { kind: 'throttle', ratePerSecond: 5 }, 5_000);
    await sim.run(100);
    assert.deepEqual(
      rules(sim).map(({ mode, ratePerSecond }) => [mode, ratePerSecond]),
      [['throttle', 5]],
    );
    await sim.run(4_500);
    assert.equal(rules(sim).length, 1);
    await sim.run(1_500);
    assert.deepEqual(rules(sim), []);
    const played = [...sim.disk.runs.values()].map((run) => run.plan);
    const mine = played.filter((plan) => plan.playbook.endsWith('-tenant'));
    assert.deepEqual(
      mine.map((plan) => [plan.playbook, plan.origin.kind === 'operator' && plan.origin.actor]),
      [
        ['hold-tenant', 'ann'],
        ['release-tenant', 'its-end'],
      ],
    );
    sim.checkers.final();
    assert.deepEqual(sim.checkers.violations, []);
  });

  it('ends in time also when the controller was dead at its end', async () => {
    const sim = await standing();
    hold(sim, { kind: 'deny' }, 3_000);
    await sim.run(1_000);
    sim.kill();
    await sim.run(20_000);
    assert.deepEqual(rules(sim), []);
    assert.equal(sim.disk.holds.size, 0);
    sim.checkers.final();
    assert.deepEqual(sim.checkers.violations, []);
  });

  it('pinned, it stays on one replica of the service when that is replaced', async () => {
    const sim = await standing();
    const service = serviceName('records');
    hold(sim, { kind: 'pin', service, replica: asReplicaId('records-2') }, undefined);
    await sim.run(200);
    assert.deepEqual(rules(sim)[0]?.replicas, ['records-2']);
    const process = sim.machine.find('records-2');
    assert.ok(process !== undefined);
    sim.checkers.noteFault('replica', 'records-2', 0);
    sim.checkers.noteFault('replica of', process.service, 60_000);
    sim.machine.end(process, { kind: 'signal', signal: 'SIGKILL' });
    await sim.run(15_000);
    const [now] = rules(sim)[0]?.replicas ?? [];
    assert.ok(now !== undefined && now !== 'records-2');
    const routed = sim.plane.table()?.services.find((s) => s.name === service)?.replicas ?? [];
    assert.ok(routed.some((r) => r.id === now && r.weight > 0));
  });
});
