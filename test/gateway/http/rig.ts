// A gateway of sockets only, for its tests: raw clients in front, raw replicas behind, and hooks
// that write down what they were told.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import type {
  AnswerVerdict,
  Decision,
  ExchangeEnd,
  ExchangeView,
  Forward,
  ForwardPlan,
  Hooks,
  Outcome,
  Verdict,
} from '../../../src/gateway/http/hooks.ts';
import { nameSet } from '../../../src/gateway/http/names.ts';
import type { Refusal } from '../../../src/gateway/http/refusal.ts';
import { openHttpServer, openUpstreams } from '../../../src/gateway/http/server.ts';
import type { HttpServer, HttpServerSetup } from '../../../src/gateway/http/server.ts';
import type { PoolLimits, UpstreamPool } from '../../../src/gateway/http/upstream-pool.ts';

export const PLAN: ForwardPlan = {
  dropFromRequest: nameSet(['authorization'], ['x-kintsugi-']),
  dropFromAnswer: nameSet(['x-secret']),
  replayBytesMax: 65_536,
  bodyBytesMax: 50_000_000,
  totalTimeoutMs: 20_000,
  headTimeoutMs: 20_000,
  bodyIdleMs: 20_000,
};

export interface Rig {
  readonly server: HttpServer;
  readonly port: number;
  readonly outcomes: Outcome[];
  readonly ends: ExchangeEnd[];
  readonly refusals: Refusal[];
  readonly bugs: unknown[];
  pool(port: number, limits?: Partial<PoolLimits>): UpstreamPool;
  client(): Promise<Client>;
  close(): Promise<void>;
}

export interface RigHooks {
  onRequestHead(exchange: ExchangeView, rig: Rig): Decision | Promise<Decision>;
  onAnswerHead?(exchange: ExchangeView, status: number): AnswerVerdict;
  onAttemptEnd?(
    exchange: ExchangeView,
    outcome: Outcome,
  ): Verdict | undefined | Promise<Verdict | undefined>;
}

export function forwardTo(to: UpstreamPool, change: Partial<ForwardPlan> = {}): Forward {
  const plan = { ...PLAN, ...change };
  return { kind: 'forward', to, plan, add: 'x-added: 1\r\n', addToAnswer: '', partition: '' };
}

export async function openRig(given: RigHooks, setup: Partial<HttpServerSetup> = {}): Promise<Rig> {
  const outcomes: Outcome[] = [];
  const ends: ExchangeEnd[] = [];
  const refusals: Refusal[] = [];
  const bugs: unknown[] = [];
  const clients = new Set<Client>();
  const upstreams = openUpstreams(10);
  const { onAnswerHead } = given;
  const hooks: Hooks = {
    onRequestHead: (exchange) => given.onRequestHead(exchange, rig),
    onAttemptEnd: (exchange, outcome) => {
      outcomes.push(outcome);
      return given.onAttemptEnd?.(exchange, outcome);
    },
    onExchangeEnd: (_exchange, end) => void ends.push(end),
    onRefused: (refusal) => void refusals.push(refusal),
    onBug: (error) => void bugs.push(error),
    ...(onAnswerHead === undefined ? {} : { onAnswerHead }),
  };
  const at = { host: '127.0.0.1', port: 0, reusePort: false, connectionsMax: 100, tickMs: 10 };
  const server = await openHttpServer({ ...at, ...setup }, hooks);
  const pools = new Map<number, UpstreamPool>();
  const rig: Rig = {
    server,
    port: server.port,
    outcomes,
    ends,
    refusals,
    bugs,
    pool(port, limits) {
      const known = pools.get(port) ?? upstreams.pool('127.0.0.1', port, limits);
      pools.set(port, known);
      return known;
    },
    async client() {
      const client = await openClient(server.port);
      clients.add(client);
      return client;
    },
    async close() {
      for (const client of clients) client.socket.destroy();
      await server.stop(0);
      for (const pool of pools.values()) pool.close();
    },
  };
  return rig;
}

/** The server end of one connection, as text. */
export interface Peer {
  readonly socket: Socket;
  text: string;
}

export interface Replica {
  readonly port: number;
  readonly peers: Peer[];
  close(): Promise<void>;
}

/** A replica that does what it is told on each read. */
export async function openReplica(
  onData: (peer: Peer, chunk: string) => void,
  onConnect?: (peer: Peer) => void,
): Promise<Replica> {
  const peers: Peer[] = [];
  const server = createServer({ noDelay: true }, (socket) => {
    const peer: Peer = { socket, text: '' };
    peers.push(peer);
    onConnect?.(peer);
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      const text = chunk.toString('latin1');
      peer.text += text;
      onData(peer, text);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    peers,
    async close() {
      for (const { socket } of peers) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

export interface Client {
  readonly socket: Socket;
  text: string;
  closed: boolean;
  /** 'reset' when it was cut. */
  error: string;
  send(text: string): void;
  /** Waits until what came matches. */
  until(pattern: RegExp): Promise<string>;
  untilClosed(): Promise<void>;
  /** Forgets what came. */
  clear(): void;
}

async function openClient(port: number): Promise<Client> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  let changed = Promise.withResolvers<void>();
  const wake = (): void => {
    changed.resolve();
    changed = Promise.withResolvers();
  };
  const client: Client = {
    socket,
    text: '',
    closed: false,
    error: '',
    send: (text) => void socket.write(text, 'latin1'),
    async until(pattern) {
      while (!pattern.test(client.text)) {
        if (client.closed) throw new Error(`closed (${client.error}) with ${client.text}`);
        await changed.promise;
      }
      return client.text;
    },
    async untilClosed() {
      while (!client.closed) await changed.promise;
    },
    clear() {
      client.text = '';
    },
  };
  socket.on('data', (chunk) => {
    client.text += chunk.toString('latin1');
    wake();
  });
  socket.on('error', (error) => {
    client.error = 'code' in error ? String(error.code) : error.message;
  });
  socket.once('close', () => {
    client.closed = true;
    wake();
  });
  return client;
}

export async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries += 1) {
    if (tries > 4_000) throw new Error('the condition never came true');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Whole requests in a text, by their empty line (for requests without a body). */
export const heads = (text: string): number => text.split('\r\n\r\n').length - 1;

export const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
export const GET = 'GET /a HTTP/1.1\r\nHost: h\r\n\r\n';
