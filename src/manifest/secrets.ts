// Where do the values behind `${secret:name}` come from? Generated ones are made once and kept in
// the state folder; the others are read from a file or the environment at every start.
//
//   SE1. A generated secret is never made twice: an existing file is kept, whatever it holds.
//   SE2. Nothing is read through a symbolic link in the state folder, nor from a file that others
//        may read or change.
//   SE3. No value ever stands in an error.
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { link, lstat, mkdir, open, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { KinError, messageOf } from '../model/errors.ts';
import type { Manifest, SecretSource } from '../model/manifest.ts';
import type { Variables } from './reference.ts';

const SECRET_BYTES_MAX = 64 * 1024;
const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;

/** The value of every secret of the manifest, by name. Throws a `KIN_SECRET_…` error. */
export async function loadSecrets(
  manifest: Pick<Manifest, 'secrets' | 'baseDir'>,
  stateDir: string,
  env: Variables,
): Promise<ReadonlyMap<string, string>> {
  const values = new Map<string, string>();
  for (const [name, source] of manifest.secrets) {
    values.set(name, await loadSecret(name, source, manifest.baseDir, stateDir, env));
  }
  return values;
}

async function loadSecret(
  name: string,
  source: SecretSource,
  baseDir: string,
  stateDir: string,
  env: Variables,
): Promise<string> {
  switch (source.kind) {
    case 'env': {
      const value = env[source.name];
      if (value !== undefined && value !== '') return value;
      const what = `the secret ${name}: the environment variable ${source.name} is not set`;
      throw missing(what, `Set ${source.name} before the start.`);
    }
    case 'file': {
      const path = resolve(baseDir, source.path);
      const value = await readSecretFile(name, path, 0o027, 0);
      if (value !== undefined) return value;
      throw missing(`the secret ${name}: there is no file ${path}`, 'Create it with mode 600.');
    }
    case 'generate':
      return generated(name, source.bytes, join(stateDir, 'secrets'));
  }
}

function missing(message: string, fix: string): KinError {
  return new KinError('KIN_SECRET_MISSING', message, fix);
}

async function generated(name: string, bytes: number, folder: string): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const stat = await lstat(folder);
  if (!stat.isDirectory()) throw unreadable(folder, 'it is not a folder, or a symbolic link');
  refuseOpen(folder, stat, 0o077, '700');
  const path = join(folder, name);
  const kept = await readSecretFile(name, path, 0o077, O_NOFOLLOW);
  if (kept !== undefined) return kept;
  const made = randomBytes(bytes).toString('base64url');
  await createFile(folder, path, made);
  // Another start may have been first: what is in the file counts (SE1).
  const value = await readSecretFile(name, path, 0o077, O_NOFOLLOW);
  return value ?? made;
}

/** Whole or not at all: written beside it, made durable, then linked where nothing may be yet. */
async function createFile(folder: string, path: string, value: string): Promise<void> {
  const draft = join(folder, `.${randomBytes(9).toString('base64url')}.new`);
  const file = await open(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    await file.writeFile(value);
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    await link(draft, path);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
  } finally {
    await unlink(draft);
  }
  const dir = await open(folder, O_RDONLY);
  try {
    await dir.sync();
  } finally {
    await dir.close();
  }
}

/** Reads a secret; undefined when there is no such file. `flags`: O_NOFOLLOW refuses links. */
async function readSecretFile(
  name: string,
  path: string,
  forbidden: number,
  flags: number,
): Promise<string | undefined> {
  let file: FileHandle;
  try {
    // O_NONBLOCK: a named pipe in its place must not block the start for ever.
    file = await open(path, O_RDONLY | O_NONBLOCK | flags);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT') return undefined;
    if (code === 'ELOOP') throw unreadable(path, 'it is a symbolic link');
    throw unreadable(path, messageOf(error));
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw unreadable(path, 'it is not a file');
    refuseOpen(path, stat, forbidden, '600');
    if (stat.size > SECRET_BYTES_MAX) throw unreadable(path, 'it is larger than 64 KiB');
    const value = (await file.readFile('utf8')).replace(/\r?\n$/u, '');
    if (value === '') throw missing(`the secret ${name}: the file ${path} is empty`, EMPTY_FIX);
    if (value.includes('\0')) throw unreadable(path, 'it holds a NUL byte');
    return value;
  } finally {
    await file.close();
  }
}

const EMPTY_FIX =
  'Write the secret into it; a generated one is made anew when the file is removed.';

function refuseOpen(
  path: string,
  stat: { readonly mode: number; readonly uid: number },
  forbidden: number,
  mode: string,
): void {
  const own = process.geteuid?.() ?? stat.uid;
  const strange = stat.uid !== own && stat.uid !== 0;
  if (!strange && (stat.mode & forbidden) === 0) return;
  const shown = (stat.mode & 0o777).toString(8).padStart(3, '0');
  const why = strange ? 'belongs to another user' : `is open to others (mode ${shown})`;
  const fix = strange ? `chown "$(id -un)" ${path}` : `chmod ${mode} ${path}`;
  throw new KinError('KIN_SECRET_PERMISSIONS', `${path} ${why}`, `Run: ${fix}`);
}

function unreadable(path: string, why: string): KinError {
  const fix = 'Put a regular file with mode 600 there, or correct the path.';
  return new KinError('KIN_SECRET_UNREADABLE', `${path} cannot be used as a secret: ${why}`, fix);
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
