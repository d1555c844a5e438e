// The front of the data plane: one listening socket, its clients, and the pools behind them.
//
//   SV1. `stop` takes no new connection, ends idle ones, lets exchanges inside end until its
//        deadline, then cuts.
//   SV2. Past `connectionsMax` a new connection is closed at once; handshakes count as well.
import { createServer, type Server, type Socket } from 'node:net';
import { Session } from '../h2/session.ts';
import type { TrustedPeers } from '../proxy-protocol.ts';
import type { Certificates } from '../tls/certificates.ts';
import { type ListenerSetup, SecureListener, type TlsSide } from '../tls/listener.ts';
import { asSocket } from '../tls/socket-end.ts';
import { CLIENT_LIMITS, ClientConnection, type ClientHost } from './client-connection.ts';
import type { ClientLimits } from './client-connection.ts';
import { Deadlines } from './deadlines.ts';
import { type HeadLimits, HeadShelf } from './head.ts';
import type { Hooks } from './hooks.ts';
import { turnClock } from './turn.ts';
import { POOL_LIMITS, type PoolLimits, UpstreamPool } from './upstream-pool.ts';

export const REQUEST_HEAD: HeadLimits = { headBytes: 16_384, fields: 100, targetBytes: 8_192 };
export const ANSWER_HEAD: HeadLimits = { headBytes: 32_768, fields: 200, targetBytes: 0 };

export interface HttpServerSetup {
  readonly host: string;
  readonly port: number;
  readonly reusePort: boolean;
  readonly connectionsMax: number;
  readonly limits?: Partial<ClientLimits>;
  readonly tickMs?: number;
  /** Left out: plain HTTP/1.1. */
  readonly tls?: TlsSide;
  /** Who must say for whom it speaks (PROXY protocol); left out: nobody. */
  readonly trusted?: TrustedPeers;
  readonly handshakeMs?: number;
  readonly handshakesMax?: number;
  readonly onArrivalRefused?: ListenerSetup['onRefused'];
}

export interface Upstreams {
  pool(host: string, port: number, limits?: Partial<PoolLimits>): UpstreamPool;
}

export interface HttpServer {
  readonly port: number;
  readonly connections: number;
  stop(deadlineMs: number): Promise<void>;
  /** A connection that was accepted elsewhere. */
  serve(socket: Socket): void;
  /** New handshakes get what the certificates hold now. */
  renew(certificates: Certificates): void;
}

/** Pools share one clock hand and one shelf of heads. */
export function openUpstreams(tickMs = 100): Upstreams {
  const deadlines = new Deadlines(() => performance.now(), tickMs);
  const heads = new HeadShelf(ANSWER_HEAD);
  return {
    pool: (host, port, limits) =>
      new UpstreamPool({ host, port }, { ...POOL_LIMITS, ...limits }, deadlines, heads),
  };
}

class Front implements ClientHost {
  readonly hooks: Hooks;
  readonly heads = new HeadShelf(REQUEST_HEAD);
  readonly deadlines: Deadlines;
  readonly limits: ClientLimits;
  readonly nowMs = (): number => turnClock.monotonicMs();
  readonly clients = new Set<ClientConnection>();
  readonly sessions = new Set<Session>();
  /** Absent: sockets are clients as they come. */
  readonly listener: SecureListener | undefined;
  readonly #connectionsMax: number;
  draining = false;
  onEmpty: (() => void) | undefined;

  constructor(setup: HttpServerSetup, hooks: Hooks) {
    this.hooks = hooks;
    this.limits = { ...CLIENT_LIMITS, ...setup.limits };
    this.deadlines = new Deadlines(this.nowMs, setup.tickMs);
    this.#connectionsMax = setup.connectionsMax;
    const isPlain = setup.tls === undefined && setup.trusted === undefined;
    this.listener = isPlain ? undefined : new SecureListener(this.#listenerSetup(setup));
  }

  #listenerSetup(setup: HttpServerSetup): ListenerSetup {
    const { tls, trusted, handshakeMs, handshakesMax, onArrivalRefused } = setup;
    return {
      deadlines: this.deadlines,
      tls,
      trusted,
      ...(handshakeMs === undefined ? {} : { handshakeMs }),
      ...(handshakesMax === undefined ? {} : { handshakesMax }),
      ...(onArrivalRefused === undefined ? {} : { onRefused: onArrivalRefused }),
      nowMs: () => Date.now(),
      onHttp1: (end) => this.#client(asSocket(end)),
      onHttp2: (secured) => {
        if (this.draining) secured.socket.destroy();
        else this.sessions.add(new Session(this, secured));
      },
    };
  }

  get size(): number {
    return this.clients.size + this.sessions.size + (this.listener?.inFlight ?? 0);
  }

  serve(socket: Socket): void {
    if (this.draining || this.size >= this.#connectionsMax) socket.destroy();
    else if (this.listener !== undefined) this.listener.take(socket);
    else this.clients.add(new ClientConnection(this, socket));
  }

  #client(socket: Socket): void {
    if (this.draining) socket.destroy();
    else this.clients.add(new ClientConnection(this, socket));
  }

  gone(connection: ClientConnection): void {
    this.clients.delete(connection);
    this.#left();
  }

  sessionGone(session: Session): void {
    this.sessions.delete(session);
    this.#left();
  }

  #left(): void {
    if (this.clients.size + this.sessions.size === 0) this.onEmpty?.();
  }

  async empty(deadlineMs: number): Promise<void> {
    this.draining = true;
    this.listener?.close();
    for (const client of [...this.clients]) if (client.isIdle) client.close();
    for (const session of [...this.sessions]) session.drain();
    if (this.clients.size + this.sessions.size === 0) return;
    const emptied = new Promise<void>((resolve) => {
      this.onEmpty = resolve;
    });
    const cut = setTimeout(() => {
      for (const client of [...this.clients]) client.close();
      for (const session of [...this.sessions]) session.close();
    }, deadlineMs);
    await emptied;
    clearTimeout(cut);
  }
}

export async function openHttpServer(setup: HttpServerSetup, hooks: Hooks): Promise<HttpServer> {
  const front = new Front(setup, hooks);
  const serve = (socket: Socket): void => front.serve(socket);
  const server = createServer({ noDelay: true, pauseOnConnect: true }, serve);
  await listen(server, setup);
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : setup.port;
  return {
    port,
    serve,
    renew: (certificates) => front.listener?.renew(certificates),
    get connections() {
      return front.clients.size + front.sessions.size;
    },
    async stop(deadlineMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await front.empty(deadlineMs);
      await closed;
    },
  };
}

function listen(server: Server, setup: HttpServerSetup): Promise<void> {
  const { host, port } = setup;
  // macOS spreads nothing over sockets that share a port: there, one worker listens alone.
  const reusePort = setup.reusePort && process.platform === 'linux';
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, reusePort, backlog: 1_024 }, () => {
      server.off('error', reject);
      server.on('error', () => undefined);
      resolve();
    });
  });
}
