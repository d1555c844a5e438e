// How does a folder become a release? It is copied, whole and unchanged, into a read-only folder
// that is named by its content, so that "the last good release" still means the same bytes next
// month.
//
// Below `<root>/<service>/<first 12 hex of the digest>/` lie `files` (the copy, a release's `dir`),
// `release.json` (when it was made), and a link `node_modules` where RL3 needs one.
//
//   RL5. A release folder appears whole or not at all, and only after its copy was read back and
//        gave the same digest as the source.
//   RL6. The same content gives the same folder; one that was altered is made anew, never trusted.
//   RL7. Only a folder of this layout below `root` is ever removed.
//
// RL1–RL4 stand in `tree.ts` and `external.ts`. No fsync: after a power cut a release is verified
// before it is used, and can be made again.
import {
  chmod,
  constants,
  copyFile,
  lstat,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { basename, dirname, join, relative, sep } from 'node:path';
import { KinError, messageOf } from '../../model/errors.ts';
import { releaseId } from '../../model/ids.ts';
import type { ServiceName } from '../../model/ids.ts';
import type { Release } from '../../model/release.ts';
import type { Clock } from '../../world/clock.ts';
import { externalText, findExternal, placeExternal, type External } from './external.ts';
import { IGNORE_FILE, parseIgnore, type Ignores } from './ignore.ts';
import { readSchema } from './schema.ts';
import {
  digestOf,
  INCLUDE_ALL,
  readTree,
  TREE_LIMITS,
  type Tree,
  type TreeEntry,
  type TreeLimits,
} from './tree.ts';

const ID_DIGITS = 12;
const INFO_FILE = 'release.json';
const INFO_VERSION = 1;
const IGNORE_FILE_MAX_BYTES = 100_000;

export interface ReleaseOrder {
  /** Absolute folder of the artefact. */
  readonly source: string;
  /** Absolute folder that holds all releases, normally `<state>/releases`. */
  readonly root: string;
  readonly service: ServiceName;
  readonly command: readonly string[];
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly limits?: TreeLimits;
}

/** Command and environment are the manifest's: together with this they make the whole `Release`. */
export interface CreatedRelease extends Omit<Release, 'cwd' | 'env'> {
  readonly files: number;
  readonly bytes: number;
  /** False: the same content was there already, and was found intact. */
  readonly created: boolean;
  readonly external: External;
  /** One line for people: size, and what lies outside of it. */
  readonly description: string;
}

export type ReleaseCheck =
  | { readonly kind: 'intact' }
  | { readonly kind: 'missing' }
  | { readonly kind: 'altered'; readonly detail: string };

export async function createRelease(order: ReleaseOrder): Promise<CreatedRelease> {
  const source = await sourceFolder(order.source);
  const home = join(order.root, order.service);
  await mkdir(home, { recursive: true, mode: 0o700 });
  const realHome = await realpath(home);
  await dropLeftovers(realHome);
  const limits = order.limits ?? TREE_LIMITS;
  const tree = await readTree(source, await ignoresOf(source, dirname(realHome)), limits);
  if (tree.files === 0)
    throw new KinError(
      'KIN_RELEASE_EMPTY',
      `there is no file to release in ${source}`,
      'Name the folder that holds the built service; check .kintsugiignore.',
    );
  // Before the copy: a mistake in it must not leave a release behind.
  await readSchema(source);
  const digest = await hashed(source, tree);
  const hex = digest.slice('sha256:'.length, 'sha256:'.length + ID_DIGITS);
  const container = join(realHome, hex);
  const created = await place({ order, source, tree, digest, container });
  const external = await findExternal(source, container);
  await placeExternal(container, external);
  const dir = join(container, 'files');
  return {
    id: releaseId(`r-${hex}`),
    service: order.service,
    digest,
    dir,
    command: order.command,
    createdAtMs: await createdAt(container, order.clock),
    schema: await readSchema(dir),
    verdict: { kind: 'new' },
    files: tree.files,
    bytes: tree.bytes,
    created,
    external,
    description: `${tree.files} files, ${tree.bytes} bytes; ${externalText(external)}`,
  };
}

/** Reads every byte again. `dir` and `digest` as in the release. */
export async function verifyRelease(dir: string, digest: string): Promise<ReleaseCheck> {
  const facts = await lstat(dir).catch(() => undefined);
  if (facts === undefined) return { kind: 'missing' };
  if (!facts.isDirectory()) return { kind: 'altered', detail: 'it is not a folder' };
  try {
    const root = await realpath(dir);
    const found = await digestOf(root, await readTree(root, INCLUDE_ALL, TREE_LIMITS));
    if (found === digest) return { kind: 'intact' };
    return { kind: 'altered', detail: `its digest is ${found}, not ${digest}` };
  } catch (error) {
    return { kind: 'altered', detail: messageOf(error) };
  }
}

/** RL7. Removing what is gone already is fine. */
export async function removeRelease(root: string, dir: string): Promise<void> {
  const container = dirname(dir);
  const real = await realpath(container).catch(() => undefined);
  if (real === undefined) return;
  const path = relative(await realpath(root), real).split(sep);
  const isRelease = path.length === 2 && /^[0-9a-f]{12}$/u.test(path[1] ?? '') && path[0] !== '..';
  if (!isRelease || basename(dir) !== 'files')
    throw new KinError(
      'KIN_RELEASE_FOREIGN',
      `${dir} is not a release folder below ${root}, so it is not removed`,
      'Name a release as `kintsugi status` shows it.',
    );
  await removeTree(real);
}

async function sourceFolder(source: string): Promise<string> {
  const real = await realpath(source).catch(() => undefined);
  const facts = real === undefined ? undefined : await lstat(real);
  if (real !== undefined && facts?.isDirectory() === true) return real;
  throw new KinError(
    'KIN_RELEASE_SOURCE_MISSING',
    `${source} is not a folder that can be read`,
    'Name an existing folder that holds the service.',
  );
}

/**
 * Also leaves out the folder of all releases, should it lie in the source: no release in itself.
 */
async function ignoresOf(source: string, root: string): Promise<Ignores> {
  const path = join(source, IGNORE_FILE);
  const facts = await lstat(path).catch(() => undefined);
  const isUsable = facts?.isFile() === true && facts.size <= IGNORE_FILE_MAX_BYTES;
  const ignores = parseIgnore(isUsable ? await readFile(path, 'utf8') : '');
  const own = relative(source, root).split(sep).join('/');
  return (each, name) => each === own || ignores(each, name);
}

/** A file that vanishes while it is read is a change like any other. */
async function hashed(root: string, tree: Tree): Promise<string> {
  try {
    return await digestOf(root, tree);
  } catch (error) {
    throw changed(messageOf(error), error);
  }
}

const changed = (detail: string, cause?: unknown): KinError =>
  new KinError(
    'KIN_RELEASE_CHANGED',
    `the source changed, or could not be read, while it was copied (${detail})`,
    'Release a folder that nothing writes to, and that you may read; then try again.',
    { cause },
  );

interface Placing {
  readonly order: ReleaseOrder;
  readonly source: string;
  readonly tree: Tree;
  readonly digest: string;
  readonly container: string;
}

/** RL5, RL6. True when it was made, false when it was there. */
async function place(placing: Placing): Promise<boolean> {
  const { container, digest } = placing;
  const there = await verifyRelease(join(container, 'files'), digest);
  if (there.kind === 'intact') return false;
  if (there.kind === 'altered') await removeTree(container);
  const suffix = randomBytes(4).toString('hex');
  const temporary = join(dirname(container), `.tmp-${process.pid}-${suffix}`);
  try {
    await copyTree(placing, temporary);
    await rename(temporary, container);
    return true;
  } catch (error) {
    // Somebody else made the same release at the same time: theirs is as good.
    const raced = await verifyRelease(join(container, 'files'), digest);
    if (raced.kind === 'intact') return false;
    throw error;
  } finally {
    await removeTree(temporary);
  }
}

async function copyTree({ order, source, tree, digest }: Placing, to: string): Promise<void> {
  const files = join(to, 'files');
  await mkdir(files, { recursive: true, mode: 0o700 });
  for (const entry of tree.entries) await copyEntry(source, files, entry);
  const copied = await hashed(files, await readTree(files, INCLUDE_ALL, TREE_LIMITS));
  if (copied !== digest) throw changed('the copy has another digest');
  // Deepest first: a folder must stay writable until everything in it is done.
  for (const { kind, path } of tree.entries.toReversed())
    if (kind === 'folder') await chmod(join(files, path), 0o555);
  await chmod(files, 0o555);
  const info = {
    version: INFO_VERSION,
    digest,
    createdAtMs: order.clock.nowMs(),
    files: tree.files,
  };
  await writeFile(join(to, INFO_FILE), `${JSON.stringify(info)}\n`, { mode: 0o600 });
}

async function copyEntry(source: string, files: string, entry: TreeEntry): Promise<void> {
  const target = join(files, entry.path);
  if (entry.kind === 'folder') return mkdir(target, { mode: 0o700 });
  if (entry.kind === 'link') return symlink(entry.target, target);
  try {
    // Shares the blocks where the file system can; copies elsewhere.
    await copyFile(join(source, entry.path), target, constants.COPYFILE_FICLONE);
  } catch (error) {
    throw changed(messageOf(error), error);
  }
  return chmod(target, entry.isExecutable ? 0o555 : 0o444);
}

async function createdAt(container: string, clock: Pick<Clock, 'nowMs'>): Promise<number> {
  const text = await readFile(join(container, INFO_FILE), 'utf8').catch(() => '{}');
  try {
    const info: unknown = JSON.parse(text);
    if (typeof info === 'object' && info !== null && 'createdAtMs' in info)
      if (typeof info.createdAtMs === 'number') return info.createdAtMs;
  } catch {
    // Damaged: it only costs the true date.
  }
  return clock.nowMs();
}

/** Restores what deleting needs. Links are removed, never followed. */
async function removeTree(folder: string): Promise<void> {
  const facts = await lstat(folder).catch(() => undefined);
  if (facts === undefined) return;
  if (facts.isDirectory()) await makeWritable(folder);
  await rm(folder, { recursive: true, force: true });
}

async function makeWritable(folder: string): Promise<void> {
  await chmod(folder, 0o700);
  for (const entry of await readdir(folder, { withFileTypes: true }))
    if (entry.isDirectory()) await makeWritable(join(folder, entry.name));
}

/** Half-made copies of a process that is gone. */
async function dropLeftovers(home: string): Promise<void> {
  for (const name of await readdir(home)) {
    const pid = Number(/^\.tmp-(\d+)-/u.exec(name)?.[1]);
    if (Number.isSafeInteger(pid) && !isThere(pid)) await removeTree(join(home, name));
  }
}

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
