// How is one request sent to one replica? A small seam over undici, so that another client can take
// its place. One pool of keep-alive connections a replica; no pipelining, no redirects, no retries:
// those are the passage's decisions.
//
//   UP1. Exactly one of `onEnd` and `onFail` fires for each call, also after `abort`.
//   UP2. A failure before `onSent` is `unsent`: nothing of the request reached the replica.
import { request as httpRequest } from 'node:http';
import type { Readable } from 'node:stream';
import { Pool, type Dispatcher } from 'undici';

const CONNECTIONS_MAX = 1_024;
const CONNECT_TIMEOUT_MS = 2_000;
/** Below the 5 s after which common servers close an idle connection: no race for the last one. */
const IDLE_MS = 3_000;
const BODY_IDLE_MS = 300_000;
const OWN_LAG_MS = 50;

export interface UpstreamRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: string[];
  readonly body: Buffer | Readable | undefined;
}

export type UpstreamFailure =
  /** Nothing of the request left; `refused`: nobody listens there. */
  | { readonly kind: 'unsent'; readonly refused: boolean; readonly detail: string }
  /** No replica could be sent this: a header or path that must not be passed on. */
  | { readonly kind: 'invalid'; readonly detail: string }
  | { readonly kind: 'broken'; readonly detail: string }
  | { readonly kind: 'timeout'; readonly detail: string }
  | { readonly kind: 'aborted' };

export interface Flow {
  pause(): void;
  resume(): void;
}

export interface UpstreamListener {
  onHead(status: number, rawHeaders: string[], flow: Flow): void;
  onData(chunk: Uint8Array): void;
  onEnd(): void;
  onFail(failure: UpstreamFailure): void;
}

export interface UpstreamCall {
  abort(): void;
}

export interface Upstream {
  send(request: UpstreamRequest, listener: UpstreamListener): UpstreamCall;
  /** Finishes what is inside, then closes its connections. */
  close(): void;
}

export function openUpstream(host: string, port: number): Upstream {
  const origin = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
  const pool = new Pool(origin, {
    connections: CONNECTIONS_MAX,
    pipelining: 1,
    connect: { timeout: CONNECT_TIMEOUT_MS },
    keepAliveTimeout: IDLE_MS,
    keepAliveMaxTimeout: IDLE_MS,
    headersTimeout: 0,
    bodyTimeout: BODY_IDLE_MS,
  });
  return {
    send: (request, listener) => new Call(pool, request, listener),
    close: () => void pool.close().catch(() => undefined),
  };
}

const ABORTED = new Error('aborted by the gateway');

class Call implements UpstreamCall, Dispatcher.DispatchHandler {
  readonly #listener: UpstreamListener;
  #controller: Dispatcher.DispatchController | undefined;
  #sent = false;
  #aborted = false;
  #over = false;

  constructor(pool: Pool, request: UpstreamRequest, listener: UpstreamListener) {
    this.#listener = listener;
    const { method, path, headers } = request;
    const body = request.body ?? null;
    try {
      pool.dispatch({ method, path, headers, body }, this);
    } catch (error) {
      queueMicrotask(() => this.#fail(error instanceof Error ? error : new Error(String(error))));
    }
  }

  abort(): void {
    if (this.#over || this.#aborted) return;
    this.#aborted = true;
    // Before it is started, undici gives no handle: `onRequestStart` aborts it then.
    this.#controller?.abort(ABORTED);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#aborted) controller.abort(ABORTED);
    else this.#sent = true;
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (status < 200 || this.#over) return;
    const raw = controller.rawHeaders;
    const headers: string[] = [];
    if (Array.isArray(raw)) {
      for (const part of raw)
        headers.push(typeof part === 'string' ? part : part.toString('latin1'));
    }
    this.#listener.onHead(status, headers, controller);
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#over) this.#listener.onData(chunk);
  }

  onResponseEnd(): void {
    if (this.#over) return;
    this.#over = true;
    this.#listener.onEnd();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#fail(error);
  }

  #fail(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#listener.onFail(this.#failureOf(error));
  }

  #failureOf(error: Error): UpstreamFailure {
    if (this.#aborted) return { kind: 'aborted' };
    const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
    const detail = code === '' ? error.message : `${error.message} (${code})`;
    if (code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED') {
      return { kind: 'invalid', detail };
    }
    if (!this.#sent) {
      const refused = code === 'ECONNREFUSED' || code === 'EHOSTUNREACH';
      return { kind: 'unsent', refused, detail };
    }
    if (code === 'UND_ERR_BODY_TIMEOUT') return { kind: 'timeout', detail };
    return { kind: 'broken', detail };
  }
}

export type Look =
  | { readonly kind: 'answered'; readonly status: number }
  | { readonly kind: 'refused' }
  | { readonly kind: 'silent' };

/** Our own look at a replica, on a connection of its own. Never rejects. */
export function lookAt(host: string, port: number, path: string, timeoutMs: number): Promise<Look> {
  return new Promise((resolve) => {
    const request = httpRequest(
      { host, port, path, method: 'GET', agent: false, headers: { connection: 'close' } },
      (response) => {
        clearTimeout(timer);
        response.resume();
        response.once('error', () => undefined);
        resolve({ kind: 'answered', status: response.statusCode ?? 0 });
        request.destroy();
      },
    );
    const startedMs = performance.now();
    const late = (): void => {
      // If this process itself was held up, the answer may lie there unread: timers run before
      // sockets are read. Then nothing was learned yet, and the look goes on.
      const overMs = performance.now() - startedMs - timeoutMs;
      if (overMs > OWN_LAG_MS && !extended) {
        extended = true;
        timer = setTimeout(late, timeoutMs);
        return;
      }
      resolve({ kind: 'silent' });
      request.destroy();
    };
    let extended = false;
    let timer = setTimeout(late, timeoutMs);
    request.once('error', (error) => {
      clearTimeout(timer);
      const refused = 'code' in error && error.code === 'ECONNREFUSED';
      resolve({ kind: refused ? 'refused' : 'silent' });
    });
    request.end();
  });
}
