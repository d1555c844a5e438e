// The real file system behind `Files`. Files are 0600, folders 0700. A symbolic link in place of a
// ledger file is refused, because whoever planted it could redirect evidence.

import { constants } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { LedgerError } from './errors.ts';
import type { Files, OpenFile } from './files.ts';
import { lockFolder } from './lock.ts';

const ZERO_BLOCK = Buffer.alloc(1024 * 1024);
const { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR } = constants;
const FLAGS = {
  read: O_RDONLY | O_NOFOLLOW,
  write: O_RDWR | O_NOFOLLOW,
  create: O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW,
} as const;

export function nodeFiles(): Files {
  return {
    mkdir: async (path) => {
      await mkdir(path, { recursive: true, mode: 0o700 });
    },
    list: async (dir) => (await readdir(dir)).sort(),
    open: async (path, mode) => openFile(await open(path, FLAGS[mode], 0o600), path),
    readWhole,
    rename,
    remove: (path) => rm(path, { force: true }),
    syncDir,
    identity: async (path) => {
      try {
        const { dev, ino } = await stat(path, { bigint: true });
        return `${dev}:${ino}`;
      } catch (cause) {
        if (isMissing(cause)) return undefined;
        throw cause;
      }
    },
    lock: lockFolder,
  };
}

function openFile(handle: FileHandle, path: string): OpenFile {
  return {
    read: (position, length) => readFully(handle, position, length),
    write: (bytes, position) => writeFully(handle, path, bytes, position),
    datasync: () => handle.datasync(),
    preallocate: async (length) => {
      for (let at = 0; at < length; at += ZERO_BLOCK.length) {
        const block = ZERO_BLOCK.subarray(0, Math.min(ZERO_BLOCK.length, length - at));
        await writeFully(handle, path, block, at);
      }
      // Not only the data: the size and the block map must survive as well.
      await handle.sync();
    },
    size: async () => (await handle.stat()).size,
    identity: async () => {
      const { dev, ino } = await handle.stat({ bigint: true });
      return `${dev}:${ino}`;
    },
    close: () => handle.close(),
  };
}

/** Shorter than asked only at the end of the file. */
async function readFully(
  handle: FileHandle,
  position: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = Buffer.alloc(length);
  let at = 0;
  while (at < length) {
    const { bytesRead } = await handle.read(bytes, at, length - at, position + at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return bytes.subarray(0, at);
}

async function writeFully(
  handle: FileHandle,
  path: string,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  let at = 0;
  while (at < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, position + at);
    if (bytesWritten === 0) throw new LedgerError('KIN_LEDGER_IO', `${path}: nothing was written`);
    at += bytesWritten;
  }
}

async function readWhole(path: string, bytesMax: number): Promise<Uint8Array | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, FLAGS.read);
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw cause;
  }
  try {
    const { size } = await handle.stat();
    if (size > bytesMax) {
      throw new LedgerError('KIN_LEDGER_IO', `${path} has ${size} bytes, the limit is ${bytesMax}`);
    }
    return await readFully(handle, 0, size);
  } finally {
    await handle.close();
  }
}

async function syncDir(dir: string): Promise<void> {
  const handle = await open(dir, O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function isMissing(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
}
