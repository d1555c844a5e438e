// What exactly is in a folder? A sorted list of its files, folders and links, and the digest of it.
//
//   RL1. The digest covers each path, kind, executable bit, link target and content, and nothing
//        else: not times, owners or the umask of whoever unpacked it.
//   RL2. No link leads out of the folder, nothing in it is a device, a pipe or a socket.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink, realpath } from 'node:fs/promises';
import { dirname, isAbsolute, join, resolve, sep } from 'node:path';
import { KinError } from '../../model/errors.ts';
import type { Ignores } from './ignore.ts';

export const FILES_MAX = 50_000;
export const BYTES_MAX = 2 * 1024 ** 3;
const DEPTH_MAX = 64;
/** Files that are hashed at one time. */
const HASH_PARALLEL = 8;
/** First line of the hash input: a change of the format gets a new number. */
const FORMAT = 'kintsugi-release-v1';

export type TreeEntry =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | {
      readonly kind: 'file';
      readonly path: string;
      readonly bytes: number;
      readonly isExecutable: boolean;
    };

export interface Tree {
  readonly entries: readonly TreeEntry[];
  readonly files: number;
  readonly bytes: number;
}

export interface TreeLimits {
  readonly filesMax: number;
  readonly bytesMax: number;
}

export const TREE_LIMITS: TreeLimits = { filesMax: FILES_MAX, bytesMax: BYTES_MAX };

/** `root`: a real path. Sorted by path, so that the order of the file system does not matter. */
export async function readTree(root: string, ignores: Ignores, limits: TreeLimits): Promise<Tree> {
  const entries: TreeEntry[] = [];
  let bytes = 0;
  const waiting: string[] = [''];
  // Bound: every round enters a folder that exists, and `filesMax` ends it.
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    if (folder.split('/').length > DEPTH_MAX) throw tooLarge(`${folder} is too deep`);
    for (const name of await readdir(join(root, folder))) {
      const path = folder === '' ? name : `${folder}/${name}`;
      if (ignores(path, name)) continue;
      const entry = await readEntry(root, path);
      entries.push(entry);
      if (entry.kind === 'folder') waiting.push(path);
      if (entry.kind === 'file') bytes += entry.bytes;
      if (entries.length > limits.filesMax) throw tooLarge(`more than ${limits.filesMax} files`);
      if (bytes > limits.bytesMax) throw tooLarge(`more than ${limits.bytesMax} bytes`);
    }
  }
  entries.sort((a, b) => (a.path < b.path ? -1 : 1));
  return { entries, bytes, files: entries.filter((entry) => entry.kind === 'file').length };
}

async function readEntry(root: string, path: string): Promise<TreeEntry> {
  const facts = await lstat(join(root, path));
  if (facts.isDirectory()) return { kind: 'folder', path };
  if (facts.isFile()) {
    const isExecutable = (facts.mode & 0o100) !== 0;
    return { kind: 'file', path, bytes: facts.size, isExecutable };
  }
  if (!facts.isSymbolicLink())
    throw new KinError(
      'KIN_RELEASE_SPECIAL_FILE',
      `${path} is a device, a pipe or a socket`,
      'Remove it, or name it in .kintsugiignore.',
    );
  return { kind: 'link', path, target: await insideTarget(root, path) };
}

/** RL2. Absolute links are refused even where they lead inside: in the copy they would not. */
async function insideTarget(root: string, path: string): Promise<string> {
  const target = await readlink(join(root, path));
  const place = resolve(root, dirname(path), target);
  const real = await realpath(place).catch(() => undefined);
  const isInside = (each: string): boolean => each === root || each.startsWith(root + sep);
  if (!isAbsolute(target) && real !== undefined && isInside(place) && isInside(real)) return target;
  throw new KinError(
    'KIN_RELEASE_ESCAPES',
    real === undefined
      ? `the link ${path} leads nowhere`
      : `the link ${path} leads out of the folder`,
    'Replace the link by what it leads to, or name it in .kintsugiignore.',
  );
}

const tooLarge = (what: string): KinError =>
  new KinError(
    'KIN_RELEASE_TOO_LARGE',
    `the folder cannot become a release: ${what}`,
    'Name what is not needed to run the service in .kintsugiignore, or release a smaller folder.',
  );

/** RL1. `sha256:` and 64 hex digits. */
export async function digestOf(root: string, tree: Tree): Promise<string> {
  const contents = new Map<string, string>();
  const files = tree.entries.filter((entry) => entry.kind === 'file').values();
  const work = async (): Promise<void> => {
    for (const { path } of files) contents.set(path, await hashFile(join(root, path)));
  };
  await Promise.all(Array.from({ length: HASH_PARALLEL }, work));
  const hash = createHash('sha256').update(`${FORMAT}\n`);
  for (const entry of tree.entries) hash.update(`${lineOf(entry, contents)}\n`);
  return `sha256:${hash.digest('hex')}`;
}

function lineOf(entry: TreeEntry, contents: ReadonlyMap<string, string>): string {
  switch (entry.kind) {
    case 'folder':
      return JSON.stringify(['folder', entry.path]);
    case 'link':
      return JSON.stringify(['link', entry.path, entry.target]);
    case 'file': {
      const mode = entry.isExecutable ? 'x' : '-';
      return JSON.stringify(['file', entry.path, mode, contents.get(entry.path)]);
    }
  }
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of createReadStream(path)) hash.update(part as Buffer);
  return hash.digest('hex');
}

export const INCLUDE_ALL: Ignores = () => false;
