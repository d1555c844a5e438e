// How does a controller live? It opens its world, takes the lead, adopts what runs, and keeps the
// loop and the API going until it is told to stop. Replicas and gateways outlive it (P6, P7).
//
//   CT1. Whatever cannot be opened gives one clear error in `failed.json`, and exit code 78 or 69.
//   CT2. SIGTERM ends the controller alone: nothing that serves is touched.
import { createHash } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { canonicalJson } from '@kintsugi/ledger';
import type { Ledger as Log } from '@kintsugi/ledger';
import { startControlApi } from '../api/server.ts';
import type { ControlApi } from '../api/server.ts';
import { readStartFile, statePaths, writeRunFile } from '../api/state-folder.ts';
import type { StartFile } from '../api/state-folder.ts';
import { ensureOperatorToken } from '../api/token.ts';
import { createLoop } from '../loop/loop.ts';
import type { Loop } from '../loop/loop.ts';
import { loadManifest } from '../manifest/index.ts';
import { loadSecrets } from '../manifest/secrets.ts';
import { KinError, messageOf } from '../model/errors.ts';
import type { Manifest } from '../model/manifest.ts';
import { startOf } from '../world/real/identity.ts';
import type { World } from '../world/world.ts';
import { adopt, keepLease, takeLease } from './boot.ts';
import type { Lease } from './boot.ts';
import { settle } from './desired.ts';
import type { Settled } from './desired.ts';
import { firstKeys, openKeyRing, ownSecrets } from './keys.ts';
import type { KeyRing, OwnSecrets } from './keys.ts';
import { buildOrder } from './order.ts';
import { servicePorts } from './ports-of-services.ts';
import { controlPort } from './port.ts';
import { buildTable } from './table.ts';
import { loadJwt } from './jwt.ts';
import type { JwtRule } from '../model/routing.ts';
import { openWorld } from './open-world.ts';
import type { OpenedWorld } from './open-world.ts';

export const VERSION = '0.1.0';

/** Everything of a running controller that the API's port works with. */
export interface Controller {
  readonly stateDir: string;
  readonly start: StartFile;
  readonly own: OwnSecrets;
  readonly world: World;
  readonly opened: OpenedWorld;
  readonly log: Log;
  readonly lease: Lease;
  readonly loop: Loop;
  readonly keys: KeyRing;
  readonly startedAtMs: number;
  /** Swapped whole when a manifest is applied. */
  readonly settings: Settings;
  readonly env: Readonly<Record<string, string | undefined>>;
  stopping: boolean;
  /** While everything is being stopped: the end of the controller waits for it. */
  ending: Promise<void> | undefined;
  /** Share of one core over the last chore interval. */
  cpu: number | undefined;
  /** Whether everything stood once since the start: before that it is "starting". */
  readonly wasHealthy: { value: boolean };
  readonly stop: AbortController;
}

/** What a manifest brings with it; read anew at every use. */
export interface Settings {
  manifest: Manifest;
  secrets: ReadonlyMap<string, string>;
  ports: ReadonlyMap<string, number>;
  jwt: readonly JwtRule[];
}

export async function runController(stateDir: string, signal: AbortSignal): Promise<void> {
  const env = process.env;
  const start = readStartFile(stateDir);
  if (start === undefined) {
    throw new KinError(
      'KIN_STATE_FILE_INVALID',
      `${statePaths(stateDir).start} is missing`,
      'Start with `kintsugi up MANIFEST`: it writes that file.',
    );
  }
  letServicesThrough(stateDir);
  const { manifest } = await loadManifest(start.manifest, { env, overrides: overrides(start) });
  const stop = new AbortController();
  signal.addEventListener('abort', () => stop.abort(), { once: true });
  const own = ownSecrets(stateDir);
  const settings: Settings = { manifest, secrets: new Map(), ports: new Map(), jwt: [] };
  settings.secrets = await loadSecrets(manifest, stateDir, env);
  const opened = await openWorld({ stateDir, start, own, settings, env });
  try {
    const controller = await assemble({ stateDir, start, own, settings, env, opened, stop });
    await serve(controller);
  } finally {
    await opened.close();
  }
}

/**
 * Started by root, a service may drop to another user (PostgreSQL insists on it) and must still
 * reach its data below the state folder: through, not in. What is in there is 0600 or 0700.
 */
function letServicesThrough(stateDir: string): void {
  if (process.getuid?.() === 0) chmodSync(stateDir, 0o711);
}

