// Can these files be trusted with a key? Reads PEM files with what is checked about them: what kind
// of file, whose, who else may read or exchange it.
//
//   TF1. A key that its group or others may read is not used.
//   TF2. Files and links belong to root or to the gateway's user, and nobody else can put another
//        file in their place.
//   TF3. What was judged is what is read: one descriptor for both. Sizes have a limit.
//   TF4. A swap of a link, of a folder behind a link, or of the file changes the print.
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  realpathSync,
  statSync,
} from 'node:fs';
import type { Stats } from 'node:fs';
import { dirname } from 'node:path';
import { KinError } from '../../model/errors.ts';

const BYTES_MAX = 1_048_576;
const OTHERS_WRITE = 0o022;
const ANY_OTHER = 0o077;
const STICKY = 0o1000;

export type PemKind = 'certificate' | 'key';

export function readPem(path: string, kind: PemKind): Buffer {
  const descriptor = open(path);
  try {
    const stats = fstatSync(descriptor);
    if (!stats.isFile()) throw unusable(path, 'it is not a file');
    if (stats.size > BYTES_MAX) throw unusable(path, `it is larger than ${BYTES_MAX} bytes`);
    checkOwners(path, stats);
    if (kind === 'key' && (stats.mode & ANY_OTHER) !== 0) throw keyOpen(path, stats);
    return readAll(descriptor, stats.size);
  } finally {
    closeSync(descriptor);
  }
}

function open(path: string): number {
  try {
    // Without O_NONBLOCK a FIFO would hold up the worker for ever.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw unusable(path, codeOf(error), error);
  }
}

function readAll(descriptor: number, size: number): Buffer {
  const bytes = Buffer.alloc(size);
  let at = 0;
  while (at < size) {
    const count = readSync(descriptor, bytes, at, size - at, at);
    if (count === 0) break;
    at += count;
  }
  return bytes.subarray(0, at);
}

function checkOwners(path: string, file: Stats): void {
  const foreign = (uid: number): boolean => uid !== 0 && uid !== process.getuid?.();
  try {
    if (foreign(file.uid)) throw unusable(path, 'it belongs to another user');
    if (foreign(lstatSync(path).uid)) throw unusable(path, 'the link belongs to another user');
    for (const folder of new Set([dirname(path), dirname(realpathSync(path))])) {
      const { mode, uid } = statSync(folder);
      // In a sticky folder, such as /tmp, only the owner of a file can exchange it.
      const isOpen = (mode & OTHERS_WRITE) !== 0 && (mode & STICKY) === 0;
      if (isOpen || foreign(uid)) {
        throw unusable(path, `others can exchange files of its folder ${folder}`);
      }
    }
  } catch (error) {
    throw error instanceof KinError ? error : unusable(path, codeOf(error), error);
  }
}

/** Equal as long as the same files stand there, unchanged. Missing ones are part of it. */
export function printOf(paths: readonly string[]): string {
  return paths.map(printOfOne).join('\n');
}

function printOfOne(path: string): string {
  try {
    const { dev, ino, mode, uid, size, mtimeMs, ctimeMs } = statSync(path);
    return [realpathSync(path), dev, ino, mode, uid, size, mtimeMs, ctimeMs].join(' ');
  } catch (error) {
    return `${path} ${codeOf(error)}`;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'cannot be read';
}

function unusable(path: string, why: string, cause?: unknown): KinError {
  return new KinError(
    'KIN_TLS_FILE',
    `the gateway cannot use ${path}: ${why}`,
    'Give it to the user of the gateway (or root), in a folder that only they may write to.',
    { cause },
  );
}

function keyOpen(path: string, stats: Stats): KinError {
  const mode = (stats.mode & 0o777).toString(8).padStart(4, '0');
  return new KinError(
    'KIN_TLS_KEY_OPEN',
    `others can read the key ${path}: its mode is ${mode}`,
    'Make it `chmod 600`; if others could read it for long, replace the certificate and its key.',
  );
}
