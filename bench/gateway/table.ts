// What does a routing table of 100 000 tenants × 200 services cost? Built as the controller builds
// it, pushed through a real hub into a real worker process of its own.
//
//   node bench/gateway/table.ts [--tenants 100000] [--services 200] [--core 0]
//
// The worker measures itself: from the event that brings the first byte until the version is in
// force, and the longest time between two turns of its event loop meanwhile.
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { subscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openHub } from '../../src/drivers/gateways/hub.ts';
import { tableOfParts } from '../../src/gateway/routes.ts';
import type { Routes } from '../../src/gateway/routes.ts';
import { loadTable } from '../../src/gateway/table-file.ts';
import { startWorker } from '../../src/gateway/worker.ts';
import { buildTable } from '../../src/main/table.ts';
import { loadManifestText } from '../../src/manifest/index.ts';
import { EMPTY_FLEET } from '../../src/model/fleet.ts';
import type { Fleet } from '../../src/model/fleet.ts';
import { releaseId, replicaId, serviceName, tenantId } from '../../src/model/ids.ts';
import type { Manifest } from '../../src/model/manifest.ts';
import type { Replica } from '../../src/model/replica.ts';
import type { KeyRule, RoutingTable } from '../../src/model/routing.ts';
import type { Gateways } from '../../src/world/gateways.ts';

const REPLICAS = 3;
const PREFIXES = 4;
const SMALL_PUSHES = 15;
const APPLY_TIMEOUT_MS = 60_000;
const AFTER_MS = 500;
const ENTRY_ROUNDS = 100;

export interface TableOptions {
  readonly tenants: number;
  readonly services: number;
  /** Pins the worker to this core, where `taskset` is there. */
  readonly core?: number;
}

export interface ApplyFigures {
  readonly version: number;
  /** From the first byte to in force. */
  readonly applyMs: number;
  readonly longestPauseMs: number;
  /** The same in CPU time of the loop's thread: what a busy machine adds is not in it. */
  readonly longestTurnCpuMs: number;
  /** CPU time of the loop's thread in turns that did something: looking on is not in it. */
  readonly busyCpuMs: number;
  /** Of the whole process, looking on included. */
  readonly cpuMs: number;
  readonly bytes: number;
}

export interface LookUpFigures {
  /** Mean of the first look-up of each tenant, key and path, ns. */
  readonly first: LookUps;
  /** Mean of later ones, ns. */
  readonly again: LookUps;
  /** Reading and checking the saved table at a start. */
  readonly loadMs: number;
  readonly rssMb: number;
}

export interface LookUps {
  readonly tenantNs: number;
  readonly keyNs: number;
  readonly entryNs: number;
}

export interface TableFigures {
  readonly whole: ApplyFigures;
  /** One replica's weight changed: the middle one of many pushes. */
  readonly replica: ApplyFigures & { readonly controllerCpuMs: number };
  /** One tenant's limit changed, in a manifest that is read anew. */
  readonly tenant: ApplyFigures & { readonly controllerCpuMs: number };
  readonly controller: {
    /** Building and cutting it for the first time, and the longest hold-up of the loop in that. */
    readonly wholeCpuMs: number;
    /** From nothing built until the worker said that it is in force. */
    readonly wholeMs: number;
    readonly longestPauseMs: number;
    readonly longestTurnCpuMs: number;
  };
  readonly lookUps: LookUpFigures;
}

