// What is a client told when isolation says no? Never the operator's own words: they may name what
// the tenant is suspected of.
import type { Problem } from '../problem.ts';
import type { BreakerAnswer } from './breaker.ts';
import type { Shed } from './gate.ts';
import type { RuleVerdict } from './rules.ts';

export function ruleProblem(verdict: Exclude<RuleVerdict, 'pass'>): Problem {
  switch (verdict.kind) {
    case 'denied': {
      const detail = 'This tenant is under quarantine.';
      return { status: 403, reason: 'tenant-quarantined', detail };
    }
    case 'read-only': {
      const detail = 'This tenant may only read for now.';
      return { status: 403, reason: 'tenant-read-only', detail };
    }
    case 'throttled': {
      const { retryAfterMs } = verdict;
      const detail = 'This tenant is held to fewer requests for now.';
      return { status: 429, reason: 'tenant-throttled', detail, retryAfterMs };
    }
  }
}

export function shedProblem({ reason, retryAfterMs }: Shed): Problem {
  const detail =
    reason === 'tenant-queue-full'
      ? 'Too many requests of this tenant wait.'
      : 'The service has more to do than it can.';
  return { status: 503, reason: 'overloaded', detail, retryAfterMs };
}

export function dependencyProblem(
  name: string,
  { retryAfterMs }: Extract<BreakerAnswer, { readonly kind: 'refused' }>,
): Problem {
  const detail = `${name}, which this needs, is down.`;
  return { status: 503, reason: 'dependency-unavailable', detail, retryAfterMs };
}
