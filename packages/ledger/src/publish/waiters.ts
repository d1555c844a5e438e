// Who waits until an entry is published, witnessed or anchored? Every wait ends: by the level, by
// its deadline, or because the publisher stops.
// PW1. No waiter is left behind: each has a deadline, and closing answers all that are left.

import { LedgerError } from '../errors.ts';

export type PublishLevel = 'published' | 'witnessed' | 'anchored';

export interface WaitClock {
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

interface Waiter {
  readonly level: PublishLevel;
  readonly index: number;
  readonly settle: (error?: LedgerError) => void;
}

export class Waiters {
  readonly #clock: WaitClock;
  readonly #max: number;
  readonly #waiting = new Set<Waiter>();
  readonly #sizes: Record<PublishLevel, number> = { published: 0, witnessed: 0, anchored: 0 };

  constructor(clock: WaitClock, max: number) {
    this.#clock = clock;
    this.#max = max;
  }

  get count(): number {
    return this.#waiting.size;
  }

  sizeOf(level: PublishLevel): number {
    return this.#sizes[level];
  }

  /** Resolves with the size that reached the level. PW1. */
  wait(level: PublishLevel, index: number, deadlineMs: number): Promise<number> {
    if (this.#sizes[level] > index) return Promise.resolve(this.#sizes[level]);
    if (this.#waiting.size >= this.#max) {
      const error = new LedgerError('KIN_LEDGER_OVERLOADED', `${this.#max} wait already`);
      return Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      const timer = new AbortController();
      const waiter: Waiter = {
        level,
        index,
        settle: (error) => {
          if (!this.#waiting.delete(waiter)) return;
          timer.abort();
          if (error === undefined) resolve(this.#sizes[level]);
          else reject(error);
        },
      };
      this.#waiting.add(waiter);
      const late = (): void => waiter.settle(this.#tooLate(level, index, deadlineMs));
      this.#clock.sleep(deadlineMs, timer.signal).then(late, late);
    });
  }

  /** Sizes only grow: a late answer about an older checkpoint changes nothing. */
  reached(level: PublishLevel, size: number): void {
    if (size <= this.#sizes[level]) return;
    this.#sizes[level] = size;
    for (const waiter of this.#waiting) {
      if (waiter.level === level && waiter.index < size) waiter.settle();
    }
  }

  failAll(error: LedgerError): void {
    for (const waiter of this.#waiting) waiter.settle(error);
  }

  #tooLate(level: PublishLevel, index: number, deadlineMs: number): LedgerError {
    const reached = `${level} is at size ${this.#sizes[level]}`;
    const what = `entry ${index} is durable, but was not ${level} within ${deadlineMs} ms`;
    return new LedgerError('KIN_LEDGER_DEADLINE', `${what} (${reached})`);
  }
}
