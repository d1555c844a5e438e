// Is a release worse than the one before it? Judged on live traffic of both at the same time.
//
//   CM1. Errors need a minimum count before they condemn: one bad answer proves nothing.
//   CM2. What the baseline suffers as well is not held against the candidate.
//   CM3. Too little traffic is `unsure`, and said so; it neither condemns nor proves. With two
//        errors in it, it is not clean either: gateways keep requests away from a replica that
//        fails, so that a bad one may never get enough of them to be condemned.
import type { TrafficWindow } from './picture.ts';
import { quantileMs } from './picture.ts';

export type Comparison =
  | { readonly kind: 'worse'; readonly why: string }
  | { readonly kind: 'as-good'; readonly why: string }
  | { readonly kind: 'unsure'; readonly clean: boolean; readonly why: string };

const RULE = {
  errorsMin: 3,
  uncleanMin: 2,
  rateMin: 0.05,
  mostly: 0.5,
  soundMin: 10,
  baselineFactor: 3,
  slowFactor: 5,
  slowMs: 250,
  latencyMin: 20,
} as const;

export function compare(
  candidate: TrafficWindow,
  baseline: TrafficWindow | undefined,
  minRequests: number,
): Comparison {
  const errors = candidate.errors + candidate.broken + candidate.timeouts;
  const rate = errors / Math.max(1, candidate.requests);
  const usual =
    baseline === undefined
      ? 0
      : (baseline.errors + baseline.broken + baseline.timeouts) / Math.max(1, baseline.requests);
  const often = rate >= Math.max(RULE.rateMin, usual * RULE.baselineFactor);
  if (errors >= RULE.errorsMin && often) {
    return {
      kind: 'worse',
      why:
        `${errors} of ${candidate.requests} answers were errors, ` +
        `${(usual * 100).toFixed(1)} % on the old release`,
    };
  }
  if (errors >= RULE.uncleanMin && rate >= RULE.mostly && isSound(baseline, usual)) {
    return {
      kind: 'worse',
      why:
        `${errors} of its first ${candidate.requests} answers were errors, ` +
        'the old release is well',
    };
  }
  const slower = judgeSlower(candidate, baseline);
  if (slower !== undefined) return { kind: 'worse', why: slower };
  const clean = errors < RULE.uncleanMin || !often;
  if (candidate.requests < minRequests || !clean) {
    const seen = `${candidate.requests} requests seen, ${minRequests} asked for`;
    const why = clean ? `${seen}; probes are clean` : `${seen}; ${errors} of them were errors`;
    return { kind: 'unsure', clean, why };
  }
  return { kind: 'as-good', why: `${errors} errors in ${candidate.requests} requests` };
}

/** Enough requests went well on the old release at the same time. */
function isSound(baseline: TrafficWindow | undefined, usual: number): boolean {
  return baseline !== undefined && baseline.requests >= RULE.soundMin && usual <= RULE.rateMin;
}

function judgeSlower(
  candidate: TrafficWindow,
  baseline: TrafficWindow | undefined,
): string | undefined {
  if (baseline === undefined) return undefined;
  if (candidate.requests < RULE.latencyMin || baseline.requests < RULE.latencyMin) {
    return undefined;
  }
  const median = quantileMs(candidate.latency, 0.5);
  const usual = quantileMs(baseline.latency, 0.5);
  if (median < RULE.slowMs || median < RULE.slowFactor * usual) return undefined;
  return `median ${median} ms, ${usual} ms on the old release`;
}
