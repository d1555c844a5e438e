// The peer that costs nothing: a parent that starts a new worker when one exits.
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { appEnvironment } from './app.ts';
import type { App } from './app.ts';
import { sleep, until } from './clock.ts';
import type { Contender } from './contender.ts';
import { atEnd, freePorts, isAlive, owned, signal } from './processes.ts';

const SETTLE_MS = 30_000;

export interface Respawn extends Contender {
  supervisorPid(): number | undefined;
}

export async function openRespawn(app: App): Promise<Respawn> {
  const [port = 0] = await freePorts(1);
  const parent = owned(
    spawn(
      process.execPath,
      [join(import.meta.dirname, 'respawn-parent.ts'), join(app.good, 'service.ts'), '3'],
      {
        cwd: app.good,
        env: { ...appEnvironment(app), PORT: String(port) },
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      },
    ),
  );
  const close = atEnd(async () => {
    if (parent.pid === undefined || parent.exitCode !== null) return;
    const workers = childrenOf(parent.pid);
    parent.kill('SIGKILL');
    for (const pid of workers) signal(pid, 'SIGKILL');
    await until(5_000, () => workers.every((pid) => !isAlive(pid)));
  });
  return {
    name: 'bare respawn (node:cluster)',
    door: { host: '127.0.0.1', port, path: '/alpha/x', headers: {} },
    settle: async (load) => {
      const fine = await until(SETTLE_MS, () => load.serving().length === 3);
      if (!fine) throw new Error('the bare respawn does not come back to three workers');
      await sleep(300);
    },
    timeline: async () => [],
    supervisorPid: () => parent.pid,
    close,
  };
}

export function childrenOf(parent: number): number[] {
  try {
    return readdirSync('/proc')
      .map(Number)
      .filter(Number.isSafeInteger)
      .filter((pid) => {
        try {
          const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
          return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent;
        } catch {
          return false;
        }
      });
  } catch {
    return [];
  }
}
