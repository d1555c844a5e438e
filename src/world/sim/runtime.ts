// How does the control plane run replicas on the simulated machine? The Runtime contract over it,
// with a driver that fails, is slow and does things by half as the seed says.
//
//   SU1. Without a genuine receipt nothing is started and nothing is stopped.
//   SU2. `start` and `stop` by the same id do nothing twice.
//   SU3. A runtime whose incarnation died answers nobody and does nothing more.
import type { Exit } from '../../model/replica.ts';
import type { ReleaseId, ReplicaId } from '../../model/ids.ts';
import { assertReceipt } from '../../model/receipt.ts';
import type { Receipt } from '../../model/receipt.ts';
import type {
  AdoptReport,
  ReplicaOrder,
  RunningReplica,
  Runtime,
  RuntimeEvent,
  StartAnswer,
  StopAnswer,
} from '../runtime.ts';
import type { Chance } from './chance.ts';
import type { Life, SimClock } from './clock.ts';
import type { Machine, SimProcess } from './machine.ts';

/** How often the driver misbehaves, 0–1 each. */
export interface DriverFaults {
  readonly startFails: number;
  /** The process runs, and the driver says that it failed. */
  readonly startPartial: number;
  readonly startSlow: number;
  readonly stopSlow: number;
}

export const FLAWLESS: DriverFaults = {
  startFails: 0,
  startPartial: 0,
  startSlow: 0,
  stopSlow: 0,
};

export type RuntimeAct =
  | { readonly kind: 'start'; readonly replica: ReplicaId; readonly release: ReleaseId }
  | { readonly kind: 'stop'; readonly replica: ReplicaId; readonly termMs: number }
  | { readonly kind: 'reap'; readonly replica: ReplicaId };

export interface SimRuntimeSetup {
  readonly machine: Machine;
  readonly clock: SimClock;
  readonly chance: Chance;
  readonly life: Life;
  readonly faults: () => DriverFaults;
  /** Hears of each act before it happens; throws to stop it. */
  readonly onAct: (act: RuntimeAct, receipt: Receipt | undefined) => void;
}

/** A promise that nobody ever keeps: its caller has died. */
export function unanswered(): Promise<never> {
  return new Promise<never>(() => undefined);
}

export function openSimRuntime(setup: SimRuntimeSetup): Runtime {
  const { machine, life } = setup;
  const listeners = new Set<(event: RuntimeEvent) => void>();
  const detach = machine.onExit((process, exit) => {
    if (life.dead) return;
    for (const listener of listeners) listener({ kind: 'exited', replica: process.id, exit });
  });
  return {
    adopt: (known) => adopt(setup, known),
    start: (order, receipt) => start(setup, order, receipt),
    stop: (replica, termMs, receipt) => stop(setup, replica, termMs, receipt),
    list: () => machine.alive().map(running),
    look(replica) {
      const process = machine.find(replica);
      if (process === undefined) return 'unknown';
      return process.exit === undefined ? 'running' : 'ended';
    },
    usage(replica) {
      const process = machine.find(replica);
      if (process === undefined || process.exit !== undefined) return undefined;
      return { rssBytes: machine.rssBytes(process), cpuMs: 0 };
    },
    logs: async () => '',
    onEvent(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    limits: () => ({ kind: 'cgroup-v2', detail: 'simulated' }),
    async close() {
      detach();
    },
  };
}

function running(process: SimProcess): RunningReplica {
  const { id, service, release, pid, port, startedAtMs } = process;
  return { id, service, release, endpoint: { host: '127.0.0.1', port }, pid, startedAtMs };
}

async function adopt(setup: SimRuntimeSetup, known: ReadonlySet<ReplicaId>): Promise<AdoptReport> {
  const { machine } = setup;
  const adopted: RunningReplica[] = [];
  const reaped: { pid: number; replica: string }[] = [];
  for (const process of machine.alive()) {
    if (known.has(process.id)) {
      adopted.push(running(process));
      continue;
    }
    setup.onAct({ kind: 'reap', replica: process.id }, undefined);
    machine.end(process, { kind: 'signal', signal: 'SIGKILL' });
    reaped.push({ pid: process.pid, replica: process.id });
  }
  const ended = [...known].flatMap((id) => {
    const exit = machine.find(id)?.exit;
    return exit === undefined ? [] : [{ id, exit }];
  });
  return { adopted, ended, reaped };
}

const failedStart = (detail: string): StartAnswer => ({
  kind: 'failed',
  retryable: true,
  code: 'KIN_START_FAILED',
  detail,
});

async function start(
  setup: SimRuntimeSetup,
  order: ReplicaOrder,
  receipt: Receipt,
): Promise<StartAnswer> {
  const { machine, life, chance, clock } = setup;
  if (life.dead) return unanswered();
  assertReceipt(receipt);
  const before = machine.find(order.id);
  if (before?.exit !== undefined) return { kind: 'ended', exit: before.exit };
  if (before !== undefined) return { kind: 'already', ...running(before) };
  const faults = setup.faults();
  if (chance.yes('driver', faults.startFails)) return failedStart('simulated: no process');
  setup.onAct({ kind: 'start', replica: order.id, release: order.release }, receipt);
  const process = machine.spawn(order);
  if (chance.yes('driver', faults.startSlow)) {
    await clock.ownedBy(life).sleep(chance.whole('driver', 200, 3_000));
  }
  // The caller may have died while it waited; the process is there all the same.
  if (life.dead) return unanswered();
  if (chance.yes('driver', faults.startPartial)) return failedStart('simulated: lost the answer');
  return { kind: 'started', ...running(process) };
}

async function stop(
  setup: SimRuntimeSetup,
  replica: ReplicaId,
  termMs: number,
  receipt: Receipt,
): Promise<StopAnswer> {
  const { machine, life, chance, clock } = setup;
  if (life.dead) return unanswered();
  assertReceipt(receipt);
  const process = machine.find(replica);
  if (process === undefined || process.exit !== undefined) return { kind: 'not-running' };
  setup.onAct({ kind: 'stop', replica, termMs }, receipt);
  const deaf = process.hung || chance.yes('driver', setup.faults().stopSlow);
  const forced = termMs === 0 || deaf;
  const exit: Exit = forced ? { kind: 'signal', signal: 'SIGKILL' } : { kind: 'code', code: 0 };
  const delayMs = termMs === 0 ? 2 : deaf ? termMs : Math.min(termMs, chance.whole('stop', 5, 60));
  // The signal is sent: the process ends, whatever becomes of the one who sent it.
  clock.after(delayMs, () => machine.end(process, exit));
  await clock.ownedBy(life).sleep(delayMs + 1);
  return { kind: 'stopped', exit: process.exit ?? exit, forced };
}
