// Is a release worse than the one before it? Judged on live traffic of both at the same time.
//
//   CM1. Errors need a minimum count before they condemn: one bad answer proves nothing.
//   CM2. What the baseline suffers as well is not held against the candidate.
//   CM3. Too little traffic is `unsure`, and said so; it neither condemns nor proves.
import type { TrafficWindow } from './picture.ts';
import { quantileMs } from './picture.ts';

export type Comparison =
  | { readonly kind: 'worse'; readonly why: string }
  | { readonly kind: 'as-good'; readonly why: string }
  | { readonly kind: 'unsure'; readonly why: string };

const RULE = {
  errorsMin: 3,
  rateMin: 0.05,
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
  if (errors >= RULE.errorsMin && rate >= Math.max(RULE.rateMin, usual * RULE.baselineFactor)) {
    return {
      kind: 'worse',
      why:
        `${errors} of ${candidate.requests} answers were errors, ` +
        `${(usual * 100).toFixed(1)} % on the old release`,
    };
  }
  const slower = judgeSlower(candidate, baseline);
  if (slower !== undefined) return { kind: 'worse', why: slower };
  if (candidate.requests < minRequests) {
    return {
      kind: 'unsure',
      why: `${candidate.requests} requests seen, ${minRequests} asked for; probes are clean`,
    };
  }
  return { kind: 'as-good', why: `${errors} errors in ${candidate.requests} requests` };
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
