// What does the ledger need from the outside? A few file operations and a clock, nothing else, so
// that a simulator can hand in its own and crash between any two of them.
// F1. `write` promises nothing; only `datasync` makes bytes survive, and only `syncDir` makes a
//     created, renamed or removed name survive.

export interface OpenFile {
  read(position: number, length: number): Promise<Uint8Array>;
  write(bytes: Uint8Array, position: number): Promise<void>;
  datasync(): Promise<void>;
  /** Fills the file with zeros up to `length`, so that later writes need no new disk blocks. */
  preallocate(length: number): Promise<void>;
  size(): Promise<number>;
  /** Tells one file from another of the same name (device and inode). */
  identity(): Promise<string>;
  close(): Promise<void>;
}

export interface FolderLock {
  release(): Promise<void>;
}

/** Paths are joined with `/`. Missing files are `undefined`, every other failure throws. */
export interface Files {
  mkdir(path: string): Promise<void>;
  list(dir: string): Promise<readonly string[]>;
  /** `create` fails when the file exists already. */
  open(path: string, mode: 'read' | 'write' | 'create'): Promise<OpenFile>;
  readWhole(path: string, bytesMax: number): Promise<Uint8Array | undefined>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  syncDir(dir: string): Promise<void>;
  identity(path: string): Promise<string | undefined>;
  /**
   * Where other users exist: throws when they may write in this folder, or when it is a symbolic
   * link and not the one that the caller named (`top`).
   */
  checkFolder?(path: string, which: 'top' | 'inner'): Promise<void>;
  /** Exclusive for this folder over all processes; throws KIN_LEDGER_LOCKED. */
  lock(dir: string): Promise<FolderLock>;
}

export interface LedgerClock {
  /** Wall time, milliseconds since 1970. Only written into entries. */
  nowMs(): number;
  monotonicMs(): number;
  /**
   * Resolves after `ms`; settles (either way) as soon as `signal` aborts. Without it, deadlines are
   * noticed only when the disk answers.
   */
  sleep?(ms: number, signal: AbortSignal): Promise<void>;
}

export const systemClock: LedgerClock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', done);
      if (signal.aborted) done();
    }),
};

/** Did it end in time? Without `sleep` it is waited for. Its own failure is thrown. */
export async function within(
  clock: LedgerClock,
  ms: number,
  work: Promise<unknown>,
): Promise<boolean> {
  const done = work.then(() => true);
  if (clock.sleep === undefined) return done;
  const giveUp = new AbortController();
  const late = clock.sleep(ms, giveUp.signal).then(
    () => false,
    () => false,
  );
  try {
    return await Promise.race([done, late]);
  } finally {
    giveUp.abort();
    done.catch(() => undefined);
  }
}

/** True for ENOSPC and EDQUOT, from the real file system or a simulated one. */
export function isDiskFull(cause: unknown): boolean {
  if (!(cause instanceof Error) || !('code' in cause)) return false;
  return cause.code === 'ENOSPC' || cause.code === 'EDQUOT';
}

/** Makes durable what another process may have written before it was killed. */
export async function syncFile(files: Files, path: string): Promise<void> {
  const file = await files.open(path, 'write');
  try {
    await file.datasync();
  } finally {
    await file.close();
  }
}

/** Write beside, sync, rename, sync the folder: readers see the old bytes or the new ones. */
export async function replaceFile(
  files: Files,
  dir: string,
  name: string,
  bytes: Uint8Array,
): Promise<void> {
  const temporary = `${dir}/${name}.tmp`;
  await files.remove(temporary);
  const file = await files.open(temporary, 'create');
  try {
    await file.write(bytes, 0);
    await file.datasync();
  } finally {
    await file.close();
  }
  await files.rename(temporary, `${dir}/${name}`);
  await files.syncDir(dir);
}
