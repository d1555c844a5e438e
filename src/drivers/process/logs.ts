// What has a replica written, and how is that kept small? Its stdout and stderr are one file that
// it appends to by itself. Files and not pipes: a pipe needs a reader, so a replica would block on
// a full pipe while the controller is slow, and die of EPIPE when the controller does.
//
//   PD5. A log and its rotated files together stay at about `logBytes`; what is lost in a flood is
//        counted and marked in the log.
//   PD6. Reading never follows a link: a replica that replaces its log by a link to a secret file
//        gets nothing printed.
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

/** The current file and three old ones share `logBytes`. */
const OLD_KEPT = 3;
const PARTS = OLD_KEPT + 1;
const TAIL_MAX_BYTES = 1024 * 1024;

const { O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } = constants;

export interface ReplicaLogs {
  /** A descriptor to hand to the replica; the caller closes its own copy. */
  open(name: string): number;
  /** Where that log is. */
  file(name: string): string;
  /** To be called about every second. Answers how many bytes a flood lost, mostly 0. */
  check(name: string, logBytes: number): number;
  tail(name: string, bytes: number): string;
  /** Removes the logs of all but these names and the `keep` newest others. */
  prune(inUse: ReadonlySet<string>, ended: readonly string[], keep: number): void;
}

export function openLogs(dir: string): ReplicaLogs {
  const folder = join(dir, 'logs');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  /** Size at the last check: what came on top of it is the growth. */
  const sizes = new Map<string, number>();
  const path = (name: string, age = 0): string =>
    join(folder, age === 0 ? `${name}.log` : `${name}.log.${age}`);
  return {
    file: (name) => path(name),
    open: (name) => openSync(path(name), O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600),
    check(name, logBytes) {
      const before = sizes.get(name) ?? 0;
      const checked = checkSize(path(name), before, logBytes, (fd, from) =>
        rotate(fd, from, 2 * logBytes, (age) => path(name, age)),
      );
      sizes.set(name, checked.size);
      return checked.dropped;
    },
    tail: (name, bytes) => tail(name, Math.min(Math.max(bytes, 0), TAIL_MAX_BYTES), path),
    prune(inUse, ended, keep) {
      const kept = new Set([...inUse, ...ended.slice(-keep)]);
      for (const file of readdirSync(folder)) {
        const name = file.replace(/\.log(?:\.\d+)?$/u, '');
        if (kept.has(name)) continue;
        rmSync(join(folder, file), { force: true });
        sizes.delete(name);
      }
    },
  };
}

interface Checked {
  readonly size: number;
  readonly dropped: number;
}

function checkSize(
  path: string,
  before: number,
  logBytes: number,
  rotated: (fd: number, from: number) => void,
): Checked {
  const fd = openPlain(path, O_RDWR | O_APPEND);
  if (fd === undefined) return { size: 0, dropped: 0 };
  try {
    const { size } = fstatSync(fd);
    const part = Math.max(1, Math.floor(logBytes / PARTS));
    if (size <= part) return { size, dropped: 0 };
    // The newest part of a flood is kept: the reason of a crash stands at its end.
    const dropped = size - before > logBytes ? size - part : 0;
    rotated(fd, dropped);
    return { size: 0, dropped };
  } finally {
    closeSync(fd);
  }
}

/**
 * Copies, then truncates: the replica keeps its open file, and since it appends, its next write
 * lands at the new end. A line written between the last read and the truncation (microseconds) is
 * lost; the alternative, reopening, would need the replica's cooperation. Copies from the
 * descriptor that was checked, never from the path again (PD6).
 */
function rotate(fd: number, from: number, bytesMax: number, path: (age: number) => string): void {
  for (let age = OLD_KEPT - 1; age >= 1; age -= 1) moveIfThere(path(age), path(age + 1));
  const copy = openSync(path(1), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    const part = Buffer.alloc(64 * 1024);
    let at = from;
    if (from > 0) writeSync(copy, `[kintsugi: ${from} bytes dropped here, too much at once]\n`);
    while (at - from < bytesMax) {
      const read = readSync(fd, part, 0, part.length, at);
      if (read === 0) break;
      writeSync(copy, part, 0, read);
      at += read;
    }
  } finally {
    closeSync(copy);
  }
  ftruncateSync(fd, 0);
}

function moveIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** PD6. Undefined when there is no such plain file. O_NONBLOCK: a named pipe must not block us. */
function openPlain(path: string, flags: number): number | undefined {
  let fd: number;
  try {
    fd = openSync(path, flags | O_NOFOLLOW | O_NONBLOCK);
  } catch {
    return undefined;
  }
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  return undefined;
}

function tail(name: string, bytes: number, path: (name: string, age?: number) => string): string {
  const parts: Buffer[] = [];
  let wanted = bytes;
  for (let age = 0; age <= OLD_KEPT && wanted > 0; age += 1) {
    const fd = openPlain(path(name, age), O_RDONLY);
    if (fd === undefined) continue;
    try {
      const { size } = fstatSync(fd);
      const part = Buffer.alloc(Math.min(size, wanted));
      const read = readSync(fd, part, 0, part.length, size - part.length);
      parts.unshift(part.subarray(0, read));
      wanted -= read;
    } finally {
      closeSync(fd);
    }
  }
  return Buffer.concat(parts).toString('utf8');
}
