// What do we know right now? The signals folded into bounded windows, one view a replica, service,
// dependency and control. Detectors read nothing else. `observe` owns and writes it.
//
//   PIC1. Every list here is bounded (the LIMITS below); the oldest goes first.
import type { Exit, Phase, Role } from './replica.ts';
import type {
  CheckId,
  DependencyName,
  Fingerprint,
  ReleaseId,
  ReplicaId,
  ServiceName,
  TenantId,
} from './ids.ts';
import type { CheckResult, EjectReason, Heartbeat, ProbeResult, Suspect } from './signal.ts';
import type { DependencySpec, ServiceSpec } from './manifest.ts';

export const LIMITS = {
  memorySamples: 240,
  trafficWindows: 240,
  exits: 64,
  deaths: 64,
  held: 32,
  changes: 64,
} as const;

export interface Picture {
  /** When the controller began to watch; judgement waits until the data is fresh (P6). */
  readonly since: number;
  readonly replicas: ReadonlyMap<ReplicaId, ReplicaView>;
  readonly services: ReadonlyMap<ServiceName, ServiceView>;
  readonly dependencies: ReadonlyMap<DependencyName, DependencyView>;
  readonly controls: ReadonlyMap<CheckId, ControlView>;
  readonly gateways: ReadonlyMap<string, number>;
  /** By part; since when it has been so. */
  readonly evidence: ReadonlyMap<string, { readonly detail: string; readonly sinceMs: number }>;
  readonly tenants: ReadonlyMap<TenantId, TenantView>;
  readonly clockJump: { readonly atMs: number; readonly byMs: number } | undefined;
}

export interface ProbeTrack {
  readonly last: ProbeResult | undefined;
  readonly lastAtMs: number;
  /** Consecutive results that were not `ok`. */
  readonly failures: number;
  readonly okAtMs: number | undefined;
  /** When the present run of failures began. */
  readonly failingSinceMs: number | undefined;
  /** When it last went from failing to ok. */
  readonly recoveredAtMs: number | undefined;
}

export const NO_PROBE: ProbeTrack = {
  last: undefined,
  lastAtMs: 0,
  failures: 0,
  okAtMs: undefined,
  failingSinceMs: undefined,
  recoveredAtMs: undefined,
};

export interface ReplicaView {
  readonly id: ReplicaId;
  readonly service: ServiceName;
  readonly release: ReleaseId;
  readonly role: Role;
  readonly phase: Phase;
  readonly weight: number;
  readonly startedAtMs: number;
  readonly readyAtMs: number | undefined;
  readonly exited: { readonly atMs: number; readonly exit: Exit } | undefined;
  readonly ready: ProbeTrack;
  readonly live: ProbeTrack;
  readonly beat: { readonly atMs: number; readonly beat: Heartbeat } | undefined;
  readonly memory: readonly MemorySample[];
  readonly windows: readonly TrafficWindow[];
  readonly ejected:
    | { readonly atMs: number; readonly reason: EjectReason; readonly detail: string }
    | undefined;
  /** Let in again by a gateway after an ejection: on trial until it has done well. */
  readonly onTrial: ReplicaTrial | undefined;
}

export interface ReplicaTrial {
  readonly ejectedAtMs: number;
  readonly returnedAtMs: number;
  readonly reason: EjectReason;
  readonly detail: string;
}

export interface MemorySample {
  readonly atMs: number;
  readonly rssBytes: number;
  /** CPU time since the start of the replica. */
  readonly cpuMs: number;
}

/** What clients got, over one flush window, summed over the cells of a replica (or tenant). */
export interface TrafficWindow {
  readonly atMs: number;
  readonly requests: number;
  readonly errors: number;
  readonly broken: number;
  readonly timeouts: number;
  readonly failed: number;
  readonly latency: readonly number[];
}

export interface ServiceView {
  readonly spec: ServiceSpec;
  /** Wanted now: the manifest's minimum or what an operator scaled to. */
  readonly replicas: number;
  readonly release: ReleaseId;
  readonly previous: ReleaseId | undefined;
  /** Monotonic time of the last change of release. */
  readonly releasedAtMs: number | undefined;
  /** A rollout that a live run is doing. */
  readonly rollingOut: boolean;
  readonly paused: boolean;
  readonly exits: readonly ExitRecord[];
  readonly deaths: readonly DeathRecord[];
  readonly held: readonly HeldRecord[];
  /** Starts in a row that did not lead to a ready replica. */
  readonly troubles: { readonly count: number; readonly atMs: number; readonly detail: string };
}

export const NO_TROUBLE: ServiceView['troubles'] = { count: 0, atMs: 0, detail: '' };

export interface ExitRecord {
  readonly atMs: number;
  readonly replica: ReplicaId;
  readonly release: ReleaseId;
  readonly exit: Exit;
  /** Did it ever become ready? An exit before is a failed start. */
  readonly wasReady: boolean;
  /** Did a plan of ours end it? Then it is no fault. */
  readonly wanted: boolean;
}

