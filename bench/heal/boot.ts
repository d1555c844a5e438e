// How long does the service take to boot by itself? From spawn to the first 200, a bare process, no
// supervisor: the least that any of them can take without a spare.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { get } from 'node:http';
import { join } from 'node:path';
import { appEnvironment } from './app.ts';
import type { App } from './app.ts';
import { nowMs, sleep, until } from './clock.ts';
import { freePorts, owned } from './processes.ts';

const BOOT_MAX_MS = 20_000;

/** One boot, ms. */
export async function bootOnce(app: App): Promise<number> {
  const [port = 0] = await freePorts(1);
  const startedMs = nowMs();
  const child = owned(
    spawn(process.execPath, [join(app.good, 'service.ts')], {
      cwd: app.good,
      env: { ...appEnvironment(app), PORT: String(port) },
      stdio: 'ignore',
    }),
  );
  let tookMs: number | undefined;
  await until(
    BOOT_MAX_MS,
    async () => {
      if (await answers(port)) tookMs = nowMs() - startedMs;
      return tookMs !== undefined;
    },
    2,
  );
  const over = once(child, 'exit');
  child.kill('SIGKILL');
  await over;
  if (tookMs === undefined) throw new Error(`the bench service did not boot in ${BOOT_MAX_MS} ms`);
  return tookMs;
}

/** Lets one process live until its compiled code is on disk, as after any first start. */
export async function warmCompileCache(app: App): Promise<void> {
  const [port = 0] = await freePorts(1);
  const child = owned(
    spawn(process.execPath, [join(app.good, 'service.ts')], {
      cwd: app.good,
      env: { ...appEnvironment(app), PORT: String(port) },
      stdio: 'ignore',
    }),
  );
  await until(BOOT_MAX_MS, () => answers(port));
  const over = once(child, 'exit');
  child.kill('SIGTERM');
  await Promise.race([over, sleep(5_000)]);
  child.kill('SIGKILL');
}

export async function boots(app: App, count: number): Promise<number[]> {
  const took: number[] = [];
  for (let i = 0; i < count; i += 1) {
    took.push(await bootOnce(app));
    await sleep(50);
  }
  return took;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const sent = get({ host: '127.0.0.1', port, path: '/', agent: false, timeout: 1_000 }, (r) => {
      r.resume();
      r.on('end', () => resolve(r.statusCode === 200));
      r.on('error', () => resolve(false));
    });
    sent.on('timeout', () => sent.destroy());
    sent.on('error', () => resolve(false));
  });
}
