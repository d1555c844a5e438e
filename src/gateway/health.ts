// Which replicas of one service look well enough to be given requests? Passive judgement from the
// answers of real requests, fed with `nowMs`, so that the simulator runs the very same rules. The
// state is mutable on purpose: this runs for every request.
//
//   HE1. After every act at least `minRouted` replicas are routed (or all, if there are fewer).
//   HE2. Whatever would break HE1 is not ejected; but a worse one takes the place of a softer one.
//   HE3. Nobody is an outlier if its siblings look the same: when all fail, nobody is ejected.
//   HE4. Who is ejected comes back only by its own probe, after a hold-down that grows from 1 s to
//        30 s with jitter, and then with a small share that grows (slow start).
//   HE5. Without a minimum of samples nothing is judged slow: five of its own, or three requests
//        that wait while nothing ends in it and five are answered by its siblings.
//   HE6. On trial one failure, or one that waits so, is enough.
import type { ReplicaId } from '../model/ids.ts';
import type { EjectReason } from '../model/signal.ts';

export const LIMITS = {
  samples: 16,
  sampleAgeMs: 30_000,
  slowSamples: 5,
  stuckSamples: 3,
  inARow: 3,
  slowFactor: 5,
  holdMs: 1_000,
  holdMaxMs: 30_000,
  slowStartMs: 10_000,
  trialAnswers: 5,
  forgetMs: 60_000,
} as const;

export type Standing =
  | { readonly kind: 'in'; readonly sinceMs: number }
  | {
      readonly kind: 'out';
      readonly reason: EjectReason;
      readonly sinceMs: number;
      readonly probeAtMs: number;
    }
  /** Its own probe passed: a small share that grows, and nothing that could not be repeated. */
  | { readonly kind: 'warming'; readonly sinceMs: number };

/** `excused`: an error that the replica lays on a dependency, which tells nothing of itself. */
export type Outcome = 'ok' | 'error' | 'broken' | 'timeout' | 'unreachable' | 'excused';

/** Written again and again: one of each replica's ring, so that no request makes garbage. */
interface Sample {
  atMs: number;
  bad: boolean;
  tookMs: number;
}

export interface Track {
  readonly id: ReplicaId;
  weight: number;
  standing: Standing;
  /** Failures in a row. */
  failures: number;
  /** Good answers since it came back. */
  goodAnswers: number;
  /** Ejections since it was last fine for long. */
  times: number;
  readonly samples: Sample[];
}

export interface Health {
  readonly tracks: Map<ReplicaId, Track>;
  minRouted: number;
  slowMs: number;
  /** 0 ≤ x < 1. */
  readonly random: () => number;
}

export type HealthEvent =
  | {
      readonly kind: 'ejected';
      readonly replica: ReplicaId;
      readonly reason: EjectReason;
      readonly detail: string;
    }
  | { readonly kind: 'returned'; readonly replica: ReplicaId };

export interface HealthSetup {
  readonly replicas: readonly { readonly id: ReplicaId; readonly weight: number }[];
  readonly minRouted: number;
  readonly slowMs: number;
}

const NOTHING: readonly HealthEvent[] = Object.freeze([]);

const SEVERITY: Readonly<Record<EjectReason, number>> = {
  slow: 1,
  errors: 2,
  hung: 3,
  unreachable: 4,
};

export function openHealth(random: () => number): Health {
  return { tracks: new Map(), minRouted: 1, slowMs: 1_000, random };
}

/** Takes over a new table. Who is known keeps its standing; HE1 is restored if it needs be. */
export function setReplicas(health: Health, setup: HealthSetup, nowMs: number): HealthEvent[] {
  health.minRouted = Math.max(1, setup.minRouted);
  health.slowMs = setup.slowMs;
  const wanted = new Set(setup.replicas.map((r) => r.id));
  for (const id of health.tracks.keys()) if (!wanted.has(id)) health.tracks.delete(id);
  for (const { id, weight } of setup.replicas) {
    const track = health.tracks.get(id);
    if (track === undefined) health.tracks.set(id, newTrack(id, weight, nowMs));
    else track.weight = weight;
  }
  return restoreFloor(health, nowMs);
}

