// A Node process of the bench, from its start to its output. Each leads a group of its own, so that
// Ctrl-C ends what it started as well, before the folder that they write to is removed.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { atEnd } from '../heal/processes.ts';

export interface Ended {
  /** `exit code N`, or the signal that ended it. */
  readonly end: string;
  readonly code: number | null;
  readonly out: string;
  readonly problem: string;
}

const running = new Set<ChildProcess>();
let isWatched = false;

export async function runNode(
  args: readonly string[],
  input: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<Ended> {
  if (!isWatched) atEnd(endRunning);
  isWatched = true;
  const child = spawn(process.execPath, args, { env, detached: true, stdio: 'pipe' });
  running.add(child);
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  try {
    const [out, problem] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close'),
    ]);
    const end = child.signalCode ?? `exit code ${child.exitCode}`;
    return { end, code: child.exitCode, out, problem: problem.trim().slice(-2000) };
  } finally {
    running.delete(child);
  }
}

async function endRunning(): Promise<void> {
  const closed = [...running].map((child) => once(child, 'close'));
  for (const { pid } of running) {
    if (pid === undefined) continue;
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }
  await Promise.all(closed);
}