export async function measureTable(options: TableOptions): Promise<TableFigures> {
  const folder = mkdtempSync(join(tmpdir(), 'kin-table-'));
  const silent = (): void => undefined;
  const socketPath = join(folder, 'run', 'c.sock');
  const hub = await openHub({
    socketPath,
    pepper: 'cGVwcGVy',
    log: { debug: silent, info: silent, warn: say, error: say },
    monotonicMs: () => performance.now(),
  });
  const worker = startChild(folder, socketPath, options);
  try {
    await until(() => hub.connected().length === 1);
    return await measure(hub, worker, await makeInputs(options));
  } finally {
    worker.kill('SIGKILL');
    await hub.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Pushed {
  readonly applied: ApplyFigures;
  readonly cpuMs: number;
  readonly tookMs: number;
}

async function measure(hub: Gateways, worker: ChildProcess, inputs: Inputs): Promise<TableFigures> {
  let { fleet } = inputs;
  let version = 0;
  const push = async (): Promise<Pushed> => {
    const applied = once(worker, 'message') as Promise<[ApplyFigures]>;
    const before = process.cpuUsage();
    const fromMs = performance.now();
    version += 1;
    const answer = await hub.push(inputs.table(fleet, version), APPLY_TIMEOUT_MS);
    const tookMs = performance.now() - fromMs;
    const { user, system } = process.cpuUsage(before);
    if (answer.kind !== 'applied') throw new Error(`the table was not applied: ${answer.kind}`);
    return { applied: (await applied)[0], cpuMs: (user + system) / 1_000, tookMs };
  };
  const pauses = watchLoop();
  const whole = await push();
  const controllerPauses = pauses.end();
  const pushes = [];
  for (let i = 0; i < SMALL_PUSHES; i += 1) {
    fleet = reweighted(fleet, (i % 100) + 1);
    pushes.push(await push());
  }
  const worst = pushes.toSorted((a, b) => b.applied.applyMs - a.applied.applyMs);
  const [middle = whole] = worst.slice(Math.floor(worst.length / 2));
  const cpu = pushes.map((p) => p.cpuMs).toSorted((a, b) => a - b);
  inputs.changeTenant();
  const tenant = await push();
  const answer = once(worker, 'message') as Promise<[LookUpFigures]>;
  worker.send('look-ups');
  return {
    whole: whole.applied,
    replica: { ...middle.applied, controllerCpuMs: cpu[Math.floor(cpu.length / 2)] ?? 0 },
    tenant: { ...tenant.applied, controllerCpuMs: tenant.cpuMs },
    controller: { wholeCpuMs: whole.cpuMs, wholeMs: whole.tookMs, ...controllerPauses },
    lookUps: (await answer)[0],
  };
}

function startChild(folder: string, socketPath: string, { core }: TableOptions): ChildProcess {
  const env = { ...process.env, TABLE_FOLDER: join(folder, 'gateway'), TABLE_SOCKET: socketPath };
  // Forked by its own path, so that a message channel is there under `taskset` too.
  const pinned =
    core === undefined
      ? {}
      : { execPath: 'taskset', execArgv: ['-c', String(core), process.execPath] };
  return fork(import.meta.filename, ['--worker'], { env, ...pinned });
}

interface Pauses {
  readonly longestPauseMs: number;
  readonly longestTurnCpuMs: number;
  readonly busyCpuMs: number;
}

/** A turn that only looks at the clock takes less. */
const IDLE_TURN_MS = 0.1;

function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

/** Longest time between two turns of this event loop until `end`. */
function watchLoop(): { soFar(): Pauses; end(): Pauses } {
  let lastMs = performance.now();
  let lastCpuMs = threadMs();
  let longestPauseMs = 0;
  let longestTurnCpuMs = 0;
  let busyCpuMs = 0;
  let handle = setImmediate(turn);
  function turn(): void {
    const nowMs = performance.now();
    const cpuMs = threadMs();
    longestPauseMs = Math.max(longestPauseMs, nowMs - lastMs);
    longestTurnCpuMs = Math.max(longestTurnCpuMs, cpuMs - lastCpuMs);
    if (cpuMs - lastCpuMs > IDLE_TURN_MS) busyCpuMs += cpuMs - lastCpuMs;
    lastMs = nowMs;
    lastCpuMs = cpuMs;
    handle = setImmediate(turn);
  }
  const soFar = (): Pauses => ({ longestPauseMs, longestTurnCpuMs, busyCpuMs });
  return {
    soFar,
    end() {
      clearImmediate(handle);
      return soFar();
    },
  };
}

interface Inputs {
  readonly fleet: Fleet;
  changeTenant(): void;
  table(fleet: Fleet, version: number): RoutingTable;
}

async function makeInputs({ tenants, services }: TableOptions): Promise<Inputs> {
  const text = 'name: bench\nservices:\n  api: { command: sleep 1 }\ntenants: { t: {} }\n';
  const { manifest } = await loadManifestText(text, '/kintsugi.yaml', { env: {} });
  const [spec] = manifest.services.values();
  const [tenant] = manifest.tenants.values();
  if (spec === undefined || tenant === undefined) throw new Error('a manifest without anything');
  const names = Array.from({ length: services }, (_, i) => serviceName(`service-${i}`));
  const routesOf = (name: string): (typeof spec)['routes'] =>
    Array.from({ length: PREFIXES }, (_, i) => ({
      ...spec.routes[0],
      prefix: i === 0 ? `/api/${name}` : `/api/${name}/v${i}`,
      timeoutMs: 10_000,
      retry: true,
    }));
  const whole: Manifest = {
    ...manifest,
    services: new Map(names.map((name) => [name, { ...spec, name, routes: routesOf(name) }])),
    tenants: new Map(
      Array.from({ length: tenants }, (_, i) => tenantId(tenantName(i))).map((id) => [
        id,
        { ...tenant, id, region: 'eu' },
      ]),
    ),
  };
  const keys = new Map<string, KeyRule[]>();
  for (let i = 0; i < tenants; i += 1) {
    const mac = createHash('sha256').update(String(i)).digest('base64url');
    keys.set(tenantName(i), [{ id: keyName(i), mac, expiresAtMs: undefined }]);
  }
  const replicas = names.flatMap((name, n) =>
    Array.from({ length: REPLICAS }, (_, i): Replica => ({
      id: replicaId(name, i + 1),
      service: name,
      release: releaseId('r-1'),
      role: 'active',
      phase: 'ready',
      weight: 100,
      region: 'any',
      endpoint: { host: '127.0.0.1', port: 20_000 + n * REPLICAS + i },
      createdAtMs: 1,
    })),
  );
  let inputs = { manifest: whole, keys, jwt: [], assertionRoot: 'cm9vdA' };
  return {
    fleet: { ...EMPTY_FLEET, replicas: new Map(replicas.map((r) => [r.id, r])) },
    table: (fleet, version) => buildTable(fleet, version, inputs),
    changeTenant() {
      const changed = new Map([...whole.tenants].map(([id, spec]) => [id, { ...spec }]));
      const quotas = { ...tenant.quotas, burst: tenant.quotas.burst + 1 };
      changed.set(tenantId(tenantName(0)), { ...tenant, id: tenantId(tenantName(0)), quotas });
      inputs = { ...inputs, manifest: { ...whole, tenants: changed } };
    },
  };
}

const tenantName = (i: number): string => `tenant-${i}`;
const keyName = (i: number): string => `k${String(i).padStart(12, '0')}`;

function reweighted(fleet: Fleet, weight: number): Fleet {
  const [first] = fleet.replicas.values();
  if (first === undefined) throw new Error('no replica');
  return { ...fleet, replicas: new Map(fleet.replicas).set(first.id, { ...first, weight }) };
}

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000; i += 1) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('the worker did not come');
}

