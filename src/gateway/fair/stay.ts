// One request's stay inside a service, as isolation sees it: past the breakers of what its route
// needs, through the gate, and out again. Whoever carries the request makes three calls.
//
//   SY1. What was entered is left exactly once: with the head of the answer, or with the end of the
//        exchange if none came. A stream does not hold a place for as long as it flows.
//   SY2. A client that is gone while it waits is never let in.
//   SY3. A trial of a breaker is ended, whatever becomes of its request.
import type { DependencyName } from '../../model/ids.ts';
import type { Problem } from '../problem.ts';
import type { Breaker } from './breaker.ts';
import type { Entry, Gate, Waiter } from './gate.ts';
import type { Ended } from './limit.ts';
import { dependencyProblem, shedProblem } from './problems.ts';

/** What is the same for all requests of one tenant on one route: made once, kept with them. */
export interface StayTerms {
  readonly tenant: string;
  /** `weightOf(tenant.priority)`. */
  readonly weight: number;
  readonly gate: Gate | undefined;
  readonly needs: readonly Need[];
}

export interface Need {
  readonly name: DependencyName;
  readonly breaker: Breaker;
}

export const NO_NEEDS: readonly Need[] = [];

const GONE: Problem = { status: 503, reason: 'overloaded', detail: 'The client left.' };

export class Stay {
  readonly #terms: StayTerms;
  #state: 'out' | 'waits' | 'in' | 'over' = 'out';
  #waiter: Waiter | undefined;
  /** Those for which it is the trial. */
  #trials: Breaker[] | undefined;
  #isNoted = false;
  #generation = 0;

  constructor(terms: StayTerms) {
    this.#terms = terms;
  }

  /** Call once. */
  enter(nowMs: number): 'in' | Problem | Promise<'in' | Problem> {
    const { gate, tenant, weight, needs } = this.#terms;
    if (needs.length > 0) {
      const problem = this.#ask(nowMs);
      if (problem !== undefined) return problem;
    }
    const entry = gate === undefined ? 'in' : gate.enter(tenant, weight, nowMs);
    if (entry === 'in') {
      this.#state = 'in';
      this.#generation = gate?.generation ?? 0;
      return 'in';
    }
    if (entry.kind === 'shed') {
      this.end(nowMs);
      return shedProblem(entry);
    }
    this.#state = 'waits';
    this.#waiter = entry;
    return entry.answer.then((answer) => this.#answered(answer, nowMs));
  }

  /**
   * The head of the answer came and is passed on. `failed`: the value of its field
   * `x-kintsugi-dependency-failed`; `tookMs`: since it was sent to the replica.
   */
  headCame(status: number, failed: string | undefined, tookMs: number, nowMs: number): void {
    this.#note(status >= 500 ? failed : undefined, nowMs);
    this.#leave(endedOf(status), tookMs, nowMs);
  }

  /** The exchange is over. Any number of times. */
  end(nowMs: number): void {
    if (this.#state === 'over') return;
    if (this.#state === 'waits' && this.#waiter !== undefined) {
      this.#terms.gate?.cancel(this.#waiter);
    }
    // One that was sent away and has not heard of it yet owes nothing.
    if (this.#state === 'waits' && this.#waiter?.isIn === true) {
      this.#state = 'in';
      this.#generation = this.#waiter?.generation ?? 0;
    }
    this.#leave('broken', 0, nowMs);
    this.#state = 'over';
    for (const breaker of this.#trials ?? []) breaker.drop(nowMs);
    this.#trials = undefined;
  }

  #ask(nowMs: number): Problem | undefined {
    for (const { name, breaker } of this.#terms.needs) {
      const answer = breaker.ask(nowMs);
      if (answer === 'pass') continue;
      if (answer === 'trial') {
        (this.#trials ??= []).push(breaker);
        continue;
      }
      this.end(nowMs);
      return dependencyProblem(name, answer);
    }
    return undefined;
  }

  #answered(answer: Entry, nowMs: number): 'in' | Problem {
    // Let in, and gone before that was heard: its end has left already.
    if (this.#state !== 'waits') return GONE;
    this.#generation = this.#waiter?.generation ?? 0;
    this.#waiter = undefined;
    if (answer === 'in') {
      this.#state = 'in';
      return 'in';
    }
    this.end(nowMs);
    return shedProblem(answer);
  }

  /** A good answer is one for all that it needs; a bad one for what it names, if for anything. */
  #note(failed: string | undefined, nowMs: number): void {
    if (this.#isNoted || this.#terms.needs.length === 0) return;
    this.#isNoted = true;
    for (const { name, breaker } of this.#terms.needs) {
      const isTrial = this.#trials?.includes(breaker) === true;
      breaker.note(name === failed, isTrial, nowMs, this.#terms.tenant);
    }
    this.#trials = undefined;
  }

  #leave(ended: Ended, tookMs: number, nowMs: number): void {
    if (this.#state !== 'in') return;
    this.#state = 'out';
    const { gate, tenant } = this.#terms;
    gate?.leave(tenant, tookMs, ended, nowMs, this.#generation);
  }
}

function endedOf(status: number): Ended {
  // 429 is said to one tenant for what it did: no sign of the service's load, and no measure.
  if (status < 500) return status === 429 ? 'broken' : 'ok';
  return status === 503 || status === 504 ? 'refused' : 'broken';
}

/** Is it one of those that the route declares? Others are no excuse. */
export function needsIt(terms: StayTerms | undefined, name: string): boolean {
  return terms?.needs.some((need) => need.name === name) === true;
}
