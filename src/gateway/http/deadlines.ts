// Which connection is late? One coarse timer for all of them: setting a deadline is storing a
// number, so that a request costs no timer.
//
//   DL1. A deadline fires once, at most a tick and a bit late, never early. If this process itself
//        was held up, what it waits for may lie there unread: then one more tick is given, once.
//   DL2. With nothing to watch no timer runs.

export interface Watched {
  /** Infinity: none. On the clock of `Deadlines.nowMs`. */
  deadlineMs: number;
  /** Its place in the list; owned by Deadlines. -1: not watched. */
  place: number;
  onDeadline(): void;
}

const HELD_UP_TICKS = 2;

export class Deadlines {
  /** As of the last tick: precise enough for what waits for seconds. */
  nowMs: number;
  readonly #clock: () => number;
  readonly #tickMs: number;
  readonly #watched: Watched[] = [];
  #timer: NodeJS.Timeout | undefined;
  #wasLate = false;

  constructor(clock: () => number, tickMs = 100) {
    this.#clock = clock;
    this.#tickMs = tickMs;
    this.nowMs = clock();
  }

  get size(): number {
    return this.#watched.length;
  }

  watch(one: Watched): void {
    if (one.place >= 0) return;
    one.place = this.#watched.push(one) - 1;
    if (this.#timer !== undefined) return;
    this.nowMs = this.#clock();
    this.#timer = setInterval(() => this.tick(), this.#tickMs);
  }

  /** A deadline of at least `ms` from now: the coarse clock lags up to a tick behind. */
  in(ms: number): number {
    return this.nowMs + ms + this.#tickMs;
  }

  forget(one: Watched): void {
    const last = this.#watched.pop();
    if (last === undefined) return;
    if (one.place < 0) {
      this.#watched.push(last);
      return;
    }
    if (last !== one) {
      this.#watched[one.place] = last;
      last.place = one.place;
    }
    one.place = -1;
    if (this.#watched.length > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  tick(): void {
    const beforeMs = this.nowMs;
    this.nowMs = this.#clock();
    const { nowMs } = this;
    this.#wasLate = !this.#wasLate && nowMs - beforeMs > HELD_UP_TICKS * this.#tickMs;
    if (this.#wasLate) return;
    // From the end: who is forgotten meanwhile is replaced by one that was already looked at.
    for (let i = this.#watched.length - 1; i >= 0; i -= 1) {
      const one = this.#watched[i];
      if (one === undefined || one.deadlineMs > nowMs) continue;
      one.deadlineMs = Number.POSITIVE_INFINITY;
      one.onDeadline();
    }
  }
}
