// How many entries are acknowledged in a time, and what did that cost? Some writers, each waiting
// for its entry before it sends the next one; a time to get warm, then the time that counts.
import { quantile } from '../heal/numbers.ts';
import type { Measured, Pace, Passed } from './job.ts';

export interface Load {
  readonly pace: Pace;
  /** Resolves when acknowledged; answers how many entries that were. */
  readonly write: (n: number, writer: number) => Promise<number> | number;
  /** CPU time that others spend for us, e.g. a database server. */
  readonly elsewhereMs?: () => number;
}

interface Mark {
  readonly atMs: number;
  readonly cpuMs: number;
}

export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

export const peakRssBytes = (): number => process.resourceUsage().maxRSS * 1024;

/**
 * The clock is looked at after each acknowledgement instead of by a timer: a writer that never
 * gives the thread back (SQLite) would not let a timer come.
 */
export async function drive(load: Load): Promise<Omit<Measured, 'entryBytes'>> {
  const { warmMs, forMs, writers } = load.pace;
  const elsewhereMs = load.elsewhereMs ?? ((): number => 0);
  const mark = (): Mark => ({ atMs: performance.now(), cpuMs: cpuMs() + elsewhereMs() });
  const latencies: number[] = [];
  const beginMs = performance.now();
  let from: Mark | undefined;
  let until: Mark | undefined;
  let next = 0;
  let entries = 0;
  const acknowledged = (count: number, sentMs: number): void => {
    const nowMs = performance.now();
    if (from === undefined) {
      if (nowMs - beginMs >= warmMs) from = mark();
      return;
    }
    if (until !== undefined) return;
    entries += count;
    latencies.push(nowMs - sentMs);
    if (nowMs - from.atMs >= forMs) until = mark();
  };
  const loop = async (writer: number): Promise<void> => {
    // Ends with the time of the job.
    while (until === undefined) {
      const sentMs = performance.now();
      acknowledged(await load.write(next++, writer), sentMs);
    }
  };
  await Promise.all(Array.from({ length: writers }, (_, writer) => loop(writer)));
  const first: Mark = from ?? mark();
  const last: Mark = until ?? mark();
  return {
    entries,
    wallMs: last.atMs - first.atMs,
    cpuMs: last.cpuMs - first.cpuMs,
    p50Ms: quantile(latencies, 0.5) ?? 0,
    p99Ms: quantile(latencies, 0.99) ?? 0,
    rssBytes: peakRssBytes(),
  };
}

/** What one piece of work over a whole log took. */
export async function passed(
  work: () => Promise<{ entries: number; root: string }>,
): Promise<Passed> {
  const fromMs = performance.now();
  const fromCpuMs = cpuMs();
  const { entries, root } = await work();
  return {
    entries,
    root,
    wallMs: performance.now() - fromMs,
    cpuMs: cpuMs() - fromCpuMs,
    rssBytes: peakRssBytes(),
  };
}
