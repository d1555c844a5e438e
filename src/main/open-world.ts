// Which concrete parts make the real World? Store, ledger, processes, gateways, probes, controls,
// all opened side by side, and closed in the reverse order.
import { join } from 'node:path';
import type { EvidenceLog, HighWater, Ledger as Log } from '@kintsugi/ledger';
import { openHub } from '../drivers/gateways/hub.ts';
import { openControls } from '../drivers/postgres/controls.ts';
import { openProbes } from '../drivers/probes/probes.ts';
import { openProcessRuntime } from '../drivers/process/process-runtime.ts';
import { EdgeBook } from '../api/edge-book.ts';
import { makeOwnFolder, statePaths } from '../api/state-folder.ts';
import type { StartFile } from '../api/state-folder.ts';
import { resolveAnchors, resolveText } from '../manifest/index.ts';
import type { Manifest } from '../model/manifest.ts';
import { openStore } from '../store/open.ts';
import type { Store } from '../world/store.ts';
import { openClock } from '../world/real/clock.ts';
import { openIds } from '../world/real/ids.ts';
import { openLog } from '../world/real/log.ts';
import { openRandom } from '../world/real/random.ts';
import type { World } from '../world/world.ts';
import type { Settings } from './parts.ts';
import type { OwnSecrets } from './keys.ts';
import { openAnchors } from './anchors.ts';
import { tenantsNamed } from './observe.ts';
import type { Anchors, AnchorsWorld } from './anchors.ts';
import { openLedgerIn, originOf } from './ledger.ts';
import type { OpenedLedger } from './ledger.ts';

export interface OpenedWorld {
  readonly world: World;
  readonly log: Log;
  readonly evidence: EvidenceLog;
  readonly anchors: Anchors;
  /** What the gateways counted. */
  readonly edge: EdgeBook;
  /** Probes and controls follow the settings (ports, secrets, dependencies). */
  configure(settings: Settings): void;
  close(): Promise<void>;
}

export interface WorldInputs {
  readonly stateDir: string;
  readonly start: StartFile;
  readonly own: OwnSecrets;
  readonly settings: Settings;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Ports of replicas: below the ephemeral range, so that clients never take one by chance. */
const PORTS = { from: 20_000, to: 32_000 } as const;

export async function openWorld(inputs: WorldInputs): Promise<OpenedWorld> {
  const { stateDir, start, own, env } = inputs;
  const log = openLog({ level: 'info' });
  const clock = openClock();
  const store = await openStore({
    dir: join(stateDir, 'store'),
    log,
    url: env['KINTSUGI_STORE_URL'],
  });
  const random = openRandom();
  const { anchors, opened } = await openRecords(inputs, store, { clock, random, log });
  const { ledger, log: record } = opened;
  const runtime = await openProcessRuntime({
    dir: join(stateDir, 'runtime'),
    instance: own.instance,
    portRange: PORTS,
    log,
    clock,
  });
  const gateways = await openHub({
    socketPath: start.socket,
    pepper: own.pepper,
    log,
    monotonicMs: () => clock.monotonicMs(),
  });
  const edge = new EdgeBook(() => clock.monotonicMs(), tenantsNamed(inputs.settings.manifest));
  gateways.onSignal((signal) => edge.put(signal));
  const probes = openProbes();
  const controls = openControls({ log });
  const world: World = {
    clock,
    random,
    ids: openIds(clock),
    log,
    runtime,
    store,
    gateways,
    ledger,
    probes,
    controls,
  };
  return {
    world,
    log: record,
    evidence: opened.evidence,
    anchors,
    edge,
    configure(settings) {
      const urls = dependencyUrls(settings, stateDir, env);
      probes.configure(urls.probes);
      controls.configure(settings.manifest.compliance.checks, (name) => urls.controls.get(name), [
        ...settings.manifest.tenants.keys(),
      ]);
    },
    async close() {
      await gateways.close();
      await runtime.close();
      await probes.close();
      await controls.close();
      await ledger.close();
      await anchors.close();
      await store.close();
      log.close();
    },
  };
}

/** The ledger and the anchors of its heads: each tells the other, and both or none are open. */
async function openRecords(
  { stateDir, env, settings }: WorldInputs,
  store: Store,
  world: AnchorsWorld,
): Promise<{ readonly anchors: Anchors; readonly opened: OpenedLedger }> {
  const { ledger: dir } = statePaths(stateDir);
  const kept = readHighWater(await store.setting('ledger.high-water'));
  const { manifest, secrets, ports } = settings;
  makeOwnFolder(dir);
  const open: { ledger?: OpenedLedger } = {};
  const anchors = await openAnchors(
    dir,
    originOf(manifest.name),
    manifest.ledger,
    resolveAnchors(manifest.ledger, { name: manifest.name }, { env, secrets, ports, stateDir }),
    world,
    (size) => open.ledger?.evidence.publisher.anchored(size),
  );
  try {
    open.ledger = await openLedgerIn(dir, manifest.name, larger(kept, anchors.highWater), {
      databaseUrl: env['KINTSUGI_LEDGER_URL'],
      publishEveryMs: manifest.ledger.publishEveryMs,
      witnesses: manifest.ledger.witnesses,
      troubles: () => anchors.troubles(),
      onPublished: (checkpoint) => anchors.offer(checkpoint),
      onFatal: ({ message }) => world.log.error('the ledger takes nothing more', { message }),
    });
    return { anchors, opened: open.ledger };
  } catch (error) {
    await anchors.close();
    throw error;
  }
}

function larger(a: HighWater | undefined, b: HighWater | undefined): HighWater | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a.size >= b.size ? a : b;
}

function readHighWater(value: unknown): { size: number; root: string } | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { size, root } = value as Readonly<Record<string, unknown>>;
  return typeof size === 'number' && typeof root === 'string' && size > 0
    ? { size, root }
    : undefined;
}

interface Urls {
  readonly probes: ReadonlyMap<
    string,
    {
      readonly kind: 'postgres' | 'tcp';
      readonly url: string;
    }
  >;
  readonly controls: ReadonlyMap<
    string,
    {
      readonly appUrl: string;
      readonly adminUrl: string | undefined;
    }
  >;
}

function dependencyUrls(settings: Settings, stateDir: string, env: WorldInputs['env']): Urls {
  const { manifest, secrets, ports } = settings;
  const resolve = (text: string): string =>
    resolveText(text, { name: manifest.name }, { env, secrets, ports, stateDir });
  const probes = new Map<string, { kind: 'postgres' | 'tcp'; url: string }>();
  const controls = new Map<string, { appUrl: string; adminUrl: string | undefined }>();
  for (const spec of dependenciesOf(manifest)) {
    const url = resolve(spec.url);
    probes.set(spec.name, { kind: spec.kind, url });
    const adminUrl = spec.adminUrl === undefined ? undefined : resolve(spec.adminUrl);
    controls.set(spec.name, { appUrl: url, adminUrl });
  }
  return { probes, controls };
}

function dependenciesOf(
  manifest: Manifest,
): Manifest['dependencies'] extends ReadonlyMap<unknown, infer V> ? readonly V[] : never {
  return [...manifest.dependencies.values()];
}