/** The worker, which measures each table that comes and answers questions about the last one. */
async function runWorker(folder: string, socketPath: string): Promise<void> {
  const started = { atMs: -1, bytes: 0, cpu: process.cpuUsage() };
  let version = 0;
  let pauses = watchLoop();
  pauses.end();
  const wire: { worker?: Awaited<ReturnType<typeof startWorker>> } = {};
  const look = (socket: Socket): void => {
    const now = wire.worker?.proxy.version ?? 0;
    if (now === version) {
      setImmediate(look, socket);
      return;
    }
    const { user, system } = process.cpuUsage(started.cpu);
    const applyMs = performance.now() - started.atMs;
    const bytes = socket.bytesRead - started.bytes;
    const cpuMs = (user + system) / 1_000;
    version = now;
    started.atMs = -1;
    started.bytes = socket.bytesRead;
    // What it puts off until afterwards (the file, old objects) may stop it as well.
    const afterMs = version === 1 ? AFTER_MS : 0;
    const { busyCpuMs } = pauses.soFar();
    setTimeout(() => {
      const figures = { version, applyMs, ...pauses.end(), busyCpuMs, cpuMs, bytes };
      process.send?.(figures satisfies ApplyFigures);
    }, afterMs);
  };
  subscribe('net.client.socket', (message) => {
    const { socket } = message as { readonly socket: Socket };
    socket.prependListener('data', () => {
      if (started.atMs >= 0) return;
      started.atMs = performance.now();
      started.cpu = process.cpuUsage();
      pauses = watchLoop();
      setImmediate(look, socket);
    });
  });
  process.on('message', () => {
    process.send?.(measureLookUps(folder));
  });
  const settings = { host: '127.0.0.1', port: 0, socketPath, stateFolder: folder, workers: 1 };
  wire.worker = await startWorker({ ...settings, worker: 'bench' }, say);
}

