// One fault under load, and what its clients saw of it. The same code for every contender, and only
// what the clients see counts:
//
//   the fault          the moment just before the signal is sent
//   failed             requests due from 200 ms before the fault until 1 s after the capacity was
//                      back (or the cap): no 2xx within 1 s of the time at which they were due
//   full capacity back end of the first good answer from a process that did not serve before the
//                      fault, while both others are alive: three serve again
//   held               requests without an answer 300 ms after they were sent, or with none at all:
//                      those that the stopped process had inside
import { nowMs, sleep } from './clock.ts';
import type { Contender, Moment } from './contender.ts';
import { LATE_MAX_MS } from './load.ts';
import type { Load } from './load.ts';
import { isAlive, signal } from './processes.ts';
import { isFailed, isRepeatable } from './records.ts';
import type { Answer } from './records.ts';

export interface RoundOptions {
  readonly fault: 'SIGKILL' | 'SIGSTOP';
  /** Waited for the capacity at most. */
  readonly capMs: number;
}

export interface Round {
  /** Ms after the fault, undefined: not within the cap. */
  readonly backMs: number | undefined;
  readonly failed: number;
  readonly failedRepeatable: number;
  /** Requests in the span in which failures were counted. */
  readonly requests: number;
  readonly held: number;
  /** Ms after the fault at which the last held request was sent, 0 when none was held. */
  readonly lastHeldMs: number;
  /** The worst latency of a repeatable request in the span. */
  readonly worstMs: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly lateMs: number;
  readonly disturbed: boolean;
  readonly timeline: readonly Moment[];
}

const BEFORE_MS = 200;
const AFTER_MS = 1_000;
const HELD_MS = 300;
const REPLICAS = 3;

export async function playRound(
  contender: Contender,
  load: Load,
  index: number,
  options: RoundOptions,
): Promise<Round> {
  await contender.settle(load);
  const before = load.serving();
  const victim = before[index % before.length];
  if (before.length !== REPLICAS || victim === undefined) {
    throw new Error(`${contender.name}: ${before.length} processes serve, not ${REPLICAS}`);
  }
  const faultMs = nowMs();
  process.kill(victim, options.fault);
  const back = await load.first(faultMs, options.capMs, (answer) => {
    const isNew = answer.pid > 0 && !before.includes(answer.pid) && !isFailed(answer);
    return isNew && before.every((pid) => pid === victim || isAlive(pid));
  });
  await sleep(AFTER_MS);
  const untilMs = (back?.endMs ?? nowMs() - AFTER_MS) + AFTER_MS;
  await load.settled(untilMs);
  const timeline = await contender.timeline(faultMs);
  const answers = load.between(faultMs - BEFORE_MS, untilMs);
  if (options.fault === 'SIGSTOP' && isAlive(victim)) signal(victim, 'SIGKILL');
  return judged(answers, faultMs, back, {
    lateMs: load.worstLateMs(faultMs - BEFORE_MS, untilMs),
    timeline,
  });
}

function judged(
  answers: readonly Answer[],
  faultMs: number,
  back: Answer | undefined,
  facts: { readonly lateMs: number; readonly timeline: readonly Moment[] },
): Round {
  const failed = answers.filter(isFailed);
  const held = answers.filter(
    (a) => a.endMs > faultMs && (a.endMs - a.sentMs > HELD_MS || a.status === 0),
  );
  const last = Math.max(0, ...held.map((a) => a.sentMs - faultMs));
  const errors: Record<string, number> = {};
  for (const answer of failed) {
    const name = answer.error ?? (answer.status === 200 ? 'over 1 s' : String(answer.status));
    errors[name] = (errors[name] ?? 0) + 1;
  }
  return {
    backMs: back === undefined ? undefined : back.endMs - faultMs,
    failed: failed.length,
    failedRepeatable: failed.filter(isRepeatable).length,
    requests: answers.length,
    held: held.length,
    lastHeldMs: last,
    worstMs: Math.max(0, ...answers.filter(isRepeatable).map((a) => a.endMs - a.dueMs)),
    errors,
    lateMs: facts.lateMs,
    disturbed: facts.lateMs > LATE_MAX_MS,
    timeline: facts.timeline,
  };
}

export interface Series {
  readonly contender: string;
  readonly rounds: readonly Round[];
  /** Rounds that were played again because the generator itself was late. */
  readonly repeated: number;
}

const REPEATS_MAX = 5;

export async function playSeries(
  contender: Contender,
  load: Load,
  count: number,
  options: RoundOptions,
): Promise<Series> {
  const rounds: Round[] = [];
  let repeated = 0;
  while (rounds.length < count) {
    const round = await playRound(contender, load, rounds.length + repeated, options);
    if (round.disturbed && repeated < REPEATS_MAX) repeated += 1;
    else rounds.push(round);
  }
  return { contender: contender.name, rounds, repeated };
}

/** What happened inside, with the median of its time over the rounds, in the order of time. */
export function typicalTimeline(rounds: readonly Round[]): readonly (Moment & { times: number })[] {
  const byName = new Map<string, number[]>();
  for (const { timeline } of rounds) {
    const seen = new Map<string, number>();
    for (const { what, afterMs } of timeline) {
      // The same thing may happen twice in a round: told apart by its turn.
      const turn = (seen.get(what) ?? 0) + 1;
      seen.set(what, turn);
      const name = turn === 1 ? what : `${what} (${turn})`;
      byName.set(name, [...(byName.get(name) ?? []), afterMs]);
    }
  }
  return [...byName]
    .map(([what, times]) => {
      const sorted = times.toSorted((a, b) => a - b);
      return { what, afterMs: sorted[Math.floor(sorted.length / 2)] ?? 0, times: times.length };
    })
    .toSorted((a, b) => a.afterMs - b.afterMs);
}
