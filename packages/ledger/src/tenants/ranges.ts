// Which subtrees make up a root, an inclusion proof and a consistency proof of RFC 6962? Only
// arithmetic on sizes; whose hashes they are is somebody else's business.

/** The leaves [low, high); a complete subtree, or one that ends at the right edge. */
export interface Range {
  readonly low: number;
  readonly high: number;
}

/** From the leaf's sibling up (RFC 6962 §2.1.1). */
export function inclusionRanges(index: number, size: number): readonly Range[] {
  const path: Range[] = [];
  let low = 0;
  let high = size;
  while (high - low > 1) {
    const split = low + powerBelow(high - low);
    if (index < split) {
      path.push({ low: split, high });
      high = split;
    } else {
      path.push({ low, high: split });
      low = split;
    }
  }
  return path.reverse();
}

/** RFC 6962 §2.1.2, for 0 < before ≤ after. */
export function consistencyRanges(before: number, after: number): readonly Range[] {
  if (before === after) return [];
  const path: Range[] = [];
  let low = 0;
  let high = after;
  let whole = true;
  while (before !== high) {
    const split = low + powerBelow(high - low);
    if (before <= split) {
      path.push({ low: split, high });
      high = split;
    } else {
      path.push({ low, high: split });
      low = split;
      whole = false;
    }
  }
  if (!whole) path.push({ low, high });
  return path.reverse();
}

/** The complete subtrees of a tree of `size` leaves, left to right. */
export function peakRanges(size: number): readonly Range[] {
  const peaks: Range[] = [];
  let low = 0;
  for (let rest = size; rest > 0;) {
    const power = powerAtMost(rest);
    peaks.push({ low, high: low + power });
    low += power;
    rest -= power;
  }
  return peaks;
}

/** Largest power of two strictly below `count` (count ≥ 2). */
export function powerBelow(count: number): number {
  return powerAtMost(count - 1);
}

function powerAtMost(count: number): number {
  let power = 1;
  while (power * 2 <= count) power *= 2;
  return power;
}
