// How does the real gateway take part? The worker process that `kintsugi up` starts, on its core,
// with a hub and a routing table from here: tenants with API keys and limits, one service. Nothing
// of it is left out, and nothing is a stub. It runs as JavaScript, as it is installed: what strips
// the types in a clone stays in memory and has nothing to do with serving.
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { openHub } from '../../src/drivers/gateways/hub.ts';
import { keyMac, mintKey } from '../../src/gateway/keys.ts';
import { asReplicaId, releaseId, serviceName, tenantId } from '../../src/model/ids.ts';
import type {
  ObserveRule,
  RoutingTable,
  ServiceRoute,
  TenantRoute,
} from '../../src/model/routing.ts';
import type { GatewayEvent } from '../../src/model/signal.ts';
import type { Gateways } from '../../src/world/gateways.ts';
import { nowMs, until } from '../heal/clock.ts';
import { atEnd, makeFolder } from '../heal/processes.ts';
import { freePort, peerOf, start, untilListening } from './peers.ts';
import type { Peer } from './peers.ts';
import { OBSERVE } from './settings.ts';

export const WORKER = join(import.meta.dirname, '../../src/gateway/worker.ts');
/** A bundled package that is no ES module asks for `require`. */
const REQUIRE = "import { createRequire } from 'node:module';";
const BANNER = `${REQUIRE} const require = createRequire(import.meta.url);`;
let built: Promise<string> | undefined;

/** As `up` starts it (`src/cli/up/init-file.ts`). */
const GATEWAY_FLAGS = ['--max-semi-space-size=2', '--single-threaded-gc'];

/** The worker as one JavaScript file. */
function builtWorker(): Promise<string> {
  built ??= (async () => {
    const outfile = join(makeFolder(), 'worker.mjs');
    await build({
      entryPoints: [WORKER],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'esnext',
      banner: { js: BANNER },
      logLevel: 'silent',
    });
    return outfile;
  })();
  return built;
}

const PUSH_MS = 30_000;
const ENV = 'bench';
const UNLIMITED = { ratePerSecond: 1_000_000, burst: 1_000_000, concurrency: 100_000 };

export const silent = (): void => undefined;
export const LOG = { debug: silent, info: silent, warn: silent, error: silent };

export interface KintsugiSetup {
  readonly name?: string;
  readonly core: number;
  readonly replicaPorts: readonly number[];
  /** Without any, one tenant `acme`. */
  readonly tenants?: Readonly<Record<string, Partial<TenantRoute>>>;
  readonly service?: Partial<ServiceRoute>;
  readonly env?: Readonly<Record<string, string>>;
  /** Undefined: everything is on. */
  readonly observe?: ObserveRule;
  /** Another script that starts the worker in its process, and its flags. */
  readonly command?: readonly string[];
}

export interface Seen {
  readonly atMs: number;
  readonly event: GatewayEvent;
}

export interface Kintsugi extends Peer {
  readonly events: readonly Seen[];
  readonly hub: Gateways;
  /** Bytes of access log that are on disk. */
  loggedBytes(): number;
  readonly child: ReturnType<typeof start>;
  key(tenant?: string): string;
  table(change?: Partial<RoutingTable>): RoutingTable;
  /** Answers when the worker said that it is in force. */
  push(table: RoutingTable): Promise<void>;
}

export const replicaName = (at: number): string => `records-${at + 1}`;

export function serviceOf(
  ports: readonly number[],
  change: Partial<ServiceRoute> = {},
): ServiceRoute {
  return {
    name: serviceName('records'),
    prefixes: [{ prefix: '/api', timeoutMs: 30_000, retry: true }],
    replicas: ports.map((port, i) => ({
      id: asReplicaId(replicaName(i)),
      release: releaseId('r1'),
      host: '127.0.0.1',
      port,
      weight: 100,
      region: 'any',
    })),
    healthPath: '/healthz',
    assertionKey: randomBytes(32).toString('base64url'),
    minRouted: 1,
    slowMs: 250,
    ...change,
  };
}

export function tenantOf(id: string, change: Partial<TenantRoute> = {}): TenantRoute {
  const body = { bodyBytes: 4 * 1_073_741_824, keys: [] };
  const fixed = { id: tenantId(id), region: 'eu', status: 'active' as const };
  return { ...fixed, ...UNLIMITED, ...body, ...change };
}

/** Of the files in it; 0: there is none. */
function bytesIn(folder: string): number {
  try {
    const files = readdirSync(folder).map((name) => statSync(join(folder, name)).size);
    return files.reduce((sum, size) => sum + size, 0);
  } catch {
    return 0;
  }
}

export async function openKintsugi(setup: KintsugiSetup): Promise<Kintsugi> {
  const folder = makeFolder();
  const socketPath = join(folder, 'run', 'c.sock');
  const stateFolder = join(folder, 'state');
  mkdirSync(stateFolder);
  const pepper = randomBytes(32).toString('base64url');
  const hub = await openHub({ socketPath, pepper, log: LOG, monotonicMs: nowMs });
  const closeHub = atEnd(() => hub.close());
  const events: Seen[] = [];
  hub.onSignal((signal) => {
    if (signal.kind === 'event') events.push({ atMs: nowMs(), event: signal.event });
  });
  const port = await freePort();
  const command = setup.command ?? [await builtWorker()];
  const child = start(setup.core, [process.execPath, ...GATEWAY_FLAGS, ...command], {
    ...process.env,
    KINTSUGI_GATEWAY_HOST: '127.0.0.1',
    KINTSUGI_GATEWAY_PORT: String(port),
    KINTSUGI_GATEWAY_SOCKET: socketPath,
    KINTSUGI_GATEWAY_STATE: stateFolder,
    KINTSUGI_GATEWAY_WORKER: 'gateway-1',
    ...setup.env,
  });
  await untilListening(port, child);
  if (!(await until(10_000, () => hub.connected().length === 1))) {
    throw new Error('the worker never called');
  }
  const keys = new Map<string, string>();
  const tenants = Object.entries(setup.tenants ?? { acme: {} }).map(([id, change]) => {
    const minted = mintKey(ENV, randomBytes(9), randomBytes(32));
    keys.set(id, minted.key);
    const mac = keyMac(pepper, minted.secret);
    return tenantOf(id, { keys: [{ id: minted.id, mac, expiresAtMs: undefined }], ...change });
  });
  const service = serviceOf(setup.replicaPorts, setup.service);
  let version = 0;
  const peer = peerOf(setup.name ?? 'kintsugi', port, child);
  const kintsugi: Kintsugi = {
    ...peer,
    events,
    hub,
    child,
    loggedBytes: () => bytesIn(join(folder, 'logs')),
    key: (tenant) => keys.get(tenant ?? [...keys.keys()][0] ?? '') ?? '',
    table(change = {}) {
      version += 1;
      const empty = {
        quarantines: [],
        jwt: [],
        retryBudget: 0.2,
        observe: setup.observe ?? OBSERVE,
      };
      return { v: 1, version, services: [service], tenants, ...empty, ...change };
    },
    async push(table) {
      const answer = await hub.push(table, PUSH_MS);
      if (answer.kind !== 'applied') throw new Error('the table was not applied');
    },
    async stop() {
      await peer.stop();
      await closeHub();
    },
  };
  await kintsugi.push(kintsugi.table());
  return kintsugi;
}
