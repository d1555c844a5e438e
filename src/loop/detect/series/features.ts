// What is odd about this value, seen in several ways? Each stream says how far it is outside of
// what it has been, in its own unit; who adds them up is `watch.ts`.
//
//   records   beyond every value of the past thousands, as a share of the usual range: of the
//             value, of a short mean, and of a high quantile of the last dozen
//   local     robust z against the last 30, 100 and 300 values
//   seasonal  robust z against the same half hours of up to 14 days
//
//   FE1. One pass, no look-ahead, bounded memory (≤ 32 KB a series).
//   FE2. Constant and quantised series have a floor under their scale: no division by nearly
//        nothing.
import { Recent, Window } from './window.ts';

export const STREAMS = [
  'value',
  'mean5',
  'high12',
  'local30',
  'local100',
  'local300',
  'seasonal',
] as const;
export type Stream = (typeof STREAMS)[number];

const PAST = 4_000;
const KNOWN_MIN = 50;
/** The end of the sorted past is this far from its very extreme: one odd value is no new range. */
const EXTREME_SHARE = 0.001;
const DAY_MS = 86_400_000;
const SLOTS = 48;
const DAYS = 14;

/** How far outside of all that came before, in parts of the usual range. */
class Record {
  readonly #past = new Window(PAST);

  /** Of nearly all values; 0 while there are too few. */
  get range(): number {
    const past = this.#past;
    return past.count < KNOWN_MIN ? 0 : past.quantile(0.99) - past.quantile(0.01);
  }

  step(value: number): number {
    const past = this.#past;
    let score = 0;
    if (past.count >= KNOWN_MIN) {
      const floor = Math.max(1e-6 * Math.abs(past.quantile(0.5)), 1e-9);
      const rank = Math.round(EXTREME_SHARE * past.count);
      const beyond = Math.max(value - past.highest(rank), past.lowest(rank) - value);
      score = Math.max(0, beyond) / Math.max(this.range, floor);
    }
    past.push(value);
    return score;
  }
}

export class Features {
  /** Scores of the last value, in the order of `STREAMS`. */
  readonly scores = new Float64Array(STREAMS.length);
  readonly #value = new Record();
  readonly #mean5 = new Record();
  readonly #high12 = new Record();
  readonly #last12 = new Recent(12);
  readonly #last30 = new Recent(30);
  readonly #last100 = new Recent(100);
  readonly #last300 = new Recent(300);
  readonly #slots = new Float32Array(SLOTS * DAYS).fill(Number.NaN);
  #slot = -1;
  #slotSum = 0;
  #slotCount = 0;
  #slotDay = 0;
  #lastMs = Number.NaN;

  /** False where the sample is not a number or time did not go on: then nothing has changed. */
  step(atMs: number, value: number): boolean {
    if (!Number.isFinite(value) || !Number.isFinite(atMs)) return false;
    if (atMs < this.#lastMs) return false;
    this.#lastMs = atMs;
    const scale = this.#value.range;
    const { scores } = this;
    scores[3] = local(this.#last30, value, scale);
    scores[4] = local(this.#last100, value, scale);
    scores[5] = local(this.#last300, value, scale);
    scores[6] = this.#seasonal(atMs, value, scale);
    this.#last12.push(value);
    this.#last30.push(value);
    this.#last100.push(value);
    this.#last300.push(value);
    scores[0] = this.#value.step(value);
    scores[1] = this.#mean5.step(this.#last30.mean(5));
    scores[2] = this.#high12.step(this.#last12.quantile(0.9));
    return true;
  }

  #seasonal(atMs: number, value: number, scale: number): number {
    const day = Math.floor(atMs / DAY_MS);
    const slot = Math.floor(((atMs - day * DAY_MS) / DAY_MS) * SLOTS);
    if (slot !== this.#slot) {
      if (this.#slotCount > 0) {
        this.#slots[this.#slot * DAYS + (this.#slotDay % DAYS)] = this.#slotSum / this.#slotCount;
      }
      this.#slot = slot;
      this.#slotDay = day;
      this.#slotSum = 0;
      this.#slotCount = 0;
    }
    this.#slotSum += value;
    this.#slotCount += 1;
    let known = 0;
    for (let near = -1; near <= 1; near += 1) {
      const base = ((slot + near + SLOTS) % SLOTS) * DAYS;
      for (let i = 0; i < DAYS; i += 1) {
        const mean = this.#slots[base + i] as number;
        if (Number.isNaN(mean)) continue;
        sorted[known] = mean;
        known += 1;
      }
    }
    if (known < 6) return 0;
    const part = sorted.subarray(0, known).sort();
    const middle = part[known >> 1] as number;
    const iqr = (part[(known * 3) >> 2] as number) - (part[known >> 2] as number);
    // A slot is known by its means: one sample alone is not what they are compared with.
    const now = (value + this.#last30.mean(2) * 2) / 3;
    return Math.abs(now - middle) / Math.max(iqr / 1.349, SCALE_FLOOR * scale, 1e-9);
  }
}

/** A share of the long-run range below which no spread is believed. */
const SCALE_FLOOR = 0.05;
const sorted = new Float32Array(3 * DAYS);

function local(past: Recent, value: number, scale: number): number {
  if (past.count < 24) return 0;
  // Of nine tenths, not of the middle half: a value that comes every seventh time is usual.
  const usual = past.quantile(0.9) - past.quantile(0.1);
  const spread = Math.max(usual / 2.563, SCALE_FLOOR * scale, 1e-9);
  return Math.abs(value - past.quantile(0.5)) / spread;
}
