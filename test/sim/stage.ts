// How is a scenario played in simulation? The stage of `test/scenarios` over a simulation that has
// come up and is quiet.
import { isAvailable } from '../../src/model/picture.ts';
import type { Snapshot, Stage } from '../scenarios/stage.ts';
import { breakIt } from './faults.ts';
import type { Simulation } from './simulation.ts';

/** Brings the system up first; the clock of the scenario starts when it stands. */
export async function simulatedStage(sim: Simulation): Promise<Stage> {
  sim.boot();
  await sim.run(30_000);
  const startMs = sim.nowMs;
  const firstSeq = sim.disk.seq;
  const before = { ...sim.plane.totals };
  return {
    nowMs: () => sim.nowMs - startMs,
    wait: (ms) => sim.run(ms),
    act: (fault) => breakIt(sim, fault),
    status: async () => snapshot(sim),
    story: async (after) => {
      const from = Math.max(after, firstSeq);
      return sim.disk.story
        .filter((e) => e.seq > from)
        .map(({ seq, kind, incident, service, text }) => ({ seq, kind, incident, service, text }));
    },
    traffic: async () => ({
      requests: sim.plane.totals.requests - before.requests,
      failed: sim.plane.totals.failed - before.failed,
    }),
  };
}

function snapshot(sim: Simulation): Snapshot | undefined {
  const state = sim.loop?.state;
  if (state === undefined) return undefined;
  const { canvas, incidents } = state;
  const fleet = state.book.fleet();
  return {
    services: [...fleet.services.values()].map((book) => ({
      name: book.name,
      wanted: book.replicas,
      release: book.release,
      replicas: [...fleet.replicas.values()]
        .filter((r) => r.service === book.name)
        .map((r) => {
          const view = canvas.replicas.get(r.id);
          return {
            id: r.id,
            pid: sim.machine.find(r.id)?.pid,
            phase: r.phase,
            role: r.role,
            weight: r.weight,
            release: r.release,
            available: view !== undefined && isAvailable(view),
          };
        }),
    })),
    incidents: [...incidents.values()].map((i) => ({
      id: i.id,
      title: i.title,
      state: i.state.kind,
      reason: 'reason' in i.state ? i.state.reason : undefined,
    })),
    quarantines: [...fleet.quarantines.values()].map((q) => ({
      tenant: q.tenant,
      route: `${q.method} ${q.route}`,
    })),
  };
}
