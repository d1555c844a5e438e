// What happens next? A binary heap of timers, earliest first; timers of the same moment come out in
// the order in which they were put in, so that a run repeats exactly.
//
//   HP1. `pop` never gives a timer before an earlier one, nor before an older one of its moment.

export interface Timer {
  readonly atMs: number;
  readonly order: number;
  /** Undefined once it is cancelled. */
  fire: (() => void) | undefined;
}

export interface Heap {
  push(timer: Timer): void;
  /** The next that is not cancelled. */
  peek(): Timer | undefined;
  pop(): Timer | undefined;
  readonly size: number;
}

const before = (a: Timer, b: Timer): boolean =>
  a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

export function openHeap(): Heap {
  const items: Timer[] = [];
  function pop(): Timer | undefined {
    const top = items[0];
    const last = items.pop();
    if (top === undefined || last === undefined || items.length === 0) return top;
    items[0] = last;
    sink(items);
    return top;
  }
  return {
    push(timer) {
      items.push(timer);
      rise(items);
    },
    peek() {
      while (items.length > 0 && items[0]?.fire === undefined) pop();
      return items[0];
    },
    pop,
    get size() {
      return items.length;
    },
  };
}

function rise(items: Timer[]): void {
  let at = items.length - 1;
  const item = items[at];
  while (at > 0 && item !== undefined) {
    const up = (at - 1) >> 1;
    const parent = items[up];
    if (parent === undefined || !before(item, parent)) break;
    items[at] = parent;
    items[up] = item;
    at = up;
  }
}

function sink(items: Timer[]): void {
  let at = 0;
  const item = items[at];
  while (item !== undefined) {
    let down = 2 * at + 1;
    let child = items[down];
    if (child === undefined) break;
    const right = items[down + 1];
    if (right !== undefined && before(right, child)) {
      child = right;
      down += 1;
    }
    if (!before(child, item)) break;
    items[at] = child;
    items[down] = item;
    at = down;
  }
}