function measureLookUps(folder: string): LookUpFigures {
  const startMs = performance.now();
  const loaded = loadTable(folder, 'bench');
  const loadMs = performance.now() - startMs;
  if (loaded.kind !== 'loaded') throw new Error(`no saved table: ${loaded.kind}`);
  const { routes } = tableOfParts(loaded.saved.table, loaded.saved.pepper);
  // Rows are read at their first look-up; what reads them has been compiled in other rows before.
  const other = loadTable(folder, 'bench');
  if (other.kind !== 'loaded') throw new Error(`no saved table: ${other.kind}`);
  lookUpAll(tableOfParts(other.saved.table, other.saved.pepper).routes);
  const first = lookUpAll(routes);
  for (let i = 0; i < 3; i += 1) lookUpAll(routes);
  const again = lookUpAll(routes);
  return { first, again, loadMs, rssMb: process.memoryUsage().rss / 1_048_576 };
}

function lookUpAll(routes: Routes): LookUps {
  const ids = Array.from({ length: routes.tenants.size }, (_, i) => tenantName(i));
  const keys = Array.from({ length: routes.keys.size }, (_, i) => keyName(i));
  const paths = routes.entries.map(({ route }) => `${route.prefix}/items/4711`);
  return {
    tenantNs: meanNs(ids, (id) => routes.tenant(id)),
    keyNs: meanNs(keys, (id) => routes.key(id)),
    // There are so few that one interruption would be all that is seen.
    entryNs: meanNs(Array.from({ length: ENTRY_ROUNDS }, () => paths).flat(), (path) =>
      routes.findEntry(path),
    ),
  };
}

function meanNs(names: readonly string[], find: (name: string) => unknown): number {
  let missing = 0;
  const startMs = performance.now();
  for (const name of names) if (find(name) === undefined) missing += 1;
  const tookMs = performance.now() - startMs;
  if (missing > 0) throw new Error(`${missing} of ${names.length} were not found`);
  return (tookMs * 1e6) / names.length;
}

function say(text: string, facts?: unknown): void {
  const more = facts === undefined ? '' : ` ${JSON.stringify(facts)}`;
  process.stderr.write(`table: ${text}${more}\n`);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      worker: { type: 'boolean', default: false },
      tenants: { type: 'string', default: '100000' },
      services: { type: 'string', default: '200' },
      core: { type: 'string' },
    },
  });
  if (values.worker) {
    await runWorker(process.env['TABLE_FOLDER'] ?? '', process.env['TABLE_SOCKET'] ?? '');
  } else {
    const { tenants, services, core } = values;
    const pinned = core === undefined ? {} : { core: Number(core) };
    const options = { tenants: Number(tenants), services: Number(services), ...pinned };
    process.stdout.write(`${JSON.stringify(await measureTable(options), undefined, 2)}\n`);
  }
}
