// The peer that most Node teams have: PM2 in cluster mode, as its documentation sets it up, with a
// home folder of its own, so that nobody's PM2 is touched.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, renameSync, rmSync, writeFileSync, cpSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { appEnvironment } from './app.ts';
import type { App } from './app.ts';
import { sleep, until } from './clock.ts';
import type { Contender } from './contender.ts';
import { atEnd, freePorts, isAlive, makeFolder, owned, signal } from './processes.ts';
import { childrenOf } from './respawn.ts';

const SETTLE_MS = 30_000;

export interface Pm2 extends Contender {
  supervisorPid(): number | undefined;
  /** Puts another release in place of the running one and reloads without downtime. */
  deploy(folder: string): Promise<void>;
}

export function pm2Version(): string {
  const path = createRequire(import.meta.url).resolve('pm2/package.json');
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
}

export async function openPm2(app: App): Promise<Pm2> {
  const home = makeFolder();
  const live = join(home, 'app');
  cpSync(app.good, live, { recursive: true });
  const [port = 0] = await freePorts(1);
  const program = join(
    dirname(createRequire(import.meta.url).resolve('pm2/package.json')),
    'bin',
    'pm2',
  );
  const env = {
    ...appEnvironment(app),
    PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
    PM2_HOME: join(home, 'pm2'),
    PM2_DISABLE_VERSION_CHECK: 'true',
    NO_COLOR: '1',
  };
  const run = async (...args: string[]): Promise<void> => {
    const child = owned(spawn(process.execPath, [program, ...args], { env, stdio: 'ignore' }));
    const [code] = (await once(child, 'exit')) as [number | null];
    if (code !== 0) throw new Error(`pm2 ${args[0] ?? ''} ended with ${code}`);
  };
  writeFileSync(join(home, 'ecosystem.json'), ecosystem(live, port, app.cache));
  const close = atEnd(async () => {
    const pid = daemonPid(join(home, 'pm2'));
    const workers = pid === undefined ? [] : childrenOf(pid);
    for (const worker of workers) signal(worker, 'SIGKILL');
    await Promise.race([run('kill').catch(() => undefined), sleep(10_000)]);
    if (pid !== undefined) signal(pid, 'SIGKILL');
    for (const worker of workers) signal(worker, 'SIGKILL');
    await until(5_000, () => workers.every((worker) => !isAlive(worker)));
  });
  await run('start', join(home, 'ecosystem.json'));
  return {
    name: `PM2 ${pm2Version()} (cluster)`,
    door: { host: '127.0.0.1', port, path: '/alpha/x', headers: {} },
    settle: async (load) => {
      const fine = await until(SETTLE_MS, () => load.serving().length === 3);
      if (!fine) throw new Error('PM2 does not come back to three workers');
      await sleep(300);
    },
    timeline: async () => [],
    supervisorPid: () => daemonPid(join(home, 'pm2')),
    deploy: async (folder) => {
      const beside = `${live}.new`;
      cpSync(folder, beside, { recursive: true });
      rmSync(live, { recursive: true });
      renameSync(beside, live);
      await run('reload', 'bench');
    },
    close,
  };
}

function ecosystem(folder: string, port: number, cache: string): string {
  return JSON.stringify({
    apps: [
      {
        name: 'bench',
        script: join(folder, 'service.ts'),
        cwd: folder,
        interpreter: 'node',
        exec_mode: 'cluster',
        instances: 3,
        wait_ready: true,
        listen_timeout: 5_000,
        kill_timeout: 5_000,
        exp_backoff_restart_delay: 100,
        env: { PORT: String(port), NODE_COMPILE_CACHE: cache },
      },
    ],
  });
}

function daemonPid(home: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(home, 'pm2.pid'), 'utf8'));
    return Number.isSafeInteger(pid) && pid > 1 ? pid : undefined;
  } catch {
    return undefined;
  }
}
