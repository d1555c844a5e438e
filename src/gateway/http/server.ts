// The front of the data plane: one listening socket, its clients, and the pools behind them.
//
//   SV1. `stop` takes no new connection, ends idle ones, lets exchanges inside end until its
//        deadline, then cuts.
//   SV2. Past `connectionsMax` a new connection is closed at once.
import { createServer, type Server, type Socket } from 'node:net';
import { CLIENT_LIMITS, ClientConnection, type ClientHost } from './client-connection.ts';
import type { ClientLimits } from './client-connection.ts';
import { Deadlines } from './deadlines.ts';
import { type HeadLimits, HeadShelf } from './head.ts';
import type { Hooks } from './hooks.ts';
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
}

export interface Upstreams {
  pool(host: string, port: number, limits?: Partial<PoolLimits>): UpstreamPool;
}

export interface HttpServer {
  readonly port: number;
  readonly connections: number;
  stop(deadlineMs: number): Promise<void>;
  /** A connection that was accepted elsewhere (TLS, PROXY protocol). */
  serve(socket: Socket): void;
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
  readonly nowMs = (): number => performance.now();
  readonly clients = new Set<ClientConnection>();
  draining = false;
  onEmpty: (() => void) | undefined;

  constructor(setup: HttpServerSetup, hooks: Hooks) {
    this.hooks = hooks;
    this.limits = { ...CLIENT_LIMITS, ...setup.limits };
    this.deadlines = new Deadlines(this.nowMs, setup.tickMs);
  }

  serve(socket: Socket, connectionsMax: number): void {
    if (this.draining || this.clients.size >= connectionsMax) socket.destroy();
    else this.clients.add(new ClientConnection(this, socket));
  }

  gone(connection: ClientConnection): void {
    this.clients.delete(connection);
    if (this.clients.size === 0) this.onEmpty?.();
  }

  async empty(deadlineMs: number): Promise<void> {
    this.draining = true;
    for (const client of [...this.clients]) if (client.isIdle) client.close();
    if (this.clients.size === 0) return;
    const emptied = new Promise<void>((resolve) => {
      this.onEmpty = resolve;
    });
    const cut = setTimeout(() => {
      for (const client of [...this.clients]) client.close();
    }, deadlineMs);
    await emptied;
    clearTimeout(cut);
  }
}

export async function openHttpServer(setup: HttpServerSetup, hooks: Hooks): Promise<HttpServer> {
  const front = new Front(setup, hooks);
  const { connectionsMax } = setup;
  const serve = (socket: Socket): void => front.serve(socket, connectionsMax);
  const server = createServer({ noDelay: true, pauseOnConnect: true }, serve);
  await listen(server, setup);
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : setup.port;
  return {
    port,
    serve,
    get connections() {
      return front.clients.size;
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
