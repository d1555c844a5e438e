// The real file system behind `Files`. Files are 0600, folders 0700. A symbolic link in place of a
// ledger file is refused, because whoever planted it could redirect evidence, and so is a pipe.

import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { LedgerError } from './errors.ts';
import type { Files, OpenFile } from './files.ts';
import { checkFolder } from './folder-check.ts';
import { lockFolder } from './lock.ts';
import { hasCode, openRegular, readFully, readRegular } from './regular-file.ts';

const ZERO_BLOCK = Buffer.alloc(1024 * 1024);

export function nodeFiles(): Files {
  return {
    mkdir: async (path) => {
      await mkdir(path, { recursive: true, mode: 0o700 });
    },
    list: async (dir) => (await readdir(dir)).sort(),
    open: async (path, mode) => openFile(await openRegular(path, mode), path),
    readWhole: readRegular,
    rename,
    remove: (path) => rm(path, { force: true }),
    syncDir,
    identity: async (path) => {
      try {
        const { dev, ino } = await stat(path, { bigint: true });
        return `${dev}:${ino}`;
      } catch (cause) {
        if (hasCode(cause, 'ENOENT')) return undefined;
        throw cause;
      }
    },
    checkFolder,
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

async function syncDir(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
