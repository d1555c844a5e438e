// The gateway process. Settings come by environment only; it needs nobody to start, and keeps
// serving with everybody else down (P7).
//
//   KINTSUGI_GATEWAY_HOST, _PORT   where to listen (127.0.0.1:8080)
//   KINTSUGI_GATEWAY_SOCKET        the controller's unix socket
//   KINTSUGI_GATEWAY_STATE         folder for the last good table
//   KINTSUGI_GATEWAY_WORKER        name of this worker (gateway-1)
//   KINTSUGI_GATEWAY_WORKERS       how many share the port, to share out limits (1)
//
// Exit codes: 0 after SIGTERM, 69 when the port is taken or refused, 70 on a bug.
import { hash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { connect } from 'node:net';
import { KinError, messageOf } from '../model/errors.ts';
import type { RoutingTable } from '../model/routing.ts';
import { openHttpServer, openUpstreams } from './http/server.ts';
import type { HttpServer } from './http/server.ts';
import { openLink } from './link.ts';
import type { Link } from './link.ts';
import { listenFault, portTaken } from './listen.ts';
import { lookAt } from './look.ts';
import { openProxy } from './proxy.ts';
import type { Proxy } from './proxy.ts';
import { loadTable, openTableFile } from './table-file.ts';

const EXIT_UNAVAILABLE = 69;
const EXIT_BUG = 70;
const STOP_MS = 15_000;
const CONNECTIONS_MAX = 20_000;

export interface WorkerSettings {
  readonly host: string;
  readonly port: number;
  readonly socketPath: string;
  readonly stateFolder: string;
  readonly worker: string;
  readonly workers: number;
}

export interface GatewayWorker {
  readonly port: number;
  readonly proxy: Proxy;
  stop(deadlineMs: number): Promise<void>;
}

type Variables = Readonly<Record<string, string | undefined>>;

export function readSettings(env: Variables): WorkerSettings {
  const text = (name: string, fallback: string): string => {
    const value = env[`KINTSUGI_GATEWAY_${name}`];
    return value === undefined || value === '' ? fallback : value;
  };
  const number = (name: string, fallback: number, max: number): number => {
    const value = Number(text(name, String(fallback)));
    if (Number.isInteger(value) && value >= 0 && value <= max) return value;
    throw new KinError(
      'KIN_GATEWAY_SETTING',
      `KINTSUGI_GATEWAY_${name} is not a number from 0 to ${max}`,
      'Start the gateway with `kintsugi up`, which sets it.',
    );
  };
  return {
    host: text('HOST', '127.0.0.1'),
    port: number('PORT', 8_080, 65_535),
    socketPath: text('SOCKET', '.kintsugi/run/controller.sock'),
    stateFolder: text('STATE', '.kintsugi/gateway'),
    worker: text('WORKER', 'gateway-1'),
    workers: Math.max(1, number('WORKERS', 1, 64)),
  };
}

export async function startWorker(
  settings: WorkerSettings,
  warn: (text: string) => void,
): Promise<GatewayWorker> {
  const loaded = loadTable(settings.stateFolder, settings.worker);
  if (loaded.kind === 'unusable') warn(`saved table not used: ${loaded.reason}`);
  const instance = hash('sha256', realpathSync(settings.stateFolder)).slice(0, 16);
  await refuseForeignPort(settings, instance);
  const file = openTableFile(settings.stateFolder, settings.worker, (error) => {
    warn(`table not saved: ${messageOf(error)}`);
  });
  // The proxy speaks before the link is there: what it says until then has no listener anyway.
  const wire: { link: Link | undefined } = { link: undefined };
  const upstreams = openUpstreams();
  const proxy = openProxy({
    clock: { nowMs: () => Date.now(), monotonicMs: () => performance.now() },
    random: Math.random,
    workers: settings.workers,
    open: (host, port) => upstreams.pool(host, port),
    look: lookAt,
    emit: (event) => wire.link?.event(event),
    active: (drained) => wire.link?.active(drained),
    about: { worker: settings.worker, instance },
    onBug: (error) => warn(`bug, request refused: ${messageOf(error)}`),
  });
  const take = (table: RoutingTable, pepper: string): number => {
    const answer = proxy.apply(table, pepper);
    if (answer.kind === 'refused') warn(`table refused: ${answer.reason}`);
    if (answer.kind === 'applied') file.save({ table, pepper });
    return proxy.version;
  };
  if (loaded.kind === 'loaded') {
    const answer = proxy.apply(loaded.saved.table, loaded.saved.pepper);
    if (answer.kind === 'refused') warn(`saved table not used: ${answer.reason}`);
  }
  const front = await listen(settings, proxy);
  const link = openLink({
    socketPath: settings.socketPath,
    worker: settings.worker,
    random: Math.random,
    version: () => proxy.version,
    onTable: take,
    onForgive: (replicas) => proxy.forgive(replicas),
    onDeath: (replica, suspects) => proxy.learnDeath(replica, suspects),
    takeCells: () => proxy.counters.take(),
    inFlight: () => proxy.inFlight(),
    ejections: () => proxy.ejections(),
    warn,
  });
  wire.link = link;
  return {
    port: front.port,
    proxy,
    async stop(deadlineMs) {
      await front.stop(deadlineMs);
      proxy.close();
      await link.close();
      await file.settled();
    },
  };
}

async function listen({ host, port }: WorkerSettings, proxy: Proxy): Promise<HttpServer> {
  const setup = { host, port, reusePort: true, connectionsMax: CONNECTIONS_MAX };
  try {
    return await openHttpServer(setup, proxy);
  } catch (error) {
    throw listenFault(error, host, port);
  }
}

/**
 * `reusePort` lets any process of this user share the port, another instance's gateway too, and
 * each would get a part of the other's requests. So who answers there must be one of us.
 */
async function refuseForeignPort(settings: WorkerSettings, instance: string): Promise<void> {
  const { host, port } = settings;
  if (port === 0 || !(await somebodyListens(host, port))) return;
  const response = await fetch(`http://${host}:${port}/__kintsugi/health`, {
    signal: AbortSignal.timeout(1_000),
  }).catch(() => undefined);
  const about: unknown = await response?.json().catch(() => undefined);
  const isOurs = typeof about === 'object' && about !== null && 'instance' in about;
  if (!isOurs || about.instance !== instance) throw portTaken(host, port);
}

function somebodyListens(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 500 });
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
    socket.once('timeout', () => done(false));
  });
}

function say(text: string): void {
  process.stderr.write(`gateway: ${text}\n`);
}

async function main(): Promise<void> {
  process.on('uncaughtException', (error) => {
    say(`bug: ${error.stack ?? error.message}`);
    process.exit(EXIT_BUG);
  });
  try {
    const worker = await startWorker(readSettings(process.env), say);
    const end = (): void => {
      void worker.stop(STOP_MS).then(() => process.exit(0));
    };
    process.once('SIGTERM', end);
    process.once('SIGINT', end);
  } catch (error) {
    if (!(error instanceof KinError)) throw error;
    say(`${error.code}: ${error.message}. ${error.fix}`);
    process.exit(EXIT_UNAVAILABLE);
  }
}

if (import.meta.main) await main();
