// Shall a second replica be asked while the first one has not answered yet? Only where a repeat is
// harmless and bought, and so late that few requests need it.
//
//   HG1. Hedges are at most 5 % of the requests of the last 10 s.
//   HG2. Never before the route's own time, never before the 95th percentile of what is usual, and
//        never for a request that may not be repeated or that was repeated already.

export const HEDGE_SHARE = 0.05;
const SLOT_MS = 1_000;
const SLOTS = 10;
const BUCKETS = 128;
/** Each bucket is 12 % wider than the one before: from 0.1 ms to 3 minutes. */
const LOG_STEP = Math.log(1.12);
const LEAST_MS = 0.1;
const FORGET_AT = 2_048;

export interface HedgeFacts {
  readonly idempotent: boolean;
  /** The route's `hedgeAfterMs`; undefined: never. */
  readonly afterMs: number | undefined;
  /** Is its body here, whole? */
  readonly bodyKept: boolean;
  readonly attempts: number;
  /** Is there a replica that was not tried? */
  readonly hasOther: boolean;
}

export type HedgeAnswer =
  | { readonly kind: 'due'; readonly inMs: number }
  | {
      readonly kind: 'never';
      readonly reason: 'route-forbids' | 'not-idempotent' | 'tried-twice' | 'no-other';
    };

/** When after its start may this request be hedged? Ask once it is sent; `usual95Ms` from below. */
export function hedgeDue(facts: HedgeFacts, usual95Ms: number): HedgeAnswer {
  const { idempotent, afterMs, bodyKept, attempts, hasOther } = facts;
  if (afterMs === undefined) return { kind: 'never', reason: 'route-forbids' };
  if (!idempotent || !bodyKept) return { kind: 'never', reason: 'not-idempotent' };
  if (attempts > 1) return { kind: 'never', reason: 'tried-twice' };
  if (!hasOther) return { kind: 'never', reason: 'no-other' };
  return { kind: 'due', inMs: Math.max(afterMs, usual95Ms) };
}

/** The budget, and what is usual, of one route. */
export class HedgeBook {
  readonly #seconds = new Float64Array(SLOTS).fill(-1);
  readonly #requests = new Uint32Array(SLOTS);
  readonly #hedges = new Uint32Array(SLOTS);
  readonly #buckets = new Float64Array(BUCKETS);
  #noted = 0;

  /** Call once for each request of a route that hedges. */
  noteRequest(nowMs: number): void {
    const at = this.#slot(nowMs);
    this.#requests[at] = (this.#requests[at] ?? 0) + 1;
  }

  noteAnswer(tookMs: number): void {
    const raw = Math.floor(Math.log(Math.max(LEAST_MS, tookMs) / LEAST_MS) / LOG_STEP);
    const at = Math.max(0, Math.min(BUCKETS - 1, raw));
    this.#buckets[at] = (this.#buckets[at] ?? 0) + 1;
    this.#noted += 1;
    if (this.#noted < FORGET_AT) return;
    this.#noted = 0;
    for (let i = 0; i < BUCKETS; i += 1) {
      this.#buckets[i] = (this.#buckets[i] ?? 0) / 2;
      this.#noted += this.#buckets[i] ?? 0;
    }
  }

  /** Infinity until there were 20 answers: nothing is usual yet. */
  usual95Ms(): number {
    if (this.#noted < 20) return Number.POSITIVE_INFINITY;
    let above = this.#noted * 0.05;
    for (let i = BUCKETS - 1; i >= 0; i -= 1) {
      above -= this.#buckets[i] ?? 0;
      if (above < 0) return LEAST_MS * Math.exp(LOG_STEP * (i + 1));
    }
    return LEAST_MS;
  }

  /** HG1. Takes it when it may be. */
  take(nowMs: number): boolean {
    const now = this.#slot(nowMs);
    const oldest = Math.floor(nowMs / SLOT_MS) - SLOTS;
    let requests = 0;
    let hedges = 0;
    for (let i = 0; i < SLOTS; i += 1) {
      if ((this.#seconds[i] ?? -1) <= oldest) continue;
      requests += this.#requests[i] ?? 0;
      hedges += this.#hedges[i] ?? 0;
    }
    if (hedges + 1 > requests * HEDGE_SHARE) return false;
    this.#hedges[now] = (this.#hedges[now] ?? 0) + 1;
    return true;
  }

  #slot(nowMs: number): number {
    const second = Math.floor(nowMs / SLOT_MS);
    const at = second % SLOTS;
    if (this.#seconds[at] !== second) {
      this.#seconds[at] = second;
      this.#requests[at] = 0;
      this.#hedges[at] = 0;
    }
    return at;
  }
}
