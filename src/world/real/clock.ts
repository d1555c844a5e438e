// What time is it on this machine? `process.hrtime` is CLOCK_MONOTONIC, which counts from boot and
// is the same for every process of the machine, so a value outlives a restart of this one.
//
//   CL1. A sleep that is over, however it ended, leaves no timer and no listener behind.
import type { Clock } from '../clock.ts';

/** Above this setTimeout fires at once; a longer sleep is made of several. */
const TIMER_MAX_MS = 2 ** 31 - 1;

export function openClock(): Clock {
  return { nowMs: () => Date.now(), monotonicMs, sleep };
}

function monotonicMs(): number {
  // 2^53 ns are 104 days: divide as bigint first, or precision is lost on machines that run long.
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  const until = monotonicMs() + Math.max(0, ms);
  for (let left = Math.max(0, ms); left > 0; left = until - monotonicMs()) {
    await nap(Math.min(left, TIMER_MAX_MS), signal);
    if (left <= TIMER_MAX_MS) return;
  }
  signal?.throwIfAborted();
}

function nap(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason);
      return;
    }
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
