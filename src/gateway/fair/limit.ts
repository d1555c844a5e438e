// How many requests may be inside a service at once? As many as it answers in about the time that
// it needs when nobody waits: the limit grows while it is in use and answers come as fast as ever,
// and shrinks when they come clearly later. Time is passed in; no request makes garbage.
//
//   LT1. The limit stays between its floor (4, or one for each replica; the ceiling, if that is
//        lower) and the ceiling.
//   LT2. Late answers lower it only while it is in use: else they have another cause. Without use
//        it sinks slowly, to four times what is inside, never below 16: a flood finds it low.
//   LT3. It is not lowered again before requests that came after the last cut were answered, and by
//        30 % at most at once.
//   LT4. What is usual is measured again under a lower limit after 10 s of standing overload, so
//        that neither a slow drift nor another mix of requests is taken for overload, or missed.
//   LT5. Nothing is judged from fewer than 24 answers; one that broke is no measure of time.

export const FLOOR = 4;
const START = 32;
const REST = 16;
const REST_FACTOR = 4;
const REST_SINK = 0.98;
const WINDOW_MS = 50;
const WINDOW_MAX_MS = 2_000;
const ANSWERS_MIN = 24;
const SAMPLES = 64;
/**
 * Later than this many times the usual, and by so many ms, is late. Strict where one tenant fills
 * the places and others are there: its throughput is not worth their time.
 */
const LATE_FACTOR = 1.25;
const LATE_FACTOR_STRICT = 1.05;
const LATE_BY_MS = 0.5;
const CUT_MAX = 0.7;
const REFUSED_CUT = 0.8;
const REFUSED_SHARE = 0.1;
/** Until answers come late for the first time since it was at rest. */
const FIRST_GROWTH = 1.5;
const REMEASURE_AFTER_MS = 10_000;
/** Of the way from what is usual to what is seen, for each window. */
const LEARN_FREE = 0.05;
/** While the limit is in use, late answers may be its own doing: hardly learnt from. */
const LEARN_UP = 0.001;
const LEARN_DOWN = 0.02;

/** `refused`: the service itself said that it has too much (429, 503), or took too long. */
export type Ended = 'ok' | 'refused' | 'broken';

export class Limit {
  #ceiling: number;
  #floor: number;
  #limit: number;
  /** Median time of an answer when nobody waits; NaN: not known yet. */
  #usualMs = Number.NaN;
  #windowFromMs = 0;
  #windowMs = WINDOW_MS;
  #sounding = true;
  readonly #tookMs = new Float64Array(SAMPLES);
  #answers = 0;
  #refused = 0;
  #peak = 0;
  #bindsSinceMs: number | undefined;
  #measuring: { readonly back: number; isFirst: boolean } | undefined;

  constructor(ceiling: number, replicas = 1) {
    this.#ceiling = Math.max(1, ceiling);
    this.#floor = Math.min(this.#ceiling, Math.max(FLOOR, replicas));
    this.#limit = this.#bounded(START);
  }

