// How are replicas run? The contract that every runtime driver passes (`test/contract/runtime.ts`):
// local processes today, Kubernetes pods by the same words.
//
//   RT1. Every act takes a receipt, and refuses without one.
//   RT2. `start` and `stop` are idempotent by replica id: repeating one after a crash does nothing
//        twice. An id that has exited is never started again.
//   RT3. Replicas outlive the controller. `adopt` finds each again by identity (pid and start
//        time), never by pid alone, and reaps what is ours but in nobody's book.
//   RT4. A replica is a process group: stopping it leaves no orphan behind.
//   RT5. Logs are bounded, and a log that nobody reads never blocks the replica.
import type { Endpoint, Exit } from '../model/replica.ts';
import type { ReleaseId, ReplicaId, ServiceName } from '../model/ids.ts';
import type { Receipt } from '../model/receipt.ts';

export interface ReplicaOrder {
  readonly id: ReplicaId;
  readonly service: ServiceName;
  readonly release: ReleaseId;
  /** Absolute folder to start in. */
  readonly cwd: string;
  readonly command: readonly string[];
  /** Complete environment with secrets resolved; never logged, never persisted. `PORT` is added. */
  readonly env: Readonly<Record<string, string>>;
  /** Fixed port, or 0: the driver picks a free one. */
  readonly port: number;
  readonly memoryBytes: number | undefined;
  readonly cpuCores: number | undefined;
  readonly logBytes: number;
}

export type StartAnswer =
  | { readonly kind: 'started'; readonly endpoint: Endpoint; readonly pid: number }
  | { readonly kind: 'already'; readonly endpoint: Endpoint; readonly pid: number }
  /** The id has lived and ended. */
  | { readonly kind: 'ended'; readonly exit: Exit }
  | {
      readonly kind: 'failed';
      readonly retryable: boolean;
      readonly code: string;
      readonly detail: string;
    };

export type StopAnswer =
  | { readonly kind: 'stopped'; readonly exit: Exit; readonly forced: boolean }
  | { readonly kind: 'not-running' }
  | { readonly kind: 'failed'; readonly detail: string };

export interface RunningReplica {
  readonly id: ReplicaId;
  readonly service: ServiceName;
  readonly release: ReleaseId;
  readonly endpoint: Endpoint;
  readonly pid: number;
  /** Monotonic ms. */
  readonly startedAtMs: number;
}

export type RuntimeEvent =
  | { readonly kind: 'exited'; readonly replica: ReplicaId; readonly exit: Exit }
  | { readonly kind: 'log-dropped'; readonly replica: ReplicaId; readonly bytes: number };

export interface Usage {
  readonly rssBytes: number;
  /** CPU time used since the start, ms. */
  readonly cpuMs: number;
}

export interface AdoptReport {
  readonly adopted: readonly RunningReplica[];
  /** In our files but not alive any more. */
  readonly ended: readonly { readonly id: ReplicaId; readonly exit: Exit }[];
  /** Alive with our mark but unknown to `known`: ended, because nobody would ever look after it. */
  readonly reaped: readonly { readonly pid: number; readonly replica: string }[];
}

export interface Runtime {
  /** Call once before anything else. `known`: the ids in our book that should be alive. */
  adopt(known: ReadonlySet<ReplicaId>): Promise<AdoptReport>;
  start(order: ReplicaOrder, receipt: Receipt): Promise<StartAnswer>;
  /** SIGTERM to the process, SIGKILL to its group after `termMs` (0: at once). */
  stop(replica: ReplicaId, termMs: number, receipt: Receipt): Promise<StopAnswer>;
  list(): readonly RunningReplica[];
  /** Is this id alive, ended, or never seen? */
  look(replica: ReplicaId): 'running' | 'ended' | 'unknown';
  usage(replica: ReplicaId): Usage | undefined;
  /** The last `bytes` (≤ 1 MiB) of what it wrote, oldest first. */
  logs(replica: ReplicaId, bytes: number): Promise<string>;
  onEvent(listener: (event: RuntimeEvent) => void): () => void;
  /** What limits can be enforced here, and if not, why. */
  limits(): { readonly kind: 'cgroup-v1' | 'cgroup-v2' | 'none'; readonly detail: string };
  /** Stops watching. Replicas go on. */
  close(): Promise<void>;
}
