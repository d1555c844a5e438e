// What can be seen? Every observation of the outside, as a value. `atMs` is monotonic time (since
// the boot of the machine), so that a step of the wall clock never makes a replica look late.
import type { Exit } from './replica.ts';
import type {
  CheckId,
  DependencyName,
  ReleaseId,
  ReplicaId,
  ServiceName,
  TenantId,
} from './ids.ts';

export type Signal =
  | { readonly kind: 'started'; readonly atMs: number; readonly replica: ReplicaId }
  | {
      readonly kind: 'exited';
      readonly atMs: number;
      readonly replica: ReplicaId;
      readonly exit: Exit;
    }
  | {
      readonly kind: 'probe';
      readonly atMs: number;
      readonly replica: ReplicaId;
      readonly probe: 'ready' | 'live';
      readonly result: ProbeResult;
    }
  | {
      readonly kind: 'heartbeat';
      readonly atMs: number;
      readonly replica: ReplicaId;
      readonly beat: Heartbeat;
    }
  | {
      readonly kind: 'usage';
      readonly atMs: number;
      readonly replica: ReplicaId;
      readonly rssBytes: number;
      readonly cpuMs: number;
    }
  | { readonly kind: 'traffic'; readonly atMs: number; readonly cells: readonly TrafficCell[] }
  | { readonly kind: 'gateway'; readonly atMs: number; readonly event: GatewayEvent }
  | {
      readonly kind: 'dependency';
      readonly atMs: number;
      readonly dependency: DependencyName;
      readonly result: ProbeResult;
    }
  | {
      readonly kind: 'check';
      readonly atMs: number;
      readonly check: CheckId;
      readonly result: CheckResult;
    }
  | {
      readonly kind: 'evidence';
      readonly atMs: number;
      /** Everything that is wrong with it at that moment. */
      readonly troubles: readonly EvidenceTrouble[];
    }
  | { readonly kind: 'clock-jumped'; readonly atMs: number; readonly byMs: number };

/** What keeps the ledger from being complete, witnessed or anchored. */
export interface EvidenceTrouble {
  /** `intent 12`, `witness NAME`, `anchor NAME`, `ledger`: the same as long as it lasts. */
  readonly part: string;
  readonly detail: string;
}

export type ProbeResult =
  | { readonly kind: 'ok'; readonly tookMs: number }
  /** It answered, and the answer was no: a status, or the dependency that it misses. */
  | { readonly kind: 'refused'; readonly tookMs: number; readonly detail: string }
  /** Nobody listens: the process is gone or not yet there. */
  | { readonly kind: 'unreachable'; readonly detail: string }
  | { readonly kind: 'timeout'; readonly afterMs: number };

export interface Heartbeat {
  readonly lagMs: number;
  readonly inFlight: number;
  readonly oldestMs: number;
  readonly rssBytes: number;
}

/** Counters of one flush window (250 ms) for one combination. Latency in log2 buckets of ms. */
export interface TrafficCell {
  readonly service: ServiceName;
  readonly replica: ReplicaId;
  readonly release: ReleaseId;
  readonly tenant: TenantId | undefined;
  readonly route: string;
  readonly requests: number;
  /** Answers 500–599 that the replica itself gave. */
  readonly errors: number;
  /** Connection refused, reset, or closed before the answer was whole. */
  readonly broken: number;
  readonly timeouts: number;
  /** `latency[i]` counts answers in [2^(i-1), 2^i) ms, `latency[0]` below 1 ms; 16 buckets. */
  readonly latency: readonly number[];
  /** Failures that a client saw, after all retries. */
  readonly failed: number;
}

export interface Suspect {
  readonly tenant: TenantId;
  readonly service: ServiceName;
  readonly method: string;
  /** Path without its query, ids folded to `:id`. */
  readonly route: string;
  readonly requestId: string;
}

export type EjectReason = 'unreachable' | 'errors' | 'slow' | 'hung';

export type GatewayEvent =
  | { readonly kind: 'connected'; readonly worker: string; readonly version: number }
  | { readonly kind: 'disconnected'; readonly worker: string }
  | {
      readonly kind: 'ejected';
      readonly replica: ReplicaId;
      readonly reason: EjectReason;
      readonly detail: string;
    }
  | { readonly kind: 'returned'; readonly replica: ReplicaId }
  /** A replica's connection died with these requests inside it. */
  | {
      readonly kind: 'died-serving';
      readonly replica: ReplicaId;
      readonly suspects: readonly Suspect[];
    }
  /** The gateway holds this combination back by itself for `holdMs`. */
  | {
      readonly kind: 'poison-held';
      readonly suspect: Suspect;
      readonly deaths: number;
      readonly holdMs: number;
    };

export type CheckResult =
  | { readonly kind: 'satisfied'; readonly population: number; readonly detail: string }
  | {
      readonly kind: 'not-satisfied';
      readonly population: number;
      readonly violations: readonly Violation[];
    }
  | { readonly kind: 'not-evaluated'; readonly reason: string }
  | { readonly kind: 'error'; readonly reason: string };

export interface Violation {
  readonly subject: string;
  readonly detail: string;
}
