// How is the simulated system broken? Each fault of the scenario language and of the random
// schedules, done to the machine, the data plane, the database or the control plane.
import { quarantineId } from '../../src/model/quarantine.ts';
import { dependencyName, serviceName, tenantId } from '../../src/model/ids.ts';
import type { ServiceName } from '../../src/model/ids.ts';
import type { ReleaseKind, SimProcess } from '../../src/world/sim/machine.ts';
import type { Fault, ReleaseWord } from '../scenarios/language.ts';
import { DATABASE, SERVICES, TABLES, TENANTS } from './setting.ts';
import type { Simulation } from './simulation.ts';

const MIB = 1_048_576;
const RELEASES: Readonly<Record<ReleaseWord, ReleaseKind>> = {
  good: 'good',
  'crash-at-start': 'crash-at-start',
  'errors-under-traffic': 'errors',
};

export async function breakIt(sim: Simulation, fault: Fault): Promise<void> {
  const { machine, checkers } = sim;
  switch (fault.kind) {
    case 'nothing':
      return;
    case 'kill':
      return on(sim, fault.replica, (p) => machine.end(p, { kind: 'signal', signal: 'SIGKILL' }));
    case 'hang':
    case 'busy':
      return on(sim, fault.replica, (p) => machine.set(p, { hung: true }));
    case 'errors':
      return on(sim, fault.replica, (p) => machine.set(p, { errorRate: fault.share }));
    case 'slow':
      return on(sim, fault.replica, (p) => machine.set(p, { slowMs: fault.ms }));
    case 'leak': {
      const leakBytesPerMs = (fault.mibPerSecond * MIB) / 1_000;
      return on(sim, fault.replica, (p) => machine.set(p, { leakBytesPerMs }));
    }
    case 'deploy':
      return deploy(sim, serviceName(fault.service), RELEASES[fault.release]);
    case 'stop-dependency': {
      const provider = sim.manifest.dependencies.get(dependencyName(fault.dependency))?.service;
      const [process] = provider === undefined ? [] : machine.alive(provider);
      checkers.noteFault('stop-dependency', fault.dependency, 0);
      if (process !== undefined) machine.end(process, { kind: 'code', code: 0 });
      return;
    }
    case 'poison': {
      poison(sim, tenantId(fault.tenant), serviceName(fault.service), fault, 60_000);
      return;
    }
    case 'probe-lie':
      checkers.noteFault('probe-lie', `probes of ${fault.service}`, 60_000);
      machine.lies.set(fault.service, 'refused');
      return;
    case 'probe-truth':
      machine.lies.delete(fault.service);
      return;
    case 'rls-off':
      checkers.noteFault('rls-off', fault.table, 0);
      sim.tables.set(fault.table, false);
      return;
    case 'kill-controller':
      sim.kill();
  }
}

function on(sim: Simulation, replica: string, work: (process: SimProcess) => void): void {
  const process = sim.machine.find(replica);
  if (process === undefined || process.exit !== undefined) return;
  sim.checkers.noteFault('replica', replica, 0);
  // Several deaths of one release look like its own: they excuse a rollback, and nothing else.
  sim.checkers.noteFault('replica of', process.service, 60_000);
  work(process);
}

async function deploy(sim: Simulation, service: ServiceName, kind: ReleaseKind): Promise<void> {
  const { loop } = sim;
  const release = await sim.makeRelease(service, kind);
  if (release === undefined || loop !== sim.loop) return;
  sim.checkers.noteFault('deploy', service, kind === 'good' ? 60_000 : 120_000);
  const answer = loop?.change({ kind: 'deploy', service, release }, 'a person');
  sim.trace(`deploy ${service} ${kind}: ${answer?.kind}`);
}

function poison(
  sim: Simulation,
  tenant: ReturnType<typeof tenantId>,
  service: ServiceName,
  request: { readonly method: string; readonly route: string },
  forMs: number,
): void {
  const { method, route } = request;
  const rule = { tenant, service, method, route };
  sim.checkers.noteFault('poison', quarantineId(rule), forMs);
  sim.checkers.noteFault('poisoned', service, forMs);
  const repeated = sim.chance.yes('poison', 0.5);
  const stop = sim.plane.poison({ ...rule, repeated });
  sim.clock.after(forMs, stop);
}

