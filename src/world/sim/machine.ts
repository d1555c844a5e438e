// Which processes run on the simulated machine, and what is wrong with each? It outlives every
// incarnation of the control plane, as a real machine does. Faults are plain settings of a process
// or of a release; what probes, gateways and the runtime see follows from them.
//
//   SM1. An exit is final: an id that has ended is never alive again.
//   SM2. A replica that runs past its memory limit ends at it.
import type { Exit } from '../../model/replica.ts';
import type { ReleaseId, ReplicaId, ServiceName } from '../../model/ids.ts';
import type { ReplicaOrder } from '../runtime.ts';
import type { SimClock } from './clock.ts';
import type { Chance } from './chance.ts';

/** What is built into a release. */
export type ReleaseKind = 'good' | 'crash-at-start' | 'errors' | 'never-ready' | 'leaky' | 'slow';

export interface SimProcess {
  readonly id: ReplicaId;
  readonly service: ServiceName;
  readonly release: ReleaseId;
  readonly pid: number;
  readonly port: number;
  readonly startedAtMs: number;
  /** From then on it listens. */
  readonly upAtMs: number;
  readonly memoryBytes: number | undefined;
  exit: Exit | undefined;
  exitedAtMs: number;
  /** Takes connections and never answers; SIGTERM does not reach it. */
  hung: boolean;
  /** 0–1. */
  errorRate: number;
  slowMs: number;
  leakBytesPerMs: number;
  leakSinceMs: number;
  /** Monotonic time of the last fault that was put into or taken out of it. */
  touchedAtMs: number;
}

export type Lie = 'refused' | 'timeout';

export interface Machine {
  spawn(order: ReplicaOrder): SimProcess;
  end(process: SimProcess, exit: Exit): void;
  /** Puts a fault into a process, or takes it out. */
  set(process: SimProcess, change: Partial<Pick<
    SimProcess, 'hung' | 'errorRate' | 'slowMs' | 'leakBytesPerMs'
  >>): void;
  find(id: string): SimProcess | undefined;
  at(port: number): SimProcess | undefined;
  /** Alive, oldest first. */
  alive(service?: ServiceName): readonly SimProcess[];
  isUp(process: SimProcess): boolean;
  /** Does it answer well by itself (its dependencies aside)? */
  isWell(process: SimProcess): boolean;
  /** Is everything there that this service needs? */
  hasNeeds(service: ServiceName): boolean;
  rssBytes(process: SimProcess): number;
  readonly releaseKinds: Map<ReleaseId, ReleaseKind>;
  /** Services whose probes say something else than the truth. */
  readonly lies: Map<string, Lie>;
  onExit(listener: (process: SimProcess, exit: Exit) => void): () => void;
  onChange(listener: (service: ServiceName) => void): () => void;
}

export interface MachineSetup {
  readonly clock: SimClock;
  readonly chance: Chance;
  /** Service → the service that provides what it needs. */
  readonly needs: ReadonlyMap<ServiceName, ServiceName>;
  readonly bootMs: (service: ServiceName) => readonly [number, number];
}

const MIB = 1_048_576;
const BASE_BYTES = 80 * MIB;
const LEAKY_BYTES_PER_MS = 2 * MIB / 1_000;

