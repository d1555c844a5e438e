// How is one bounded question asked of a foreign server? One request, one deadline over all of it,
// one limit on the answer, no redirect, no retry, no connection left open.
//
//   AH1. An answer is complete and within its limit, or it is an `AnchorError`.
//   AH2. Messages show host and port only: a path or a query may hold an access key.
import { Agent, request } from 'undici';
import { AnchorError, errnoOf } from './errors.ts';

/** `pipelining: 0` closes the connection with the answer; anchors are minutes apart. */
const agent = new Agent({ pipelining: 0, connections: 8 });

export interface Ask {
  readonly url: URL;
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly timeoutMs: number;
  readonly answerBytesMax: number;
}

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: Buffer;
}

/** `http:` is for media whose answers prove themselves, and for this machine. */
export function checkUrl(text: string, plain: 'anywhere' | 'loopback'): URL {
  const bad = (why: string): AnchorError =>
    new AnchorError('KIN_ANCHOR_CONFIG', `the url of an anchor ${why}`);
  if (!URL.canParse(text)) throw bad('cannot be read');
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') throw bad('must not carry a user or password');
  if (url.protocol === 'https:') return url;
  if (url.protocol !== 'http:') throw bad('must begin with https://');
  const isLoopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
  if (plain === 'loopback' && !isLoopback) throw bad('must begin with https://');
  return url;
}

export async function ask(question: Ask): Promise<Answer> {
  const { url, timeoutMs, answerBytesMax } = question;
  try {
    const response = await request(url, {
      method: question.method,
      headers: question.headers,
      body: question.body ?? null,
      dispatcher: agent,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      signal: AbortSignal.timeout(timeoutMs),
    });
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      // Leaving the loop destroys the stream, and with it the connection.
      if (bytes > answerBytesMax)
        throw new AnchorError(
          'KIN_ANCHOR_ANSWER',
          `${url.host} answered more than ${answerBytesMax} bytes`,
        );
      chunks.push(chunk);
    }
    const type = response.headers['content-type'];
    return {
      status: response.statusCode,
      type: typeof type === 'string' ? type : '',
      body: Buffer.concat(chunks),
    };
  } catch (error) {
    if (error instanceof AnchorError) throw error;
    const isLate = error instanceof Error && /Timeout|Abort/.test(error.name);
    const why = isLate ? `did not answer within ${timeoutMs} ms` : `failed (${errnoOf(error)})`;
    // No cause: undici's own errors may quote the whole address.
    throw new AnchorError('KIN_ANCHOR_UNREACHABLE', `${url.host} ${why}`);
  }
}
