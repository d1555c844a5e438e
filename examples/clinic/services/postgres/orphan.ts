// Is an earlier PostgreSQL still running on this data folder? If its supervisor was killed, the
// server lives on without anybody looking after it, and a second one cannot start.
//
// O1. The server is known by postmaster.pid *and* its working folder, which PostgreSQL sets to
//     the data folder: a recycled pid is never signalled.
// O2. It is asked to shut down fast, then immediately; it is never killed with SIGKILL, which
//     would leave shared memory and half-written state to guess about.
// O3. A stale postmaster.pid whose pid belongs to somebody else is removed, because PostgreSQL
//     would take that process for itself and refuse to start.
import { execFileSync } from 'node:child_process';
import { readFileSync, readlinkSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Refusal } from './refusal.ts';

export type OrphanReport =
  | { readonly kind: 'none' }
  | { readonly kind: 'stale'; readonly pid: number }
  | { readonly kind: 'stopped'; readonly pid: number; readonly signal: 'SIGINT' | 'SIGQUIT' };

const FAST_MS = 10_000;
const IMMEDIATE_MS = 5_000;
const LOOK_MS = 20;
const ASK_EVERY_MS = 500;

export async function stopOrphan(dataFolder: string): Promise<OrphanReport> {
  const pid = pidIn(dataFolder);
  if (pid === undefined) return { kind: 'none' };
  if (!isPostmasterOf(pid, dataFolder)) {
    rmSync(join(dataFolder, 'postmaster.pid'), { force: true });
    return { kind: 'stale', pid };
  }
  // SIGCONT as well: a stopped process would not even notice that it shall end.
  process.kill(pid, 'SIGCONT');
  for (const [signal, limitMs] of [
    ['SIGINT', FAST_MS],
    ['SIGQUIT', IMMEDIATE_MS],
  ] as const) {
    for (let waitedMs = 0; waitedMs < limitMs; waitedMs += LOOK_MS) {
      if (!isPostmasterOf(pid, dataFolder)) return { kind: 'stopped', pid, signal };
      // One that is just starting does not hear the first: it is asked again.
      if (waitedMs % ASK_EVERY_MS === 0) process.kill(pid, signal);
      await sleep(LOOK_MS);
    }
  }
  throw new Refusal(
    `An earlier PostgreSQL (pid ${pid}) on ${dataFolder} does not end.`,
    'Look what it is waiting for (its log, the disk), then end it and start again.',
  );
}

function pidIn(dataFolder: string): number | undefined {
  try {
    const [first] = readFileSync(join(dataFolder, 'postmaster.pid'), 'utf8').split('\n', 1);
    const pid = Number(first);
    return Number.isInteger(pid) && pid > 1 ? pid : undefined;
  } catch {
    return undefined;
  }
}

function isPostmasterOf(pid: number, dataFolder: string): boolean {
  try {
    if (process.platform === 'linux') {
      return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(dataFolder);
    }
    const command = execFileSync('ps', ['-p', String(pid), '-o', 'command='], {
      encoding: 'utf8',
    });
    return command.includes(dataFolder);
  } catch {
    // Gone, or a zombie: its links cannot be read any more.
    return false;
  }
}
