// Is something that a route needs down, so that asking is only waiting? One breaker for each
// dependency of a service, fed by answers that name it (`x-kintsugi-dependency-failed`) and by what
// the controller knows. Time and chance are passed in. What a replica lays on a dependency is
// none of the replica's: its attempt is told as `excused`.
//
//   DB1. It opens on a failure rate of half or more over the last 10 s, and never on fewer than 10
//        answers. One tenant's failures alone open it only where nobody else asks: they may be
//        of its own making.
//   DB2. Half-open, one trial at a time is let through; a trial that never ends counts as failed.
//   DB3. Each failed trial doubles the pause, from 1 s to 30 s, with jitter; a good one closes it.
//   DB4. What the controller says is down is refused at once; what it says is up again is tried at
//        once.
import type { DependencyName, ServiceName } from '../../model/ids.ts';

/** A replica sets this on a 5xx of its own: the name of what failed it. */
export const DEPENDENCY_FAILED = 'x-kintsugi-dependency-failed';

const SLOT_MS = 1_000;
const SLOTS = 10;
const ANSWERS_MIN = 10;
const RATE_MIN = 0.5;
const PAUSE_MS = 1_000;
const PAUSE_MAX_MS = 30_000;
const TRIAL_MAX_MS = 5_000;
const BREAKERS_MAX = 4_096;

export type BreakerState =
  | { readonly kind: 'closed' }
  | { readonly kind: 'open'; readonly untilMs: number; readonly pauseMs: number }
  /** The trial that runs was let through then. */
  | { readonly kind: 'half-open'; readonly sinceMs: number; readonly pauseMs: number };

export type BreakerAnswer =
  | 'pass'
  /** Let through to see: tell its end by `note`, whatever it is. */
  | 'trial'
  | { readonly kind: 'refused'; readonly retryAfterMs: number };

const CLOSED: BreakerState = { kind: 'closed' };

/** Nobody, one tenant, or more than one. */
const MANY = Symbol('many');
type Crowd = string | typeof MANY | undefined;

const joined = (crowd: Crowd, tenant: string): Crowd =>
  crowd === undefined || crowd === tenant ? tenant : MANY;
const merged = (a: Crowd, b: Crowd): Crowd =>
  a === undefined || a === b ? b : b === undefined ? a : MANY;

export class Breaker {
  #state: BreakerState = CLOSED;
  #saidDown = false;
  readonly #random: () => number;
  readonly #seconds = new Float64Array(SLOTS).fill(-1);
  readonly #answers = new Uint32Array(SLOTS);
  readonly #failures = new Uint32Array(SLOTS);
  /** Who asked in each second, and who of them failed. */
  readonly #askers: Crowd[] = Array.from({ length: SLOTS }, () => undefined);
  readonly #losers: Crowd[] = Array.from({ length: SLOTS }, () => undefined);

  constructor(random: () => number) {
    this.#random = random;
  }

  get state(): BreakerState {
    return this.#state;
  }

