// How does one admitted request get its answer? Choose a replica, send, pass the answer on; if that
// fails and repeating is safe, choose another; if nobody is there, wait a moment for a change.
//
//   PS1. The client gets exactly one answer, or a cut connection if one was already begun.
//   PS2. A repeat goes to a replica that has not been tried; only one that was never reached
//        (unsent) may be tried again, after waiting.
//   PS3. Bodies are never buffered whole: an answer flows with back-pressure, event streams too.
//   PS4. Waiting for a replica is bounded in time (2 s, and the route's timeout) and in number.
//   PS5. Connections to replicas are shared within one tenant only.
import type { ReplicaId } from '../model/ids.ts';
import type { TenantRoute } from '../model/routing.ts';
import type { Suspect } from '../model/signal.ts';
import { Attempt } from './attempt.ts';
import type { AttemptOwner } from './attempt.ts';
import type { Backend } from './backend.ts';
import type { AttemptResult, Counters } from './counters.ts';
import type {
  AnswerVerdict,
  Decision,
  ExchangeEnd,
  ExchangeView,
  ForwardPlan,
  Outcome,
  OwnAnswer,
  Verdict,
} from './http/hooks.ts';
import { answerLine } from './identity.ts';
import type { Lane } from './lane.ts';
import { foldRoute } from './paths.ts';
import type { PoisonState } from './poison.ts';
import { combination, heldForMs, noteAnswered } from './poison.ts';
import type { Problem } from './problem.ts';
import { problemAnswer, problemOf } from './problem.ts';
import type { Ending, RetryBudget } from './retry.ts';
import { isRetryStatus, judgeRetry, takeRepeat } from './retry.ts';
import type { Entry } from './routes.ts';

const WAIT_MAX_MS = 2_000;
const WAIT_SLICE_MS = 250;
const TURN_MS = 1_000;
const ATTEMPTS_MAX = 32;
const NEVER = Number.POSITIVE_INFINITY;

export interface PassageDeps {
  readonly nowMs: () => number;
  readonly counters: Counters;
  readonly budget: () => RetryBudget;
  readonly poison: PoisonState;
}

export interface PassageFacts {
  readonly view: ExchangeView;
  readonly method: string;
  readonly backend: Backend;
  readonly entry: Entry;
  readonly tenant: TenantRoute;
  readonly requestId: string;
  readonly path: string;
  /** Lines that are added to the request. */
  readonly lines: string;
  readonly plan: ForwardPlan;
  readonly idempotent: boolean;
  readonly onOver: () => void;
}

/** Where it goes next, or what its client is told instead. */
type Step = Lane | OwnAnswer;

export class Passage implements AttemptOwner {
  readonly deps: PassageDeps;
  readonly facts: PassageFacts;
  readonly #tried = new Set<ReplicaId>();
  readonly #unsent = new Set<ReplicaId>();
  readonly #startedMs: number;
  #attempt: Attempt | undefined;
  #last: Lane | undefined;
  #attempts = 0;
  #breaks = 0;
  #errorAnswers = 0;
  #suspected = false;
  #begun = false;
  #leaving = false;
  #turnUntilMs: number | undefined;
  #waitUntilMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #waiter: (() => void) | undefined;
  #over = false;
  #route: string | undefined;

  constructor(deps: PassageDeps, facts: PassageFacts) {
    this.deps = deps;
    this.facts = facts;
    this.#startedMs = deps.nowMs();
  }

  get backend(): Backend {
    return this.facts.backend;
  }

  get turnMs(): number {
    return this.facts.view.turnMs;
  }

  nowMs(): number {
    return this.deps.nowMs();
  }

  get route(): string {
    this.#route ??= foldRoute(this.facts.path);
    return this.#route;
  }

  suspect(): Suspect {
    const { tenant, entry, method, requestId } = this.facts;
    const service = entry.service.name;
    return { tenant: tenant.id, service, method, route: this.route, requestId };
  }

  /** Call once. */
  start(): Decision | Promise<Decision> {
    const step = this.#next();
    if (step instanceof Promise) return step.then((known) => this.#decision(known));
    return this.#decision(step);
  }

  #decision(step: Step): Decision {
    if ('kind' in step) return step;
    const { plan, lines, tenant, requestId } = this.facts;
    const waitedMs = this.deps.nowMs() - this.#startedMs;
    const totalTimeoutMs = Math.max(1, plan.totalTimeoutMs - waitedMs);
    return {
      kind: 'forward',
      to: step.pool,
      plan: this.#waitUntilMs === undefined ? plan : { ...plan, totalTimeoutMs },
      add: lines,
      addToAnswer: answerLine(requestId),
      partition: tenant.id,
    };
  }

