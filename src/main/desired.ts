// How does the manifest become the book? Each service gets its release (its source folder copied,
// content-addressed) and its row; what is already there and the same stays as it is.
//
//   DS1. The same source, command and environment give the same release id, on every start.
//   DS2. A service that runs is never switched to another release here: that is a rollout's job.
//   DS3. What was deployed stays over restarts: only a source that changed since it was last read
//        makes the manifest's release the wanted one again.
import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { createRelease } from '../drivers/releases/releases.ts';
import type { Fleet, ServiceBook } from '../model/fleet.ts';
import { replicasOf } from '../model/fleet.ts';
import { releaseId } from '../model/ids.ts';
import type { ServiceName } from '../model/ids.ts';
import type { Manifest, ServiceSpec } from '../model/manifest.ts';
import type { Release } from '../model/release.ts';
import type { Clock } from '../world/clock.ts';
import type { FleetChange } from '../world/store.ts';

export interface ReleaseInputs {
  readonly root: string;
  readonly clock: Pick<Clock, 'nowMs'>;
}

/** Copies `source` (absolute) into a release of this service. */
export async function makeRelease(
  spec: ServiceSpec,
  source: string,
  inputs: ReleaseInputs,
): Promise<Release> {
  const artefact = await createRelease({
    source,
    root: inputs.root,
    service: spec.name,
    command: spec.command,
    clock: inputs.clock,
  });
  const env = Object.fromEntries([...spec.env].sort(([a], [b]) => (a < b ? -1 : 1)));
  const identity = JSON.stringify([1, artefact.digest, spec.command, spec.cwd, env]);
  const mark = createHash('sha256').update(identity).digest('hex').slice(0, 12);
  return {
    id: releaseId(`r-${mark}`),
    service: spec.name,
    digest: artefact.digest,
    dir: artefact.dir,
    command: spec.command,
    cwd: spec.cwd,
    env,
    createdAtMs: inputs.clock.nowMs(),
    schema: artefact.schema,
    verdict: { kind: 'new' },
  };
}

export interface Settled {
  readonly change: FleetChange;
  /** Services that run on another release than the manifest's source gives: to be rolled out. */
  readonly rollouts: readonly { readonly service: ServiceName; readonly release: Release }[];
  /** The release that each service's source gives now, to be remembered for DS3. */
  readonly sources: Readonly<Record<string, string>>;
  /** Services that run and are no longer wanted. */
  readonly leavers: readonly ServiceName[];
}

export async function settle(
  manifest: Manifest,
  fleet: Fleet,
  lastSources: unknown,
  inputs: ReleaseInputs,
): Promise<Settled> {
  const sources: Record<string, string> = {};
  const services: ServiceBook[] = [];
  const releases: Release[] = [];
  const rollouts: { readonly service: ServiceName; readonly release: Release }[] = [];
  for (const spec of manifest.services.values()) {
    const release = await makeRelease(spec, resolve(manifest.baseDir, spec.source), inputs);
    const known = fleet.releases.get(release.id);
    if (known === undefined || known.dir !== release.dir) {
      releases.push(known === undefined ? release : { ...release, verdict: known.verdict });
    }
    sources[spec.name] = release.id;
    const before = fleet.services.get(spec.name);
    const running = replicasOf(fleet, spec.name).length > 0;
    const unchanged = sourceOf(lastSources, spec.name) === release.id;
    if (before !== undefined && (unchanged || before.release === release.id)) {
      services.push(resized(before, spec));
    } else if (before !== undefined && running) {
      rollouts.push({ service: spec.name, release });
      services.push(resized(before, spec));
    } else {
      services.push(freshBook(before, spec, release));
    }
  }
  const leavers = [...fleet.services.keys()].filter((name) => !manifest.services.has(name));
  return { change: { services, releases }, rollouts, sources, leavers };
}

function sourceOf(lastSources: unknown, service: string): unknown {
  if (typeof lastSources !== 'object' || lastSources === null) return undefined;
  return (lastSources as Readonly<Record<string, unknown>>)[service];
}

function freshBook(
  before: ServiceBook | undefined,
  spec: ServiceSpec,
  release: Release,
): ServiceBook {
  if (before === undefined) {
    return {
      name: spec.name,
      replicas: spec.replicas.min,
      release: release.id,
      previous: undefined,
      releasedAtMs: undefined,
      nextOrdinal: 1,
      paused: false,
    };
  }
  return { ...resized(before, spec), release: release.id };
}

/** What an operator scaled to stands as long as the manifest's range allows it. */
function resized(before: ServiceBook, spec: ServiceSpec): ServiceBook {
  const replicas = Math.min(spec.replicas.max, Math.max(spec.replicas.min, before.replicas));
  return replicas === before.replicas ? before : { ...before, replicas };
}
