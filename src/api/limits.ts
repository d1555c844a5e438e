// How often may one tenant or auditor ask? Their calls cost the controller time and the ledger
// entries, so each has buckets of its own and few calls under way. The operator holds the disk and
// is not limited.
//
//   LI1. One caller that asks too often is told when to come back; the others notice nothing.
//   LI2. What is kept about callers is bounded, whoever asks; a caller that is under way stays.
//   LI3. A clock that goes back gives nothing and locks nobody out.
import { KinError } from '../model/errors.ts';

/** `reveal`: private fields; each writes an entry. `heavy`: exports and acts. */
export type CallKind = 'read' | 'reveal' | 'heavy';

export interface Rate {
  readonly burst: number;
  readonly everyMs: number;
}

export interface CallLimitOptions {
  readonly rates: Readonly<Record<CallKind, Rate>>;
  readonly underWay: number;
  readonly callers: number;
}

export const CALL_LIMITS: CallLimitOptions = {
  rates: {
    read: { burst: 20, everyMs: 100 },
    reveal: { burst: 10, everyMs: 1_000 },
    heavy: { burst: 3, everyMs: 10_000 },
  },
  underWay: 2,
  callers: 10_000,
};

export interface CallLimits {
  /** Takes a place and a token, or throws; what it answers gives the place back, once. */
  enter(caller: string, kind: CallKind): () => void;
  /** Takes a token for more than the reading itself, or throws. */
  spend(caller: string, kind: CallKind): void;
}

/** As 429 with Retry-After. */
export class TooManyCalls extends KinError {
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs: number) {
    super(
      'KIN_API_TOO_MANY',
      message,
      'Wait as long as Retry-After says, and ask for more entries at a time.',
    );
    this.retryAfterMs = retryAfterMs;
  }
}

interface Bucket {
  tokens: number;
  atMs: number;
}

interface Caller {
  underWay: number;
  readonly buckets: Map<CallKind, Bucket>;
}

const PLACE_AGAIN_MS = 1_000;

export function callLimits(
  nowMs: () => number,
  options: CallLimitOptions = CALL_LIMITS,
): CallLimits {
  const callers = new Map<string, Caller>();
  const callerOf = (name: string): Caller => {
    const known = callers.get(name);
    // Last asked, last forgotten.
    if (known !== undefined) callers.delete(name);
    else if (callers.size >= options.callers) forgetOne(callers);
    const caller = known ?? { underWay: 0, buckets: new Map<CallKind, Bucket>() };
    callers.set(name, caller);
    return caller;
  };
  const take = ({ buckets }: Caller, kind: CallKind): void => {
    const waitMs = draw(buckets, kind, options.rates[kind], nowMs());
    if (waitMs > 0) throw new TooManyCalls('this token asks too often', waitMs);
  };
  return {
    enter(name, kind) {
      const caller = callerOf(name);
      if (caller.underWay >= options.underWay) {
        const most = `${options.underWay} calls of this token are under way`;
        throw new TooManyCalls(most, PLACE_AGAIN_MS);
      }
      take(caller, kind);
      caller.underWay += 1;
      let isOver = false;
      return () => {
        if (!isOver) caller.underWay -= 1;
        isOver = true;
      };
    },
    spend: (name, kind) => take(callerOf(name), kind),
  };
}

/** How long to wait for a token; 0: it was there, and is taken. */
function draw(
  buckets: Map<CallKind, Bucket>,
  kind: CallKind,
  { burst, everyMs }: Rate,
  now: number,
): number {
  const bucket = buckets.get(kind) ?? { tokens: burst, atMs: now };
  buckets.set(kind, bucket);
  // LI3.
  const passedMs = Math.max(0, now - bucket.atMs);
  bucket.tokens = Math.min(burst, bucket.tokens + passedMs / everyMs);
  bucket.atMs = now;
  if (bucket.tokens < 1) return Math.max(1, Math.ceil((1 - bucket.tokens) * everyMs));
  bucket.tokens -= 1;
  return 0;
}

/** LI2. The one that asked longest ago, and its bucket is full again or nearly so. */
function forgetOne(callers: Map<string, Caller>): void {
  for (const [name, { underWay }] of callers) {
    if (underWay > 0) continue;
    callers.delete(name);
    return;
  }
  throw new TooManyCalls('too many callers are under way', PLACE_AGAIN_MS);
}
