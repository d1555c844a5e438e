// What do the parts of the process driver share? One context, and one value for each living
// replica.
import type { Clock, Log } from '../../world/clock.ts';
import type { ReleaseId, ReplicaId, ServiceName } from '../../model/ids.ts';
import type { Exit } from '../../model/replica.ts';
import type { RunningReplica, RuntimeEvent, StopAnswer } from '../../world/runtime.ts';
import type { Cage, Cages } from './cage.ts';
import type { Launcher } from './launcher.ts';
import type { ReplicaLogs } from './logs.ts';
import type { Machine } from './machine.ts';
import type { Ports } from './ports.ts';
import type { RecordBook, ReplicaRecord } from './record.ts';

/** How long after SIGKILL a process may still be there: it may sit in the kernel for a while. */
export const KILL_WAIT_MS = 5000;

export interface Ward {
  readonly instance: string;
  /** Marks our replicas: the same for each start on this folder, different for another folder. */
  readonly owner: string;
  readonly host: string;
  readonly nodeDir: string;
  readonly machine: Machine;
  readonly records: RecordBook;
  readonly logs: ReplicaLogs;
  readonly cages: Cages;
  readonly ports: Ports;
  readonly launcher: Launcher;
  readonly clock: Clock;
  readonly log: Log;
  readonly live: Map<ReplicaId, Live>;
  /** Ends in progress: the leader is dead, the rest of its group may not be. */
  readonly sweeps: Map<ReplicaId, Promise<readonly number[]>>;
  emit(event: RuntimeEvent): void;
}

export interface Live {
  readonly id: ReplicaId;
  readonly service: ServiceName;
  readonly release: ReleaseId;
  readonly port: number;
  readonly pid: number;
  readonly start: string;
  readonly startedAtMs: number;
  readonly logBytes: number;
  readonly cage: Cage | undefined;
  /** Memory kills in its cage before it was ours. */
  readonly killsBefore: number;
  /** False for an adopted one: its end must be polled for, and its status is not seen. */
  isTold: boolean;
  readonly ended: PromiseWithResolvers<Exit>;
  /** Aborted to end a stop's wait early. */
  readonly hurry: AbortController;
  stop: Promise<StopAnswer> | undefined;
  /** We sent SIGKILL. */
  isForced: boolean;
}

export function recordOf(ward: Ward, live: Live, state: ReplicaRecord['state']): ReplicaRecord {
  const { id, service, release, port, logBytes } = live;
  return { id, service, release, port, logBytes, bootId: ward.machine.bootId, state };
}

/** Enters it in the book, on disk first. */
export function admit(ward: Ward, live: Live): void {
  const { pid, start, startedAtMs } = live;
  const cage = live.cage?.folders ?? [];
  ward.records.write(recordOf(ward, live, { kind: 'running', pid, start, startedAtMs, cage }));
  ward.ports.hold(live.port);
  ward.live.set(live.id, live);
}

export function runningOf(ward: Ward, live: Live): RunningReplica {
  const { id, service, release, pid, startedAtMs } = live;
  return { id, service, release, pid, startedAtMs, endpoint: { host: ward.host, port: live.port } };
}
