// The gateway process. Settings come by environment only; it needs nobody to start, and keeps
// serving with everybody else down (P7).
//
//   KINTSUGI_GATEWAY_HOST, _PORT   where to listen (127.0.0.1:8080)
//   KINTSUGI_GATEWAY_SOCKET        the controller's unix socket
//   KINTSUGI_GATEWAY_STATE         folder for the last good table
//   KINTSUGI_GATEWAY_WORKER        name of this worker (gateway-1)
//   KINTSUGI_GATEWAY_WORKERS       how many share the port, to share out limits (1)
//   KINTSUGI_GATEWAY_TLS           JSON of `gateway.tls`: paths and choices (plain HTTP)
//   KINTSUGI_GATEWAY_PROXY_FROM    networks that send PROXY headers, with commas (none)
//
// Exit codes: 0 after SIGTERM, 69 when the port is taken or refused, 70 on a bug.
import { hash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { KinError, messageOf } from '../model/errors.ts';
import type { RoutingTable } from '../model/routing.ts';
import type { GatewayEvent } from '../model/signal.ts';
import { openFront } from './front.ts';
import { turnClock } from './http/turn.ts';
import { openUpstreams } from './http/server.ts';
import { openLink } from './link.ts';
import type { Link } from './link.ts';
import { portTaken } from './listen.ts';
import { lookAt } from './look.ts';
import { neighbourAt } from './neighbour.ts';
import { Observer } from './observe/observer.ts';
import { openProxy } from './proxy.ts';
import type { Proxy } from './proxy.ts';
import { loadTable, openTableFile } from './table-file.ts';
import { readTls } from './tls/settings.ts';
import type { TlsSettings } from './tls/settings.ts';

const VERSION = '0.1.0';
const EXIT_UNAVAILABLE = 69;
const EXIT_BUG = 70;
const STOP_MS = 15_000;

export interface WorkerSettings {
  readonly host: string;
  readonly port: number;
  readonly socketPath: string;
  readonly stateFolder: string;
  readonly worker: string;
  readonly workers: number;
  readonly tls?: TlsSettings | undefined;
  readonly proxyFrom?: readonly string[];
}

export interface GatewayWorker {
  readonly port: number;
  /** 0: there is none. */
  readonly redirectPort: number;
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
    tls: text('TLS', '') === '' ? undefined : readTls(text('TLS', '')),
    proxyFrom: text('PROXY_FROM', '')
      .split(',')
      .filter((network) => network !== ''),
  };
}

/** What is there only later: what the proxy says until then has no listener anyway. */
interface Wire {
  link: Link | undefined;
  front: { readonly connections: number } | undefined;
}

function openCore(
  settings: WorkerSettings,
  instance: string,
  wire: Wire,
  warn: (text: string) => void,
): { readonly proxy: Proxy; readonly observer: Observer } {
  const { worker, workers, stateFolder } = settings;
  const upstreams = openUpstreams();
  const observer = new Observer({
    worker,
    version: VERSION,
    folder: join(dirname(stateFolder), 'logs'),
    warn,
    monotonicMs: () => performance.now(),
    random: Math.random,
    levels: () => ({
      connections: wire.front?.connections ?? 0,
      'in-flight': proxy.inFlight().reduce((sum, { count }) => sum + count, 0),
      'table-version': proxy.version,
    }),
  });
  const proxy = openProxy({
    clock: turnClock,
    random: Math.random,
    workers,
    open: (host, port) => upstreams.pool(host, port),
    look: lookAt,
    emit: (event) => wire.link?.event(event),
    active: (drained) => wire.link?.active(drained),
    about: { worker, instance },
    onBug: (error) => warn(`bug, request refused: ${messageOf(error)}`),
    observer,
  });
  return { proxy, observer };
}

export async function startWorker(
  settings: WorkerSettings,
  warn: (text: string) => void,
): Promise<GatewayWorker> {
  const loaded = loadSaved(settings, warn);
  const instance = hash('sha256', realpathSync(settings.stateFolder)).slice(0, 16);
  await refuseForeignPort(settings, instance);
  const file = openTableFile(settings.stateFolder, settings.worker, (error) => {
    warn(`table not saved: ${messageOf(error)}`);
  });
  const wire: Wire = { link: undefined, front: undefined };
  const { proxy, observer } = openCore(settings, instance, wire, warn);
  const apply = (table: RoutingTable, pepper: string, name: string): boolean => {
    const answer = proxy.apply(table, pepper);
    if (answer.kind === 'refused') warn(`${name}: ${answer.reason}`);
    if (answer.kind === 'applied') observer.use(table.observe);
    return answer.kind === 'applied';
  };
  const saved = loaded.kind === 'loaded' ? loaded.saved : undefined;
  if (saved !== undefined) apply(saved.table, saved.pepper, 'saved table not used');
  const emit = (event: GatewayEvent): void => wire.link?.event(event);
  const front = await openFront(settings, proxy, { emit, warn });
  const link = openLink({
    socketPath: settings.socketPath,
    worker: settings.worker,
    random: Math.random,
    version: () => proxy.version,
    saved: saved?.table,
    onTable(table, pepper) {
      if (apply(table, pepper, 'table refused')) file.save({ table, pepper });
      return proxy.version;
    },
    onForgive: (replicas) => proxy.forgive(replicas),
    onDeath: (replica, suspects) => proxy.learnDeath(replica, suspects),
    takeCells() {
      proxy.settle();
      return proxy.counters.take();
    },
    takeEdge: () => observer.takeEdge(),
    inFlight: () => proxy.inFlight(),
    ejections: () => proxy.ejections(),
    warn,
  });
  wire.link = link;
  wire.front = front;
  front.begin();
  return {
    port: front.port,
    redirectPort: front.redirectPort,
    proxy,
    async stop(deadlineMs) {
      await front.stop(deadlineMs);
      proxy.close();
      await observer.close();
      await link.close();
      await file.settled();
    },
  };
}

function loadSaved(
  { stateFolder, worker }: WorkerSettings,
  warn: (text: string) => void,
): ReturnType<typeof loadTable> {
  const loaded = loadTable(stateFolder, worker);
  if (loaded.kind === 'unusable') warn(`saved table not used: ${loaded.reason}`);
  if (loaded.kind === 'loaded' && loaded.fault !== undefined) {
    warn(`newest saved table not used, the one before is: ${loaded.fault}`);
  }
  return loaded;
}

async function refuseForeignPort(settings: WorkerSettings, instance: string): Promise<void> {
  const { host, port, tls } = settings;
  const neighbour = await neighbourAt({ host, port, instance, tls });
  if (neighbour === 'foreign') throw portTaken(host, port);
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
