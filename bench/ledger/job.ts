// What is measured, in which process, and what comes back? Each job runs in a Node process of its
// own that reads it as JSON from stdin and prints its result as one line of JSON.
import { join } from 'node:path';
import { runNode } from './child.ts';

/** For how long, and with how many entries under way at the same time. */
export interface Pace {
  readonly writers: number;
  readonly warmMs: number;
  readonly forMs: number;
}

export interface Measured {
  readonly entries: number;
  readonly wallMs: number;
  /** Of the writing process, all threads; for a database server of its processes as well. */
  readonly cpuMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Peak of the writing process. */
  readonly rssBytes: number;
  /** Mean size of what one entry puts into the log. */
  readonly entryBytes: number;
}

export interface IntentTimes {
  readonly intentMs: readonly number[];
  readonly proofMs: readonly number[];
  readonly outcomeMs: readonly number[];
  readonly cpuMs: number;
}

export interface Passed {
  readonly entries: number;
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly rssBytes: number;
  readonly root: string;
}

export interface MemoryOfTenants {
  readonly tenants: number;
  readonly entries: number;
  readonly wallMs: number;
  /** Once the collector has given back what is free. */
  readonly rssGrowthBytes: number;
  /** Right after the last entry. */
  readonly atOnceGrowthBytes: number;
  readonly heapGrowthBytes: number;
  readonly peakRssBytes: number;
}

export type Content = 'opaque' | 'events';

export interface Jobs {
  readonly opaque: { readonly job: { dir: string; pace: Pace }; readonly result: Measured };
  readonly events: { readonly job: { dir: string; pace: Pace }; readonly result: Measured };
  readonly sqlite: {
    readonly job: { dir: string; pace: Pace; content: Content; batch: number };
    readonly result: Measured;
  };
  readonly postgres: {
    readonly job: { url: string; pace: Pace; content: Content; batch: number };
    readonly result: Measured;
  };
  readonly intents: {
    readonly job: { dir: string; warm: number; count: number };
    readonly result: IntentTimes;
  };
  readonly fill: {
    readonly job: { dir: string; entries: number; writers: number };
    readonly result: Passed;
  };
  readonly fsck: { readonly job: { dir: string }; readonly result: Passed };
  readonly open: { readonly job: { dir: string }; readonly result: Passed };
  readonly openEvents: { readonly job: { dir: string }; readonly result: Passed };
  readonly tenants: {
    readonly job: { dir: string; tenants: number; each: number };
    readonly result: MemoryOfTenants;
  };
}

export type JobKind = keyof Jobs;
export type JobOf<K extends JobKind> = Jobs[K]['job'];
export type ResultOf<K extends JobKind> = Jobs[K]['result'];

export const ENTRY_BYTES = 1024;
export const TENANTS = 1000;

const WORKER = join(import.meta.dirname, 'worker.ts');
const NODE_FLAGS = ['--expose-gc', '--disable-warning=ExperimentalWarning'];

export async function runJob<K extends JobKind>(kind: K, job: JobOf<K>): Promise<ResultOf<K>> {
  const ended = await runNode([...NODE_FLAGS, WORKER], JSON.stringify({ kind, job }));
  if (ended.code !== 0) throw new Error(`job ${kind}: ${ended.end}: ${ended.problem}`);
  return JSON.parse(ended.out) as ResultOf<K>;
}