export function overrides(start: StartFile): Record<string, number> {
  return {
    ...(start.gatewayPort === undefined ? {} : { 'gateway.port': start.gatewayPort }),
    ...(start.controlPort === undefined ? {} : { 'control.port': start.controlPort }),
  };
}

interface Parts {
  readonly stateDir: string;
  readonly start: StartFile;
  readonly own: OwnSecrets;
  readonly settings: Settings;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly opened: OpenedWorld;
  readonly stop: AbortController;
}

async function assemble(parts: Parts): Promise<Controller> {
  const { opened, settings, stop, own, stateDir } = parts;
  const { world, log } = opened;
  const { store, clock } = world;
  const lease = await takeLease(store, clock, world.log, stop.signal);
  const { epoch } = lease;
  const [book, runs, incidents] = await Promise.all([
    store.fleet(),
    store.openRuns(),
    store.openIncidents(),
  ]);
  const adoption = await adopt(book, runs, world.runtime);
  if (adoption.gone.length > 0) await store.changeFleet({ replicas: adoption.gone }, epoch);
  settings.ports = await servicePorts(settings.manifest, store, epoch);
  opened.configure(settings);
  settings.jwt = await loadJwt(settings.manifest, world.log);
  const settled = await settle(settings.manifest, adoption.fleet, await store.setting('sources'), {
    root: join(stateDir, 'releases'),
    clock,
  });
  await store.changeFleet(settled.change, epoch);
  const fleet = { ...(await store.fleet()), replicas: adoption.fleet.replicas };
  const keys = await openKeyRing({
    store,
    clock,
    epoch,
    pepper: own.pepper,
    env: settings.manifest.name,
    manifest: () => settings.manifest,
  });
  const loop = createLoop({
    world,
    epoch,
    fleet,
    incidents,
    runs,
    manifest: () => settings.manifest,
    table: (now, version) =>
      buildTable(now, version, {
        manifest: settings.manifest,
        keys: keys.rules(),
        jwt: settings.jwt,
        assertionRoot: own.assertionRoot,
      }),
    order: async (replica, release) =>
      buildOrder(replica, release, {
        ...settings,
        env: parts.env,
        stateDir,
        nodeDir: dirname(process.execPath),
        instance: own.instance,
        socket: parts.start.socket,
        assertionRoot: own.assertionRoot,
      }),
    digest: (essence) => createHash('sha256').update(canonicalJson(essence)).digest('hex'),
    crashPoint: crashPointFrom(parts.env['KINTSUGI_TEST_CRASH_AT']),
    lookEveryMs: 250,
  });
  for (const ended of adoption.report.ended) {
    const atMs = clock.monotonicMs();
    loop.state.inbox.put({ kind: 'exited', atMs, replica: ended.id, exit: ended.exit });
  }
  const keyed = await firstKeys(keys, settings.manifest, stateDir);
  const controller: Controller = {
    ...parts,
    world,
    log,
    lease,
    loop,
    keys,
    startedAtMs: clock.nowMs(),
    stopping: false,
    ending: undefined,
    cpu: undefined,
    wasHealthy: { value: adoption.report.adopted.length > 0 },
  };
  announce(controller, adoption.report);
  announceNew(controller, settled, keyed);
  beginChanges(controller, settled);
  return controller;
}

/** Rollouts of changed sources and removals, as changes of the manifest's author. */
export function beginChanges(controller: Controller, settled: Settled): void {
  const { loop, world, lease } = controller;
  for (const { service, release } of settled.rollouts) {
    loop.change({ kind: 'deploy', service, release: release.id }, 'manifest');
  }
  for (const service of settled.leavers) loop.change({ kind: 'remove', service }, 'manifest');
  world.store.putSetting('sources', settled.sources, lease.epoch).catch((error: unknown) => {
    world.log.error('sources not remembered', { error: messageOf(error) });
  });
}

function announce(
  controller: Controller,
  report: Awaited<ReturnType<typeof adopt>>['report'],
): void {
  const { adopted, ended, reaped } = report;
  const text =
    adopted.length + ended.length === 0
      ? 'the controller started'
      : `the controller started: ${adopted.length} replicas adopted, ${ended.length} had ended`;
  controller.loop.state.recorder.tell({
    entry: 'controller.started',
    kind: 'controller.started',
    text,
    data: {
      epoch: controller.lease.epoch,
      pid: process.pid,
      version: VERSION,
      adopted: adopted.map((r) => ({ id: r.id, pid: r.pid })),
      ended,
      reaped,
    },
  });
}

