// How does Node's own parser (llhttp, strict) read these bytes? Requests go to a node:http server
// over loopback, many cases on one connection with a marker request after each; answers go to a
// node:http client, one connection each.
import { once } from 'node:events';
import { createServer as createHttpServer, request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import type { AnswerReading, Message } from './reading.ts';
import { readAnswer, readRequests } from './reading.ts';

const STALL_MS = 2_000;

export interface Seen {
  readonly line: string;
  readonly fields: string[];
  body: string;
  done: boolean;
}

export interface Watch {
  readonly seen: Seen[];
  error: string;
  /** Nothing moved any more, and nothing was said. */
  stalled: boolean;
}

export interface RequestOracle {
  readonly port: number;
  /** What was read on one connection, until `last` was seen or it closed. */
  ask(bytes: Buffer, last: string): Promise<Watch>;
  close(): Promise<void>;
}

const seenOf = (message: IncomingMessage): Seen => ({
  line: [message.method, message.url, message.httpVersion.replace('.', '')].join(' '),
  fields: message.rawHeaders,
  body: '',
  done: false,
});

export async function openRequestOracle(): Promise<RequestOracle> {
  const watches = new Map<number, Watch & { settle: () => void; last: string }>();
  const server = createHttpServer(
    {
      insecureHTTPParser: false,
      requireHostHeader: false,
      maxHeaderSize: 65_536,
      headersTimeout: 0,
      requestTimeout: 0,
      keepAliveTimeout: 0,
    },
    (message, response) => {
      const watch = watches.get(message.socket.remotePort ?? 0);
      const seen = seenOf(message);
      watch?.seen.push(seen);
      message.on('data', (chunk: Buffer) => {
        seen.body += chunk.toString('latin1');
      });
      message.on('error', () => undefined);
      message.on('end', () => {
        seen.done = true;
        response.end();
        if (watch !== undefined && seen.line === watch.last) watch.settle();
      });
    },
  );
  server.maxHeadersCount = 0;
  server.maxRequestsPerSocket = 0;
  server.on('clientError', (error, socket) => {
    if ('remotePort' in socket) {
      const watch = watches.get(Number(socket.remotePort));
      if (watch !== undefined) watch.error = 'code' in error ? String(error.code) : error.message;
    }
    socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async ask(bytes, last) {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true });
      await once(socket, 'connect');
      const { promise, resolve } = Promise.withResolvers<void>();
      const watch = { seen: [] as Seen[], error: '', stalled: false, settle: resolve, last };
      const key = socket.localPort ?? 0;
      watches.set(key, watch);
      socket.on('error', () => undefined);
      socket.once('close', () => resolve());
      socket.once('end', () => resolve());
      socket.resume();
      socket.write(bytes);
      // It waits for more than we sent: nothing moves any more.
      let before = -1;
      const stalled = setInterval(() => {
        const now = watch.seen.filter((one) => one.done).length;
        if (now === before) {
          watch.stalled = true;
          resolve();
        }
        before = now;
      }, STALL_MS);
      await promise;
      clearInterval(stalled);
      socket.destroy();
      watches.delete(key);
      return watch;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

export interface Tally {
  /** Cases that were read at all. */
  cases: number;
  /** Refused by us: nothing that another server sees. */
  refused: number;
  /** Accepted by us, and so compared with llhttp. */
  compared: number;
  /** Of these, refused by llhttp: never framed otherwise. */
  stricter: number;
  differences: string[];
}

export const newTally = (): Tally => ({
  cases: 0,
  refused: 0,
  compared: 0,
  stricter: 0,
  differences: [],
});

const trimmed = (fields: readonly string[]): string =>
  fields.map((part) => part.replace(/^[ \t]+|[ \t]+$/gu, '')).join('\n');

function isSame(own: Message, seen: Seen, forwarded: boolean): boolean {
  if (own.body !== seen.body || !seen.done) return false;
  if (forwarded) return own.line.split(' ')[0] === seen.line.split(' ')[0];
  return own.line === seen.line && trimmed(own.fields) === trimmed(seen.fields);
}

/** A case that we accept, and what llhttp gets to read of it. */
export interface Accepted {
  readonly text: string;
  readonly sent: string;
  readonly messages: readonly Message[];
  /** Nothing may follow on its connection. */
  readonly ends: boolean;
}

/** Cases in latin1. Those that we accept whole are compared; `forwarded`: what we send on. */
export function acceptedOf(cases: readonly string[], forwarded: boolean, tally: Tally): Accepted[] {
  const accepted: Accepted[] = [];
  for (const text of cases) {
    tally.cases += 1;
    const reading = readRequests(Buffer.from(text, 'latin1'));
    if (reading.messages.length === 0) tally.refused += 1;
    if (reading.messages.length === 0) continue;
    const { messages } = reading;
    if (forwarded) {
      // A hop speaks 1.1 on, whatever it was spoken to in.
      const sent = messages.map((message) => message.forwarded).join('');
      accepted.push({ text, sent, messages, ends: false });
      continue;
    }
    // After a refusal, the connection ends: the rest is not read by us. Cut it off, so that what
    // llhttp reads is what we accepted; a partial rest may become anything, and is cut off too.
    // (What we accepted before it is compared in process, see llhttp.ts.)
    const clean = reading.end === 'clean' || reading.end === 'closed';
    if (!clean) continue;
    accepted.push({ text, sent: text, messages, ends: reading.end === 'closed' });
  }
  return accepted;
}

export async function compareRequests(
  oracle: RequestOracle,
  cases: readonly string[],
  forwarded: boolean,
  tally: Tally,
): Promise<void> {
  const accepted = acceptedOf(cases, forwarded, tally);
  let at = 0;
  while (at < accepted.length)
    at += await compareBatch(oracle, accepted.slice(at), forwarded, tally);
}

export const MARKER = (n: number): string => `GET /marker-${n} HTTP/1.1\r\nHost: marker\r\n\r\n`;

/** One connection; answers how many cases it settled. */
async function compareBatch(
  oracle: RequestOracle,
  cases: readonly Accepted[],
  forwarded: boolean,
  tally: Tally,
): Promise<number> {
  let count = cases.findIndex((one) => one.ends) + 1;
  if (count === 0) count = cases.length;
  const batch = cases.slice(0, count);
  const bytes = batch.map(({ sent, ends }, n) => sent + (ends ? '' : MARKER(n))).join('');
  const last = batch.at(-1);
  const marker = `GET /marker-${count - 1} 11`;
  const watch = await oracle.ask(Buffer.from(bytes, 'latin1'), last?.ends === true ? '' : marker);
  let at = 0;
  for (const [n, one] of batch.entries()) {
    const took = judgeRequests(one, { watch, at, n, forwarded }, tally);
    if (took === undefined) return n + 1;
    at += took;
  }
  return count;
}

/** Case `n` of a connection, whose messages begin at `at` of what was seen. */
export interface Place {
  readonly watch: Watch;
  readonly at: number;
  readonly n: number;
  readonly forwarded: boolean;
}

/** Answers how many messages it took; undefined: the connection was over before its end. */
export function judgeRequests(
  one: Accepted,
  { watch, at: from, n, forwarded }: Place,
  tally: Tally,
): number | undefined {
  let at = from;
  tally.compared += 1;
  for (const message of one.messages) {
    const seen = watch.seen[at];
    at += 1;
    if (seen !== undefined && isSame(message, seen, forwarded)) continue;
    // After a message that asks for an upgrade Node swallows what llhttp says of the rest.
    const isSilent = watch.stalled && one.ends && message.fields.some((f) => /^upgrade$/iu.test(f));
    const isRefused =
      (watch.error !== '' || isSilent) && (seen === undefined || at === watch.seen.length);
    // Refused inside a body: what came so far must be a part of what we read.
    const isPart = seen === undefined || (!seen.done && message.body.startsWith(seen.body));
    if (isRefused && isPart) tally.stricter += 1;
    else tally.differences.push(describe(one.text, message, seen, watch.error));
    return undefined;
  }
  if (one.ends) return at - from;
  const seen = watch.seen[at];
  at += 1;
  if (seen?.line === `GET /marker-${n} 11`) return at - from;
  if (watch.error !== '' && seen === undefined) tally.stricter += 1;
  else tally.differences.push(describe(one.text, undefined, seen, watch.error));
  return undefined;
}

function describe(text: string, own: unknown, seen: unknown, error: string): string {
  return JSON.stringify({ text, own, seen, error });
}

export interface SeenAnswer {
  readonly status: number;
  readonly body: string;
  readonly whole: boolean;
}

export interface AnswerOracle {
  ask(bytes: Buffer, toHead: boolean): Promise<SeenAnswer>;
  close(): Promise<void>;
}

export async function openAnswerOracle(): Promise<AnswerOracle> {
  let bytes: Buffer = Buffer.alloc(0);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    socket.once('data', () => socket.end(bytes));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    ask(given, toHead) {
      bytes = given;
      return new Promise((resolve) => {
        const method = toHead ? 'HEAD' : 'GET';
        let body = '';
        let status = 0;
        const fail = (): void => resolve({ status, body, whole: false });
        const sent = httpRequest({ port, host: '127.0.0.1', method, agent: false }, (answer) => {
          status = answer.statusCode ?? 0;
          answer.on('data', (chunk: Buffer) => {
            body += chunk.toString('latin1');
          });
          answer.once('end', () => resolve({ status, body, whole: true }));
          answer.once('error', fail);
        });
        sent.once('upgrade', (_answer, socket) => {
          socket.destroy();
          fail();
        });
        sent.once('error', fail);
        sent.end();
      });
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

export async function compareAnswer(
  oracle: AnswerOracle,
  text: string,
  toHead: boolean,
  tally: Tally,
): Promise<void> {
  const own = readableAnswer(text, toHead, tally);
  if (own === undefined) return;
  compareSeenAnswer(text, own, await oracle.ask(Buffer.from(text, 'latin1'), toHead), tally);
}

/** Undefined: refused by us, or not whole. */
export function readableAnswer(
  text: string,
  toHead: boolean,
  tally: Tally,
): AnswerReading | undefined {
  tally.cases += 1;
  const own = readAnswer(Buffer.from(text, 'latin1'), toHead);
  if (own.kind === 'whole' || own.kind === 'until-close') return own;
  tally.refused += 1;
  return undefined;
}

export function compareSeenAnswer(
  text: string,
  own: AnswerReading,
  seen: SeenAnswer,
  tally: Tally,
): void {
  tally.compared += 1;
  if (!seen.whole) {
    // It refused, or wants more than we do; with more bytes behind, it cannot want more.
    if (own.body.startsWith(seen.body)) tally.stricter += 1;
    else tally.differences.push(describe(text, own, seen, ''));
  } else if (seen.status !== own.status || seen.body !== own.body) {
    tally.differences.push(describe(text, own, seen, ''));
  }
}
