// May this request be tried on another replica? Only where repeating it is safe and affordable.
//
//   RE1. Once a byte of an answer went to the client, nothing is repeated.
//   RE2. A request that may have reached a replica is repeated only if it is idempotent (by method
//        or by Idempotency-Key) and the route allows it; a provably unsent one always may be.
//   RE3. A request that broke two replicas is never tried on a third: it may be what breaks them.
//        One that was found innocent of these two (PS6) has one more try, and no other.
//   RE4. An error answer (500, 502, 503, 504) is repeated at most once.
//   RE5. Repeats of sent requests are at most `share` of the requests of the last 10 s, but a floor
//        of 10 a second stays, so that a quiet service can retry at all. One tenant gets at most
//        half of what is more than the floor.

const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);
export const WINDOW_MS = 10_000;
export const FLOOR_PER_SECOND = 10;
const SLOT_MS = 1_000;
/** Of the budget, for one tenant: who gets nothing but errors leaves some to the others. */
const TENANT_SHARE = 0.5;
/** Bodies up to this are kept for a repeat, bytes. */
export const REPLAY_BYTES_MAX = 65_536;

/** How the last attempt ended without an answer for the client. */
export type Ending =
  /** Nothing of it reached a replica. */
  | { readonly kind: 'unsent' }
  /** The connection died after it was sent. */
  | { readonly kind: 'broken' }
  /** What came back is no valid answer. */
  | { readonly kind: 'garbled'; readonly reason: string }
  /** The replica was found hung with it inside. */
  | { readonly kind: 'hung' }
  | { readonly kind: 'status'; readonly status: number }
  | { readonly kind: 'timeout' };

export interface RetryFacts {
  readonly ending: Ending;
  readonly answerBegun: boolean;
  readonly idempotent: boolean;
  /** The route's own switch. */
  readonly routeAllows: boolean;
  /** Is the body still here, whole? */
  readonly bodyKept: boolean;
  /** Replicas that broke or hung with it inside, this ending included. */
  readonly breaks: number;
  /** Error answers it got, this ending included. */
  readonly errorAnswers: number;
}

export type RetryRefusal =
  | 'answer-begun'
  | 'body-not-kept'
  | 'not-idempotent'
  | 'route-forbids'
  | 'broke-two-replicas'
  | 'tried-enough'
  | 'out-of-time'
  | 'not-an-error'
  | 'budget-spent';

export type RetryAnswer =
  | { readonly kind: 'retry'; readonly charged: boolean }
  | { readonly kind: 'give-up'; readonly reason: RetryRefusal };

export interface RetryBudget {
  readonly share: number;
  /** Second (nowMs / 1000) of each slot, its requests and its repeats. */
  readonly slots: { second: number; requests: number; repeats: number }[];
}

export function openBudget(share: number): RetryBudget {
  const slots = Array.from({ length: WINDOW_MS / SLOT_MS }, () => ({
    second: -1,
    requests: 0,
    repeats: 0,
  }));
  return { share: Math.max(0, Math.min(1, share)), slots };
}

export function isIdempotent(method: string, idempotencyKey: string | undefined): boolean {
  return SAFE_METHODS.has(method) || (idempotencyKey !== undefined && idempotencyKey !== '');
}

export function isRetryStatus(status: number): boolean {
  return status === 500 || status === 502 || status === 503 || status === 504;
}

function slotAt(budget: RetryBudget, nowMs: number): RetryBudget['slots'][number] | undefined {
  const second = Math.floor(nowMs / SLOT_MS);
  const slot = budget.slots[second % budget.slots.length];
  if (slot !== undefined && slot.second !== second) {
    slot.second = second;
    slot.requests = 0;
    slot.repeats = 0;
  }
  return slot;
}

/** Call once for each request of a client. */
export function noteRequest(budget: RetryBudget, nowMs: number): void {
  const slot = slotAt(budget, nowMs);
  if (slot !== undefined) slot.requests += 1;
}

/** Repeats of one tenant, in the present window and the one before. */
export interface RepeatAccount {
  window: number;
  repeats: number;
  before: number;
}

/** Is a repeat affordable now, for this tenant too? Takes it from the budget if so. */
export function takeRepeat(budget: RetryBudget, nowMs: number, account: RepeatAccount): boolean {
  const now = slotAt(budget, nowMs);
  const oldest = Math.floor((nowMs - WINDOW_MS) / SLOT_MS);
  let requests = 0;
  let repeats = 0;
  for (const slot of budget.slots) {
    if (slot.second <= oldest) continue;
    requests += slot.requests;
    repeats += slot.repeats;
  }
  const allowed = Math.max(FLOOR_PER_SECOND * (WINDOW_MS / SLOT_MS), budget.share * requests);
  if (now === undefined || repeats + 1 > allowed) return false;
  const window = Math.floor(nowMs / WINDOW_MS);
  if (account.window !== window) {
    account.before = account.window === window - 1 ? account.repeats : 0;
    account.repeats = 0;
    account.window = window;
  }
  const part = 1 - (nowMs - window * WINDOW_MS) / WINDOW_MS;
  const own = account.repeats + account.before * part;
  if (own + 1 > Math.max(FLOOR_PER_SECOND * (WINDOW_MS / SLOT_MS), TENANT_SHARE * allowed)) {
    return false;
  }
  account.repeats += 1;
  now.repeats += 1;
  return true;
}

/** The safety half of the decision; the caller then pays from the budget if `charged`. */
export function judgeRetry(facts: RetryFacts): RetryAnswer {
  const no = (reason: RetryRefusal): RetryAnswer => ({ kind: 'give-up', reason });
  if (facts.answerBegun) return no('answer-begun');
  if (!facts.bodyKept) return no('body-not-kept');
  const { ending } = facts;
  if (ending.kind === 'unsent') return { kind: 'retry', charged: false };
  if (ending.kind === 'timeout') return no('out-of-time');
  if (facts.breaks >= 2) return no('broke-two-replicas');
  if (!facts.idempotent) return no('not-idempotent');
  if (!facts.routeAllows) return no('route-forbids');
  if (ending.kind === 'status') {
    if (!isRetryStatus(ending.status)) return no('not-an-error');
    if (facts.errorAnswers > 1) return no('tried-enough');
  }
  return { kind: 'retry', charged: true };
}