/** What this start made: releases of new sources, and the first keys of tenants. */
function announceNew(controller: Controller, settled: Settled, keyed: readonly string[]): void {
  const { recorder } = controller.loop.state;
  for (const { id, service, digest } of settled.change.releases ?? []) {
    recorder.tell({
      entry: 'release.created',
      kind: 'release.created',
      service,
      text: `${service}: release ${id} from ${digest}`,
      data: { release: id, digest, actor: 'manifest' },
    });
  }
  for (const tenant of keyed) {
    recorder.tell({
      entry: 'tenant.key-created',
      kind: 'tenant.key-created',
      text: `${tenant}: its first key`,
      data: { tenant, actor: 'manifest' },
    });
  }
}

/** For tests only: dies at the named point, like a power cut would. */
function crashPointFrom(wanted: string | undefined): (name: string) => Promise<void> {
  if (wanted === undefined || wanted === '') return async () => undefined;
  return async (name) => {
    if (name === wanted) process.kill(process.pid, 'SIGKILL');
  };
}

async function serve(controller: Controller): Promise<void> {
  const { world, loop, stop, settings, stateDir, lease, own, start } = controller;
  const onStop = (): void => loop.stop();
  stop.signal.addEventListener('abort', onStop, { once: true });
  const failures: unknown[] = [];
  const ended = loop.run().catch((error: unknown) => {
    failures.push(error);
    stop.abort();
  });
  // The first table of this epoch, so that gateways hear of keys and limits at once.
  void loop.state.book.publish();
  void keepLease(world.store, lease, world.clock, stop.signal, (by) => {
    failures.push(new KinError('KIN_STORE_FENCED', `lost the lead to ${by}`, 'Nothing to do.'));
    stop.abort();
  }).catch((error: unknown) => world.log.error('lease', { error: messageOf(error) }));
  const chores = startChores(controller);
  let api: ControlApi | undefined;
  try {
    const { host, port } = settings.manifest.control;
    api = await startControlApi({
      control: controlPort(controller),
      token: ensureOperatorToken(stateDir),
      host,
      port,
      version: VERSION,
      clock: world.clock,
      ids: world.ids,
      log: world.log,
    });
    const { gateway } = settings.manifest;
    writeRunFile(stateDir, {
      v: 1,
      controlUrl: api.url,
      gatewayUrl: `http://${gateway.host}:${gateway.port}`,
      instance: own.instance,
      pid: process.pid,
      pidStart: startOf(process.pid),
      startedAtMs: controller.startedAtMs,
      manifest: start.manifest,
    });
    await ended;
  } finally {
    await controller.ending;
    stop.abort();
    await api?.close();
    await loop.state.recorder.settled();
    await chores.end();
    await world.store.release(lease.owner).catch(() => undefined);
  }
  if (failures.length > 0) throw failures[0];
}

const CHORES = { highWaterMs: 2_000, tidyMs: 300_000 } as const;

interface Chores {
  /** Stops them; the last entries are in the mark when it resolves. */
  end(): Promise<void>;
}

/** The high-water mark of the ledger, kept outside of it, and the store's housekeeping. */
function startChores(controller: Controller): Chores {
  const { world, log, lease } = controller;
  let lastSize = -1;
  const remember = async (): Promise<void> => {
    if (log.size === lastSize) return;
    const { size, root } = log.checkpoint();
    try {
      await world.store.putSetting('ledger.high-water', { size, root }, lease.epoch);
      lastSize = size;
    } catch (error) {
      world.log.warn('high-water', { error: messageOf(error) });
    }
  };
  let usage = process.cpuUsage();
  const mark = setInterval(() => {
    const { user, system } = process.cpuUsage(usage);
    usage = process.cpuUsage();
    controller.cpu = (user + system) / (CHORES.highWaterMs * 1_000);
    void remember();
  }, CHORES.highWaterMs);
  const tidy = setInterval(() => {
    world.store
      .tidy(world.clock.nowMs(), lease.epoch)
      .catch((error: unknown) => world.log.warn('tidy', { error: messageOf(error) }));
  }, CHORES.tidyMs);
  return {
    async end() {
      clearInterval(mark);
      clearInterval(tidy);
      // Without this, a ledger folder of before the last seconds would pass for the present one.
      await remember();
    },
  };
}
