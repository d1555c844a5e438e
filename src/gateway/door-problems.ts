// What is a client told that is turned away before any replica is asked?
import type { AdmitAnswer } from './admission.ts';
import type { AuthRefusal } from './auth.ts';
import type { Problem } from './problem.ts';
import type { TenantRoute } from '../model/routing.ts';

type Limited = Extract<AdmitAnswer, { readonly kind: 'limited' }>;

export const LEFT: Problem = { status: 503, reason: 'overloaded', detail: 'The client left.' };
export const SUSPENDED: Problem = {
  status: 403,
  reason: 'tenant-suspended',
  detail: 'This tenant is suspended.',
};
export const UNKNOWN: Problem = {
  status: 404,
  reason: 'route-unknown',
  detail: 'No service has this path.',
};

export function overLimit(answer: Limited, tenant: TenantRoute): Problem {
  const { retryAfterMs } = answer;
  const isRate = answer.reason === 'rate';
  const detail = isRate
    ? `Limit: ${tenant.ratePerSecond} requests a second.`
    : `Limit: ${tenant.concurrency} requests at once.`;
  const reason = isRate ? 'rate-limited' : 'concurrency-limited';
  return { status: 429, reason, detail, retryAfterMs };
}

export function authProblem(refusal: AuthRefusal): Problem {
  if (refusal === 'busy') {
    const detail = 'Too many new credentials are being checked.';
    return { status: 503, reason: 'auth-busy', detail, retryAfterMs: 1_000 };
  }
  return { status: 401, reason: 'unauthenticated', detail: `The credential is ${refusal}.` };
}
