// How are replicas run as local processes? The `Runtime` contract over process groups, control
// groups and small files, so that replicas outlive whoever started them. RT1–RT5 stand in
// `world/runtime.ts`, PD1–PD8 and PD10 in the files beside this one.
//
//   PD9. Each end is told once, by `exited`, whoever caused it: of our own child at once, of an
//        adopted replica within the poll.
import { mkdirSync, readlinkSync, realpathSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { assert, KinError, messageOf } from '../../model/errors.ts';
import type { ReplicaId } from '../../model/ids.ts';
import { assertReceipt, type Receipt } from '../../model/receipt.ts';
import type { Clock, Log } from '../../world/clock.ts';
import type {
  AdoptReport,
  ReplicaOrder,
  RunningReplica,
  Runtime,
  RuntimeEvent,
  StartAnswer,
  StopAnswer,
  Usage,
} from '../../world/runtime.ts';
import { adoptAll } from './adopt.ts';
import { openCages } from './cgroups.ts';
import { openLauncher } from './launcher.ts';
import { openLogs } from './logs.ts';
import { openMachine, type ProcessFacts } from './machine.ts';
import { openPorts, type PortRange } from './ports.ts';
import { fileNameOf, openRecords } from './record.ts';
import { startReplica } from './start.ts';
import { lookAt, stopReplica } from './stop.ts';
import { runningOf, type Ward } from './ward.ts';

const HOST = '127.0.0.1';
const ADOPTED_POLL_MS = 200;
const LOG_POLL_MS = 1000;
const LISTENERS_MAX = 100;
/** Tombstones and logs of ended replicas that are kept. */
const ENDED_KEPT = 1000;
const ENDED_LOGS_KEPT = 50;
const TIDY_EVERY = 50;
const GROUPS_KEPT_MS = 2000;

export interface ProcessRuntimeOptions {
  /** Belongs to this instance alone; made when missing, 0700. */
  readonly dir: string;
  readonly instance: string;
  readonly portRange: PortRange;
  readonly log: Log;
  readonly clock: Clock;
}

export async function openProcessRuntime(options: ProcessRuntimeOptions): Promise<Runtime> {
  const machine = openMachine();
  const { from, to } = options.portRange;
  assert(from > 0 && from <= to && to < 65_536, 'the port range is valid');
  const dir = openFolder(options.dir);
  const owner = createHash('sha256')
    .update(`${dir}\0${options.instance}`)
    .digest('hex')
    .slice(0, 16);
  const listeners = new Set<(event: RuntimeEvent) => void>();
  const ward: Ward = {
    instance: options.instance,
    owner,
    host: HOST,
    nodeDir: linkNode(dir),
    machine,
    records: openRecords(dir),
    logs: openLogs(dir),
    cages: openCages(`${options.instance}.${owner}`),
    ports: openPorts(HOST, options.portRange, Number.parseInt(owner.slice(0, 8), 16)),
    launcher: openLauncher(),
    clock: options.clock,
    log: options.log,
    live: new Map(),
    sweeps: new Map(),
    emit: (event) => listeners.forEach((listener) => listener(event)),
  };
  return new ProcessRuntime(ward, listeners);
}

function openFolder(dir: string): string {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    return realpathSync(dir);
  } catch (error) {
    throw new KinError(
      'KIN_RUNTIME_DIR_UNUSABLE',
      `the folder ${dir} cannot be made or entered (${messageOf(error)})`,
      'Choose a state folder that this user may write to.',
      { cause: error },
    );
  }
}

/** A folder with nothing but `node` in it, for the PATH of replicas. */
function linkNode(dir: string): string {
  const folder = join(dir, 'bin');
  const link = join(folder, 'node');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  try {
    if (readlinkSync(link) === process.execPath) return folder;
  } catch {
    // Not there yet, or no link: made new below.
  }
  const temporary = `${link}.${process.pid}`;
  rmSync(temporary, { force: true });
  symlinkSync(process.execPath, temporary);
  renameSync(temporary, link);
  return folder;
}

interface Groups {
  readonly atMs: number;
  readonly members: ReadonlyMap<number, readonly ProcessFacts[]>;
}

class ProcessRuntime implements Runtime {
  readonly #ward: Ward;
  readonly #listeners: Set<(event: RuntimeEvent) => void>;
  readonly #closing = new AbortController();
  readonly #starting = new Map<ReplicaId, Promise<StartAnswer>>();
  #phase: 'opened' | 'adopting' | 'running' | 'closed' = 'opened';
  #startsUntilTidy = 0;
  #groups: Groups | undefined;

  constructor(ward: Ward, listeners: Set<(event: RuntimeEvent) => void>) {
    this.#ward = ward;
    this.#listeners = listeners;
  }

