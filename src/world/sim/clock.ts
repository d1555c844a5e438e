// What time is it in a simulation? Virtual time, which stands still while anybody still computes and
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
  const heap = openHeap();
  let nowMs = setup.startMs;
  let offsetMs = setup.wallMs - setup.startMs;
  let order = 0;
  let fired = 0;

  function at(atMs: number, work: () => void): () => void {
    const timer: Timer = { atMs: Math.max(nowMs, atMs), order, fire: work };
    order += 1;
    heap.push(timer);
    return () => {
      timer.fire = undefined;
    };
  }
  const nowWallMs = (): number => nowMs + offsetMs;
  const monotonicMs = (): number => nowMs;

  function sleep(ms: number, signal: AbortSignal | undefined, life: Life | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason);
        return;
      }
      const cancel = at(nowMs + Math.max(0, ms), () => {
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

  async function runUntil(untilMs: number): Promise<void> {
    await setup.settle();
    for (let next = heap.peek(); next !== undefined && next.atMs <= untilMs; next = heap.peek()) {
      nowMs = next.atMs;
      // All of one moment: they cannot know of each other before their promises settle.
      for (let due = heap.peek(); due !== undefined && due.atMs === nowMs; due = heap.peek()) {
        heap.pop();
        fired += 1;
        due.fire?.();
      }
      await setup.settle();
    }
    nowMs = Math.max(nowMs, untilMs);
  }
  return {
    nowMs: nowWallMs,
    monotonicMs,
    sleep: (ms, signal) => sleep(ms, signal, undefined),
    at,
    after: (ms, work) => at(nowMs + ms, work),
    stepWall(byMs) {
      offsetMs += byMs;
    },
    runUntil,
    ownedBy: (life) => ({
      nowMs: nowWallMs,
      monotonicMs,
      sleep: (ms, signal) => sleep(ms, signal, life),
    }),
    get fired() {
      return fired;
    },
  };
}
