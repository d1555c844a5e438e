// A gateway with real sockets for its tests: hub, worker (in this process, or as its own), and
// replicas as child processes.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { openHub } from '../../src/drivers/gateways/hub.ts';
import { keyMac, mintKey } from '../../src/gateway/keys.ts';
import { startWorker } from '../../src/gateway/worker.ts';
import type { GatewayWorker } from '../../src/gateway/worker.ts';
import { asReplicaId, releaseId, serviceName, tenantId } from '../../src/model/ids.ts';
import type {
  JwtRule,
  PrefixRoute,
  ObserveRule,
  ReplicaRoute,
  RoutingTable,
  ServiceRoute,
  TenantRoute,
} from '../../src/model/routing.ts';
import type { QuarantineRule } from '../../src/model/plan.ts';
import type { GatewayEvent, TrafficCell } from '../../src/model/signal.ts';
import type { Gateways, GatewaySignal } from '../../src/world/gateways.ts';

const here = import.meta.dirname;
const PEPPER = randomBytes(32).toString('base64url');
export const ASSERTION_KEY = randomBytes(32).toString('base64url');
export const SERVICE = serviceName('records');

export interface TestReplica {
  readonly id: string;
  readonly port: number;
  readonly child: ChildProcess;
  fault(mode: string, ms?: number): Promise<void>;
  served(): Promise<number>;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface RigOptions {
  readonly replicas: number;
  readonly ownProcess?: boolean;
  readonly jwt?: readonly JwtRule[];
  readonly minRouted?: number;
  readonly slowMs?: number;
  readonly tenant?: Partial<TenantRoute>;
  readonly timeoutMs?: number;
}

export interface Rig {
  readonly port: number;
  readonly gatewayPid: number;
  readonly hub: Gateways;
  readonly worker: GatewayWorker | undefined;
  readonly replicas: TestReplica[];
  readonly events: GatewayEvent[];
  readonly cells: TrafficCell[];
  readonly signals: GatewaySignal[];
  readonly folder: string;
  readonly socketPath: string;
  key(tenant: string): string;
  addReplica(): Promise<TestReplica>;
  table(change?: TableChange): RoutingTable;
  push(change?: TableChange): Promise<void>;
  send(options: SendOptions): Promise<Answer>;
  closeHub(): Promise<void>;
  close(): Promise<void>;
}

export interface TableChange {
  readonly weights?: Readonly<Record<string, number>>;
  readonly only?: readonly string[];
  readonly quarantines?: readonly QuarantineRule[];
  readonly tenant?: Partial<TenantRoute>;
  readonly regions?: Readonly<Record<string, string>>;
  readonly jwt?: readonly JwtRule[];
  readonly observe?: ObserveRule;
  /** In place of `/api`. */
  readonly prefixes?: readonly PrefixRoute[];
  /** Changes of tenants by their ids, beside `tenant`, which is acme. */
  readonly tenants?: Readonly<Record<string, Partial<TenantRoute>>>;
}

export interface SendOptions {
  readonly path: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string;
  readonly tenant?: string;
  readonly bare?: boolean;
}

const silent = (): void => undefined;
export const LOG = { debug: silent, info: silent, warn: silent, error: silent };

export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  limitMs = 10_000,
): Promise<void> {
  const endMs = performance.now() + limitMs;
  while (!(await holds())) {
    if (performance.now() > endMs) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export async function plainGet(port: number, path: string): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return response.text();
}

export async function startReplica(id: string): Promise<TestReplica> {
  const child = spawn(process.execPath, [join(here, 'replica.ts')], {
    env: { NAME: id },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (child.stdout === null) throw new Error('no output');
  const lines = createInterface({ input: child.stdout });
  const [line] = (await once(lines, 'line')) as [string];
  const port = Number(line);
  return {
    id,
    port,
    child,
    async fault(mode, ms = 0) {
      await plainGet(port, `/fault?mode=${mode}&ms=${ms}`);
    },
    async served() {
      return (JSON.parse(await plainGet(port, '/served')) as { served: number }).served;
    },
  };
}

function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  const ended = once(child, 'exit').then(() => undefined);
  child.kill('SIGKILL');
  return ended;
}

/** Runs the gateway as its own process; answers its port. */
export async function spawnGateway(
  env: Readonly<Record<string, string>>,
): Promise<{ child: ChildProcess; stderr: () => string }> {
  const child = spawn(process.execPath, [join(here, '../../src/gateway/worker.ts')], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let text = '';
  child.stderr?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await once(child, 'spawn');
  return { child, stderr: () => text };
}

export async function freePort(): Promise<number> {
  const { createServer } = await import('node:net');
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

const TENANTS = ['acme', 'globex', 'initech'];

export async function openRig(options: RigOptions): Promise<Rig> {
  const folder = mkdtempSync(join(tmpdir(), 'kin-gw-'));
  const socketPath = join(folder, 'run', 'c.sock');
  const hub = await openHub({
    socketPath,
    pepper: PEPPER,
    log: LOG,
    monotonicMs: () => performance.now(),
  });
  const keys = new Map(
    TENANTS.map((tenant) => [tenant, mintKey('test', randomBytes(9), randomBytes(32))]),
  );
  const names = Array.from({ length: options.replicas }, (_, i) => `records-${i + 1}`);
  const replicas: TestReplica[] = await Promise.all(names.map(startReplica));
  const events: GatewayEvent[] = [];
  const cells: TrafficCell[] = [];
  const signals: GatewaySignal[] = [];
  hub.onSignal((signal) => {
    signals.push(signal);
    if (signal.kind === 'event') events.push(signal.event);
    if (signal.kind === 'traffic') cells.push(...signal.cells);
  });
  let version = 0;
  let current: TableChange = options.jwt === undefined ? {} : { jwt: options.jwt };

  const table = (change: TableChange = {}): RoutingTable => {
    current = { ...current, ...change };
    version += 1;
    const service = serviceOf(options, replicas, current);
    const tenants = TENANTS.map((tenant): TenantRoute => {
      const key = keys.get(tenant);
      const rules =
        key === undefined
          ? []
          : [{ id: key.id, mac: keyMac(PEPPER, key.secret), expiresAtMs: undefined }];
      const change2 = tenant === 'acme' ? { ...options.tenant, ...current.tenant } : {};
      return { ...tenantOf(tenant), keys: rules, ...change2, ...current.tenants?.[tenant] };
    });
    const { quarantines = [], jwt = [], observe } = current;
    const rest = observe === undefined ? {} : { observe };
    const services = [service];
    return { v: 1, version, services, tenants, quarantines, jwt, retryBudget: 0.2, ...rest };
  };
  const stateFolder = join(folder, 'gateway');
  const warn = (text: string): void => console.error(text);
  let worker: GatewayWorker | undefined;
  let child: ChildProcess | undefined;
  let port: number;
  if (options.ownProcess === true) {
    port = await freePort();
    const env = gatewayEnv(port, socketPath, stateFolder);
    child = (await spawnGateway(env)).child;
  } else {
    worker = await startWorker(
      {
        host: '127.0.0.1',
        port: 0,
        socketPath,
        stateFolder,
        worker: 'gateway-1',
        workers: 1,
      },
      warn,
    );
    port = worker.port;
  }
  await until('gateway says hello', () => hub.connected().length === 1);
  const agent = new Agent({ keepAlive: true });
  let hubOpen = true;
  const rig: Rig = {
    port,
    gatewayPid: child?.pid ?? process.pid,
    hub,
    worker,
    replicas,
    events,
    cells,
    signals,
    folder,
    socketPath,
    key: (tenant) => keys.get(tenant)?.key ?? '',
    async addReplica() {
      const replica = await startReplica(`records-${replicas.length + 1}`);
      replicas.push(replica);
      return replica;
    },
    table,
    async push(change) {
      const answer = await hub.push(table(change), 5_000);
      if (answer.kind !== 'applied') throw new Error('push not applied');
    },
    send: (send) => sendOne(agent, port, rig.key(send.tenant ?? 'acme'), send),
    async closeHub() {
      if (hubOpen) await hub.close();
      hubOpen = false;
    },
    async close() {
      agent.destroy();
      await worker?.stop(1_000);
      if (child !== undefined) await endChild(child);
      await rig.closeHub();
      await Promise.all(replicas.map((r) => endChild(r.child)));
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await rig.push();
  return rig;
}

export function gatewayEnv(
  port: number,
  socketPath: string,
  stateFolder: string,
): Record<string, string> {
  return {
    KINTSUGI_GATEWAY_HOST: '127.0.0.1',
    KINTSUGI_GATEWAY_PORT: String(port),
    KINTSUGI_GATEWAY_SOCKET: socketPath,
    KINTSUGI_GATEWAY_STATE: stateFolder,
    KINTSUGI_GATEWAY_WORKER: 'gateway-1',
  };
}

function tenantOf(id: string): Omit<TenantRoute, 'keys'> {
  const region = id === 'initech' ? 'us' : 'eu';
  return {
    id: tenantId(id),
    region,
    status: 'active',
    ratePerSecond: 100_000,
    burst: 100_000,
    concurrency: 10_000,
    bodyBytes: 1_048_576,
  };
}

function serviceOf(
  options: RigOptions,
  replicas: readonly TestReplica[],
  change: TableChange,
): ServiceRoute {
  const listed = replicas.filter((r) => change.only?.includes(r.id) ?? true);
  return {
    name: SERVICE,
    prefixes: change.prefixes ?? [
      { prefix: '/api', timeoutMs: options.timeoutMs ?? 10_000, retry: true },
    ],
    replicas: listed.map((r): ReplicaRoute => ({
      id: asReplicaId(r.id),
      release: releaseId('r1'),
      host: '127.0.0.1',
      port: r.port,
      weight: change.weights?.[r.id] ?? 100,
      region: change.regions?.[r.id] ?? 'any',
    })),
    healthPath: '/healthz',
    assertionKey: ASSERTION_KEY,
    minRouted: options.minRouted ?? 1,
    slowMs: options.slowMs ?? 500,
  };
}

function sendOne(agent: Agent, port: number, key: string, send: SendOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const auth: Record<string, string> =
      send.bare === true ? {} : { authorization: `Bearer ${key}` };
    const request = httpRequest(
      {
        agent,
        host: '127.0.0.1',
        port,
        path: send.path,
        method: send.method ?? 'GET',
        headers: { ...auth, ...send.headers },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const body = Buffer.concat(chunks).toString();
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
        });
      },
    );
    request.on('error', reject);
    request.end(send.body);
  });
}

export interface LoadResult {
  readonly sent: number;
  readonly failed: string[];
}

/** Open loop: `perSecond` requests for as long as `during` takes. */
export async function underLoad(
  rig: Rig,
  perSecond: number,
  send: (n: number) => SendOptions,
  during: () => Promise<void>,
): Promise<LoadResult> {
  const pending = new Set<Promise<void>>();
  const failed: string[] = [];
  let sent = 0;
  let owed = 0;
  let lastMs = performance.now();
  const one = async (options: SendOptions): Promise<void> => {
    try {
      const answer = await rig.send(options);
      if (answer.status >= 400) failed.push(`${answer.status} ${answer.body.slice(0, 200)}`);
    } catch (error) {
      failed.push(String(error));
    }
  };
  const timer = setInterval(() => {
    const nowMs = performance.now();
    owed += ((nowMs - lastMs) * perSecond) / 1_000;
    lastMs = nowMs;
    for (; owed >= 1; owed -= 1) {
      const running = one(send(sent)).finally(() => pending.delete(running));
      pending.add(running);
      sent += 1;
    }
  }, 5);
  await during();
  clearInterval(timer);
  await Promise.all(pending);
  return { sent, failed };
}
