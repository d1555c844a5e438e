// What has been seen before, in little memory: extremes, quantiles and shares of the last few
// thousand values, kept as blocks with a summary each.
//
//   WI1. Memory does not grow: at most `blocks` summaries and one open block.
//   WI2. Extremes are exact over the window down to the `TOP`th; quantiles are those of the merged
//        summaries, renewed when a block is full (in the first block, every 16 values).

const BLOCK = 256;
const TOP = 5;
/** Quantile points of a block's summary, evenly spaced: (i + ½) / POINTS. */
const POINTS = 32;
const SUMMARY = 2 * TOP + POINTS;
const FIRST_EVERY = 16;
/** Sorting is one after the other in one thread. */
const sorted = new Float32Array(BLOCK);

export class Window {
  /** Values that it speaks for. */
  count = 0;
  readonly #open = new Float32Array(BLOCK);
  #used = 0;
  readonly #blocksMax: number;
  #blocks = 0;
  #next = 0;
  /** A ring of summaries: highest first, lowest first, quantile points. */
  readonly #summaries: Float32Array;
  /** Highest and lowest of the closed blocks and of the open one, best first. */
  readonly #tops = new Float32Array(4 * TOP);
  /** Merged quantile points, ascending; all of the same weight. */
  readonly #merged: Float32Array;
  #mergedCount = 0;

  /** `length` is rounded to blocks of 256. */
  constructor(length: number) {
    this.#blocksMax = Math.max(1, Math.round(length / BLOCK));
    this.#summaries = new Float32Array(this.#blocksMax * SUMMARY);
    this.#merged = new Float32Array(Math.max(BLOCK, this.#blocksMax * POINTS));
    clear(this.#tops, 0, 1);
    clear(this.#tops, TOP, -1);
    clear(this.#tops, 2 * TOP, 1);
    clear(this.#tops, 3 * TOP, -1);
  }

  push(value: number): void {
    this.#open[this.#used] = value;
    this.#used += 1;
    this.count += 1;
    keep(this.#tops, 2 * TOP, value, 1);
    keep(this.#tops, 3 * TOP, value, -1);
    if (this.#used === BLOCK) this.#close();
    else if (this.#blocks === 0 && this.#used % FIRST_EVERY === 0) this.#sortOpen();
  }

  #sortOpen(): void {
    this.#merged.set(this.#open.subarray(0, this.#used));
    this.#merged.subarray(0, this.#used).sort();
    this.#mergedCount = this.#used;
  }

  #close(): void {
    const summaries = this.#summaries;
    const tops = this.#tops;
    const at = this.#next * SUMMARY;
    sorted.set(this.#open);
    sorted.sort();
    summaries.set(tops.subarray(2 * TOP, 4 * TOP), at);
    for (let i = 0; i < POINTS; i += 1) {
      summaries[at + 2 * TOP + i] = sorted[Math.floor(((i + 0.5) / POINTS) * BLOCK)] as number;
    }
    this.#next = (this.#next + 1) % this.#blocksMax;
    if (this.#blocks < this.#blocksMax) this.#blocks += 1;
    else this.count -= BLOCK;
    this.#used = 0;
    for (let list = 0; list < 4; list += 1) clear(tops, list * TOP, list % 2 === 0 ? 1 : -1);
    for (let block = 0; block < this.#blocks; block += 1) {
      const base = block * SUMMARY;
      for (let i = 0; i < TOP; i += 1) {
        keep(tops, 0, summaries[base + i] as number, 1);
        keep(tops, TOP, summaries[base + TOP + i] as number, -1);
      }
      this.#merged.set(summaries.subarray(base + 2 * TOP, base + SUMMARY), block * POINTS);
    }
    this.#mergedCount = this.#blocks * POINTS;
    this.#merged.subarray(0, this.#mergedCount).sort();
  }

  /** The `rank`th highest, 0 is the highest; -Infinity where there are not so many. */
  highest(rank: number): number {
    return nth(this.#tops, 0, Math.min(rank, TOP - 1), 1);
  }

  lowest(rank: number): number {
    return nth(this.#tops, TOP, Math.min(rank, TOP - 1), -1);
  }

  /** 0–1. NaN before the first values. */
  quantile(q: number): number {
    const count = this.#mergedCount;
    if (count === 0) return Number.NaN;
    const at = Math.max(0, Math.min(count - 1, q * count - 0.5));
    const i = Math.floor(at);
    const low = this.#merged[i] as number;
    const high = this.#merged[Math.min(i + 1, count - 1)] as number;
    return low + (high - low) * (at - i);
  }
}

function clear(list: Float32Array, at: number, sign: 1 | -1): void {
  list.fill(-sign * Infinity, at, at + TOP);
}

/** Puts the value where it belongs in a list, at `from`, that begins with the best. */
function keep(list: Float32Array, from: number, value: number, sign: 1 | -1): void {
  let at = from + TOP - 1;
  if (sign * value <= sign * (list[at] as number)) return;
  while (at > from && sign * value > sign * (list[at - 1] as number)) {
    list[at] = list[at - 1] as number;
    at -= 1;
  }
  list[at] = value;
}

/** The nth best of two lists that begin with their best: at `from`, and two lists further on. */
function nth(list: Float32Array, from: number, rank: number, sign: 1 | -1): number {
  let i = from;
  let j = from + 2 * TOP;
  let found = -sign * Infinity;
  for (let taken = 0; taken <= rank; taken += 1) {
    const x = list[i] as number;
    const y = list[j] as number;
    if (sign * x >= sign * y) {
      found = x;
      i += 1;
    } else {
      found = y;
      j += 1;
    }
  }
  return found;
}

/** The last `length` values, with their median and quartiles. */
export class Recent {
  readonly #ring: Float32Array;
  readonly #sorted: Float32Array;
  #at = 0;
  count = 0;

  constructor(length: number) {
    this.#ring = new Float32Array(length);
    this.#sorted = new Float32Array(length);
  }

  push(value: number): void {
    const v = Math.fround(value);
    const sorted = this.#sorted;
    if (this.count === this.#ring.length) {
      const gone = this.#place(this.#ring[this.#at] as number);
      sorted.copyWithin(gone, gone + 1, this.count);
      this.count -= 1;
    }
    const at = this.#place(v);
    sorted.copyWithin(at + 1, at, this.count);
    sorted[at] = v;
    this.count += 1;
    this.#ring[this.#at] = v;
    this.#at = (this.#at + 1) % this.#ring.length;
  }

  #place(value: number): number {
    let from = 0;
    let to = this.count;
    while (from < to) {
      const middle = (from + to) >> 1;
      if ((this.#sorted[middle] as number) < value) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  quantile(q: number): number {
    if (this.count === 0) return Number.NaN;
    const at = q * (this.count - 1);
    const i = Math.floor(at);
    const low = this.#sorted[i] as number;
    const high = this.#sorted[Math.min(i + 1, this.count - 1)] as number;
    return low + (high - low) * (at - i);
  }

  /** The value `back` steps ago, 0 is the last. */
  ago(back: number): number {
    const length = this.#ring.length;
    return this.#ring[(this.#at - 1 - back + 2 * length) % length] as number;
  }

  /** Of the last `length` values. */
  mean(length: number): number {
    const many = Math.min(length, this.count);
    let sum = 0;
    for (let i = 0; i < many; i += 1) sum += this.ago(i);
    return many === 0 ? Number.NaN : sum / many;
  }
}
