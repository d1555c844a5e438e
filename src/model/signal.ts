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

/** Bounds of its latency buckets: 2^i quarters of a ms, i = 0–15, and one beyond them. */
export const EDGE_BUCKETS = 17;

/** What a gateway counted since the last flush about requests as clients see them. */
export type EdgeCell =
  | {
      readonly kind: 'route';
      /** '' where a request was refused before that was known. */
      readonly service: string;
      readonly route: string;
      readonly replica: string;
      /** First digit of the status; 0: no answer. */
      readonly status: number;
      readonly requests: number;
      readonly failed: number;
      readonly retries: number;
      readonly bytesIn: number;
      readonly bytesOut: number;
      readonly totalMs: number;
      /** `latency[i]` counts those in (2^(i-1), 2^i] quarters of a ms; the last one the rest. */
      readonly latency: readonly number[];
    }
  | {
      readonly kind: 'tenant';
      /** '': the sum of those that were too many to be told apart. */
      readonly tenant: string;
      readonly requests: number;
      readonly failed: number;
      readonly refused: number;
      readonly bytesIn: number;
      readonly bytesOut: number;
    }
  /** The gateway itself said no. */
  | {
      readonly kind: 'refused';
      readonly status: number;
      readonly reason: string;
      readonly requests: number;
    }
  | { readonly kind: 'count'; readonly name: EdgeCount; readonly count: number }
  | { readonly kind: 'level'; readonly name: EdgeLevel; readonly value: number };

export type EdgeCount = 'log-lines' | 'log-dropped' | 'spans-sent' | 'spans-dropped';
export type EdgeLevel = 'connections' | 'in-flight' | 'table-version';

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
  /** Credential, host, path and route were not of one tenant: so many requests since the last. */
  | {
      readonly kind: 'crossed';
      /** Of the credential. */
      readonly tenant: TenantId;
      readonly service: ServiceName;
      readonly crossing: 'host-of-another' | 'path-of-another' | 'route-of-others';
      readonly requests: number;
    }
  /** How a certificate that a gateway serves stands; told when it changes, and as it ends. */
  | {
      readonly kind: 'certificate';
      readonly worker: string;
      readonly file: string;
      readonly hosts: readonly string[];
      readonly notAfterMs: number;
      /** Whole days; negative once it has ended. */
      readonly daysLeft: number;
      /** Why its files are not taken up: the one before is served. */
      readonly trouble?: string;
    }
  /** An issuer signs with a key that the table does not have. */
  | { readonly kind: 'keys-wanted'; readonly issuer: string }
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
