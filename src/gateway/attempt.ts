// One try of one request on one replica: what it tells the replica's judges.
//
//   AT1. It leaves the replica exactly once, and is counted exactly once.
//   AT2. An error answer that is dropped for a try elsewhere never reaches the client.
//   AT3. Once it was left by us (hang, timeout), what its connection does is no news.
import type { Suspect } from '../model/signal.ts';
import type { Backend } from './backend.ts';
import type { AttemptResult } from './counters.ts';
import type { Outcome } from './http/hooks.ts';
import type { Guest, Lane } from './lane.ts';
import type { Ending } from './retry.ts';

const NEVER = Number.POSITIVE_INFINITY;
/** Nobody is there, or there is no way. */
const UNREACHABLE: ReadonlySet<string> = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH']);
/** Our own limits, which say nothing of the replica. */
const OURS: ReadonlySet<string> = new Set(['pool-full', 'pool-closed']);

/** The passage, as its attempts see it. */
export interface AttemptOwner {
  readonly backend: Backend;
  /** Since when it is the replica's turn; Infinity: not now. */
  readonly turnMs: number;
  /** Did its client shorten the time of the route? Then running out of it blames nobody. */
  readonly isHurried: boolean;
  nowMs(): number;
  suspect(): Suspect;
  /** Its replica hangs: leave it for another one, if that may be. */
  leaveHung(attempt: Attempt): void;
  note(lane: Lane, result: AttemptResult, tookMs: number): void;
}

export class Attempt implements Guest {
  readonly lane: Lane;
  readonly startedMs: number;
  readonly suspected: boolean;
  readonly #owner: AttemptOwner;
  headMs = 0;
  #answered = false;
  #left = false;

  constructor(owner: AttemptOwner, lane: Lane, suspected: boolean, nowMs: number) {
    this.#owner = owner;
    this.lane = lane;
    this.suspected = suspected;
    this.startedMs = nowMs;
    owner.backend.enter(lane, this);
  }

  get waitingSinceMs(): number {
    return this.#answered || this.#left ? NEVER : Math.max(this.startedMs, this.#owner.turnMs);
  }

  suspect(): Suspect {
    return this.#owner.suspect();
  }

  rescue(): void {
    if (this.waitingSinceMs !== NEVER) this.#owner.leaveHung(this);
  }

  /** The head of an answer came. Is it a failure of the replica, or excused by a dependency? */
  answerHead(status: number, nowMs: number, isExcused: boolean): 'bad' | 'good' {
    this.headMs = this.#tookMs(nowMs);
    this.#answered = true;
    const isBad = status >= 500 && status !== 501;
    const outcome = isExcused ? 'excused' : isBad ? 'error' : 'ok';
    this.#owner.backend.outcome(this.lane, outcome, this.headMs);
    return isBad ? 'bad' : 'good';
  }

  /** It is over; the ending is undefined where the client has its answer, or is gone. */
  end(outcome: Outcome): Ending | undefined {
    if (this.#left) return undefined;
    switch (outcome.kind) {
      case 'answered':
        return this.#leave(outcome.status >= 500 ? 'error' : 'answered', this.headMs);
      case 'discarded':
        this.#leave('error', this.headMs);
        return { kind: 'status', status: outcome.status };
      case 'client-gone':
        return this.gone();
      case 'abandoned':
        this.#leave('timeout', this.#tookMs());
        return { kind: 'hung' };
      case 'timeout':
        return this.#timedOut();
      case 'unsent':
        return this.#unsent(outcome.reason);
      case 'sent-no-response':
      case 'bad-response':
      case 'cut':
        return this.#broke(outcome);
    }
  }

  /** The client left, or it never came to be tried. */
  gone(): undefined {
    if (this.#left) return;
    this.#left = true;
    this.#owner.backend.leave(this.lane, this);
  }

  #leave(result: AttemptResult, tookMs: number): undefined {
    this.#owner.note(this.lane, result, tookMs);
    this.gone();
  }

  #timedOut(): Ending {
    if (this.#owner.isHurried) {
      this.gone();
      return { kind: 'timeout' };
    }
    const tookMs = this.#tookMs();
    // A client that is slow to send its request is no fault of the replica, and an event stream
    // may well be still for long: what came of it was judged with its head.
    if (this.waitingSinceMs !== NEVER) this.#owner.backend.outcome(this.lane, 'timeout', tookMs);
    this.#leave('timeout', tookMs);
    return { kind: 'timeout' };
  }

  #unsent(reason: string): Ending {
    const tookMs = this.#tookMs();
    this.#leave('unsent', tookMs);
    if (!OURS.has(reason)) {
      this.#owner.backend.outcome(this.lane, unsentOutcome(reason), tookMs);
    }
    return { kind: 'unsent' };
  }

  #broke({ kind, reason }: Outcome): Ending {
    const { backend } = this.#owner;
    const tookMs = this.#tookMs();
    this.#owner.note(this.lane, 'broken', tookMs);
    // One that answers with what is no HTTP lives; one that ends inside a head may not.
    const mayBeDead = kind !== 'bad-response' || reason === 'early-end';
    if (mayBeDead) backend.broke(this.lane, this);
    else backend.outcome(this.lane, 'broken', tookMs);
    this.gone();
    return kind === 'bad-response' ? { kind: 'garbled', reason } : { kind: 'broken' };
  }

  #tookMs(nowMs = this.#owner.nowMs()): number {
    const sinceMs = Math.max(this.startedMs, this.#owner.turnMs);
    // An answer before the request was whole is early, however long its client takes.
    return sinceMs === NEVER ? 0 : nowMs - sinceMs;
  }
}

function unsentOutcome(reason: string): 'unreachable' | 'unconnected' | 'broken' {
  if (UNREACHABLE.has(reason)) return 'unreachable';
  return reason === 'connect-timeout' ? 'unconnected' : 'broken';
}
