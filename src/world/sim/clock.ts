// What time is it in a simulation? Virtual time, which stands still while anybody computes and
// then jumps to the next timer. The wall clock runs beside it and can be stepped.
//
//   SC1. Time moves only inside `runUntil`, never back, and only when nothing is left to compute.
//   SC2. A sleep that is over, however it ended, leaves no timer and no listener behind.
//   SC3. What belongs to an incarnation that died is never woken.
import type { Clock } from '../clock.ts';
import { openHeap } from './heap.ts';
import type { Timer } from './heap.ts';

/** One start of the control plane. What it waits for when it dies never comes. */
export interface Life {
  dead: boolean;
}

export interface SimClock extends Clock {
  /** Does `work` at this moment; the answer takes it back. */
  at(atMs: number, work: () => void): () => void;
  after(ms: number, work: () => void): () => void;
  stepWall(byMs: number): void;
  runUntil(untilMs: number): Promise<void>;
  /** The same clock for one incarnation (SC3). */
  ownedBy(life: Life): Clock;
  /** Timers that were ever fired. */
  readonly fired: number;
}

export interface SimClockSetup {
  readonly startMs: number;
  readonly wallMs: number;
  /** Resolves when every promise that can settle has settled: a turn of the event loop. */
  readonly settle: () => Promise<void>;
}

export function openSimClock(setup: SimClockSetup): SimClock {
  return new VirtualClock(setup);
}

class VirtualClock implements SimClock {
  fired = 0;
  readonly #heap = openHeap();
  readonly #settle: () => Promise<void>;
  #nowMs: number;
  #offsetMs: number;
  #order = 0;

  constructor({ startMs, wallMs, settle }: SimClockSetup) {
    this.#nowMs = startMs;
    this.#offsetMs = wallMs - startMs;
    this.#settle = settle;
  }

  nowMs(): number {
    return this.#nowMs + this.#offsetMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  stepWall(byMs: number): void {
    this.#offsetMs += byMs;
  }

  at(atMs: number, work: () => void): () => void {
    const timer: Timer = { atMs: Math.max(this.#nowMs, atMs), order: this.#order, fire: work };
    this.#order += 1;
    this.#heap.push(timer);
    return () => {
      timer.fire = undefined;
    };
  }

  after(ms: number, work: () => void): () => void {
    return this.at(this.#nowMs + ms, work);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return this.#sleep(ms, signal, undefined);
  }

  ownedBy(life: Life): Clock {
    return {
      nowMs: () => this.nowMs(),
      monotonicMs: () => this.#nowMs,
      sleep: (ms, signal) => this.#sleep(ms, signal, life),
    };
  }

  async runUntil(untilMs: number): Promise<void> {
    const heap = this.#heap;
    await this.#settle();
    for (let next = heap.peek(); next !== undefined && next.atMs <= untilMs; next = heap.peek()) {
      const nowMs = next.atMs;
      this.#nowMs = nowMs;
      // All of one moment: they cannot know of each other before their promises settle.
      for (let due = heap.peek(); due !== undefined && due.atMs === nowMs; due = heap.peek()) {
        heap.pop();
        this.fired += 1;
        due.fire?.();
      }
      await this.#settle();
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  #sleep(ms: number, signal: AbortSignal | undefined, life: Life | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason);
        return;
      }
      const cancel = this.after(Math.max(0, ms), () => {
        signal?.removeEventListener('abort', onAbort);
        if (life?.dead !== true) resolve();
      });
      const onAbort = (): void => {
        cancel();
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}
