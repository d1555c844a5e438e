// How does a changed manifest take hold on a running system? What can is swapped at once (tenants,
// limits, healing, checks); changed services are rolled out; removed ones are drained and stopped.
//
//   AM1. A manifest with an error changes nothing.
//   AM2. A dry run answers the same list and does nothing.
import { join } from 'node:path';
import type { ApplyAnswer, ManifestChange as ChangeView } from '../api/contract.ts';
import type { Actor, ManifestSource } from '../api/port.ts';
import { diffManifest } from '../manifest/diff.ts';
import type { ManifestChange } from '../manifest/diff.ts';
import { loadManifestText, ManifestErrors, problemsText } from '../manifest/index.ts';
import { loadSecrets } from '../manifest/secrets.ts';
import { KinError } from '../model/errors.ts';
import type { Manifest } from '../model/manifest.ts';
import { beginChanges, overrides } from './controller.ts';
import type { Controller } from './controller.ts';
import { settle } from './desired.ts';
import { loadJwt } from './jwt.ts';
import { access } from './port.ts';
import { servicePorts } from './ports-of-services.ts';

export async function applyManifest(
  controller: Controller,
  source: ManifestSource,
  dryRun: boolean,
  actor: Actor,
): Promise<ApplyAnswer> {
  const wanted = await load(controller, source);
  const changes = diffManifest(controller.settings.manifest, wanted).map(changeView);
  if (dryRun || changes.length === 0) return { dryRun, changes };
  await swap(controller, wanted);
  access(controller, 'operator.access', actor, `applied ${changes.length} changes of the manifest`);
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

async function swap(controller: Controller, wanted: Manifest): Promise<void> {
  const { settings, stateDir, world, lease, loop, opened } = controller;
  // Everything that can fail is read first: a half-applied manifest must not exist (AM1).
  const secrets = await loadSecrets(wanted, stateDir, controller.env);
  const ports = await servicePorts(wanted, world.store, lease.epoch);
  const jwt = await loadJwt(wanted, world.log);
  const { book } = loop.state;
  const settled = await settle(wanted, book.fleet(), await world.store.setting('sources'), {
    root: join(stateDir, 'releases'),
    clock: world.clock,
  });
  Object.assign(settings, { manifest: wanted, secrets, ports, jwt });
  opened.configure(settings);
  await book.change(settled.change);
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
    case 'restarts-control':
      return 'takes hold at the next `kintsugi down` and `up`';
  }
}
