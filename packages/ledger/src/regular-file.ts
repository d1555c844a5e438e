// How is a file of the ledger opened? Only a regular one, never through a symbolic link, and never
// so that opening waits: a pipe or a device in its place would hold the ledger for ever.

import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { LedgerError } from './errors.ts';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = constants;
const FLAGS = {
  read: O_RDONLY | O_NOFOLLOW | O_NONBLOCK,
  write: O_RDWR | O_NOFOLLOW | O_NONBLOCK,
  create: O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW,
} as const;

export async function openRegular(
  path: string,
  mode: 'read' | 'write' | 'create',
): Promise<FileHandle> {
  const handle = await open(path, FLAGS[mode], 0o600).catch((cause: unknown) => {
    throw hasCode(cause, 'ENXIO') ? notRegular(path) : cause;
  });
  if (mode === 'create') return handle;
  try {
    if ((await handle.stat()).isFile()) return handle;
  } catch (cause) {
    await handle.close();
    throw cause;
  }
  await handle.close();
  throw notRegular(path);
}

/** Undefined when there is none; refused when it is longer than that. */
export async function readRegular(path: string, bytesMax: number): Promise<Buffer | undefined> {
  let handle: FileHandle;
  try {
    handle = await openRegular(path, 'read');
  } catch (cause) {
    if (hasCode(cause, 'ENOENT')) return undefined;
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

/** Shorter than asked only at the end of the file. */
export async function readFully(
  handle: FileHandle,
  position: number,
  length: number,
): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  let at = 0;
  while (at < length) {
    const { bytesRead } = await handle.read(bytes, at, length - at, position + at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return bytes.subarray(0, at);
}

export function hasCode(cause: unknown, code: string): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === code;
}

function notRegular(path: string): LedgerError {
  const file = path.slice(path.lastIndexOf('/') + 1);
  return new LedgerError('KIN_LEDGER_CORRUPT', `${path} is no regular file`, {
    place: { file, offset: 0, index: 0 },
  });
}
