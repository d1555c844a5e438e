// How does a request reach a witness? One function over node:http(s) with kept connections, and a
// limit on time and size: a witness is a stranger, and may be slow, endless or talk nonsense.
// HC1. Every request ends: by an answer, by an error, at its deadline or when it is aborted.
// HC2. No redirect is followed, and at most `bytesMax` of an answer are read.

import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { fromUtf8 } from '../bytes.ts';

export interface WitnessRequest {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  readonly body?: string;
  readonly timeoutMs: number;
  readonly bytesMax: number;
  readonly signal: AbortSignal;
}

export interface WitnessResponse {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** Rejects with an Error when there is no whole answer in time. */
export interface WitnessHttp {
  send(request: WitnessRequest): Promise<WitnessResponse>;
  close(): void;
}

export class WitnessTimeout extends Error {
  override readonly name = 'WitnessTimeout';
}

export function nodeWitnessHttp(): WitnessHttp {
  const limits = { keepAlive: true, maxSockets: 2, timeout: 30_000 };
  const agents = { http: new HttpAgent(limits), https: new HttpsAgent(limits) };
  return {
    send: (request) => send(request, agents),
    close: () => {
      agents.http.destroy();
      agents.https.destroy();
    },
  };
}

interface Agents {
  readonly http: HttpAgent;
  readonly https: HttpsAgent;
}

/** HC1. */
function send(request: WitnessRequest, agents: Agents): Promise<WitnessResponse> {
  const { method, url, body, timeoutMs, bytesMax, signal } = request;
  return new Promise((resolve, reject) => {
    const address = new URL(url);
    const isSecure = address.protocol === 'https:';
    const bytes = body === undefined ? undefined : Buffer.from(body);
    const headers =
      bytes === undefined
        ? {}
        : { 'content-type': 'text/plain; charset=utf-8', 'content-length': bytes.length };
    const open = isSecure ? httpsRequest : httpRequest;
    const agent = isSecure ? agents.https : agents.http;
    const outgoing = open(address, { method, headers, agent, maxHeaderSize: 8192 }, (incoming) => {
      readAnswer(incoming, bytesMax).then(finish, fail);
    });
    const timer = setTimeout(() => {
      outgoing.destroy(new WitnessTimeout(`no answer within ${timeoutMs} ms`));
    }, timeoutMs);
    const abort = (): void => void outgoing.destroy(new Error('the request was given up'));
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    };
    const finish = (response: WitnessResponse): void => {
      done();
      resolve(response);
    };
    const fail = (cause: unknown): void => {
      done();
      outgoing.destroy();
      reject(cause instanceof Error ? cause : new Error(String(cause)));
    };
    outgoing.on('error', fail);
    signal.addEventListener('abort', abort);
    if (signal.aborted) abort();
    outgoing.end(bytes);
  });
}

/** HC2. */
async function readAnswer(incoming: IncomingMessage, bytesMax: number): Promise<WitnessResponse> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of incoming as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > bytesMax) throw new Error(`the answer has more than ${bytesMax} bytes`);
    parts.push(part);
  }
  const body = fromUtf8(Buffer.concat(parts));
  if (body === undefined) throw new Error('the answer is not UTF-8');
  const contentType = (incoming.headers['content-type'] ?? '').split(';', 1)[0] ?? '';
  return { status: incoming.statusCode ?? 0, contentType: contentType.trim(), body };
}
