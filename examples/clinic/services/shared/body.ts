// What did the caller send? Reads at most 64 KiB of JSON; anything else is refused early.
import type { IncomingMessage } from 'node:http';
import { Problem } from './problem.ts';

export interface Body {
  readonly raw: Buffer;
  /** Undefined if there was no body. */
  readonly value: unknown;
}

const BODY_BYTES_MAX = 65_536;

export async function readBody(request: IncomingMessage): Promise<Body> {
  if (Number(request.headers['content-length'] ?? 0) > BODY_BYTES_MAX) throw tooLarge();
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Leaving the loop early must not tear the connection down: the caller deserves its 413.
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    const part = chunk as Buffer;
    bytes += part.length;
    if (bytes > BODY_BYTES_MAX) throw tooLarge();
    chunks.push(part);
  }
  const raw = Buffer.concat(chunks);
  if (raw.length === 0) return { raw, value: undefined };
  const type = request.headers['content-type'] ?? '';
  if (!/^application\/(json|merge-patch\+json)\s*(;|$)/i.test(type)) {
    throw new Problem(415, 'Unsupported Media Type', 'Send application/json.');
  }
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(raw);
    return { raw, value: JSON.parse(text) as unknown };
  } catch {
    throw new Problem(400, 'Bad Request', 'The body is not valid JSON.');
  }
}

function tooLarge(): Problem {
  return new Problem(413, 'Content Too Large', `The body may have ${BODY_BYTES_MAX} bytes.`);
}
