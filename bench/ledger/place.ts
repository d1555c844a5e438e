// On which disk is it measured, and how fast does that disk sync? A folder of the run below the
// system's temporary folder, or below the repository where that folder is only memory.
import { chmodSync, closeSync, fdatasyncSync, mkdirSync, mkdtempSync, openSync } from 'node:fs';
import { readFileSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { atEnd } from '../heal/processes.ts';
import { quantile } from '../heal/numbers.ts';

const BYTES_FREE_MIN = 8 * 1024 ** 3;
const MEMORY_TYPES = new Set(['tmpfs', 'ramfs']);
const SYNCS = 200;
const BLOCK = 4096;

export interface Place {
  /** The folder of this run; everything below is removed at its end. */
  readonly folder: string;
  readonly parent: string;
  readonly fileSystem: string;
  /** Time for 4 KiB into a preallocated file and fdatasync. */
  readonly syncP50Ms: number;
  readonly syncP99Ms: number;
}

export function openPlace(wanted: string | undefined): Place {
  const parent = wanted ?? diskFolder();
  mkdirSync(parent, { recursive: true });
  const { bavail, bsize } = statfsSync(parent);
  if (bavail * bsize < BYTES_FREE_MIN) {
    throw new Error(`${parent} has less than 8 GiB free; name another folder with --dir`);
  }
  // PostgreSQL and the crash runs make their folders in the temporary folder of the process.
  process.env['TMPDIR'] = parent;
  const folder = mkdtempSync(join(parent, 'kintsugi-bench-ledger-'));
  chmodSync(folder, 0o711);
  atEnd(async () => {
    await Promise.resolve();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  const times = syncTimes(join(folder, 'sync'));
  return {
    folder,
    parent,
    fileSystem: fileSystemOf(parent),
    syncP50Ms: quantile(times, 0.5) ?? 0,
    syncP99Ms: quantile(times, 0.99) ?? 0,
  };
}

function diskFolder(): string {
  const usual = tmpdir();
  if (!MEMORY_TYPES.has(fileSystemOf(usual))) return usual;
  return join(dirname(dirname(import.meta.dirname)), 'build', 'bench');
}

/** The type of the longest mount point above the folder; `unknown` where there is no /proc. */
export function fileSystemOf(folder: string): string {
  let mounts: string;
  try {
    mounts = readFileSync('/proc/self/mounts', 'utf8');
  } catch {
    return 'unknown';
  }
  let best = { point: '', type: 'unknown' };
  for (const line of mounts.split('\n')) {
    const [, point = '', type = ''] = line.split(' ');
    const isAbove = folder === point || folder.startsWith(point === '/' ? '/' : `${point}/`);
    if (point !== '' && isAbove && point.length >= best.point.length) best = { point, type };
  }
  return best.type;
}

function syncTimes(path: string): number[] {
  const file = openSync(path, 'w+', 0o600);
  try {
    const block = Buffer.alloc(BLOCK, 1);
    writeSync(file, Buffer.alloc(SYNCS * BLOCK), 0, SYNCS * BLOCK, 0);
    fdatasyncSync(file);
    return Array.from({ length: SYNCS }, (_, at) => {
      const fromMs = performance.now();
      writeSync(file, block, 0, BLOCK, at * BLOCK);
      fdatasyncSync(file);
      return performance.now() - fromMs;
    });
  } finally {
    closeSync(file);
    rmSync(path, { force: true });
  }
}