  ask(nowMs: number): BreakerAnswer {
    if (this.#saidDown) return { kind: 'refused', retryAfterMs: PAUSE_MS };
    const state = this.#state;
    if (state.kind === 'closed') return 'pass';
    if (state.kind === 'open' && nowMs < state.untilMs) {
      return { kind: 'refused', retryAfterMs: Math.ceil(state.untilMs - nowMs) };
    }
    if (state.kind === 'half-open') {
      const endMs = state.sinceMs + TRIAL_MAX_MS;
      if (nowMs < endMs) return { kind: 'refused', retryAfterMs: Math.ceil(endMs - nowMs) };
      return this.#open(nowMs, state.pauseMs * 2);
    }
    this.#state = { kind: 'half-open', sinceMs: nowMs, pauseMs: state.pauseMs };
    return 'trial';
  }

  /** A request of a route that needs it has its answer. `failed`: the answer names this one. */
  note(failed: boolean, trial: boolean, nowMs: number, tenant = ''): void {
    const state = this.#state;
    if (trial && state.kind === 'half-open') {
      if (failed) this.#open(nowMs, state.pauseMs * 2);
      else this.#close();
      return;
    }
    // What was let through before it opened is old news.
    if (state.kind !== 'closed') return;
    const second = Math.floor(nowMs / SLOT_MS);
    const at = second % SLOTS;
    if (this.#seconds[at] !== second) {
      this.#seconds[at] = second;
      this.#answers[at] = 0;
      this.#failures[at] = 0;
      this.#askers[at] = undefined;
      this.#losers[at] = undefined;
    }
    this.#answers[at] = (this.#answers[at] ?? 0) + 1;
    this.#askers[at] = joined(this.#askers[at], tenant);
    if (!failed) return;
    this.#failures[at] = (this.#failures[at] ?? 0) + 1;
    this.#losers[at] = joined(this.#losers[at], tenant);
    if (this.#isBad(second)) this.#open(nowMs, PAUSE_MS);
  }

  /** A trial that told nothing: its client left, or no replica was there. The next one may try. */
  drop(nowMs: number): void {
    const state = this.#state;
    if (state.kind !== 'half-open') return;
    this.#state = { kind: 'open', untilMs: nowMs, pauseMs: state.pauseMs };
  }

  /** DB4. */
  say(down: boolean): void {
    if (this.#saidDown && !down && this.#state.kind === 'open') {
      this.#state = { ...this.#state, untilMs: 0 };
    }
    this.#saidDown = down;
  }

  #open(nowMs: number, pauseMs: number): BreakerAnswer {
    const bounded = Math.min(PAUSE_MAX_MS, pauseMs);
    const waitMs = bounded * (0.8 + 0.4 * this.#random());
    this.#state = { kind: 'open', untilMs: nowMs + waitMs, pauseMs: bounded };
    return { kind: 'refused', retryAfterMs: Math.ceil(waitMs) };
  }

  #close(): void {
    this.#state = CLOSED;
    this.#seconds.fill(-1);
  }

  #isBad(second: number): boolean {
    let answers = 0;
    let failures = 0;
    let askers: Crowd;
    let losers: Crowd;
    for (let i = 0; i < SLOTS; i += 1) {
      if ((this.#seconds[i] ?? -1) <= second - SLOTS) continue;
      answers += this.#answers[i] ?? 0;
      failures += this.#failures[i] ?? 0;
      askers = merged(askers, this.#askers[i]);
      losers = merged(losers, this.#losers[i]);
    }
    if (losers !== MANY && askers === MANY) return false;
    return answers >= ANSWERS_MIN && failures >= RATE_MIN * answers;
  }
}

/** Those of one gateway: found once for each route of a table, not for each request. */
export class Breakers {
  readonly #all = new Map<string, { readonly dependency: string; readonly breaker: Breaker }>();
  readonly #random: () => number;
  #down: ReadonlySet<string> = new Set();

  constructor(random: () => number) {
    this.#random = random;
  }

  /** Keeps its state over tables. */
  of(service: ServiceName, dependency: DependencyName): Breaker {
    const key = `${service} ${dependency}`;
    const known = this.#all.get(key);
    if (known !== undefined) return known.breaker;
    const [oldest] = this.#all.keys();
    if (this.#all.size >= BREAKERS_MAX && oldest !== undefined) this.#all.delete(oldest);
    const breaker = new Breaker(this.#random);
    breaker.say(this.#down.has(dependency));
    this.#all.set(key, { dependency, breaker });
    return breaker;
  }

  /** What the newest table says is down. */
  use(down: readonly DependencyName[] | undefined): void {
    this.#down = new Set(down);
    for (const { dependency, breaker } of this.#all.values()) {
      breaker.say(this.#down.has(dependency));
    }
  }
}