function newTrack(id: ReplicaId, weight: number, nowMs: number): Track {
  const standing: Standing = { kind: 'in', sinceMs: nowMs };
  return { id, weight, standing, failures: 0, goodAnswers: 0, times: 0, samples: [] };
}

const mayServe = (t: Track): boolean => t.weight > 0;
const isRouted = (t: Track): boolean => t.weight > 0 && t.standing.kind !== 'out';

function routed(health: Health): Track[] {
  return [...health.tracks.values()].filter(isRouted);
}

/** 0–1 of its weight that a replica may be given now. */
export function portion(track: Track, nowMs: number): number {
  const { standing } = track;
  if (standing.kind === 'in') return 1;
  if (standing.kind === 'out') return 0;
  const ageMs = nowMs - standing.sinceMs;
  const enough = track.goodAnswers >= LIMITS.trialAnswers || ageMs > LIMITS.slowStartMs;
  if (ageMs >= LIMITS.slowStartMs && enough) track.standing = { kind: 'in', sinceMs: nowMs };
  return Math.max(0.05, Math.min(1, ageMs / LIMITS.slowStartMs));
}

/** Still on trial: give it only what may be repeated elsewhere. */
export function onTrial(track: Track): boolean {
  return track.standing.kind === 'warming' && track.goodAnswers < LIMITS.trialAnswers;
}

/** So many must wait while nothing ends, until it can be judged by these alone (HE5, HE6). */
export const stuckNeeded = (track: Track): number => (onTrial(track) ? 1 : LIMITS.stuckSamples);

/** An attempt on this replica ended. */
export function noteOutcome(
  health: Health,
  id: ReplicaId,
  outcome: Outcome,
  tookMs: number,
  nowMs: number,
): readonly HealthEvent[] {
  const track = health.tracks.get(id);
  if (track === undefined || outcome === 'excused') return NOTHING;
  if (outcome === 'unreachable') {
    track.failures += 1;
    return eject(health, track, 'unreachable', 'connection refused', nowMs);
  }
  const bad = outcome !== 'ok';
  addSample(track, nowMs, bad, tookMs);
  track.failures = bad ? track.failures + 1 : 0;
  if (!bad) track.goodAnswers += 1;
  if (bad) return judgeErrors(health, track, outcome, nowMs);
  return tookMs >= health.slowMs ? judgeSlow(health, track, [], nowMs) : NOTHING;
}

function addSample({ samples }: Track, atMs: number, bad: boolean, tookMs: number): void {
  const old = samples.length < LIMITS.samples ? undefined : samples.shift();
  if (old === undefined) {
    samples.push({ atMs, bad, tookMs });
    return;
  }
  old.atMs = atMs;
  old.bad = bad;
  old.tookMs = tookMs;
  samples.push(old);
}

/** Requests that still wait for their answer count as slow before they end: `agesMs`. */
export function noteWaiting(
  health: Health,
  id: ReplicaId,
  agesMs: readonly number[],
  nowMs: number,
): readonly HealthEvent[] {
  const track = health.tracks.get(id);
  const slow = agesMs.filter((ms) => ms >= health.slowMs);
  if (track === undefined || slow.length === 0) return NOTHING;
  const events = judgeStuck(health, track, slow, nowMs);
  return events.length > 0 ? events : judgeSlow(health, track, slow, nowMs);
}

/** Requests stand still inside it and its own probe got no answer. */
export function noteHung(
  health: Health,
  id: ReplicaId,
  detail: string,
  nowMs: number,
): HealthEvent[] {
  const track = health.tracks.get(id);
  return track === undefined ? [] : eject(health, track, 'hung', detail, nowMs);
}