/** One fault of many, drawn from the seed. Answers what was done, for the story. */
type Draw = (sim: Simulation) => string;

function victim(sim: Simulation): SimProcess | undefined {
  const service = sim.chance.one('victim', SERVICES);
  return service === undefined ? undefined : sim.chance.one('victim', sim.machine.alive(service));
}

const onVictim =
  (word: string, work: (sim: Simulation, p: SimProcess) => void): Draw =>
  (sim) => {
    const process = victim(sim);
    if (process === undefined) return `${word} nobody`;
    on(sim, process.id, (p) => work(sim, p));
    return `${word} ${process.id}`;
  };

/** A fault that goes away by itself, if its replica lives so long. */
function passing(
  sim: Simulation,
  process: SimProcess,
  change: Parameters<Simulation['machine']['set']>[1],
  back: Parameters<Simulation['machine']['set']>[1],
): void {
  sim.machine.set(process, change);
  if (!sim.chance.yes('passing', 0.3)) return;
  const forMs = sim.chance.whole('passing', 500, 15_000);
  sim.checkers.noteFault('passing', process.id, forMs);
  sim.clock.after(forMs, () => sim.machine.set(process, back));
}

const endOf = (sim: Simulation, p: SimProcess): void =>
  sim.machine.end(
    p,
    sim.chance.yes('exit', 0.5) ? { kind: 'signal', signal: 'SIGKILL' } : { kind: 'code', code: 1 },
  );

const DRAWS: readonly (readonly [number, Draw])[] = [
  [10, onVictim('kill', endOf)],
  [6, onVictim('hang', (sim, p) => passing(sim, p, { hung: true }, { hung: false }))],
  [
    5,
    onVictim('errors', (sim, p) =>
      passing(sim, p, { errorRate: sim.chance.yes('rate', 0.5) ? 1 : 0.4 }, { errorRate: 0 }),
    ),
  ],
  [4, onVictim('slow', (sim, p) => passing(sim, p, { slowMs: 2_000 }, { slowMs: 0 }))],
  [
    3,
    onVictim('leak', (sim, p) =>
      sim.machine.set(p, {
        leakBytesPerMs: (sim.chance.whole('leak', 2, 12) * MIB) / 1_000,
      }),
    ),
  ],
  [3, (sim) => killAll(sim)],
  [5, (sim) => breakDatabase(sim)],
  [4, (sim) => randomPoison(sim)],
  [4, (sim) => lie(sim)],
  [4, (sim) => randomDeploy(sim)],
  [3, (sim) => switchOff(sim)],
  [8, (sim) => killControl(sim)],
  [2, (sim) => stepClock(sim)],
  [3, (sim) => gatewayAway(sim)],
  [2, (sim) => ledgerAway(sim)],
  [3, (sim) => badDriver(sim)],
  [2, (sim) => scale(sim)],
];

const TOTAL = DRAWS.reduce((sum, [share]) => sum + share, 0);

export function breakSomething(sim: Simulation): string {
  let at = sim.chance.next('which') * TOTAL;
  for (const [share, draw] of DRAWS) {
    at -= share;
    if (at < 0) return draw(sim);
  }
  return 'nothing';
}

function killAll(sim: Simulation): string {
  const service = sim.chance.one('all', SERVICES) ?? DATABASE;
  for (const process of sim.machine.alive(service)) on(sim, process.id, (p) => endOf(sim, p));
  return `kill all of ${service}`;
}

function breakDatabase(sim: Simulation): string {
  const [process] = sim.machine.alive(DATABASE);
  if (process === undefined) return 'no database to break';
  sim.checkers.noteFault('database', 'postgres', 0);
  if (sim.chance.yes('database', 0.6)) {
    sim.machine.end(process, { kind: 'code', code: 0 });
    return 'stop the database';
  }
  passing(sim, process, { hung: true }, { hung: false });
  return 'hang the database';
}

function randomPoison(sim: Simulation): string {
  const tenant = sim.chance.one('poison', TENANTS);
  const service = sim.chance.one('poison', SERVICES);
  if (tenant === undefined || service === undefined) return 'no poison';
  const route = `/${service}/export-${sim.chance.whole('poison', 1, 1_000_000)}`;
  const forMs = sim.chance.whole('poison', 10_000, 90_000);
  poison(sim, tenant, service, { method: 'POST', route }, forMs);
  return `poison ${service} by ${tenant}`;
}