  /** Whole requests. */
  get value(): number {
    return Math.floor(this.#limit);
  }

  get ceiling(): number {
    return this.#ceiling;
  }

  get usualMs(): number {
    return this.#usualMs;
  }

  /** A new table. */
  setBounds(ceiling: number, replicas: number): void {
    this.#ceiling = Math.max(1, ceiling);
    this.#floor = Math.min(this.#ceiling, Math.max(FLOOR, replicas));
    this.#limit = this.#bounded(this.#limit);
  }

  /** Call at each end, with what was inside before it. `strict`: one tenant fills the places. */
  note(tookMs: number, ended: Ended, inside: number, nowMs: number, strict = false): void {
    if (inside > this.#peak) this.#peak = inside;
    if (ended === 'ok') {
      // Of a full window each later answer replaces an earlier one.
      this.#tookMs[this.#answers % SAMPLES] = tookMs;
      this.#answers += 1;
    } else if (ended === 'refused') {
      this.#refused += 1;
    }
    const ageMs = nowMs - this.#windowFromMs;
    if (ageMs < this.#windowMs) return;
    if (this.#answers + this.#refused >= ANSWERS_MIN) this.#judge(nowMs, strict);
    else if (ageMs < WINDOW_MAX_MS) return;
    this.#windowFromMs = nowMs;
    this.#answers = 0;
    this.#refused = 0;
    this.#peak = 0;
  }

  #judge(nowMs: number, strict: boolean): void {
    const seen = Math.min(this.#answers, SAMPLES);
    const medianMs = seen === 0 ? Number.NaN : medianOf(this.#tookMs.subarray(0, seen));
    this.#windowMs = WINDOW_MS;
    if (this.#measuring !== undefined) {
      this.#measured(this.#measuring, medianMs, nowMs);
      return;
    }
    const binds = this.#peak >= this.value * 0.9;
    if (!binds) this.#bindsSinceMs = undefined;
    else this.#bindsSinceMs ??= nowMs;
    if (this.#refused > REFUSED_SHARE * (this.#answers + this.#refused)) {
      if (binds) this.#cut(REFUSED_CUT, medianMs);
      return;
    }
    if (Number.isNaN(medianMs)) return;
    if (Number.isNaN(this.#usualMs)) this.#usualMs = medianMs;
    const loaded = medianMs < this.#usualMs ? LEARN_DOWN : LEARN_UP;
    this.#usualMs += (medianMs - this.#usualMs) * (binds ? loaded : LEARN_FREE);
    if (binds) this.#adapt(medianMs, nowMs, strict);
    else this.#rest();
  }

  #adapt(medianMs: number, nowMs: number, strict: boolean): void {
    const factor = strict ? LATE_FACTOR_STRICT : LATE_FACTOR;
    const lateFromMs = Math.max(this.#usualMs * factor, this.#usualMs + LATE_BY_MS);
    if (nowMs - (this.#bindsSinceMs ?? nowMs) > REMEASURE_AFTER_MS) {
      // At the floor nobody waits for another: it takes as long as it takes.
      this.#measuring = { back: this.#limit, isFirst: true };
      this.#cut(0.5, medianMs);
    } else if (medianMs > lateFromMs) {
      this.#sounding = false;
      this.#cut(Math.max(CUT_MAX, lateFromMs / medianMs), medianMs);
    } else if (this.#sounding) {
      this.#limit = this.#bounded(this.#limit * FIRST_GROWTH);
    } else {
      this.#limit = this.#bounded(this.#limit + Math.max(1, Math.sqrt(this.#limit) / 2));
    }
  }

  /** LT3. */
  #cut(factor: number, medianMs: number): void {
    this.#limit = this.#bounded(this.#limit * factor);
    const latestMs = Number.isNaN(medianMs) ? WINDOW_MS : medianMs;
    this.#windowMs = Math.min(WINDOW_MAX_MS, WINDOW_MS + latestMs);
  }

  /** LT2. */
  #rest(): void {
    const enough = Math.min(this.#ceiling, Math.max(REST, REST_FACTOR * this.#peak));
    if (this.#limit > enough) {
      this.#limit = Math.max(enough, this.#limit * REST_SINK);
      this.#sounding = true;
    }
  }

  /** LT4. The first window still has those that came in before. */
  #measured(
    measuring: { readonly back: number; isFirst: boolean },
    medianMs: number,
    nowMs: number,
  ): void {
    if (measuring.isFirst) {
      measuring.isFirst = false;
      return;
    }
    this.#measuring = undefined;
    this.#bindsSinceMs = nowMs;
    this.#limit = this.#bounded(measuring.back);
    if (!Number.isNaN(medianMs)) this.#usualMs = medianMs;
  }

  #bounded(limit: number): number {
    return Math.min(this.#ceiling, Math.max(this.#floor, limit));
  }
}

function medianOf(values: Float64Array): number {
  values.sort();
  return values[Math.floor((values.length - 1) / 2)] ?? 0;
}
