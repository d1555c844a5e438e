// The launcher: a process that is small, so that starting another from it is quick. Forking from
// the controller would copy the page tables of its whole store (30 ms where this takes 3). It
// starts what it is told to, reports ends, and knows nothing else; when the controller goes, it
// goes too, and the replicas go on (RT3).
//
//   LA1. What it is told comes over its pipe: no argument and no environment of its own holds a
//        secret.
import { spawn } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import type { LaunchOrder, LaunchReport } from './launcher.ts';

const { O_APPEND, O_NOFOLLOW, O_WRONLY } = constants;

function report(message: LaunchReport): void {
  process.send?.(message, undefined, undefined, () => undefined);
}

function codeOf(error: unknown): string {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'unknown error';
}

function launch({ n, file, args, cwd, env, log }: LaunchOrder): void {
  let fd: number | undefined;
  try {
    fd = openSync(log, O_WRONLY | O_APPEND | O_NOFOLLOW);
    // Its own session and group: out of reach of our terminal, and one group to end.
    const stdio = ['ignore', fd, fd] as const;
    const child = spawn(file, args, { cwd, env, detached: true, stdio: [...stdio] });
    const { pid } = child;
    child.on('error', (error) => {
      if (pid === undefined) report({ n, kind: 'refused', code: codeOf(error) });
    });
    child.on('exit', (code, signal) => report({ n, kind: 'ended', code, signal }));
    if (pid !== undefined) report({ n, kind: 'launched', pid });
  } catch (error) {
    report({ n, kind: 'refused', code: codeOf(error) });
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

process.on('message', (order: LaunchOrder) => launch(order));
process.on('disconnect', () => process.exit(0));
// A stop of the controller must not end us first: the ends that it still causes are to be seen.
for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(name, () => undefined);
