// How does a controller live? It opens its world, takes the lead, adopts what runs, and keeps the
// loop and the API going until it is told to stop. Replicas and gateways outlive it (P6, P7).
//
//   CT1. Whatever cannot be opened gives one clear error in `failed.json`, and exit code 78 or 69.
//   CT2. SIGTERM ends the controller alone: nothing that serves is touched.
import { createHash } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { canonicalJson } from '@kintsugi/ledger';
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
import type { Fleet } from '../model/fleet.ts';
import type { Incident } from '../model/incident.ts';
import type { Run } from '../model/run.ts';
import { startOf } from '../world/real/identity.ts';
import { aboveTheKnown, adopt, keepLease, takeLease } from './boot.ts';
import type { Adoption, Lease } from './boot.ts';
import { settle } from './desired.ts';
import type { Settled } from './desired.ts';
import { firstKeys, openKeyRing, ownSecrets } from './keys.ts';
import type { KeyRing, OwnSecrets } from './keys.ts';
import { buildOrder } from './order.ts';
import { servicePorts } from './ports-of-services.ts';
import { evidenceApi } from './evidence-port.ts';
import { controlPort } from './port.ts';
import { buildTable } from './table.ts';
import { knownJwt, loadJwt } from './jwt.ts';
import { observeRule } from './observe.ts';
import { announceNew, beginChanges, overrides } from './changes.ts';
import { startChores, tellOutage } from './chores.ts';
import { openWorld } from './open-world.ts';
import { VERSION } from './parts.ts';
import type { Controller, Settings } from './parts.ts';
import type { OpenedWorld } from './open-world.ts';

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
  const { opened, settings, stateDir } = parts;
  const { world, log } = opened;
  const { clock } = world;
  const recalled = await recall(parts);
  const { lease, adoption, settled } = recalled;
  const keys = await openKeyRing({
    store: world.store,
    clock,
    epoch: lease.epoch,
    pepper: parts.own.pepper,
    env: settings.manifest.name,
    manifest: () => settings.manifest,
  });
  const loop = wire(parts, recalled, keys);
  for (const ended of adoption.report.ended) {
    const atMs = clock.monotonicMs();
    loop.state.inbox.put({ kind: 'exited', atMs, replica: ended.id, exit: ended.exit });
  }
  const keyed = await firstKeys(keys, settings.manifest, stateDir);
  const controller: Controller = {
    ...parts,
    configure: (now) => opened.configure(now),
    world,
    log,
    evidence: opened.evidence,
    anchors: opened.anchors,
    edge: opened.edge,
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
  await tellOutage(controller);
  announceNew(controller, settled, keyed);
  beginChanges(controller, settled);
  return controller;
}

/** What is known when the lead is taken: the book, what runs, what was open, what is wanted. */
interface Recalled {
  readonly lease: Lease;
  readonly adoption: Adoption;
  readonly settled: Settled;
  readonly fleet: Fleet;
  readonly runs: readonly Run[];
  readonly incidents: readonly Incident[];
}

async function recall(parts: Parts): Promise<Recalled> {
  const { opened, settings, stop, stateDir } = parts;
  const { store, clock, runtime, log } = opened.world;
  const lease = await takeLease(store, clock, log, stop.signal);
  const { epoch } = lease;
  const [book, runs, incidents] = await Promise.all([
    store.fleet(),
    store.openRuns(),
    store.openIncidents(),
  ]);
  const adoption = await adopt(book, runs, runtime);
  if (adoption.gone.length > 0) await store.changeFleet({ replicas: adoption.gone }, epoch);
  settings.ports = await servicePorts(settings.manifest, store, epoch);
  opened.configure(settings);
  settings.jwt = await loadJwt(settings.manifest, log, knownJwt(await store.setting('jwks')));
  await store.putSetting('jwks', settings.jwt, epoch);
  const settled = await settle(settings.manifest, adoption.fleet, await store.setting('sources'), {
    root: join(stateDir, 'releases'),
    clock,
  });
  const services =
    book.services.size > 0
      ? settled.change.services
      : aboveTheKnown(settled.change.services ?? [], runtime);
  await store.changeFleet({ ...settled.change, services: services ?? [] }, epoch);
  const fleet = { ...(await store.fleet()), replicas: adoption.fleet.replicas };
  return { lease, adoption, settled, fleet, runs, incidents };
}

function wire(parts: Parts, recalled: Recalled, keys: KeyRing): Loop {
  const { opened, settings, own, stateDir, env } = parts;
  const { fleet, incidents, runs, lease } = recalled;
  return createLoop({
    world: opened.world,
    epoch: lease.epoch,
    fleet,
    incidents,
    runs,
    manifest: () => settings.manifest,
    table: (now, version) => ({
      ...buildTable(now, version, {
        manifest: settings.manifest,
        keys: keys.rules(),
        jwt: settings.jwt,
        down: settings.down,
        assertionRoot: own.assertionRoot,
      }),
      observe: observeRule(settings.manifest, { ...settings, env, stateDir }),
    }),
    order: async (replica, release) =>
      buildOrder(replica, release, {
        ...settings,
        env,
        stateDir,
        nodeDir: dirname(process.execPath),
        instance: own.instance,
        socket: parts.start.socket,
        assertionRoot: own.assertionRoot,
      }),
    digest: (essence) => createHash('sha256').update(canonicalJson(essence)).digest('hex'),
    crashPoint: crashPointFrom(env['KINTSUGI_TEST_CRASH_AT']),
    lookEveryMs: 250,
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
      evidence: await evidenceApi(controller),
    });
    const { gateway } = settings.manifest;
    const scheme = gateway.tls === undefined ? 'http' : 'https';
    writeRunFile(stateDir, {
      v: 1,
      controlUrl: api.url,
      gatewayUrl: `${scheme}://${gateway.host}:${gateway.port}`,
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
