// How is a file read that somebody else may have put there? Folders that are verified offline are
// not trusted: nothing in them may block, be endless, or be a device.
//
//   RF1. Only regular files are read, whatever a link leads to, and never more than `most` bytes.
import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs';

/** Keys: a line of text or 32 bytes. */
export const KEY_BYTES_MAX = 64 * 1024;
/** A proof, an entry, a policy, a checkpoint, a book of receipts. */
export const NAMED_BYTES_MAX = 8 * 1024 * 1024;
/** 256 entries of 64 KiB each, with their lengths. */
export const BUNDLE_BYTES_MAX = 17 * 1024 * 1024;
/** Sealed fields or wrapped keys of one file of the ledger. */
export const FRAMES_BYTES_MAX = 1024 * 1024 * 1024;

const PIECE_BYTES = 64 * 1024;

/** Throws what the file system says, or why it is not read. */
export function readRegular(path: string, most: number): Buffer {
  // Opening a device can do something already, and opening a fifo waits.
  assertRegular(statSync(path).isFile());
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    const stat = fstatSync(file);
    assertRegular(stat.isFile());
    return readUpTo(file, stat.size, most);
  } finally {
    closeSync(file);
  }
}

function readUpTo(file: number, expected: number, most: number): Buffer {
  if (expected > most) throw tooBig(most);
  const pieces: Buffer[] = [];
  let bytes = 0;
  for (;;) {
    // One more than expected, so that the end is seen; a file that grows is read on.
    const piece = Buffer.alloc(Math.max(PIECE_BYTES, expected - bytes + 1));
    const read = readSync(file, piece, 0, piece.length, null);
    if (read === 0) return Buffer.concat(pieces, bytes);
    bytes += read;
    if (bytes > most) throw tooBig(most);
    pieces.push(piece.subarray(0, read));
  }
}

function assertRegular(isFile: boolean): void {
  if (!isFile) throw new Error('it is not a regular file');
}

const tooBig = (most: number): Error => new Error(`it has more than ${most} bytes`);
