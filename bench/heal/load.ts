// How does the bench hold a load, and what did it see? One generator process, its answers as they
// come in, and questions about them.
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { nowMs, sleep, until } from './clock.ts';
import { owned } from './processes.ts';
import { isFailed } from './records.ts';
import type { Answer, Command, Mix, Report } from './records.ts';

/** Where to send requests. */
export interface Door {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface LoadOptions {
  readonly ratePerSecond: number;
  readonly mix: Mix;
}

export const REQUESTS_PER_CONNECTION = 4;
const GIVE_UP_MS = 5_000;
/** An own delay beyond this and the round is no evidence. */
export const LATE_MAX_MS = 100;

export class Load {
  readonly answers: Answer[] = [];
  readonly #lateness: { atMs: number; lateMs: number }[] = [];
  readonly #child: ChildProcess;
  #last: Pick<Report, 'atMs' | 'oldestDueMs'> = { atMs: 0, oldestDueMs: undefined };

  constructor(door: Door, options: LoadOptions) {
    this.#child = owned(
      fork(join(import.meta.dirname, 'generator.ts'), {
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      }),
    );
    this.#child.on('message', (report: Report) => {
      // Not by spreading: a report after a stall may be large.
      for (const answer of report.answers) this.answers.push(answer);
      this.#lateness.push({ atMs: report.atMs, lateMs: report.worstLateMs });
      this.#last = report;
    });
    const start: Command = {
      kind: 'start',
      ...door,
      ...options,
      requestsPerConnection: REQUESTS_PER_CONNECTION,
      giveUpMs: GIVE_UP_MS,
    };
    this.#child.send(start);
  }

  /** Requests that were due in this span and have ended. */
  between(fromMs: number, toMs: number): Answer[] {
    const found: Answer[] = [];
    // From the end: rounds ask about the last seconds of a long list.
    for (let i = this.answers.length - 1; i >= 0; i -= 1) {
      const answer = this.answers[i];
      if (answer === undefined || answer.endMs < fromMs) break;
      if (answer.dueMs >= fromMs && answer.dueMs < toMs) found.push(answer);
    }
    return found.toReversed();
  }

  worstLateMs(fromMs: number, toMs: number): number {
    const inside = this.#lateness.filter((l) => l.atMs >= fromMs && l.atMs <= toMs + 50);
    return Math.max(0, ...inside.map((l) => l.lateMs));
  }

  /** Processes that gave good answers in the last `spanMs`. */
  serving(spanMs = 1_000): number[] {
    const fromMs = nowMs() - spanMs;
    const good = this.between(fromMs, nowMs()).filter((a) => a.pid > 0 && !isFailed(a));
    return [...new Set(good.map((a) => a.pid))].sort((a, b) => a - b);
  }

  /** The first good answer after `sinceMs` for which it holds. */
  async first(
    sinceMs: number,
    capMs: number,
    holds: (answer: Answer) => boolean,
  ): Promise<Answer | undefined> {
    let at = this.answers.length;
    while (at > 0 && (this.answers[at - 1]?.endMs ?? 0) >= sinceMs) at -= 1;
    let found: Answer | undefined;
    await until(
      capMs,
      () => {
        for (; at < this.answers.length && found === undefined; at += 1) {
          const answer = this.answers[at];
          if (answer !== undefined && answer.endMs >= sinceMs && holds(answer)) found = answer;
        }
        return found !== undefined;
      },
      10,
    );
    return found;
  }

  /** Everything that was due before `dueMs` has ended and its record is at hand. */
  async settled(dueMs: number): Promise<void> {
    await until(GIVE_UP_MS + 2_000, () => {
      const { atMs, oldestDueMs } = this.#last;
      return atMs > dueMs && (oldestDueMs === undefined || oldestDueMs > dueMs);
    });
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.send({ kind: 'stop' } satisfies Command);
    await Promise.race([once(this.#child, 'exit'), sleep(GIVE_UP_MS + 2_000)]);
    this.#child.kill('SIGKILL');
  }
}