export function openMachine(setup: MachineSetup): Machine {
  const { clock, chance } = setup;
  const all = new Map<string, SimProcess>();
  const living = new Map<ServiceName, Set<SimProcess>>();
  const ports = new Map<number, SimProcess>();
  const exitListeners = new Set<(process: SimProcess, exit: Exit) => void>();
  const changeListeners = new Set<(service: ServiceName) => void>();
  const releaseKinds = new Map<ReleaseId, ReleaseKind>();
  let pids = 1_000;

  const changed = (service: ServiceName): void => {
    for (const listener of changeListeners) listener(service);
  };
  const isUp = (p: SimProcess): boolean =>
    p.exit === undefined && clock.monotonicMs() >= p.upAtMs;
  const groupOf = (service: ServiceName): Set<SimProcess> => {
    const group = living.get(service) ?? new Set();
    living.set(service, group);
    return group;
  };
  function alive(service?: ServiceName): readonly SimProcess[] {
    if (service !== undefined) return [...groupOf(service)];
    return [...living.values()].flatMap((group) => [...group]);
  }
  function end(process: SimProcess, exit: Exit): void {
    if (process.exit !== undefined) return;
    process.exit = exit;
    process.exitedAtMs = clock.monotonicMs();
    groupOf(process.service).delete(process);
    ports.delete(process.port);
    for (const listener of exitListeners) listener(process, exit);
    changed(process.service);
  }
  function rssBytes(process: SimProcess): number {
    const nowMs = clock.monotonicMs();
    const leakedMs = Math.max(0, nowMs - process.leakSinceMs);
    const wave = MIB * ((process.pid * 7 + Math.floor(nowMs / 1_000)) % 3);
    return BASE_BYTES + wave + Math.round(process.leakBytesPerMs * leakedMs);
  }
  /** SM2: looked at every second while it leaks. */
  function watchMemory(process: SimProcess): void {
    const { memoryBytes } = process;
    if (memoryBytes === undefined || process.leakBytesPerMs === 0) return;
    if (process.exit !== undefined) return;
    if (rssBytes(process) > memoryBytes) end(process, { kind: 'memory' });
    else clock.after(1_000, () => watchMemory(process));
  }
  function set(process: SimProcess, change: Parameters<Machine['set']>[1]): void {
    if (process.exit !== undefined) return;
    const leaked = process.leakBytesPerMs;
    Object.assign(process, change);
    process.touchedAtMs = clock.monotonicMs();
    if (leaked === 0 && process.leakBytesPerMs > 0) {
      process.leakSinceMs = process.touchedAtMs;
      watchMemory(process);
    }
    changed(process.service);
  }
  function spawn(order: ReplicaOrder): SimProcess {
    const kind = releaseKinds.get(order.release) ?? 'good';
    const nowMs = clock.monotonicMs();
    const [fastMs, slowMs] = setup.bootMs(order.service);
    pids += 1;
    const process: SimProcess = {
      id: order.id, service: order.service, release: order.release, pid: pids,
      port: 20_000 + pids, startedAtMs: nowMs,
      upAtMs: nowMs + chance.whole('boot', fastMs, slowMs),
      memoryBytes: order.memoryBytes, exit: undefined, exitedAtMs: 0, hung: false,
      errorRate: kind === 'errors' ? 0.6 : 0, slowMs: kind === 'slow' ? 3_000 : 0,
      leakBytesPerMs: 0, leakSinceMs: 0, touchedAtMs: nowMs,
    };
    all.set(process.id, process);
    ports.set(process.port, process);
    groupOf(process.service).add(process);
    clock.at(process.upAtMs, () => {
      if (process.exit !== undefined) return;
      if (kind === 'crash-at-start') end(process, { kind: 'code', code: 1 });
      else if (kind === 'leaky') set(process, { leakBytesPerMs: LEAKY_BYTES_PER_MS });
      else changed(process.service);
    });
    return process;
  }
  return {
    spawn, end, set, alive, isUp, rssBytes, releaseKinds,
    lies: new Map(),
    find: (id) => all.get(id),
    at: (port) => ports.get(port),
    isWell: (p) => isUp(p) && !p.hung && p.errorRate === 0 && p.slowMs === 0
      && p.leakBytesPerMs === 0 && releaseKinds.get(p.release) !== 'never-ready',
    hasNeeds(service) {
      const provider = setup.needs.get(service);
      if (provider === undefined) return true;
      for (const p of groupOf(provider)) if (isUp(p) && !p.hung) return true;
      return false;
    },
    onExit: (listener) => subscribe(exitListeners, listener),
    onChange: (listener) => subscribe(changeListeners, listener),
  };
}

function subscribe<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
