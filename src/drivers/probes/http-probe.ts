// Does it answer an HTTP request? One request on one fresh socket, and of the answer only what the
// verdict needs: the status, and of a refusal a little of the body. A probe is the loop's most
// frequent act, and a whole HTTP client costs it twice the time of a core.
//
//   HP1. An answer counts once its head and its body, or BODY_MAX of it, are there.
//   HP2. What is not HTTP is a refusal: somebody answered.
import { connect } from 'node:net';
import type { Endpoint } from '../../model/replica.ts';
import type { ProbeSpec } from '../../model/manifest.ts';
import type { ProbeResult } from '../../model/signal.ts';
import { unreachable } from './failures.ts';

const BODY_MAX = 4096;
const HEAD_MAX = 16 * 1024;
const DETAIL_MAX = 200;

export function httpProbe(endpoint: Endpoint, spec: ProbeSpec): Promise<ProbeResult> {
  const { host, port } = endpoint;
  const { path, timeoutMs } = spec;
  if (/[^\x21-\x7e]/u.test(path)) return Promise.resolve(unreachable('the path has no HTTP form'));
  return new Promise((resolve) => {
    const startedMs = performance.now();
    const socket = connect({ host, port });
    const answer = new ProbeAnswer();
    const end = (result: ProbeResult): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => end({ kind: 'timeout', afterMs: timeoutMs }), timeoutMs);
    const settle = (reading: Reading): void => {
      if (reading.kind !== 'more') end(judge(reading, performance.now() - startedMs));
    };
    socket.on('error', (error) => end(unreachable(error)));
    socket.on('data', (chunk: Buffer) => settle(answer.take(chunk)));
    socket.on('end', () => settle(answer.ended()));
    socket.on('close', () => end(unreachable('the connection was closed without an answer')));
    socket.write(requestText(host, port, path));
  });
}

function requestText(host: string, port: number, path: string): string {
  const name = host.includes(':') ? `[${host}]` : host;
  return (
    `GET ${path} HTTP/1.1\r\nhost: ${name}:${port}\r\nuser-agent: kintsugi-probe\r\n` +
    'accept: application/json, */*;q=0.1\r\nconnection: close\r\n\r\n'
  );
}

export type Reading =
  | { readonly kind: 'more' }
  | { readonly kind: 'answer'; readonly status: number; readonly body: string }
  | { readonly kind: 'garbage'; readonly reason: string }
  | { readonly kind: 'cut' };

interface Head {
  readonly status: number;
  readonly bodyAt: number;
  readonly length: number | undefined;
  readonly chunked: boolean;
}

/** Collects an answer until HP1 holds. */
export class ProbeAnswer {
  #text = '';
  #head: Head | undefined;

  take(chunk: Buffer): Reading {
    // One character a byte: lengths are bytes, and JSON's own characters survive.
    this.#text += chunk.toString('latin1');
    return this.#read(false);
  }

  ended(): Reading {
    const reading = this.#read(true);
    if (reading.kind !== 'more') return reading;
    return this.#text === ''
      ? { kind: 'cut' }
      : { kind: 'garbage', reason: 'the answer is cut off' };
  }

  #read(isLast: boolean): Reading {
    // Each turn takes an interim answer off the text, or is the last.
    for (;;) {
      this.#head ??= headOf(this.#text);
      const head = this.#head;
      if (head === undefined) break;
      // An interim answer (1xx) is followed by the real one.
      if (head.status >= 200) return this.#body(head, isLast);
      this.#text = this.#text.slice(head.bodyAt);
      this.#head = undefined;
    }
    const start = this.#text.slice(0, 9);
    if (!'HTTP/1.1 '.startsWith(start) && !'HTTP/1.0 '.startsWith(start))
      return { kind: 'garbage', reason: 'it does not start with HTTP/1' };
    if (this.#text.includes('\r\n\r\n')) return { kind: 'garbage', reason: 'it has no status' };
    const isEndless = this.#text.length > HEAD_MAX;
    return isEndless ? { kind: 'garbage', reason: 'its head is endless' } : { kind: 'more' };
  }

  #body({ status, bodyAt, length, chunked }: Head, isLast: boolean): Reading {
    const raw = this.#text.slice(bodyAt, bodyAt + BODY_MAX);
    const wanted = status === 204 || status === 304 ? 0 : (length ?? Infinity);
    const isWhole =
      isLast || raw.length >= Math.min(BODY_MAX, wanted) || (chunked && endsChunked(raw));
    if (!isWhole) return { kind: 'more' };
    if (isLast && length !== undefined && raw.length < Math.min(BODY_MAX, wanted))
      return { kind: 'garbage', reason: 'the body is cut off' };
    return { kind: 'answer', status, body: chunked ? unchunk(raw) : raw };
  }
}

function headOf(text: string): Head | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const head = text.slice(0, end + 2);
  const status = /^HTTP\/1\.[01] (\d{3})[ \r]/u.exec(head)?.[1];
  if (status === undefined) return undefined;
  const chunked = /\r\ntransfer-encoding:[^\r\n]*chunked[ \t]*\r\n/iu.test(head);
  const length = /\r\ncontent-length:[ \t]*(\d{1,15})[ \t]*\r\n/iu.exec(head)?.[1];
  return {
    status: Number(status),
    bodyAt: end + 4,
    length: length === undefined || chunked ? undefined : Number(length),
    chunked,
  };
}

function endsChunked(raw: string): boolean {
  return raw.startsWith('0\r\n') || raw.includes('\r\n0\r\n');
}

/** As much of a chunked body as is there. */
function unchunk(raw: string): string {
  let body = '';
  let at = 0;
  while (at < raw.length) {
    const lineEnd = raw.indexOf('\r\n', at);
    const size = Number.parseInt(raw.slice(at, lineEnd), 16);
    if (lineEnd < 0 || !(size > 0)) break;
    body += raw.slice(lineEnd + 2, lineEnd + 2 + size);
    at = lineEnd + 2 + size + 2;
  }
  return body;
}

function judge(reading: Exclude<Reading, { kind: 'more' }>, tookMs: number): ProbeResult {
  switch (reading.kind) {
    case 'cut':
      return unreachable('the connection was closed without an answer');
    case 'garbage':
      return { kind: 'refused', tookMs, detail: `not an HTTP answer: ${reading.reason}` };
    case 'answer': {
      const { status } = reading;
      if (status >= 200 && status < 400) return { kind: 'ok', tookMs };
      const down = downIn(Buffer.from(reading.body, 'latin1').toString('utf8'));
      const detail = down === '' ? `status ${status}` : `status ${status}, down: ${down}`;
      return { kind: 'refused', tookMs, detail: detail.slice(0, DETAIL_MAX) };
    }
    default:
      return reading satisfies never;
  }
}

/** The dependencies that the replica itself calls down, as the SDK's readiness lists them. */
function downIn(body: string): string {
  try {
    const answer: unknown = JSON.parse(body);
    if (typeof answer !== 'object' || answer === null || !('dependencies' in answer)) return '';
    const { dependencies } = answer;
    if (typeof dependencies !== 'object' || dependencies === null) return '';
    const names = Object.entries(dependencies).filter(([, state]) => state === 'down');
    return names.map(([name]) => name.replace(/[^\x20-\x7e]/gu, '?')).join(', ');
  } catch {
    return '';
  }
}
