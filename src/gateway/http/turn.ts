// What time is it? Whoever handles what one read brought asks five to ten times within a few
// microseconds, and a look at a clock costs 45 ns.
//
//   TU1. While a turn runs its time stands still, and each clock is looked at once at most. Outside
//        of turns, in timers say, each question is a look.
import { performance } from 'node:perf_hooks';

let isInside = false;
let monotonicMs = 0;
let wallMs = 0;

/** Around what is done with one read, and nothing else; `endTurn` follows in any case. */
export function beginTurn(): void {
  isInside = true;
  monotonicMs = 0;
  wallMs = 0;
}

export function endTurn(): void {
  isInside = false;
}

/** As `world/clock.ts` has it. */
export const turnClock = {
  monotonicMs(): number {
    if (!isInside) return performance.now();
    if (monotonicMs === 0) monotonicMs = performance.now();
    return monotonicMs;
  },
  nowMs(): number {
    if (!isInside) return Date.now();
    if (wallMs === 0) wallMs = Date.now();
    return wallMs;
  },
};