function lie(sim: Simulation): string {
  const service = sim.chance.one('lie', SERVICES) ?? DATABASE;
  const [single] = sim.chance.yes('lie', 0.3) ? sim.machine.alive(service) : [];
  const about = single?.id ?? service;
  const forMs = sim.chance.whole('lie', 2_000, 120_000);
  sim.machine.lies.set(about, sim.chance.yes('lie', 0.5) ? 'refused' : 'timeout');
  // A lie about one alone may cost that one; a lie about all must cost nobody.
  sim.checkers.noteFault('lie', single?.id ?? `probes of ${service}`, forMs);
  sim.clock.after(forMs, () => sim.machine.lies.delete(about));
  return `probes of ${about} lie for ${forMs} ms`;
}

function randomDeploy(sim: Simulation): string {
  const service = sim.chance.one('deploy', SERVICES) ?? DATABASE;
  const kinds: readonly ReleaseKind[] = [
    'good',
    'good',
    'good',
    'crash-at-start',
    'errors',
    'never-ready',
    'slow',
  ];
  const kind = sim.chance.one('deploy', kinds) ?? 'good';
  deploy(sim, service, kind).catch((error: unknown) => {
    sim.checkers.fail('deploy', String(error));
  });
  return `deploy ${service} ${kind}`;
}

function switchOff(sim: Simulation): string {
  const table = sim.chance.one('table', TABLES) ?? '';
  sim.checkers.noteFault('rls-off', table, 0);
  sim.tables.set(table, false);
  if (sim.chance.yes('table', 0.3)) {
    sim.surroundings.enforceFails = 0.7;
    sim.clock.after(20_000, () => {
      sim.surroundings.enforceFails = 0;
    });
    sim.checkers.noteFault('enforce-fails', table, 20_000);
  }
  return `row-level security of ${table} off`;
}

function killControl(sim: Simulation): string {
  sim.checkers.noteFault('controller', 'controller', 2_000);
  sim.kill();
  return 'kill the control plane';
}

function stepClock(sim: Simulation): string {
  const byMs = sim.chance.whole('clock', -7_200_000, 7_200_000);
  sim.checkers.noteFault('clock', 'clock', 0);
  sim.clock.stepWall(byMs);
  return `wall clock ${byMs} ms`;
}

function gatewayAway(sim: Simulation): string {
  const forMs = sim.chance.whole('gateway', 200, 2_500);
  sim.checkers.noteFault('gateway', 'gateway', forMs);
  sim.plane.restart(forMs);
  return `gateway away for ${forMs} ms`;
}

function ledgerAway(sim: Simulation): string {
  const forMs = sim.chance.whole('ledger', 1_000, 40_000);
  sim.checkers.noteFault('ledger', 'ledger', forMs);
  sim.surroundings.ledgerBackAtMs = sim.clock.monotonicMs() + forMs;
  return `ledger away for ${forMs} ms`;
}

function badDriver(sim: Simulation): string {
  const forMs = sim.chance.whole('driver', 5_000, 60_000);
  sim.surroundings.driver = {
    startFails: 0.3,
    startPartial: 0.2,
    startSlow: 0.3,
    stopSlow: 0.3,
  };
  sim.surroundings.pushes = { slow: 0.5, lost: 0.2 };
  sim.checkers.noteFault('driver', 'driver', forMs);
  sim.clock.after(forMs, () => {
    sim.surroundings.driver = { startFails: 0, startPartial: 0, startSlow: 0, stopSlow: 0 };
    sim.surroundings.pushes = { slow: 0, lost: 0 };
  });
  return `the driver misbehaves for ${forMs} ms`;
}

function scale(sim: Simulation): string {
  const service = sim.chance.one('scale', SERVICES) ?? DATABASE;
  const range = sim.manifest.services.get(service)?.replicas ?? { min: 1, max: 1 };
  const replicas = sim.chance.whole('scale', range.min, range.max);
  sim.checkers.noteFault('scale', service, 5_000);
  sim.loop?.change({ kind: 'scale', service, replicas }, 'a person');
  return `scale ${service} to ${replicas}`;
}
