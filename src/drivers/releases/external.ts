// Where does a release find the packages that lie outside of it? Node looks for `node_modules` in
// every folder from the file's real place upwards. A service in a larger repository finds its
// packages above itself; its copy must find the same ones.
//
//   RL3. A release resolves to the same folder of packages as its source did: by the ordinary
//        lookup where it lies below it, else by a link beside the release.
//   RL4. What lies outside is not part of the digest, and the release says so.
import { createHash } from 'node:crypto';
import { readFile, readlink, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export type External =
  | { readonly kind: 'none' }
  | {
      /** `inherited`: found by the ordinary lookup; `linked`: through a link beside the release. */
      readonly kind: 'inherited' | 'linked';
      readonly folder: string;
      /** `sha256:…` of the lockfile beside the folder, if there is one. */
      readonly lockfileDigest: string | undefined;
    };

const LOCKFILES = ['package-lock.json', 'npm-shrinkwrap.json', 'pnpm-lock.yaml', 'yarn.lock'];
const LEVELS_MAX = 64;
const LOCKFILE_MAX_BYTES = 64 * 1024 * 1024;

/** `container`: the folder that will hold the release's `files` folder. Changes nothing. */
export async function findExternal(source: string, container: string): Promise<External> {
  const wanted = await nearestAbove(dirname(source));
  if (wanted === undefined) return { kind: 'none' };
  const found = await nearestAbove(dirname(container));
  const lockfileDigest = await lockfileBeside(wanted);
  return { kind: found === wanted ? 'inherited' : 'linked', folder: wanted, lockfileDigest };
}

/** Makes the link agree with `external`, in one step, so that running releases never miss it. */
export async function placeExternal(container: string, external: External): Promise<void> {
  const link = join(container, 'node_modules');
  if (external.kind !== 'linked') return rm(link, { force: true });
  if ((await readlink(link).catch(() => undefined)) === external.folder) return undefined;
  const temporary = `${link}.${process.pid}`;
  await rm(temporary, { force: true });
  await symlink(external.folder, temporary);
  return rename(temporary, link);
}

export function externalText(external: External): string {
  if (external.kind === 'none') return 'complete in itself';
  const how = external.kind === 'linked' ? 'linked from' : 'found in';
  const lock = external.lockfileDigest ?? 'no lockfile';
  const where = `${how} ${external.folder} (${lock})`;
  return `packages outside the release: ${where}, not covered by its digest`;
}

async function nearestAbove(folder: string): Promise<string | undefined> {
  let at = folder;
  for (let level = 0; level < LEVELS_MAX; level += 1) {
    const candidate = join(at, 'node_modules');
    const facts = await stat(candidate).catch(() => undefined);
    if (facts?.isDirectory() === true) return candidate;
    if (dirname(at) === at) return undefined;
    at = dirname(at);
  }
  return undefined;
}

async function lockfileBeside(folder: string): Promise<string | undefined> {
  for (const name of LOCKFILES) {
    const path = join(dirname(folder), name);
    const facts = await stat(path).catch(() => undefined);
    if (facts?.isFile() !== true || facts.size > LOCKFILE_MAX_BYTES) continue;
    return `sha256:${createHash('sha256')
      .update(await readFile(path))
      .digest('hex')}`;
  }
  return undefined;
}
