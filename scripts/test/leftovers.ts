// Which processes did a test start and not end? A test runs with a mark in its environment, which
// its children inherit; those that were given a clean environment are found by descent, which is
// noted while the test runs because an orphan no longer knows where it came from. Linux only.

import { readdirSync, readFileSync } from 'node:fs';
import type { Kin } from './events.ts';

export const MARK = 'KINTSUGI_TEST_ID';
/** `USER_HZ`, the same on every Linux that Node runs on. */
const TICK_MS = 10;

interface Seen extends Kin {
  readonly parent: number;
  readonly state: string;
  /** Used by itself and by those of its children that ended before it. */
  readonly cpuMs: number;
}

export interface Leftover {
  readonly pid: number;
  readonly command: string;
}

/** The processes that descend from one test process, as far as they were noticed. */
export class Family {
  readonly #known = new Map<number, string>();
  /** Of those whose parent is none of the family: nobody else counts what they use. */
  readonly #loose = new Map<string, number>();
  readonly #root: number;
  readonly #mark: string;

  constructor(root: number, mark: string) {
    this.#root = root;
    this.#mark = mark;
  }

  /** Notes who descends from the test by now. Costs one read per process of the machine. */
  notice(): void {
    const all = readProcesses();
    const startedAt = new Map(all.map((seen) => [seen.pid, seen.startedAt]));
    const living = [...this.#known].filter(([pid, at]) => startedAt.get(pid) === at);
    this.add(descendants(all, [this.#root, ...living.map(([pid]) => pid)]));
    for (const { pid, startedAt: at, parent, cpuMs } of all) {
      const isKin = this.#known.get(pid) === at;
      if (isKin && parent !== this.#root && !this.#known.has(parent))
        this.#loose.set(`${pid} ${at}`, cpuMs);
    }
  }

  /** As last noticed, of what outlived its parents; what came and went in between is missing. */
  looseCpuMs(): number {
    return [...this.#loose.values()].reduce((sum, each) => sum + each, 0);
  }

  add(kin: readonly Kin[]): void {
    for (const { pid, startedAt } of kin) this.#known.set(pid, startedAt);
  }

  /** Those that are still alive (a zombie is not) without the test process itself. */
  alive(): readonly Leftover[] {
    const living = readProcesses().filter(({ state }) => state !== 'Z' && state !== 'X');
    return living
      .filter(({ pid }) => pid !== this.#root && pid !== process.pid)
      .filter(({ pid, startedAt }) => this.#known.get(pid) === startedAt || this.#isMarked(pid))
      .map(({ pid }) => ({ pid, command: commandOf(pid) }));
  }

  #isMarked(pid: number): boolean {
    return read(`/proc/${pid}/environ`).split('\0').includes(`${MARK}=${this.#mark}`);
  }
}

export const cpuMsOf = (pid: number): number =>
  parseStat(pid, read(`/proc/${pid}/stat`))[0]?.cpuMs ?? 0;

export const descendantsOf = (pid: number): readonly Kin[] => descendants(readProcesses(), [pid]);

function descendants(all: readonly Seen[], roots: readonly number[]): readonly Kin[] {
  const byParent = Map.groupBy(all, ({ parent }) => parent);
  const found = new Map<number, Kin>();
  const waiting = [...roots];
  for (let pid = waiting.pop(); pid !== undefined; pid = waiting.pop()) {
    for (const { pid: child, startedAt } of byParent.get(pid) ?? []) {
      if (found.has(child)) continue;
      found.set(child, { pid: child, startedAt });
      waiting.push(child);
    }
  }
  return [...found.values()];
}

function readProcesses(): readonly Seen[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => parseStat(Number(name), read(`/proc/${name}/stat`)));
}

function parseStat(pid: number, stat: string): readonly Seen[] {
  // The command stands in parentheses and may itself contain some, and spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, parent] = fields;
  const startedAt = fields[19];
  if (state === undefined || parent === undefined || startedAt === undefined) return [];
  const ticks = fields.slice(11, 15).reduce((sum, each) => sum + Number(each), 0);
  return [{ pid, parent: Number(parent), state, startedAt, cpuMs: ticks * TICK_MS }];
}

function commandOf(pid: number): string {
  return read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim().slice(0, 120);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // It ended in between, or belongs to somebody else.
  }
}
