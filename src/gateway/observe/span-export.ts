// How do spans get to a collector? In batches over OTLP/HTTP, off the path of requests.
//
//   SX1. The queue is bounded: what finds no room is dropped and counted, nothing waits.
//   SX2. A collector that fails is asked again after pauses that grow from 1 s to 60 s, or as it
//        says; this is told once, and once more when it is over.
//   SX3. Only https, or http to this machine. Redirects are not followed; headers are never shown.
import { Agent as PlainAgent, request as plainRequest } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { messageOf } from '../../model/errors.ts';
import type { TracingRule } from '../../model/routing.ts';
import { otlpBody } from './otlp.ts';
import type { Resource, SpanRecord } from './otlp.ts';

const QUEUE_MAX = 4_096;
/** About half a millisecond to put into JSON: a pause that requests do not feel. */
const BATCH_MAX = 128;
const FLUSH_MS = 1_000;
const TIMEOUT_MS = 10_000;
const CLOSE_MS = 2_000;
const PAUSE_MIN_MS = 1_000;
const PAUSE_MAX_MS = 60_000;
const ANSWER_BYTES_MAX = 65_536;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/u;
const AGAIN: ReadonlySet<number> = new Set([408, 429, 502, 503, 504]);

export type UrlAnswer =
  | { readonly kind: 'url'; readonly url: URL }
  | { readonly kind: 'refused'; readonly reason: string };

/** SX3. A bare origin means the standard path of traces. */
export function collectorUrl(text: string): UrlAnswer {
  const url = URL.parse(text);
  if (url === null) return { kind: 'refused', reason: 'it is no URL' };
  const isHere = url.protocol === 'http:' && LOOPBACK.test(url.hostname);
  if (url.protocol !== 'https:' && !isHere) {
    return { kind: 'refused', reason: 'it is neither https nor http of this machine' };
  }
  if (url.username !== '' || url.password !== '') {
    return { kind: 'refused', reason: 'it holds a user name or a password' };
  }
  if (url.pathname === '/') url.pathname = '/v1/traces';
  return { kind: 'url', url };
}

export interface SpanExportSetup extends Resource {
  readonly url: URL;
  readonly headers: NonNullable<TracingRule['otlpHeaders']>;
  readonly warn: (text: string) => void;
  readonly random: () => number;
  /** For tests: how long the first pause is. */
  readonly pauseMinMs?: number;
}

type Sent =
  | { readonly kind: 'taken'; readonly rejected: number }
  | { readonly kind: 'refused'; readonly why: string }
  | { readonly kind: 'again'; readonly why: string; readonly afterMs: number | undefined };

export class SpanExport {
  readonly #setup: SpanExportSetup;
  readonly #agent: PlainAgent | TlsAgent;
  #queue: SpanRecord[] = [];
  #timer: NodeJS.Timeout | undefined;
  #busy: Promise<void> | undefined;
  #pauseMs = 0;
  #told = false;
  #sent = 0;
  #dropped = 0;
  #closed = false;

  constructor(setup: SpanExportSetup) {
    this.#setup = setup;
    const options = { keepAlive: true, maxSockets: 1 };
    const isTls = setup.url.protocol === 'https:';
    this.#agent = isTls ? new TlsAgent(options) : new PlainAgent(options);
  }

  get sent(): number {
    return this.#sent;
  }

  get dropped(): number {
    return this.#dropped;
  }

  get room(): boolean {
    return this.#queue.length < QUEUE_MAX;
  }

