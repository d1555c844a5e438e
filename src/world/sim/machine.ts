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
  set(
    process: SimProcess,
    change: Partial<Pick<SimProcess, 'hung' | 'errorRate' | 'slowMs' | 'leakBytesPerMs'>>,
  ): void;
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
const LEAKY_BYTES_PER_MS = (2 * MIB) / 1_000;

export function openMachine(setup: MachineSetup): Machine {
  return new SimMachine(setup);
}

class SimMachine implements Machine {
  readonly releaseKinds = new Map<ReleaseId, ReleaseKind>();
  readonly lies = new Map<string, Lie>();
  readonly #setup: MachineSetup;
  readonly #all = new Map<string, SimProcess>();
  readonly #living = new Map<ServiceName, Set<SimProcess>>();
  readonly #ports = new Map<number, SimProcess>();
  readonly #exitListeners = new Set<(process: SimProcess, exit: Exit) => void>();
  readonly #changeListeners = new Set<(service: ServiceName) => void>();
  #pids = 1_000;

  constructor(setup: MachineSetup) {
    this.#setup = setup;
  }

  find(id: string): SimProcess | undefined {
    return this.#all.get(id);
  }

  at(port: number): SimProcess | undefined {
    return this.#ports.get(port);
  }

  alive(service?: ServiceName): readonly SimProcess[] {
    if (service !== undefined) return [...this.#groupOf(service)];
    return [...this.#living.values()].flatMap((group) => [...group]);
  }

  isUp(process: SimProcess): boolean {
    return process.exit === undefined && this.#setup.clock.monotonicMs() >= process.upAtMs;
  }

  isWell(process: SimProcess): boolean {
    return (
      this.isUp(process) &&
      !process.hung &&
      process.errorRate === 0 &&
      process.slowMs === 0 &&
      process.leakBytesPerMs === 0 &&
      this.releaseKinds.get(process.release) !== 'never-ready'
    );
  }

  hasNeeds(service: ServiceName): boolean {
    const provider = this.#setup.needs.get(service);
    if (provider === undefined) return true;
    for (const p of this.#groupOf(provider)) if (this.isUp(p) && !p.hung) return true;
    return false;
  }

  rssBytes(process: SimProcess): number {
    const nowMs = this.#setup.clock.monotonicMs();
    const leakedMs = Math.max(0, nowMs - process.leakSinceMs);
    const wave = MIB * ((process.pid * 7 + Math.floor(nowMs / 1_000)) % 3);
    return BASE_BYTES + wave + Math.round(process.leakBytesPerMs * leakedMs);
  }

  onExit(listener: (process: SimProcess, exit: Exit) => void): () => void {
    return subscribe(this.#exitListeners, listener);
  }

  onChange(listener: (service: ServiceName) => void): () => void {
    return subscribe(this.#changeListeners, listener);
  }

  end(process: SimProcess, exit: Exit): void {
    if (process.exit !== undefined) return;
    process.exit = exit;
    process.exitedAtMs = this.#setup.clock.monotonicMs();
    this.#groupOf(process.service).delete(process);
    this.#ports.delete(process.port);
    for (const listener of this.#exitListeners) listener(process, exit);
    this.#changed(process.service);
  }

  set(process: SimProcess, change: Parameters<Machine['set']>[1]): void {
    if (process.exit !== undefined) return;
    const leaked = process.leakBytesPerMs;
    Object.assign(process, change);
    process.touchedAtMs = this.#setup.clock.monotonicMs();
    if (leaked === 0 && process.leakBytesPerMs > 0) {
      process.leakSinceMs = process.touchedAtMs;
      this.#watchMemory(process);
    }
    this.#changed(process.service);
  }

  spawn(order: ReplicaOrder): SimProcess {
    const { clock, chance } = this.#setup;
    const kind = this.releaseKinds.get(order.release) ?? 'good';
    const nowMs = clock.monotonicMs();
    const [fastMs, slowMs] = this.#setup.bootMs(order.service);
    this.#pids += 1;
    const process: SimProcess = {
      id: order.id,
      service: order.service,
      release: order.release,
      pid: this.#pids,
      port: 20_000 + this.#pids,
      startedAtMs: nowMs,
      upAtMs: nowMs + chance.whole('boot', fastMs, slowMs),
      memoryBytes: order.memoryBytes,
      exit: undefined,
      exitedAtMs: 0,
      hung: false,
      errorRate: kind === 'errors' ? 0.6 : 0,
      slowMs: kind === 'slow' ? 3_000 : 0,
      leakBytesPerMs: 0,
      leakSinceMs: 0,
      touchedAtMs: nowMs,
    };
    this.#all.set(process.id, process);
    this.#ports.set(process.port, process);
    this.#groupOf(process.service).add(process);
    clock.at(process.upAtMs, () => {
      if (process.exit !== undefined) return;
      if (kind === 'crash-at-start') this.end(process, { kind: 'code', code: 1 });
      else if (kind === 'leaky') this.set(process, { leakBytesPerMs: LEAKY_BYTES_PER_MS });
      else this.#changed(process.service);
    });
    return process;
  }

  /** SM2: looked at every second while it leaks. */
  #watchMemory(process: SimProcess): void {
    const { memoryBytes } = process;
    if (memoryBytes === undefined || process.leakBytesPerMs === 0) return;
    if (process.exit !== undefined) return;
    if (this.rssBytes(process) > memoryBytes) this.end(process, { kind: 'memory' });
    else this.#setup.clock.after(1_000, () => this.#watchMemory(process));
  }

  #groupOf(service: ServiceName): Set<SimProcess> {
    let group = this.#living.get(service);
    if (group === undefined) {
      group = new Set();
      this.#living.set(service, group);
    }
    return group;
  }

  #changed(service: ServiceName): void {
    for (const listener of this.#changeListeners) listener(service);
  }
}

function subscribe<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