/** Those whose hold-down is over: look at them, then call `noteProbe`. */
export function dueProbes(health: Health, nowMs: number): ReplicaId[] {
  const due: ReplicaId[] = [];
  for (const { id, standing } of health.tracks.values()) {
    if (standing.kind === 'out' && standing.probeAtMs <= nowMs) due.push(id);
  }
  return due;
}

/** When the next probe is due, or undefined when nobody is out. */
export function nextProbeAtMs(health: Health): number | undefined {
  let next: number | undefined;
  for (const { standing } of health.tracks.values()) {
    if (standing.kind !== 'out') continue;
    if (next === undefined || standing.probeAtMs < next) next = standing.probeAtMs;
  }
  return next;
}

export function noteProbe(
  health: Health,
  id: ReplicaId,
  passed: boolean,
  nowMs: number,
): HealthEvent[] {
  const track = health.tracks.get(id);
  if (track === undefined || track.standing.kind !== 'out') return [];
  if (passed) return [comeBack(track, nowMs)];
  track.times += 1;
  track.standing = { ...track.standing, probeAtMs: nowMs + holdMs(health, track.times) };
  return [];
}

/** Forgets what was held against it: its dependency came back, or a person says so. */
export function forgive(health: Health, id: ReplicaId, nowMs: number): HealthEvent[] {
  const track = health.tracks.get(id);
  if (track === undefined) return [];
  const wasOut = track.standing.kind === 'out';
  track.standing = { kind: 'in', sinceMs: nowMs };
  track.failures = 0;
  track.times = 0;
  track.samples.length = 0;
  return wasOut ? [{ kind: 'returned', replica: id }] : [];
}

function comeBack(track: Track, nowMs: number): HealthEvent {
  track.standing = { kind: 'warming', sinceMs: nowMs };
  track.failures = 0;
  track.goodAnswers = 0;
  track.samples.length = 0;
  return { kind: 'returned', replica: track.id };
}

function holdMs(health: Health, times: number): number {
  const whole = Math.min(LIMITS.holdMaxMs, LIMITS.holdMs * 2 ** Math.min(times - 1, 10));
  return whole * (0.8 + 0.4 * health.random());
}

function eject(
  health: Health,
  track: Track,
  reason: EjectReason,
  detail: string,
  nowMs: number,
): HealthEvent[] {
  if (!isRouted(track)) return [];
  const events: HealthEvent[] = [];
  if (routed(health).length - 1 < health.minRouted) {
    const softer = softest(health, SEVERITY[reason]);
    if (softer === undefined) return [];
    events.push(comeBack(softer, nowMs));
  }
  const { standing } = track;
  const fine = standing.kind === 'in' && nowMs - standing.sinceMs >= LIMITS.forgetMs;
  track.times = fine ? 1 : track.times + 1;
  const probeAtMs = nowMs + holdMs(health, track.times);
  track.standing = { kind: 'out', reason, sinceMs: nowMs, probeAtMs };
  events.push({ kind: 'ejected', replica: track.id, reason, detail });
  return events;
}

/** The ejected replica with the mildest reason below `severity`: the one to take back instead. */
function softest(health: Health, severity: number): Track | undefined {
  let best: Track | undefined;
  let bestSeverity = severity;
  for (const track of health.tracks.values()) {
    if (!mayServe(track) || track.standing.kind !== 'out') continue;
    const own = SEVERITY[track.standing.reason];
    if (own >= bestSeverity) continue;
    best = track;
    bestSeverity = own;
  }
  return best;
}

function restoreFloor(health: Health, nowMs: number): HealthEvent[] {
  const events: HealthEvent[] = [];
  for (let i = 0; i < health.tracks.size; i += 1) {
    if (routed(health).length >= health.minRouted) break;
    const softer = softest(health, SEVERITY.unreachable + 1);
    if (softer === undefined) break;
    softer.standing = { kind: 'in', sinceMs: nowMs };
    softer.failures = 0;
    events.push({ kind: 'returned', replica: softer.id });
  }
  return events;
}

