// Levels that climb, and levels that only look so, made from a seed: garbage collection
// (saw-tooth), daily pattern, noise; on top a leak, a step, a cache that fills, or nothing.
import { dice } from '../localise/ripple.ts';

export type LevelKind = 'leak' | 'daily' | 'cache' | 'step' | 'saw';

export interface Level {
  /** Samples, one each minute. */
  readonly values: readonly number[];
  readonly limit: number;
  /** Index of the first sample at or above the limit; -1: never. */
  readonly exhaustedAt: number;
}

export const SAMPLE_MS = 60_000;
const DAY = 1_440;

export function levelCase(kind: LevelKind, seed: number): Level {
  const roll = dice(seed * 104_729 + kind.length);
  const between = (low: number, high: number): number => low + (high - low) * roll();
  const normal = (): number =>
    Math.sqrt(-2 * Math.log(1 - roll())) * Math.cos(2 * Math.PI * roll());
  const limit = 1_000;
  const base = between(150, 350);
  const saw = between(20, 120);
  const sawMinutes = between(2, 14);
  const daily = between(10, kind === 'daily' ? 180 : 60);
  const phase = between(0, DAY);
  const noise = between(2, 12);
  const startAt = Math.floor(between(120, 1_200));
  const perMinute = between(limit - base, limit - base) / between(360, 2_000);
  const extra = between(100, 1_000 - base - saw - daily - 120);
  const fillMinutes = between(60, 500);
  const values: number[] = [];
  let exhaustedAt = -1;
  for (let i = 0; i < 3 * DAY; i += 1) {
    const since = Math.max(0, i - startAt);
    const day = daily * Math.sin((2 * Math.PI * (i + phase)) / DAY);
    const garbage = saw * ((i % sawMinutes) / sawMinutes);
    const more = {
      leak: perMinute * since,
      daily: 0,
      saw: 0,
      step: since > 0 ? extra : 0,
      cache: extra * (1 - Math.exp(-since / fillMinutes)),
    }[kind];
    const value = Math.max(0, base + daily + day + garbage + more + noise * normal());
    values.push(value);
    if (value < limit) continue;
    exhaustedAt = i;
    break;
  }
  return { values, limit, exhaustedAt };
}
