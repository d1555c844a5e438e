// Where do chance and ids come from in a simulation? From the seed alone: named streams, so that a
// new draw in one place moves nothing elsewhere, and ids that count.
//
//   SR1. The same seed and stream name always give the same numbers.
import type { Ids, Log, Random } from '../clock.ts';

export interface Chance extends Random {
  /** A whole number, from ≤ x ≤ to. */
  whole(stream: string, from: number, to: number): number;
  yes(stream: string, probability: number): boolean;
  one<T>(stream: string, of: readonly T[]): T | undefined;
}

export function openChance(seed: number): Chance {
  const streams = new Map<string, () => number>();
  function next(name: string): number {
    let stream = streams.get(name);
    if (stream === undefined) {
      stream = sfc32(seed, name);
      streams.set(name, stream);
    }
    return stream();
  }
  return {
    next,
    whole: (stream, from, to) => from + Math.floor(next(stream) * (to - from + 1)),
    yes: (stream, probability) => next(stream) < probability,
    one: (stream, of) => of[Math.floor(next(stream) * of.length)],
  };
}

/** Small fast counting generator; its state is a hash of seed and name, stirred 12 times. */
function sfc32(seed: number, name: string): () => number {
  let a = seed | 0;
  let b = Math.floor(seed / 2 ** 32) | 0;
  let c = 2_166_136_261 | 0;
  let counter = 1;
  for (let i = 0; i < name.length; i += 1) c = Math.imul(c ^ name.charCodeAt(i), 16_777_619);
  const draw = (): number => {
    const t = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + t;
    return (t >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 12; i += 1) draw();
  return draw;
}

/** `run_` and 26 digits: unique and sorted over all incarnations of a simulation. */
export function openSimIds(): Ids {
  let made = 0;
  return {
    next(prefix) {
      made += 1;
      return `${prefix}_${String(made).padStart(26, '0')}`;
    },
  };
}

export interface LogLine {
  readonly level: 'warn' | 'error';
  readonly text: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Keeps warnings and errors for a checker to read; the rest is dropped. */
export function openSimLog(keep: (line: LogLine) => void): Log {
  return {
    debug() {},
    info() {},
    warn: (text, fields = {}) => keep({ level: 'warn', text, fields }),
    error: (text, fields = {}) => keep({ level: 'error', text, fields }),
  };
}
