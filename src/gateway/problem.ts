// How does the gateway say no? RFC 9457 problem documents with a reason from a closed list, the
// request id to quote, and nothing that helps an attacker.
import type { OwnAnswer } from './http/hooks.ts';
import type { Ending } from './retry.ts';

export type Reason =
  | 'bad-request'
  | 'unauthenticated'
  | 'tenant-suspended'
  | 'tenant-mismatch'
  | 'not-allowed'
  | 'auth-busy'
  | 'route-unknown'
  | 'quarantined'
  | 'tenant-quarantined'
  | 'tenant-read-only'
  | 'tenant-throttled'
  | 'dependency-unavailable'
  | 'held-as-poison'
  | 'rate-limited'
  | 'concurrency-limited'
  | 'body-too-large'
  | 'request-too-slow'
  | 'no-table'
  | 'no-replica'
  | 'replica-broke'
  | 'bad-answer'
  | 'replica-hung'
  | 'replica-timeout'
  | 'overloaded';

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad request',
  401: 'Not authenticated',
  403: 'Forbidden',
  404: 'Not found',
  408: 'Request too slow',
  413: 'Body too large',
  429: 'Too many requests',
  502: 'Bad gateway',
  503: 'Unavailable',
  504: 'Timeout',
};

export interface Problem {
  readonly status: number;
  readonly reason: Reason;
  readonly detail: string;
  readonly retryAfterMs?: number;
}

export function problemAnswer(problem: Problem, requestId: string | undefined): OwnAnswer {
  const { status, reason, detail, retryAfterMs } = problem;
  const title = TITLES[status] ?? 'Error';
  const facts = { type: 'about:blank', title, status, reason, detail, requestId };
  let headers = 'content-type: application/problem+json\r\ncache-control: no-store\r\n';
  if (requestId !== undefined) headers += `x-request-id: ${requestId}\r\n`;
  if (status === 401) headers += 'www-authenticate: Bearer realm="kintsugi"\r\n';
  if (retryAfterMs !== undefined) {
    headers += `retry-after: ${Math.max(1, Math.ceil(retryAfterMs / 1_000))}\r\n`;
  }
  return { kind: 'answer', status, headers, body: JSON.stringify(facts) };
}

/** How an attempt failed, as its client is told. */
export function problemOf(ending: Ending): Problem {
  switch (ending.kind) {
    case 'broken':
      return { status: 502, reason: 'replica-broke', detail: 'The replica broke off.' };
    case 'garbled': {
      const detail = `The replica's answer is not valid HTTP: ${ending.reason}.`;
      return { status: 502, reason: 'bad-answer', detail };
    }
    case 'hung':
      return { status: 504, reason: 'replica-hung', detail: 'The replica hangs.' };
    case 'unsent':
      return { status: 503, reason: 'no-replica', detail: 'No replica took the request.' };
    case 'timeout':
      return { status: 504, reason: 'replica-timeout', detail: 'No answer in time.' };
    case 'status':
      return { status: 502, reason: 'replica-broke', detail: `Answer ${ending.status}.` };
  }
}