  async adopt(known: ReadonlySet<ReplicaId>): Promise<AdoptReport> {
    assert(this.#phase === 'opened', 'adopt is called once, first');
    this.#phase = 'adopting';
    const report = await adoptAll(this.#ward, known);
    this.#phase = 'running';
    void this.#every(LOG_POLL_MS, () => this.#checkLogs());
    // Also without an adopted one: those whose launcher died are looked for in the same way.
    void this.#every(ADOPTED_POLL_MS, () => this.#lookAtAdopted());
    return report;
  }

  async start(order: ReplicaOrder, receipt: Receipt): Promise<StartAnswer> {
    assertReceipt(receipt);
    this.#assertRunning();
    const begun = this.#starting.get(order.id);
    if (begun !== undefined) {
      const answer = await begun;
      return answer.kind === 'started' ? { ...answer, kind: 'already' } : answer;
    }
    const live = this.#ward.live.get(order.id);
    if (live !== undefined) {
      const { endpoint, pid } = runningOf(this.#ward, live);
      return { kind: 'already', endpoint, pid };
    }
    const exit = this.#ward.records.ended(order.id);
    if (exit !== undefined) return { kind: 'ended', exit };
    this.#tidyNowAndThen();
    const start = startReplica(this.#ward, order).finally(() => this.#starting.delete(order.id));
    this.#starting.set(order.id, start);
    return start;
  }

  async stop(replica: ReplicaId, termMs: number, receipt: Receipt): Promise<StopAnswer> {
    assertReceipt(receipt);
    this.#assertRunning();
    // A stop that overtook its start would find nothing, and the replica would then live on.
    await this.#starting.get(replica)?.catch(() => undefined);
    const live = this.#ward.live.get(replica);
    if (live !== undefined) return stopReplica(this.#ward, live, termMs);
    await this.#ward.sweeps.get(replica);
    return { kind: 'not-running' };
  }

  list(): readonly RunningReplica[] {
    return [...this.#ward.live.values()].map((live) => runningOf(this.#ward, live));
  }

  look(replica: ReplicaId): 'running' | 'ended' | 'unknown' {
    if (this.#ward.live.has(replica)) return 'running';
    return this.#ward.records.ended(replica) === undefined ? 'unknown' : 'ended';
  }

  usage(replica: ReplicaId): Usage | undefined {
    const { live: all, machine } = this.#ward;
    const live = all.get(replica);
    if (live === undefined) return undefined;
    const caged = live.cage?.pids() ?? [];
    const pids = caged.length > 0 ? caged : this.#groupPids(live.pid);
    const { rssBytes, cpuMs } = machine.usage(pids);
    return { rssBytes: live.cage?.memoryBytes() ?? rssBytes, cpuMs };
  }

  /** One look at all processes serves all replicas for a while: it costs milliseconds. */
  #groupPids(pgid: number): readonly number[] {
    const { clock, machine } = this.#ward;
    const nowMs = clock.monotonicMs();
    if (this.#groups === undefined || nowMs - this.#groups.atMs > GROUPS_KEPT_MS) {
      const members = Map.groupBy(machine.all(), (facts) => facts.pgid);
      this.#groups = { atMs: nowMs, members };
    }
    const found = this.#groups.members.get(pgid)?.map((facts) => facts.pid);
    return found ?? [pgid];
  }

  async logs(replica: ReplicaId, bytes: number): Promise<string> {
    return this.#ward.logs.tail(fileNameOf(replica), bytes);
  }

  onEvent(listener: (event: RuntimeEvent) => void): () => void {
    assert(this.#listeners.size < LISTENERS_MAX, 'listeners of the runtime are bounded');
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  limits(): ReturnType<Runtime['limits']> {
    const { kind, detail } = this.#ward.cages;
    return { kind, detail };
  }

  async close(): Promise<void> {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    this.#closing.abort();
    await Promise.allSettled([...this.#starting.values(), ...this.#ward.sweeps.values()]);
    this.#listeners.clear();
    this.#ward.launcher.close();
    this.#ward.cages.close();
  }

  #assertRunning(): void {
    assert(this.#phase === 'running', `the runtime is ${this.#phase}`);
  }

  async #every(ms: number, act: () => void): Promise<void> {
    const { clock, log } = this.#ward;
    const { signal } = this.#closing;
    // Bound: close().
    while (!signal.aborted) {
      await clock.sleep(ms, signal).catch(() => undefined);
      if (signal.aborted) return;
      try {
        act();
      } catch (error) {
        log.warn('watching replicas', { reason: messageOf(error) });
      }
    }
  }

  #lookAtAdopted(): void {
    for (const live of this.#ward.live.values()) lookAt(this.#ward, live);
  }

  #checkLogs(): void {
    for (const live of this.#ward.live.values()) {
      const bytes = this.#ward.logs.check(fileNameOf(live.id), live.logBytes);
      if (bytes > 0) this.#ward.emit({ kind: 'log-dropped', replica: live.id, bytes });
    }
  }

  #tidyNowAndThen(): void {
    this.#startsUntilTidy -= 1;
    if (this.#startsUntilTidy > 0) return;
    this.#startsUntilTidy = TIDY_EVERY;
    const { records, logs, live } = this.#ward;
    const ended = records.endedNames();
    for (const name of ended.slice(0, -ENDED_KEPT)) records.forget(name);
    const inUse = [...live.keys(), ...this.#starting.keys()].map(fileNameOf);
    logs.prune(new Set(inUse), ended, ENDED_LOGS_KEPT);
  }
}
