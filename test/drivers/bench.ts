// The process driver on a bench: a temporary folder, a real clock, and a sure way to clean up.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { asReplicaId, releaseId, serviceName } from '../../src/model/ids.ts';
import { openMachine } from '../../src/drivers/process/machine.ts';
import {
  openProcessRuntime,
  type ProcessRuntimeOptions,
} from '../../src/drivers/process/process-runtime.ts';
import type { Clock, Log } from '../../src/world/clock.ts';
import type { ReplicaOrder, Runtime } from '../../src/world/runtime.ts';
import type { Answer, Habit, RuntimeBench } from '../contract/runtime.ts';

export const PROGRAM = fileURLToPath(new URL('programs/replica.mjs', import.meta.url));
const UNTIL_MS = 20_000;

export const realClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => Number(process.hrtime.bigint() / 1_000_000n),
  sleep: async (ms, signal) => {
    await sleep(ms, undefined, signal === undefined ? {} : { signal });
  },
};

export interface LogLine {
  readonly level: string;
  readonly text: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export function collectingLog(lines: LogLine[]): Log {
  const at =
    (level: string) =>
    (text: string, fields: Readonly<Record<string, unknown>> = {}): void =>
      void lines.push({ level, text, fields });
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

export async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = Date.now() + UNTIL_MS;
  while (!(await isSo())) {
    if (Date.now() > deadlineMs) throw new Error(`waited ${UNTIL_MS} ms in vain: ${what}`);
    await sleep(10);
  }
}

/** A zombie counts as dead. */
export function isAlive(pid: number): boolean {
  return openMachine().facts(pid)?.state === 'alive';
}

/** Some ports that are free now; which of them, the kernel has just told us. */
export async function freeRange(): Promise<{ from: number; to: number }> {
  const server = createServer();
  await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 20_000;
  await new Promise((done) => void server.close(done));
  const from = Math.min(port, 65_500);
  return { from, to: from + 30 };
}

export function orderOf(id: string, habit: Habit, detail = ''): ReplicaOrder {
  return {
    id: asReplicaId(id),
    service: serviceName(id.replace(/-\d+$/u, '')),
    release: releaseId('r-0123456789ab'),
    cwd: tmpdir(),
    command: ['node', PROGRAM, habit, detail],
    env: {},
    port: 0,
    memoryBytes: undefined,
    cpuCores: undefined,
    logBytes: 16 * 1024 * 1024,
  };
}

export interface ProcessBench extends RuntimeBench {
  readonly dir: string;
  readonly options: ProcessRuntimeOptions;
  readonly lines: readonly LogLine[];
  order(id: string, habit: Habit, detail?: string): ReplicaOrder;
}

export async function openBench(): Promise<ProcessBench> {
  const dir = await mkdtemp(join(tmpdir(), 'kintsugi-process-'));
  const lines: LogLine[] = [];
  const options: ProcessRuntimeOptions = {
    dir: join(dir, 'runtime'),
    instance: 'test',
    portRange: await freeRange(),
    log: collectingLog(lines),
    clock: realClock,
  };
  const runtime = await openProcessRuntime(options);
  const opened: Runtime[] = [runtime];
  return {
    dir: options.dir,
    options,
    lines,
    runtime,
    async reopen() {
      for (const each of opened) await each.close();
      const next = await openProcessRuntime(options);
      opened.push(next);
      return next;
    },
    order: orderOf,
    ask,
    isAlive,
    until,
    async dispose() {
      for (const each of opened) await each.close();
      if (hasRecords(options.dir)) {
        const last = await openProcessRuntime(options);
        await last.adopt(new Set());
        await last.close();
      }
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** What has none has ended, or is found by the runner of the tests. */
function hasRecords(dir: string): boolean {
  const folder = join(dir, 'replicas');
  return existsSync(folder) && readdirSync(folder).length > 0;
}

async function ask(
  endpoint: { host: string; port: number },
  path: string,
): Promise<Answer | undefined> {
  try {
    const url = `http://${endpoint.host}:${endpoint.port}${path}`;
    const response = await fetch(url, { signal: AbortSignal.timeout(5000) });
    return (await response.json()) as Answer;
  } catch {
    return undefined;
  }
}

/** Everything that is written below a folder, to look for what must not be there. */
export function textsBelow(folder: string): readonly { path: string; text: string }[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ path, text: readFileSync(path, 'utf8') }));
}