  add(span: SpanRecord): void {
    if (!this.room || this.#closed) {
      this.#dropped += 1;
      return;
    }
    this.#queue.push(span);
    if (this.#busy !== undefined || this.#pauseMs > 0) return;
    if (this.#queue.length >= BATCH_MAX) this.#begin();
    else this.#timer ??= setTimeout(() => this.#begin(), FLUSH_MS).unref();
  }

  dropUnmade(): void {
    this.#dropped += 1;
  }

  /** One last try, without waiting for a collector that is away. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const late = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_MS).unref());
    const rest = async (): Promise<void> => {
      await this.#busy;
      clearTimeout(this.#timer);
      await this.#run();
    };
    if (this.#pauseMs === 0) await Promise.race([rest(), late]);
    this.#dropped += this.#queue.length;
    this.#queue = [];
    this.#agent.destroy();
  }

  #begin(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#busy !== undefined) return;
    this.#busy = this.#run().finally(() => {
      this.#busy = undefined;
      if (this.#queue.length === 0 || this.#closed) return;
      const waitMs = this.#pauseMs > 0 ? this.#pauseMs : FLUSH_MS;
      this.#timer ??= setTimeout(() => this.#begin(), waitMs).unref();
    });
  }

  /** Until the queue is short or the collector fails; each round takes from a bounded queue. */
  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, BATCH_MAX);
      const sent = await this.#send(otlpBody(batch, this.#setup));
      if (sent.kind === 'again') {
        // First in, first out: unless newer ones have taken the room.
        const fit = Math.max(0, QUEUE_MAX - this.#queue.length);
        this.#dropped += Math.max(0, batch.length - fit);
        this.#queue.unshift(...batch.slice(0, fit));
        this.#failed(sent.why, sent.afterMs);
        return;
      }
      if (sent.kind === 'refused') {
        this.#dropped += batch.length;
        this.#failed(sent.why, undefined);
        return;
      }
      this.#took(batch.length, sent.rejected);
      if (this.#queue.length < BATCH_MAX && !this.#closed) return;
    }
  }

  #took(count: number, rejected: number): void {
    const lost = Math.min(count, rejected);
    this.#sent += count - lost;
    this.#dropped += lost;
    this.#pauseMs = 0;
    if (this.#told) this.#setup.warn(`the collector takes spans again; ${this.#dropped} are lost`);
    this.#told = false;
  }

  #failed(why: string, afterMs: number | undefined): void {
    const { random, warn, url, pauseMinMs = PAUSE_MIN_MS } = this.#setup;
    const next = this.#pauseMs === 0 ? pauseMinMs : this.#pauseMs * 2;
    const wholeMs = Math.min(PAUSE_MAX_MS, Math.max(next, afterMs ?? 0));
    // With jitter below, so that a doubled pause still grows.
    this.#pauseMs = Math.max(1, wholeMs * (0.8 + 0.2 * random()));
    if (this.#told) return;
    this.#told = true;
    const what = `KIN_GATEWAY_TRACES: the collector ${url.host} does not take spans: ${why}`;
    warn(`${what}. Requests go on; spans that find no room are dropped and counted.`);
  }

  #send(body: string): Promise<Sent> {
    const { url, headers } = this.#setup;
    const bytes = Buffer.from(body);
    return new Promise((resolve) => {
      const again = (why: string): void => resolve({ kind: 'again', why, afterMs: undefined });
      const options = {
        method: 'POST',
        agent: this.#agent,
        headers: {
          ...headers,
          'content-type': 'application/json',
          'content-length': bytes.length,
        },
        timeout: TIMEOUT_MS,
        signal: AbortSignal.timeout(TIMEOUT_MS),
      };
      try {
        const ask = url.protocol === 'https:' ? tlsRequest : plainRequest;
        const request = ask(url, options, (answer) => {
          const chunks: Buffer[] = [];
          let size = 0;
          answer.on('data', (chunk: Buffer) => {
            size += chunk.length;
            if (size <= ANSWER_BYTES_MAX) chunks.push(chunk);
          });
          answer.on('error', (error) => again(messageOf(error)));
          answer.on('end', () => {
            const after = answer.headers['retry-after'];
            resolve(judge(answer.statusCode ?? 0, after, Buffer.concat(chunks).toString()));
          });
        });
        request.on('timeout', () => request.destroy(new Error('no answer in time')));
        request.on('error', (error) => again(messageOf(error)));
        request.end(bytes);
      } catch (error) {
        // A header that cannot be sent: its text may hold the secret.
        const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
        again(`the request cannot be made (${code})`);
      }
    });
  }
}

function judge(status: number, retryAfter: string | undefined, body: string): Sent {
  if (status >= 200 && status < 300) return { kind: 'taken', rejected: rejectedIn(body) };
  const why = `status ${status}`;
  if (!AGAIN.has(status)) return { kind: 'refused', why };
  const seconds = Number(retryAfter);
  const afterMs = retryAfter !== undefined && seconds >= 0 ? seconds * 1_000 : undefined;
  return { kind: 'again', why, afterMs };
}

/** What a collector took only in part. */
function rejectedIn(body: string): number {
  try {
    const value = JSON.parse(body) as {
      readonly partialSuccess?: { readonly rejectedSpans?: unknown };
    } | null;
    const rejected = Number(value?.partialSuccess?.rejectedSpans ?? 0);
    return Number.isInteger(rejected) && rejected > 0 ? rejected : 0;
  } catch {
    return 0;
  }
}