function recent(track: Track, nowMs: number, count: number): Sample[] {
  const from = Math.max(0, track.samples.length - count);
  return track.samples.slice(from).filter((s) => s.atMs > nowMs - LIMITS.sampleAgeMs);
}

function badRate(samples: readonly Sample[]): number {
  return samples.length === 0 ? 0 : samples.filter((s) => s.bad).length / samples.length;
}

function judgeErrors(health: Health, track: Track, outcome: Outcome, nowMs: number): HealthEvent[] {
  const inARow = track.failures >= (onTrial(track) ? 1 : LIMITS.inARow);
  const own = badRate(recent(track, nowMs, 8));
  const often = track.samples.length >= 10 && badRate(recent(track, nowMs, 16)) >= 0.4;
  if (!inARow && !often) return [];
  const siblings = routed(health).filter((t) => t.id !== track.id);
  const known = siblings
    .map((t) => recent(t, nowMs, 8))
    .filter((samples) => samples.length >= 3)
    .map(badRate);
  const flawless = known.filter((rate) => rate === 0).length;
  const better = known.filter((rate) => rate <= own / 3).length;
  const enough = track.failures >= 5 || often ? better : flawless;
  // At least half of those that share the traffic must do clearly better; else it is not this one.
  if (enough === 0 || enough * 2 < siblings.length) return [];
  const percent = Math.round(own * 100);
  const inRow = `${track.failures} failures in a row (last: ${outcome})`;
  const detail = `${inRow}, ${percent} % of its last 8`;
  return eject(health, track, 'errors', detail, nowMs);
}

/**
 * Nothing ended in it since its three oldest came, and its siblings answered five in that time: it
 * need not be waited for until the first of them ends.
 */
function judgeStuck(
  health: Health,
  track: Track,
  slowMs: readonly number[],
  nowMs: number,
): readonly HealthEvent[] {
  const third = slowMs.toSorted((a, b) => b - a)[stuckNeeded(track) - 1];
  if (third === undefined) return NOTHING;
  const last = track.samples.at(-1);
  if (last !== undefined && last.atMs > nowMs - third) return NOTHING;
  const others = routed(health)
    .filter((t) => t.id !== track.id)
    .flatMap((t) => recent(t, nowMs, LIMITS.samples))
    .filter((s) => !s.bad && s.atMs > nowMs - third)
    .map((s) => s.tookMs);
  if (others.length < LIMITS.slowSamples) return NOTHING;
  const othersMs = median(others);
  if (third < LIMITS.slowFactor * othersMs) return NOTHING;
  const answered = `siblings answered ${others.length} in ${Math.round(othersMs)} ms`;
  const detail = `${slowMs.length} wait for ${Math.round(third)} ms or more, ${answered}`;
  return eject(health, track, 'slow', detail, nowMs);
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}

function judgeSlow(
  health: Health,
  track: Track,
  waitingMs: readonly number[],
  nowMs: number,
): HealthEvent[] {
  const ended = recent(track, nowMs, 9).map((s) => s.tookMs);
  const own = [...ended, ...waitingMs].slice(-9);
  if (own.length < LIMITS.slowSamples) return [];
  const others = routed(health)
    .filter((t) => t.id !== track.id)
    .flatMap((t) => recent(t, nowMs, 9))
    .filter((s) => !s.bad)
    .map((s) => s.tookMs);
  if (others.length < LIMITS.slowSamples) return [];
  const ownMs = median(own);
  const othersMs = median(others);
  if (ownMs < Math.max(health.slowMs, LIMITS.slowFactor * othersMs)) return [];
  const detail = `median ${Math.round(ownMs)} ms, siblings ${Math.round(othersMs)} ms`;
  return eject(health, track, 'slow', detail, nowMs);
}
