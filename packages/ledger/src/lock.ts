// Who owns the folder? A lock file per generation (`lock.<n>`), linked into place with its content
// complete, held by pid and process start time. A dead owner's lock is taken over.
// K1. Two processes never both hold the lock: only the highest generation counts, a generation can
//     be linked once, and a holder removes the older ones only after it has seen itself highest.

import { link, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { LedgerError } from './errors.ts';
import type { FolderLock } from './files.ts';
import { hasCode, readRegular } from './regular-file.ts';

interface Owner {
  readonly pid: number;
  /** Start time in ticks after boot, and the boot's id; empty where there is no /proc. */
  readonly start: string;
  readonly boot: string;
}

const ROUNDS_MAX = 16;
const LOCK_BYTES_MAX = 4096;
let attempts = 0;

export async function lockFolder(dir: string): Promise<FolderLock> {
  const me: Owner = {
    pid: process.pid,
    start: (await startTime(process.pid)) ?? '',
    boot: await bootId(),
  };
  attempts += 1;
  const draft = `${dir}/lock-draft.${process.pid}.${attempts}`;
  // One of an earlier process with this pid may be there, or what somebody planted in its place.
  await rm(draft, { force: true });
  await writeFile(draft, JSON.stringify(me), { mode: 0o600, flag: 'wx' });
  try {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const mine = await tryLock(dir, draft, me);
      if (mine !== undefined) return { release: () => rm(`${dir}/lock.${mine}`, { force: true }) };
    }
  } finally {
    await rm(draft, { force: true });
  }
  throw new LedgerError('KIN_LEDGER_LOCKED', `${dir}: others keep taking the lock`);
}

async function tryLock(dir: string, draft: string, me: Owner): Promise<number | undefined> {
  const highest = (await generations(dir)).at(-1) ?? 0;
  if (highest > 0) {
    const owner = await readOwner(`${dir}/lock.${highest}`);
    if (owner === 'gone') return undefined;
    if (owner !== 'unreadable' && (await isAlive(owner, me))) {
      throw new LedgerError('KIN_LEDGER_LOCKED', `${dir} is in use by process ${owner.pid}`);
    }
  }
  const mine = highest + 1;
  try {
    await link(draft, `${dir}/lock.${mine}`);
  } catch (cause) {
    if (hasCode(cause, 'EEXIST')) return undefined;
    throw cause;
  }
  const seen = await generations(dir);
  if (seen.at(-1) !== mine) {
    await rm(`${dir}/lock.${mine}`, { force: true });
    return undefined;
  }
  for (const old of seen.filter((generation) => generation < mine)) {
    await rm(`${dir}/lock.${old}`, { force: true });
  }
  return mine;
}

async function generations(dir: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir(dir)) {
    const match = /^lock\.(\d{1,15})$/.exec(name);
    if (match !== null) found.push(Number(match[1]));
  }
  return found.sort((a, b) => a - b);
}

/** Unreadable content can only be what a power cut left: a live owner linked it in complete. */
async function readOwner(path: string): Promise<Owner | 'gone' | 'unreadable'> {
  const bytes = await readRegular(path, LOCK_BYTES_MAX);
  if (bytes === undefined) return 'gone';
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    if (typeof value !== 'object' || value === null) return 'unreadable';
    if (!('pid' in value) || !('start' in value) || !('boot' in value)) return 'unreadable';
    const { pid, start, boot } = value;
    if (typeof pid !== 'number' || typeof start !== 'string' || typeof boot !== 'string') {
      return 'unreadable';
    }
    return { pid, start, boot };
  } catch {
    return 'unreadable';
  }
}

async function isAlive(owner: Owner, me: Owner): Promise<boolean> {
  if (owner.boot !== me.boot) return false;
  if (owner.start !== '') return (await startTime(owner.pid)) === owner.start;
  try {
    process.kill(owner.pid, 0);
    return true;
  } catch (cause) {
    return hasCode(cause, 'EPERM');
  }
}

/** Field 22 of /proc/PID/stat, counted after the command name; a zombie does not live. */
async function startTime(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

async function bootId(): Promise<string> {
  try {
    return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  } catch {
    return '';
  }
}
