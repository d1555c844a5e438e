// What does a failed connection mean for a probe? Names the cause without passwords.
import { messageOf } from '../../model/errors.ts';
import type { ProbeResult } from '../../model/signal.ts';
import { redactUrl } from '../../world/real/redact.ts';

const DETAIL_MAX = 200;
const SAID: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nobody listens there',
  ECONNRESET: 'the connection was closed before an answer',
  EPIPE: 'the connection was closed before an answer',
  ENOTFOUND: 'the host is not known',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'the network cannot be reached',
};

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

export function unreachable(cause: unknown): ProbeResult {
  // Trying several addresses of a name fails with all of their errors in one.
  const first: unknown = cause instanceof AggregateError ? cause.errors[0] : cause;
  const text = SAID[codeOf(first)] ?? redactUrl(messageOf(first));
  return { kind: 'unreachable', detail: text.slice(0, DETAIL_MAX) };
}
