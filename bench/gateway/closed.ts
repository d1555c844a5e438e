// How many requests a second does somebody take, when each connection asks again as soon as it was
// answered? By wrk where it is installed, else by a generator of our own (slower).
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { median } from '../heal/numbers.ts';
import { nowMs } from '../heal/clock.ts';
import { cpuMs, pinned, which } from './peers.ts';
import type { Peer } from './peers.ts';

export interface Closed {
  readonly requests: number;
  readonly seconds: number;
  readonly failed: number;
}

export interface ClosedOptions {
  readonly connections: number;
  readonly seconds: number;
  /** Beside the usual ones. */
  readonly fields?: readonly string[];
  readonly tls?: boolean;
}

/** About 570 bytes and 8 fields with a credential, as in the project's earlier measurements. */
export const FIELDS: readonly string[] = [
  'Accept: application/json, text/plain, */*',
  'Accept-Encoding: gzip, deflate, br',
  'Accept-Language: en-GB,en;q=0.9,de;q=0.7',
  'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)',
  `Cookie: session=${'c'.repeat(136)}`,
  'X-Request-Id: 0123456789abcdef0123456789abcdef',
];
const NO_CREDENTIAL = [`Authorization: Bearer kin_bench_${'k'.repeat(80)}`];

export const PATH = '/api/v1/records?limit=20&after=01J0000000000000000';

export const closedBy = which('wrk') === undefined ? 'own generator' : 'wrk';

function run(command: readonly string[]): Promise<string> {
  const [file = '', ...args] = command;
  return new Promise((resolve, reject) => {
    execFile(file, args, { encoding: 'utf8' }, (error, out) => {
      if (error === null) resolve(out);
      else reject(error);
    });
  });
}

export async function closed(core: number, port: number, options: ClosedOptions): Promise<Closed> {
  const { connections, seconds, fields = NO_CREDENTIAL, tls = false } = options;
  const all = [...FIELDS, ...fields];
  if (closedBy !== 'wrk') {
    if (tls) throw new Error('TLS needs wrk');
    const script = join(import.meta.dirname, 'load.ts');
    const args = [port, connections, seconds].map(String);
    const out = await run(pinned(core, [process.execPath, script, ...args, ...all]));
    return JSON.parse(out) as Closed;
  }
  const flags = ['-t1', `-c${connections}`, `-d${seconds}s`, ...all.flatMap((f) => ['-H', f])];
  const url = `${tls ? 'https' : 'http'}://127.0.0.1:${port}${PATH}`;
  const out = await run(pinned(core, ['wrk', ...flags, url]));
  const done = /(\d+) requests in ([\d.]+)s/u.exec(out);
  const bad = /Non-2xx or 3xx responses: (\d+)/u.exec(out);
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/u.exec(out);
  const broken = (errors ?? []).slice(1).reduce((sum, count) => sum + Number(count), 0);
  const failed = Number(bad?.[1] ?? 0) + broken;
  return { requests: Number(done?.[1] ?? 0), seconds: Number(done?.[2] ?? seconds), failed };
}

export interface Rate {
  readonly perSecond: number;
  readonly perCpuSecond: number;
  /** Share of its core that it used: below 1, something else was the limit. */
  readonly busy: number;
  readonly failed: number;
}

/** Rounds of one contender. */
export interface Rates {
  readonly name: string;
  readonly rounds: readonly Rate[];
}

export async function rateOf(core: number, peer: Peer, options: ClosedOptions): Promise<Rate> {
  const beforeMs = cpuMs(peer.pids());
  const startMs = nowMs();
  const { requests, seconds, failed } = await closed(core, peer.port, options);
  const usedMs = Math.max(1, cpuMs(peer.pids()) - beforeMs);
  return {
    perSecond: requests / seconds,
    perCpuSecond: (requests * 1_000) / usedMs,
    busy: usedMs / Math.max(1, nowMs() - startMs),
    failed,
  };
}

/** One after another, and in each round another one begins: what drifts, drifts for all. */
export async function interleaved<C extends { readonly name: string }, T>(
  contenders: readonly C[],
  rounds: number,
  play: (contender: C, round: number) => Promise<T>,
): Promise<Map<string, T[]>> {
  const found = new Map(contenders.map(({ name }): [string, T[]] => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (let at = 0; at < contenders.length; at += 1) {
      const contender = contenders[(at + round) % contenders.length];
      if (contender === undefined) continue;
      found.get(contender.name)?.push(await play(contender, round));
    }
  }
  return found;
}

/** Median of the ratios within each round: what a whole round suffers from cancels out. */
export function ratioOf<T>(
  rounds: ReadonlyMap<string, readonly T[]>,
  names: readonly [one: string, other: string],
  of: (value: T) => number,
): number | undefined {
  const others = rounds.get(names[1]) ?? [];
  const ratios = (rounds.get(names[0]) ?? []).flatMap((value, i) => {
    const base = others[i];
    return base === undefined || of(base) === 0 ? [] : [of(value) / of(base)];
  });
  return median(ratios);
}
