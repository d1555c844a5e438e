// How does the gateway say no? RFC 9457 problem documents with a reason from a closed list, the
// request id to quote, and nothing that helps an attacker.
import type { Exchange } from './exchange.ts';

export type Reason =
  | 'bad-request'
  | 'unauthenticated'
  | 'tenant-suspended'
  | 'route-unknown'
  | 'quarantined'
  | 'held-as-poison'
  | 'rate-limited'
  | 'concurrency-limited'
  | 'body-too-large'
  | 'upgrade-unsupported'
  | 'no-table'
  | 'no-replica'
  | 'replica-broke'
  | 'replica-hung'
  | 'replica-timeout'
  | 'overloaded';

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad request',
  401: 'Not authenticated',
  403: 'Forbidden',
  404: 'Not found',
  413: 'Body too large',
  429: 'Too many requests',
  501: 'Not supported',
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

export function problemBody(problem: Problem, requestId: string | undefined): Buffer {
  const { status, reason, detail } = problem;
  const title = TITLES[status] ?? 'Error';
  return Buffer.from(
    JSON.stringify({ type: 'about:blank', title, status, reason, detail, requestId }),
  );
}

export function answerProblem(
  exchange: Exchange,
  problem: Problem,
  requestId: string | undefined,
): void {
  if (exchange.begun) {
    exchange.abort();
    return;
  }
  const body = problemBody(problem, requestId);
  const headers = ['content-type', 'application/problem+json', 'content-length', `${body.length}`];
  headers.push('cache-control', 'no-store');
  if (requestId !== undefined) headers.push('x-request-id', requestId);
  if (problem.status === 401) headers.push('www-authenticate', 'Bearer realm="kintsugi"');
  if (problem.retryAfterMs !== undefined) {
    headers.push('retry-after', `${Math.max(1, Math.ceil(problem.retryAfterMs / 1_000))}`);
  }
  exchange.begin(problem.status, headers);
  exchange.end(exchange.method === 'HEAD' ? undefined : body);
}
