// How is the clinic broken on purpose? Faults for drills, apart from the business code. This module
// is loaded only if CLINIC_DRILLS=1.
//
//   curl -X POST 'http://127.0.0.1:REPLICA_PORT/__drill/slow?ms=2000'
//
// X1. Commands are taken from the loopback only, and never if anything shows that the request
//     came through a proxy or a gateway.
// X2. Faults touch business routes; probes keep telling the truth, except in `probe-lie`.
// X3. `off` ends every fault that can be ended; faults combine until then.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Faults } from '../services/shared/app.ts';

interface State {
  /** Answer 500 with this probability, 0–1, after `errorsAfter` more good requests. */
  errorsRate: number;
  errorsAfter: number;
  slowMs: number;
  hang: boolean;
  poison: boolean;
  /** Paths that answer 404, as if the probe were configured wrongly. */
  lies: ReadonlySet<string>;
  leak: NodeJS.Timeout | undefined;
}

const LEAK_EVERY_MS = 100;
const MEBIBYTE = 1_048_576;
/** What is leaked must stay reachable, or it would be no leak. */
const leaked: Buffer[] = [];

/** CLINIC_DRILL_START sets faults from the first request on, e.g. `errors?rate=1&after=20`. */
export function createFaults(start = process.env['CLINIC_DRILL_START']): Faults {
  const state: State = calm();
  // The poison needs no arming: it hurts only who sends it, and a replica that replaces a
  // poisoned one must be as vulnerable as its predecessor was.
  state.poison = true;
  if (start !== undefined && start !== '') command(state, new URL(start, 'http://drill.invalid/'));
  return {
    wrap: (listener) => (request, response) => intercept(state, listener, request, response),
    before: (request, response, body) => hurt(state, request, response, body),
  };
}

function calm(): State {
  return {
    errorsRate: 0,
    errorsAfter: 0,
    slowMs: 0,
    hang: false,
    poison: false,
    lies: new Set(),
    leak: undefined,
  };
}

/** Outermost: drill commands, and probes that lie. */
function intercept(
  state: State,
  listener: RequestListener,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const url = new URL(request.url ?? '/', 'http://drill.invalid');
  if (state.lies.has(url.pathname)) return reply(response, 404, { error: 'not here' });
  if (!url.pathname.startsWith('/__drill/')) return listener(request, response);
  if (!isDirect(request)) return reply(response, 404, { error: 'not found' });
  if (request.method !== 'POST') return reply(response, 405, { error: 'use POST' });
  url.pathname = url.pathname.slice('/__drill'.length);
  const after = command(state, url);
  if (after === undefined) return reply(response, 404, { error: 'unknown drill', known: KNOWN });
  reply(response, 200, { drill: url.pathname.slice(1), pid: process.pid });
  // Not before the answer is out: the one who breaks us wants to know that it worked.
  response.once('close', after);
}

const KNOWN = 'errors slow hang busy leak exit poison probe-lie off'.split(' ');

/** Sets the fault; returns what is to be done after the answer, or undefined if it is unknown. */
function command(state: State, url: URL): (() => void) | undefined {
  const number = (name: string, fallback: number, max: number): number => {
    const value = Number(url.searchParams.get(name) ?? fallback);
    return Number.isFinite(value) ? Math.min(Math.max(value, 0), max) : fallback;
  };
  const nothing = (): void => undefined;
  switch (url.pathname) {
    case '/errors':
      state.errorsRate = number('rate', 1, 1);
      state.errorsAfter = number('after', 0, 1_000_000);
      return nothing;
    case '/slow':
      state.slowMs = number('ms', 2_000, 600_000);
      return nothing;
    case '/hang':
      state.hang = true;
      return nothing;
    case '/busy':
      return () => block(number('ms', 60_000, 600_000));
    case '/leak':
      startLeak(state, number('mbPerSecond', 20, 1_000));
      return nothing;
    case '/exit':
      return () => process.exit(number('code', 1, 255));
    case '/poison':
      state.poison = true;
      return nothing;
    case '/probe-lie':
      state.lies = new Set((url.searchParams.get('paths') ?? '/readyz').split(','));
      return nothing;
    case '/off':
      clearInterval(state.leak);
      leaked.length = 0;
      Object.assign(state, calm());
      return nothing;
    default:
      return undefined;
  }
}

/** Inside a business request, after its body was read. True: it is taken care of. */
async function hurt(
  state: State,
  request: IncomingMessage,
  response: ServerResponse,
  body: unknown,
): Promise<boolean> {
  if (state.poison && isPoison(request, body)) {
    crash();
    return true;
  }
  if (state.slowMs > 0) await sleep(state.slowMs);
  if (state.hang) return true;
  if (state.errorsRate === 0) return false;
  if (state.errorsAfter > 0) {
    state.errorsAfter -= 1;
    return false;
  }
  if (Math.random() >= state.errorsRate) return false;
  reply(response, 500, { title: 'Internal Server Error', status: 500, detail: 'drill: errors' });
  return true;
}

function isPoison(request: IncomingMessage, body: unknown): boolean {
  const query = new URL(request.url ?? '/', 'http://drill.invalid').searchParams;
  if (query.get('poison') === '1') return true;
  return typeof body === 'object' && body !== null && Reflect.get(body, 'poison') === true;
}

/** An error outside every try: nobody can catch it, as with a real bug in a callback. */
function crash(): void {
  setImmediate(() => {
    throw new Error('drill: this request crashes whatever serves it');
  });
}

function startLeak(state: State, mbPerSecond: number): void {
  clearInterval(state.leak);
  const bytes = Math.round((mbPerSecond * MEBIBYTE * LEAK_EVERY_MS) / 1_000);
  state.leak = setInterval(() => leaked.push(Buffer.alloc(bytes, 1)), LEAK_EVERY_MS);
  state.leak.unref();
}

/** Keeps the main thread busy: the event loop stands still, sockets stay open. */
function block(durationMs: number): void {
  const endMs = performance.now() + durationMs;
  while (performance.now() < endMs);
}

function isDirect(request: IncomingMessage): boolean {
  const address = request.socket.remoteAddress ?? '';
  const loopback = /^(127\.|::1$|::ffff:127\.)/.test(address);
  const relayed = Object.keys(request.headers).some((name) =>
    /^(x-kintsugi-|x-forwarded|forwarded$|via$)/.test(name),
  );
  return loopback && !relayed;
}

function reply(response: ServerResponse, status: number, body: object): void {
  const type = status === 500 ? 'application/problem+json' : 'application/json';
  response.writeHead(status, { 'content-type': type }).end(JSON.stringify(body));
}
