// Does the control plane survive `kill -9` at every step boundary? Each kind of run is played once
// to list the crash points that it passes, then again for each of them with a kill right there;
// every time the system must end as it should, with nothing done twice (P6).
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Fault } from '../scenarios/language.ts';
import { deploy, hang, kill, poison, rlsOff, stopDependency } from '../scenarios/language.ts';
import { serviceName } from '../../src/model/ids.ts';
import { breakIt } from './faults.ts';
import { Simulation } from './simulation.ts';

interface Case {
  readonly playbook: string;
  /** Done before anything is broken. */
  readonly prepare?: (sim: Simulation) => Promise<void>;
  readonly fault: Fault | ((sim: Simulation) => void);
  /** How long it may take with a kill in the middle. */
  readonly endsMs: number;
  readonly right: (sim: Simulation) => boolean;
}

const releaseOf = (sim: Simulation, service: string): string | undefined =>
  [...sim.disk.services.values()].find((s) => s.name === service)?.release;

const CASES: readonly Case[] = [
  {
    playbook: 'replace',
    fault: hang('billing-1'),
    endsMs: 30_000,
    right: (sim) => sim.machine.find('billing-1')?.exit !== undefined,
  },
  {
    playbook: 'promote',
    fault: kill('records-2'),
    endsMs: 30_000,
    right: (sim) => sim.disk.replicas.get('records-4')?.weight === 100,
  },
  {
    playbook: 'rollout',
    fault: deploy('billing', 'good'),
    endsMs: 90_000,
    // The very first point may be before the request was durable: then it never happened.
    right: (sim) => ['r-3', 'r-5'].includes(releaseOf(sim, 'billing') ?? ''),
  },
  {
    playbook: 'rollout',
    fault: deploy('billing', 'errors-under-traffic'),
    endsMs: 90_000,
    right: (sim) => releaseOf(sim, 'billing') === 'r-3',
  },
  {
    playbook: 'restart-dependency',
    fault: stopDependency('postgres'),
    endsMs: 40_000,
    right: (sim) => sim.machine.hasNeeds(serviceName('records')),
  },
  {
    playbook: 'rollback',
    endsMs: 60_000,
    prepare: async (sim) => {
      await breakIt(sim, deploy('billing', 'good'));
      await sim.run(30_000);
      assert.equal(releaseOf(sim, 'billing'), 'r-5');
    },
    fault: (sim) => {
      for (const process of sim.machine.alive(serviceName('billing'))) {
        sim.machine.releaseKinds.set(process.release, 'errors');
        sim.machine.set(process, { errorRate: 0.6 });
      }
    },
    right: (sim) => releaseOf(sim, 'billing') === 'r-3',
  },
  {
    playbook: 'quarantine-tenant-route',
    fault: poison('lakeview', 'records', 'POST', '/records/import'),
    endsMs: 90_000,
    right: (sim) => sim.disk.quarantines.size === 1,
  },
  {
    playbook: 'hold-tenant',
    fault: (sim) => {
      const [tenant] = sim.manifest.tenants.keys();
      if (tenant === undefined) return;
      const mode = { kind: 'throttle', ratePerSecond: 5 } as const;
      const ask = {
        kind: 'hold-tenant',
        tenant,
        mode,
        reason: 'a test',
        forMs: undefined,
      } as const;
      sim.loop?.change(ask, 'a person');
    },
    endsMs: 30_000,
    // The very first point may be before the request was durable: then it never happened.
    right: (sim) =>
      sim.disk.holds.size === 1 ||
      ![...sim.disk.runs.values()].some((run) => run.plan.playbook === 'hold-tenant'),
  },
  {
    playbook: 'enforce-control',
    fault: rlsOff('invoices'),
    endsMs: 40_000,
    right: (sim) => sim.tables.get('invoices') === true,
  },
];

/** Plays it; `dieAt` is the number of the crash point, after the fault, at which to die. */
async function playOnce(
  each: Case,
  dieAt: number,
): Promise<{ readonly sim: Simulation; readonly passed: readonly string[] }> {
  const passed: string[] = [];
  let armed = false;
  const sim: Simulation = new Simulation({
    seed: 5,
    tuning: { probeMs: 1_000, bakeMs: 4_000 },
    crashAt(name) {
      if (!armed) return false;
      passed.push(name);
      return passed.length === dieAt;
    },
  });
  sim.boot();
  await sim.run(8_000);
  await each.prepare?.(sim);
  armed = true;
  if (typeof each.fault === 'function') each.fault(sim);
  else await breakIt(sim, each.fault);
  const calm = (): boolean =>
    sim.disk.openIncidents.size === 0 &&
    sim.disk.openRuns.size === 0 &&
    (sim.loop?.state.findings.length ?? 1) === 0 &&
    each.right(sim);
  await sim.run(3_000);
  await sim.until(calm, each.endsMs, 500);
  await sim.run(3_000);
  return { sim, passed };
}

function assertRight(each: Case, sim: Simulation, where: string): void {
  sim.checkers.final();
  assert.deepEqual(sim.checkers.violations, [], where);
  assert.ok(each.right(sim), `${each.playbook} did not end right, killed ${where}`);
}

describe('the control plane, killed at every step boundary', () => {
  for (const each of CASES) {
    const what = typeof each.fault === 'function' ? 'what a person did' : each.fault.kind;
    it(`of a ${each.playbook} run after ${what}`, async () => {
      const { sim, passed } = await playOnce(each, -1);
      assertRight(each, sim, 'never');
      const played = [...sim.disk.runs.values()].map((run) => run.plan.playbook);
      assert.ok(played.includes(each.playbook), `${each.playbook} ran: ${played.join(', ')}`);
      assert.ok(passed.length >= 5, `only ${passed.length} crash points`);
      for (let dieAt = 1; dieAt <= passed.length; dieAt += 1) {
        const again = await playOnce(each, dieAt);
        assertRight(each, again.sim, `at point ${dieAt}, ${passed[dieAt - 1]}`);
        assert.equal(again.sim.starts, 2, 'it was killed, and came up again');
      }
    });
  }
});