  #verdict(step: Step): Verdict {
    return 'kind' in step ? step : { kind: 'retry', to: step.pool, add: this.facts.lines };
  }

  #next(): Step | Promise<Step> {
    const { backend, tenant } = this.facts;
    const nowMs = this.deps.nowMs();
    // It may have become known as poison since it was let in, or since its last try.
    const heldMs = this.#heldMs(nowMs);
    if (heldMs > 0) {
      const detail = 'Requests of this kind broke more than one replica.';
      return this.#no({ status: 503, reason: 'held-as-poison', detail, retryAfterMs: heldMs });
    }
    const turnOver = this.#turnUntilMs !== undefined && nowMs >= this.#turnUntilMs;
    const found = backend.choose({
      region: tenant.region,
      tried: this.#tried,
      // Whether its body will be too long to be kept is known for bodies of known length only.
      repeatable: this.facts.idempotent && this.#mayFit,
      suspected: this.#suspected && !turnOver,
    });
    if (found === 'crowded') {
      this.#turnUntilMs ??= nowMs + TURN_MS;
      return this.#wait('turn', Math.max(5, this.#turnUntilMs - nowMs));
    }
    if (found === 'none') return this.#waitForReplica(nowMs);
    this.#attempts += 1;
    this.#tried.add(found.id);
    this.#last = found;
    this.#attempt = new Attempt(this, found, this.#suspected);
    return found;
  }

  get #mayFit(): boolean {
    const { view, plan } = this.facts;
    const { contentLength } = view.head;
    return this.#attempts === 0 ? contentLength <= plan.replayBytesMax : view.replayable;
  }

  #heldMs(nowMs: number): number {
    const { poison } = this.deps;
    return poison.held.size === 0 ? 0 : heldForMs(poison, combination(this.suspect()), nowMs);
  }

  #waitForReplica(nowMs: number): Step | Promise<Step> {
    const { backend, tenant, plan } = this.facts;
    this.#waitUntilMs ??= Math.min(nowMs + WAIT_MAX_MS, this.#startedMs + plan.totalTimeoutMs);
    const leftMs = this.#waitUntilMs - nowMs;
    if (this.#breaks >= 2 || leftMs <= 0 || this.#attempts >= ATTEMPTS_MAX) {
      return this.#noReplica();
    }
    if (!backend.couldServe(tenant.region)) return this.#noReplica();
    this.#turnUntilMs = undefined;
    return this.#wait('replica', Math.min(leftMs, WAIT_SLICE_MS));
  }

  #wait(what: 'replica' | 'turn', forMs: number): Step | Promise<Step> {
    const { backend } = this.facts;
    return new Promise((resolve, reject) => {
      const again = (): void => {
        if (this.#over) return;
        this.#stopWaiting();
        // Whoever was never reached may be there now: see PS2.
        if (what === 'replica') {
          for (const id of this.#unsent) this.#tried.delete(id);
          this.#unsent.clear();
        }
        try {
          resolve(this.#next());
        } catch (error) {
          reject(error);
        }
      };
      if (!backend.waitFor(what, again)) {
        resolve(this.#no({ status: 503, reason: 'overloaded', detail: 'Too many requests wait.' }));
        return;
      }
      this.#waiter = again;
      this.#timer = setTimeout(again, forMs);
    });
  }

  #stopWaiting(): void {
    clearTimeout(this.#timer);
    if (this.#waiter !== undefined) this.facts.backend.stopWaiting(this.#waiter);
    this.#waiter = undefined;
  }

  #noReplica(): OwnAnswer {
    const { entry, tenant } = this.facts;
    const detail = `No replica of ${entry.service.name} can serve region ${tenant.region} now.`;
    return this.#no({ status: 503, reason: 'no-replica', detail, retryAfterMs: 1_000 });
  }

  #no(problem: Problem): OwnAnswer {
    return problemAnswer(problem, this.facts.requestId);
  }

  /** The head of an answer came: does it pass? */
  answerHead(status: number): AnswerVerdict {
    const judged = this.#attempt?.answerHead(status);
    if (judged === 'bad' && this.#mayDrop(status)) return 'discard';
    this.#begun = true;
    return 'pass';
  }

  /** May an error answer be dropped for a try elsewhere? Only if there is an elsewhere. */
  #mayDrop(status: number): boolean {
    const { backend, tenant, view } = this.facts;
    if (!isRetryStatus(status) || !view.replayable) return false;
    if (!backend.hasOther(tenant.region, this.#tried, this.deps.nowMs())) return false;
    return this.#mayRepeat({ kind: 'status', status }, true);
  }

  /** Another one, or the end? */
  attemptEnded(outcome: Outcome): Verdict | undefined | Promise<Verdict> {
    const ending = this.#attempt?.end(outcome);
    const lane = this.#attempt?.lane;
    this.#attempt = undefined;
    if (ending === undefined || lane === undefined || this.#begun) return undefined;
    if (ending.kind === 'unsent') this.#unsent.add(lane.id);
    if (ending.kind === 'broken' || ending.kind === 'garbled') {
      this.#breaks += 1;
      this.#suspected = true;
    }
    // What was dropped or left was asked and paid for already.
    const isAllowed = ending.kind === 'status' || (ending.kind === 'hung' && this.#leaving);
    this.#leaving = false;
    if (!isAllowed && !this.#mayRepeat(ending, outcome.replayable)) return this.#failure(ending);
    const step = this.#next();
    if (step instanceof Promise) return step.then((known) => this.#verdict(known));
    return this.#verdict(step);
  }

  #failure(ending: Ending): OwnAnswer {
    if (ending.kind !== 'timeout') return this.#no(problemOf(ending));
    const tookMs = Math.round(this.deps.nowMs() - this.#startedMs);
    if (this.turnMs === NEVER) {
      const detail = `The request was not here, whole, within ${tookMs} ms.`;
      return this.#no({ status: 408, reason: 'request-too-slow', detail });
    }
    const detail = `No answer within ${tookMs} ms.`;
    return this.#no({ status: 504, reason: 'replica-timeout', detail });
  }

  #mayRepeat(ending: Ending, bodyKept: boolean): boolean {
    const { entry, idempotent } = this.facts;
    if (ending.kind === 'status') this.#errorAnswers += 1;
    const verdict = judgeRetry({
      ending,
      answerBegun: this.#begun,
      idempotent,
      routeAllows: entry.route.retry,
      bodyKept,
      breaks: this.#breaks,
      errorAnswers: this.#errorAnswers,
    });
    if (verdict.kind === 'give-up') return false;
    return !verdict.charged || takeRepeat(this.deps.budget(), this.deps.nowMs());
  }

  /** Once only (RE3): work that merely blocks its replica must be able to end somewhere. */
  leaveHung(attempt: Attempt): void {
    if (this.#over || this.#attempt !== attempt) return;
    const { backend, tenant, view } = this.facts;
    if (!backend.hasOther(tenant.region, this.#tried, this.deps.nowMs())) return;
    this.#breaks += 1;
    if (this.#mayRepeat({ kind: 'hung' }, view.replayable)) {
      this.#leaving = true;
      view.abandon('hung');
    } else {
      this.#breaks -= 1;
    }
  }

  note(lane: Lane, result: AttemptResult, tookMs: number): void {
    this.deps.counters.note({ ...this.#place(lane), result, tookMs });
    if (result !== 'answered') return;
    noteAnswered(this.deps.poison, combination(this.suspect()), this.deps.nowMs());
  }

  #place(lane: Lane): Parameters<Counters['noteFailed']>[0] {
    const { entry, tenant } = this.facts;
    const { release } = lane.route;
    const service = entry.service.name;
    const { prefix } = entry.route;
    return { service, replica: lane.id, release, tenant: tenant.id, prefix };
  }

  /** The client has its answer, or will never have one. */
  ended(end: ExchangeEnd): void {
    if (this.#over) return;
    this.#over = true;
    this.#stopWaiting();
    // Chosen, but its client was gone before it was tried.
    this.#attempt?.gone();
    this.#attempt = undefined;
    const failed = end.kind === 'cut' || (end.kind !== 'client-gone' && end.status >= 500);
    if (failed && this.#last !== undefined) this.deps.counters.noteFailed(this.#place(this.#last));
    this.facts.onOver();
  }
}
