// How does a changed manifest take hold on a running system? What can is swapped at once (tenants,
// limits, healing, checks); changed services are rolled out; removed ones are drained and stopped.
//
//   AM1. A manifest with an error changes nothing.
//   AM2. A dry run answers the same list and changes nothing that runs.
//   AM3. A source folder that changed is a change too, though the manifest reads the same.
import { join } from 'node:path';
import type { ApplyAnswer, ManifestChange as ChangeView } from '../api/contract.ts';
import type { Actor, ManifestSource } from '../api/port.ts';
import { diffManifest } from '../manifest/diff.ts';
import type { ManifestChange } from '../manifest/diff.ts';
import { loadManifestText, ManifestErrors, problemsText } from '../manifest/index.ts';
import { loadSecrets } from '../manifest/secrets.ts';
import { KinError } from '../model/errors.ts';
import type { Fleet, ServiceBook } from '../model/fleet.ts';
import type { Manifest } from '../model/manifest.ts';
import { beginChanges, overrides } from './changes.ts';
import type { Controller } from './parts.ts';
import { settle } from './desired.ts';
import type { Settled } from './desired.ts';
import type { JwtRule } from '../model/routing.ts';
import { loadJwt } from './jwt.ts';
import { servicePorts } from './ports-of-services.ts';

/** One at a time: two at once would each work on what the other is changing. */
let applying: Promise<unknown> = Promise.resolve();

export function applyManifest(
  controller: Controller,
  source: ManifestSource,
  dryRun: boolean,
  actor: Actor,
): Promise<ApplyAnswer> {
  const answer = applying.then(() => applyNow(controller, source, dryRun, actor));
  applying = answer.catch(() => undefined);
  return answer;
}

async function applyNow(
  controller: Controller,
  source: ManifestSource,
  dryRun: boolean,
  actor: Actor,
): Promise<ApplyAnswer> {
  const wanted = await load(controller, source);
  const prepared = await prepare(controller, wanted);
  const changes = [
    ...diffManifest(controller.settings.manifest, wanted).map(changeView),
    ...sourceChanges(controller, prepared.settled),
  ];
  if (dryRun || changes.length === 0) return { dryRun, changes };
  await swap(controller, wanted, prepared);
  controller.loop.state.recorder.tell({
    entry: 'manifest.applied',
    kind: 'manifest.applied',
    text: `${actor.name} applied ${changes.length} changes of the manifest`,
    data: { actor: actor.name, changes },
  });
  return { dryRun, changes };
}

async function load(controller: Controller, source: ManifestSource): Promise<Manifest> {
  try {
    const { manifest } = await loadManifestText(source.text, source.path, {
      env: controller.env,
      overrides: overrides(controller.start),
    });
    if (manifest.name === controller.settings.manifest.name) return manifest;
  } catch (error) {
    if (!(error instanceof ManifestErrors)) throw error;
    throw new KinError(
      'KIN_MANIFEST_INVALID',
      problemsText(error.problems),
      'Correct it; `kintsugi validate` shows each place. Nothing was changed.',
    );
  }
  throw new KinError(
    'KIN_MANIFEST_OTHER',
    'this state folder belongs to another manifest',
    'Keep the name, or start the other manifest with its own --state folder.',
  );
}

interface Prepared {
  readonly before: Fleet;
  readonly secrets: ReadonlyMap<string, string>;
  readonly ports: ReadonlyMap<string, number>;
  readonly jwt: readonly JwtRule[];
  readonly settled: Settled;
}

async function prepare(controller: Controller, wanted: Manifest): Promise<Prepared> {
  const { stateDir, world, lease, loop } = controller;
  // Everything that can fail is read first: a half-applied manifest must not exist (AM1).
  const secrets = await loadSecrets(wanted, stateDir, controller.env);
  const ports = await servicePorts(wanted, world.store, lease.epoch);
  const jwt = await loadJwt(wanted, world.log, controller.settings.jwt);
  const fleet = loop.state.book.fleet();
  const settled = await settle(wanted, fleet, await world.store.setting('sources'), {
    root: join(stateDir, 'releases'),
    clock: world.clock,
  });
  return { before: fleet, secrets, ports, jwt, settled };
}

/** AM3. */
function sourceChanges(controller: Controller, settled: Settled): readonly ChangeView[] {
  const { services } = controller.loop.state.book.fleet();
  return settled.rollouts.map(({ service, release }) => ({
    kind: 'change',
    what: 'release',
    name: service,
    detail: `${services.get(service)?.release ?? 'nothing'} → ${release.id}; rolls out`,
  }));
}

/** Only what this manifest changes of a row; the rest is as it is now. */
function onTop(row: ServiceBook, { before }: Prepared, fleet: Fleet): ServiceBook {
  const was = before.services.get(row.name);
  const now = fleet.services.get(row.name);
  if (was === undefined || now === undefined) return row;
  return {
    ...now,
    release: row.release === was.release ? now.release : row.release,
    replicas: row.replicas === was.replicas ? now.replicas : row.replicas,
  };
}

async function swap(controller: Controller, wanted: Manifest, prepared: Prepared): Promise<void> {
  const { settings, loop, configure } = controller;
  const { settled, secrets, ports, jwt } = prepared;
  const { book } = loop.state;
  // The book first: a store that refuses leaves everything as it was (AM1). What was deployed,
  // scaled or paused while the sources were read stands.
  await book.change((fleet) => ({
    ...settled.change,
    services: (settled.change.services ?? []).map((row) => onTop(row, prepared, fleet)),
  }));
  Object.assign(settings, { manifest: wanted, secrets, ports, jwt });
  configure(settings);
  loop.look();
  beginChanges(controller, settled);
  await book.publish();
}

const KINDS = { added: 'add', removed: 'remove', changed: 'change' } as const;

function changeView(change: ManifestChange): ChangeView {
  const field = change.field === '' ? '' : `${change.field}: `;
  const values =
    change.from === undefined && change.to === undefined
      ? ''
      : `${change.from ?? 'nothing'} → ${change.to ?? 'nothing'}; `;
  return {
    kind: KINDS[change.kind],
    what: change.subject,
    name: change.name,
    detail: `${field}${values}${effectText(change.effect)}`,
  };
}

function effectText(effect: ManifestChange['effect']): string {
  switch (effect.kind) {
    case 'live':
      return 'takes hold at once';
    case 'starts':
      return `starts ${effect.replicas} replicas and ${effect.spares} spares`;
    case 'stops':
      return `stops ${effect.replicas} replicas and ${effect.spares} spares`;
    case 'replaces':
      return `rolls out ${effect.replaced.map((r) => r.service).join(', ')}`;
    case 'restarts-gateway':
      return 'gateway workers are replaced one after the other';
    case 'restarts-control':
      return 'takes hold at the next `kintsugi down` and `up`';
  }
}
