// On what did it run, and how busy was that machine? Numbers without these are worth nothing.
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os';
import { sleep } from './clock.ts';

const OTHERS_MS = 1_500;

export interface MachineFacts {
  readonly cores: number;
  readonly model: string;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
}

export function machineFacts(): MachineFacts {
  return {
    cores: availableParallelism(),
    model: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGiB: Math.round((totalmem() / 1024 ** 3) * 10) / 10,
    kernel: `${type()} ${release()}`,
    node: process.version,
  };
}

export interface Busyness {
  readonly loadavg: readonly number[];
  /** Shares of all cores since the first call. */
  readonly busy: number | undefined;
  readonly steal: number | undefined;
}

interface Ticks {
  readonly all: number;
  readonly idle: number;
  readonly steal: number;
}

function ticks(): Ticks | undefined {
  try {
    const line = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0] ?? '';
    const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, soft = 0, steal = 0] =
      line.split(/\s+/u).slice(1).map(Number);
    const all = user + nice + system + idle + iowait + irq + soft + steal;
    return { all, idle: idle + iowait, steal };
  } catch {
    return undefined;
  }
}

/** Answers a function that tells how busy the machine was since now. */
export function watchMachine(): () => Busyness {
  const first = ticks();
  return () => {
    const last = ticks();
    const load = loadavg().map((value) => Math.round(value * 100) / 100);
    if (first === undefined || last === undefined || last.all === first.all) {
      return { loadavg: load, busy: undefined, steal: undefined };
    }
    const all = last.all - first.all;
    const steal = (last.steal - first.steal) / all;
    return { loadavg: load, busy: 1 - (last.idle - first.idle) / all - steal, steal };
  };
}

/** Share of all cores that others use: asked while nothing of ours runs. */
export async function usedByOthers(): Promise<number | undefined> {
  const busyness = watchMachine();
  await sleep(OTHERS_MS);
  const { busy, steal } = busyness();
  return busy === undefined ? undefined : busy + (steal ?? 0);
}
