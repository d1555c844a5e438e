// Is one replica worse than its siblings? Errors and latency are judged against the others at the
// same moment, so that a bad minute of everybody blames nobody in particular.
//
//   OU1. A minimum of samples on both sides; too few is no finding.
//   OU2. What all replicas suffer is no outlier.
//   OU4. A replica that is warming up is not judged on latency: compiling looks like being slow.
//   OU3. The gateway's ejection stands as evidence while it lasts, traffic or not.
//   OU5. Let in again is not healed: its probe may be green while its answers are not. It stays a
//        suspect until it has answered well, unless a dependency that it needs came back since.
import { finding } from '../../model/finding.ts';
import type { Finding } from '../../model/finding.ts';
import { addWindows, backAtMs, firstBadMs, quantileMs, sumWindows } from '../../model/picture.ts';
import type {
  Picture,
  ReplicaTrial,
  ReplicaView,
  ServiceView,
  TrafficWindow,
} from '../../model/picture.ts';
import { serviceReplicas } from '../../model/budget.ts';

const RULE = {
  spanMs: 5_000,
  errorsMin: 5,
  rateMin: 0.2,
  siblingRateMax: 0.05,
  samplesMin: 10,
  slowFactor: 5,
  warmUpMs: 10_000,
  trialMs: 30_000,
} as const;

export function detectOutliers(picture: Picture, nowMs: number): Finding[] {
  const found: Finding[] = [];
  for (const service of picture.services.values()) {
    const replicas = serviceReplicas(picture, service.spec.name).filter(
      (r) => r.phase === 'ready' && r.exited === undefined && r.role === 'active',
    );
    const sums = new Map(replicas.map((r) => [r.id, sumWindows(r.windows, nowMs, RULE.spanMs)]));
    for (const replica of replicas) {
      const mine = sums.get(replica.id);
      if (mine === undefined) continue;
      // Its siblings are only summed up when it looks bad by itself.
      const others = (): TrafficWindow =>
        addWindows(
          [...sums].filter(([id]) => id !== replica.id).map(([, s]) => s),
          nowMs,
        );
      const bad =
        judgeErrors(replica, mine, others, nowMs) ??
        judgeLatency(replica, mine, others, service.spec.slo.latencyMs, nowMs) ??
        judgeTrial(replica, service, picture, nowMs);
      if (bad !== undefined) found.push(bad);
    }
  }
  return found;
}

function subjectOf(replica: ReplicaView): Finding['subject'] {
  return { kind: 'replica', replica: replica.id, service: replica.service };
}

function judgeErrors(
  replica: ReplicaView,
  mine: TrafficWindow,
  siblings: () => TrafficWindow,
  nowMs: number,
): Finding | undefined {
  const { ejected } = replica;
  if (ejected !== undefined && (ejected.reason === 'errors' || ejected.reason === 'unreachable')) {
    return finding('replica-erroring', subjectOf(replica), ejected.atMs, 0.9, [
      `gateway ejected it: ${ejected.detail}`,
    ]);
  }
  const errors = mine.errors + mine.broken;
  if (errors < RULE.errorsMin) return undefined;
  const others = siblings();
  if (others.requests < RULE.samplesMin) return undefined;
  const rate = errors / Math.max(1, mine.requests);
  const othersRate = (others.errors + others.broken) / Math.max(1, others.requests);
  if (rate < RULE.rateMin || othersRate > RULE.siblingRateMax) return undefined;
  const since = firstBadMs(replica.windows, nowMs, RULE.spanMs) ?? nowMs;
  return finding('replica-erroring', subjectOf(replica), since, 0.85, [
    `${percent(rate)} of its answers are errors, ${percent(othersRate)} of its siblings'`,
  ]);
}

function judgeLatency(
  replica: ReplicaView,
  mine: TrafficWindow,
  siblings: () => TrafficWindow,
  slowMs: number,
  nowMs: number,
): Finding | undefined {
  const { ejected, readyAtMs } = replica;
  if (readyAtMs === undefined || nowMs - readyAtMs < RULE.warmUpMs) return undefined;
  if (ejected?.reason === 'slow') {
    return finding('replica-slow', subjectOf(replica), ejected.atMs, 0.9, [
      `gateway ejected it: ${ejected.detail}`,
    ]);
  }
  const median = quantileMs(mine.latency, 0.5);
  if (mine.requests < RULE.samplesMin || median < slowMs) return undefined;
  const others = siblings();
  const usual = quantileMs(others.latency, 0.5);
  if (others.requests < RULE.samplesMin || median < RULE.slowFactor * usual) return undefined;
  return finding('replica-slow', subjectOf(replica), nowMs - RULE.spanMs, 0.85, [
    `median ${median} ms, its siblings' ${usual} ms`,
  ]);
}

/** OU5. */
function judgeTrial(
  replica: ReplicaView,
  service: ServiceView,
  picture: Picture,
  nowMs: number,
): Finding | undefined {
  const trial = replica.onTrial;
  if (trial === undefined || (trial.reason !== 'errors' && trial.reason !== 'slow')) {
    return undefined;
  }
  const spanMs = nowMs - trial.returnedAtMs;
  if (spanMs > RULE.trialMs || isExplained(trial, service, picture)) return undefined;
  const since = sumWindows(replica.windows, nowMs, spanMs);
  const bad = since.errors + since.broken + since.timeouts;
  const rate = bad / Math.max(1, since.requests);
  // A slow one is known by any answers since; an erring one may get too few of them to tell.
  const slow = since.requests > 0 && quantileMs(since.latency, 0.5) >= service.spec.slo.latencyMs;
  const isGood =
    trial.reason === 'slow'
      ? !slow
      : since.requests >= RULE.samplesMin && rate <= RULE.siblingRateMax;
  if (isGood) return undefined;
  const kind = trial.reason === 'slow' ? 'replica-slow' : 'replica-erroring';
  return finding(kind, subjectOf(replica), trial.ejectedAtMs, 0.8, [
    `on trial after the gateway had ejected it: ${trial.detail}`,
    `since then ${bad} of ${since.requests} answers were bad`,
  ]);
}

function isExplained(trial: ReplicaTrial, service: ServiceView, picture: Picture): boolean {
  return service.spec.dependsOn.some((name) => {
    const dependency = picture.dependencies.get(name);
    if (dependency === undefined) return false;
    return (
      dependency.track.failures > 0 || (backAtMs(dependency, picture) ?? 0) >= trial.ejectedAtMs
    );
  });
}

function percent(ratio: number): string {
  return `${(ratio * 100).toFixed(ratio < 0.1 ? 1 : 0)} %`;
}
