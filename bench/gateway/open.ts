// A load that does not wait: streams of requests at fixed rates, each with its start and its end,
// from a generator process; and what became of each request.
import { join } from 'node:path';
import { nowMs, sleep, until } from '../heal/clock.ts';
import { quantile } from '../heal/numbers.ts';
import { OTHER_CORE } from './bench.ts';
import { end, start } from './peers.ts';

export interface Stream {
  readonly name: string;
  readonly perSecond: number;
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly fields: readonly string[];
  readonly body?: string;
  /** With an Idempotency-Key of its own each. */
  readonly keyed?: boolean;
  /** Ms after the start of the load; undefined: all the time. */
  readonly fromMs?: number;
  readonly untilMs?: number;
}

export interface OpenPlan {
  readonly port: number;
  readonly streams: readonly Stream[];
  readonly lastsMs: number;
  readonly giveUpMs: number;
}

/** Times are monotonic ms of the machine. */
export interface OpenAnswer {
  readonly stream: number;
  readonly dueMs: number;
  readonly sentMs: number;
  readonly endMs: number;
  /** 0: no answer. */
  readonly status: number;
  /** The replica that answered, '' when none said so. */
  readonly who: string;
  readonly error: string | undefined;
}

export interface OpenReport {
  readonly atMs: number;
  readonly startMs: number;
  readonly answers: readonly OpenAnswer[];
  /** How late the generator itself was at worst since the last report. */
  readonly worstLateMs: number;
  readonly oldestDueMs: number | undefined;
  readonly isOver: boolean;
}

const SLOW_MS = 1_000;

/** No 2xx, or later than a second after the time at which it was due. */
export function isFailed(answer: OpenAnswer): boolean {
  return answer.status < 200 || answer.status > 299 || answer.endMs - answer.dueMs > SLOW_MS;
}

export interface OpenLoad {
  readonly answers: readonly OpenAnswer[];
  readonly startMs: () => number;
  /** Worst delay of the generator itself, ms. */
  readonly lateMs: () => number;
  /** The first answer that arrives from now on for which it holds. */
  first(capMs: number, holds: (answer: OpenAnswer) => boolean): Promise<OpenAnswer | undefined>;
  over(): Promise<void>;
  /** Sends nothing more, and waits for what is under way. */
  finish(): Promise<void>;
  stop(): Promise<void>;
}

export function openLoad(plan: OpenPlan): OpenLoad {
  const answers: OpenAnswer[] = [];
  let last: OpenReport | undefined;
  let lateMs = 0;
  const script = join(import.meta.dirname, 'open-generator.ts');
  const child = start(OTHER_CORE, [process.execPath, script]);
  child.on('message', (report: OpenReport) => {
    for (const answer of report.answers) answers.push(answer);
    lateMs = Math.max(lateMs, report.worstLateMs);
    last = report;
  });
  child.send(plan);
  const isOver = (): boolean =>
    last?.isOver === true || child.exitCode !== null || child.signalCode !== null;
  const over = async (): Promise<void> => {
    await until(plan.lastsMs + plan.giveUpMs + 10_000, isOver, 20);
    await sleep(10);
  };
  return {
    answers,
    startMs: () => last?.startMs ?? nowMs(),
    lateMs: () => lateMs,
    async first(capMs, holds) {
      let at = answers.length;
      let found: OpenAnswer | undefined;
      const look = (): boolean => {
        for (; at < answers.length && found === undefined; at += 1) {
          const answer = answers[at];
          if (answer !== undefined && holds(answer)) found = answer;
        }
        return found !== undefined;
      };
      await until(capMs, look, 5);
      return found;
    },
    over,
    async finish() {
      if (!isOver()) child.send('stop');
      await over();
    },
    stop: () => end(child),
  };
}

export interface Times {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly count: number;
  readonly failed: number;
}

/** From the moment of sending; how late the generator was is told apart. */
export function timesOf(answers: readonly OpenAnswer[]): Times {
  const took = answers.filter((a) => a.status > 0).map((a) => a.endMs - a.sentMs);
  return {
    p50Ms: quantile(took, 0.5) ?? 0,
    p99Ms: quantile(took, 0.99) ?? 0,
    count: answers.length,
    failed: answers.filter(isFailed).length,
  };
}
