// Replicas, tenants and a gate in simulated time: a discrete-event loop small enough to be read.
// Each replica works on one request at a time, in order, as a busy Node process does; then the
// request may wait for something else, such as a database, beside others.
import { Gate } from '../../../src/gateway/fair/gate.ts';
import type { GateOptions } from '../../../src/gateway/fair/gate.ts';

export interface Clockwork {
  nowMs: number;
  at(ms: number, act: () => void): () => void;
  /** Runs what is due until then; promises settle in between. */
  until(ms: number): Promise<void>;
}

interface Due {
  readonly ms: number;
  readonly seq: number;
  readonly act: () => void;
}

/** A heap by time, then by order. */
export function clockwork(): Clockwork {
  const heap: Due[] = [];
  let seq = 0;
  const before = (a: Due, b: Due): boolean => a.ms < b.ms || (a.ms === b.ms && a.seq < b.seq);
  const swap = (i: number, j: number): void => {
    const [a, b] = [heap[i], heap[j]];
    if (a === undefined || b === undefined) return;
    heap[i] = b;
    heap[j] = a;
  };
  const isBefore = (i: number, j: number): boolean => {
    const [a, b] = [heap[i], heap[j]];
    return a !== undefined && b !== undefined && before(a, b);
  };
  const push = (due: Due): void => {
    heap.push(due);
    for (let i = heap.length - 1; i > 0 && isBefore(i, (i - 1) >> 1); i = (i - 1) >> 1) {
      swap(i, (i - 1) >> 1);
    }
  };
  const pop = (): Due | undefined => {
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || first === undefined || heap.length === 0) return first;
    heap[0] = last;
    for (let i = 0; ;) {
      let least = i;
      if (isBefore(2 * i + 1, least)) least = 2 * i + 1;
      if (isBefore(2 * i + 2, least)) least = 2 * i + 2;
      if (least === i) return first;
      swap(i, least);
      i = least;
    }
  };
  const clock: Clockwork = {
    nowMs: 0,
    at(ms, act) {
      let off = false;
      seq += 1;
      push({ ms: Math.max(ms, clock.nowMs), seq, act: () => (off ? undefined : act()) });
      return () => (off = true);
    },
    async until(ms) {
      for (let n = 1; ; n += 1) {
        const next = heap[0];
        if (next === undefined || next.ms > ms) break;
        pop();
        clock.nowMs = next.ms;
        next.act();
        // Whoever was let in goes on before the next thing happens.
        await Promise.resolve();
        await Promise.resolve();
      }
      clock.nowMs = ms;
    },
  };
  return clock;
}

export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state + 0.5) / 4_294_967_296;
  };
}

export interface Tally {
  sent: number;
  answered: number;
  shed: number;
  readonly tookMs: number[];
}

export interface Town {
  readonly clock: Clockwork;
  readonly gate: Gate | undefined;
  readonly tallies: Map<string, Tally>;
  /** A tenant sends at random moments, so many a second, from `fromMs` to `toMs`. */
  sends(tenant: string, perSecond: number, fromMs: number, toMs: number, weight?: number): void;
  /** How much slower every replica works from now on. */
  slower: number;
}

export interface TownOptions {
  readonly seed: number;
  readonly replicas: number;
  readonly workMs: number;
  readonly restMs?: number;
  readonly gate?: Partial<GateOptions>;
}

export function town(options: TownOptions): Town {
  const clock = clockwork();
  const rand = random(options.seed);
  const exponential = (mean: number): number => -Math.log(rand()) * mean;
  const freeAtMs = Array.from({ length: options.replicas }, () => 0);
  const inside = Array.from({ length: options.replicas }, () => 0);
  const tallies = new Map<string, Tally>();
  const gate =
    options.gate === undefined
      ? undefined
      : new Gate({
          ceiling: 1_000,
          nowMs: () => clock.nowMs,
          later: (ms, act) => clock.at(clock.nowMs + ms, act),
          ...options.gate,
        });
  const tallyOf = (tenant: string): Tally => {
    const known = tallies.get(tenant);
    if (known !== undefined) return known;
    const made: Tally = { sent: 0, answered: 0, shed: 0, tookMs: [] };
    tallies.set(tenant, made);
    return made;
  };
  const serve = (tenant: string, sentAtMs: number, generation: number): void => {
    const startMs = clock.nowMs;
    const least = Math.min(...inside);
    const at = inside.indexOf(least);
    inside[at] = least + 1;
    // Half of it is fixed, the rest varies.
    const work = made.slower * (options.workMs / 2 + exponential(options.workMs / 2));
    const endMs = Math.max(startMs, freeAtMs[at] ?? 0) + work;
    freeAtMs[at] = endMs;
    const restMs = (options.restMs ?? 0) * (0.5 + rand());
    clock.at(endMs + restMs, () => {
      inside[at] = (inside[at] ?? 1) - 1;
      const tally = tallyOf(tenant);
      tally.answered += 1;
      tally.tookMs.push(clock.nowMs - sentAtMs);
      gate?.leave(tenant, clock.nowMs - startMs, 'ok', clock.nowMs, generation);
    });
  };
  const one = (tenant: string, weight: number): void => {
    const sentAtMs = clock.nowMs;
    const tally = tallyOf(tenant);
    tally.sent += 1;
    const entry = gate?.enter(tenant, weight, sentAtMs) ?? 'in';
    if (entry === 'in') serve(tenant, sentAtMs, gate?.generation ?? 0);
    else if (entry.kind === 'shed') tally.shed += 1;
    else {
      void entry.answer.then((answer) => {
        if (answer === 'in') serve(tenant, sentAtMs, entry.generation);
        else tally.shed += 1;
      });
    }
  };
  const made: Town = {
    clock,
    gate,
    tallies,
    slower: 1,
    sends(tenant, perSecond, fromMs, toMs, weight = 6) {
      const next = (): void => {
        if (clock.nowMs >= toMs) return;
        one(tenant, weight);
        clock.at(clock.nowMs + exponential(1_000 / perSecond), next);
      };
      clock.at(fromMs + exponential(1_000 / perSecond), next);
    },
  };
  return made;
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
