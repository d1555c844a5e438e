// What does the gateway say when it answers itself? RFC 9457 problem documents for refusals and for
// answers that no replica gave; nothing of what the client sent is repeated in them.
import { STATUS_CODES } from 'node:http';
import type { AttemptEnd, OwnAnswer } from './hooks.ts';
import type { Refusal } from './refusal.ts';

const PROBLEM_TYPE = 'content-type: application/problem+json\r\ncache-control: no-store\r\n';

export function problem(status: number, reason: string, detail: string): OwnAnswer {
  const title = STATUS_CODES[status] ?? 'Error';
  const body = JSON.stringify({ type: 'about:blank', title, status, reason, detail });
  return { kind: 'answer', status, headers: PROBLEM_TYPE, body };
}

export function refusalAnswer(refusal: Refusal): OwnAnswer {
  return problem(refusal.status, refusal.code, refusal.reason);
}

/** `keep`: another request may follow on the connection. */
export function ownAnswerText(answer: OwnAnswer, toHead: boolean, keep: boolean): string {
  const { status, headers, body } = answer;
  const line = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`;
  const isEmpty = status === 204 || status === 304;
  const length = isEmpty ? '' : `content-length: ${Buffer.byteLength(body)}\r\n`;
  const end = keep ? '' : 'connection: close\r\n';
  // Written as latin1: the body goes out as the bytes of its UTF-8.
  const bytes = toHead || isEmpty ? '' : Buffer.from(body).toString('latin1');
  return `${line}${headers}${length}${end}\r\n${bytes}`;
}

/** What the client gets if no attempt gave an answer and the hooks have none either. */
export function answerFor(kind: AttemptEnd, reason: string): OwnAnswer {
  switch (kind) {
    case 'unsent':
      return problem(503, 'no-replica', 'No replica took the request.');
    case 'timeout':
      return problem(504, 'replica-timeout', 'No answer in time.');
    case 'abandoned':
      return problem(504, 'replica-hung', 'The replica hangs.');
    case 'sent-no-response':
      return problem(502, 'replica-broke', 'The replica broke off.');
    case 'bad-response':
      return problem(502, 'bad-answer', `The replica's answer is not valid HTTP: ${reason}.`);
    case 'answered':
    case 'cut':
    case 'discarded':
    case 'client-gone':
      return problem(502, 'replica-broke', 'The replica gave no usable answer.');
  }
}