export interface DeathRecord {
  readonly atMs: number;
  readonly replica: ReplicaId;
  readonly suspects: readonly Suspect[];
}

export interface HeldRecord {
  readonly atMs: number;
  readonly suspect: Suspect;
  readonly deaths: number;
}

export interface DependencyView {
  readonly spec: DependencySpec;
  readonly track: ProbeTrack;
}

export interface ControlView {
  readonly id: CheckId;
  readonly heal: 'automatic' | 'ask' | 'off';
  readonly dependency: DependencyName;
  readonly frameworks: readonly string[];
  readonly intervalMs: number;
  readonly result: CheckResult | undefined;
  readonly atMs: number;
}

export interface TenantView {
  readonly id: TenantId;
  readonly region: string;
  readonly windows: readonly TrafficWindow[];
  readonly quarantined: ReadonlySet<Fingerprint>;
}

export const LATENCY_BUCKETS = 16;

const NO_LATENCY: readonly number[] = Array.from({ length: LATENCY_BUCKETS }, () => 0);

export function noLatency(): number[] {
  return [...NO_LATENCY];
}

/** Sums the windows that are younger than `spanMs`. */
export function sumWindows(
  windows: readonly TrafficWindow[],
  nowMs: number,
  spanMs: number,
): TrafficWindow {
  let from = windows.length;
  while (from > 0 && (windows[from - 1]?.atMs ?? 0) >= nowMs - spanMs) from -= 1;
  return addWindows(windows.slice(from), nowMs);
}

/** One window that holds what all of these hold. */
export function addWindows(windows: readonly TrafficWindow[], atMs: number): TrafficWindow {
  const latency = noLatency();
  const sum = { atMs, requests: 0, errors: 0, broken: 0, timeouts: 0, failed: 0 };
  for (const window of windows) {
    sum.requests += window.requests;
    sum.errors += window.errors;
    sum.broken += window.broken;
    sum.timeouts += window.timeouts;
    sum.failed += window.failed;
    for (let b = 0; b < LATENCY_BUCKETS; b += 1) {
      latency[b] = (latency[b] ?? 0) + (window.latency[b] ?? 0);
    }
  }
  return { ...sum, latency };
}

/** When the errors of the last `spanMs` began: the oldest window in it that has some. */
export function firstBadMs(
  windows: readonly TrafficWindow[],
  nowMs: number,
  spanMs: number,
): number | undefined {
  let firstMs: number | undefined;
  for (let i = windows.length - 1; i >= 0; i -= 1) {
    const window = windows[i];
    if (window === undefined || window.atMs < nowMs - spanMs) break;
    if (window.errors + window.broken + window.timeouts > 0) firstMs = window.atMs;
  }
  return firstMs;
}

/** When the newest errors of the last `spanMs` were seen. */
export function lastBadMs(
  windows: readonly TrafficWindow[],
  nowMs: number,
  spanMs: number,
): number | undefined {
  for (let i = windows.length - 1; i >= 0; i -= 1) {
    const window = windows[i];
    if (window === undefined || window.atMs < nowMs - spanMs) return undefined;
    if (window.errors + window.broken + window.timeouts > 0) return window.atMs;
  }
  return undefined;
}

/** Upper bound in ms of the bucket that holds the given quantile (0–1); 0 without samples. */
export function quantileMs(latency: readonly number[], quantile: number): number {
  const total = latency.reduce((a, b) => a + b, 0);
  if (total === 0) return 0;
  let seen = 0;
  for (let b = 0; b < latency.length; b += 1) {
    seen += latency[b] ?? 0;
    if (seen >= quantile * total) return 2 ** b;
  }
  return 2 ** latency.length;
}

/** When it last came back: by its probe, or by a new process, which no probe may have missed. */
export function backAtMs(dependency: DependencyView, picture: Picture): number | undefined {
  let atMs = dependency.track.recoveredAtMs;
  const { service } = dependency.spec;
  if (service === undefined) return atMs;
  for (const replica of picture.replicas.values()) {
    if (replica.service !== service || replica.readyAtMs === undefined) continue;
    if (isAdopted(replica, picture)) continue;
    if (atMs === undefined || replica.readyAtMs > atMs) atMs = replica.readyAtMs;
  }
  return atMs;
}

const ADOPTION_MS = 1_000;

/** Ready when this controller first looked: it came up long before, and is no news. */
function isAdopted(replica: ReplicaView, picture: Picture): boolean {
  const { readyAtMs, startedAtMs } = replica;
  return readyAtMs === startedAtMs && startedAtMs - picture.since < ADOPTION_MS;
}

/** Does it take requests right now and answer them? Ejected and unready replicas do not. */
export function isAvailable(replica: ReplicaView): boolean {
  return (
    replica.phase === 'ready' &&
    replica.role === 'active' &&
    replica.weight > 0 &&
    replica.exited === undefined &&
    replica.ejected === undefined &&
    replica.ready.failures < 2
  );
}

/** Has its probe failed as often in a row as its spec says? */
export function isDown(dependency: DependencyView): boolean {
  return dependency.track.failures >= dependency.spec.failures;
}
