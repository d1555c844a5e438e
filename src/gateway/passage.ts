// How does one admitted request get its answer? Choose a replica, send, pass the answer on; if that
// fails and repeating is safe, choose another; if nobody is there, wait a moment for a change.
//
//   PS1. The client gets exactly one answer, or a cut connection if one was already begun.
//   PS2. A repeat goes to a replica that has not been tried; only one that was never reached
//        (unsent) may be tried again, after waiting.
//   PS3. Bodies are never buffered whole: an answer flows with back-pressure, event streams too.
//   PS4. Waiting for a replica is bounded in time (2 s, and the route's timeout) and in number.
//   PS5. Connections to replicas are shared within one tenant only.
//   PS6. What was inside two deaths waits a moment (400 ms at most) for the verdict on them: only
//        if another combination is held for both is it tried once more, and never after a third.
//
// It is its own wish and its own record, and has sets only once something failed: a request that
// goes well makes little garbage. Longer than 400 lines because the life of one request is one
// state that all of it changes.
import type { ReplicaId, TenantId } from '../model/ids.ts';
import type { Suspect } from '../model/signal.ts';
import { release } from './admission.ts';
import { Attempt } from './attempt.ts';
import type { AttemptOwner } from './attempt.ts';
import type { Backend } from './backend.ts';
import type { AttemptResult, Counters } from './counters.ts';
import { countIn } from './counters.ts';
import { DEPENDENCY_FAILED } from './fair/breaker.ts';
import { LEFT_TIMEOUT, leftMs, REQUEST_TIMEOUT, totalMs } from './fair/deadline.ts';
import { needsIt, type Stay } from './fair/stay.ts';
import type { Flow } from './flow.ts';
import type {
  AnswerVerdict,
  Decision,
  ExchangeEnd,
  ExchangeView,
  Forward,
  Outcome,
  OwnAnswer,
  Verdict,
} from './http/hooks.ts';
import type { Head } from './http/head.ts';
import { fieldName, KNOWN } from './http/names.ts';
import { serverTiming, wantsTiming } from './observe/server-timing.ts';
import type { TimingMode } from './observe/server-timing.ts';
import type { TraceSpan } from './observe/trace.ts';
import type { Lane, Wish } from './lane.ts';
import type { PoisonState } from './poison.ts';
import { heldForMs, isCleared } from './poison.ts';
import type { Problem } from './problem.ts';
import { problemAnswer, problemOf } from './problem.ts';
import type { Ending, RetryAnswer, RetryBudget } from './retry.ts';
import { isRetryStatus, judgeRetry, takeRepeat } from './retry.ts';
import type { Target } from './targets.ts';

const WAIT_MAX_MS = 2_000;
const WAIT_SLICE_MS = 250;
const TURN_MS = 1_000;
const VERDICT_MAX_MS = 400;
/** After the last look into a death, for the word of other workers to come. */
const VERDICT_AFTER_LOOK_MS = 80;
const VERDICT_SLICE_MS = 10;
const ATTEMPTS_MAX = 32;
const NEVER = Number.POSITIVE_INFINITY;
const TIMEOUT_FIELD = fieldName(REQUEST_TIMEOUT);
const FAILED_FIELD = fieldName(DEPENDENCY_FAILED);
const NOBODY: ReadonlySet<ReplicaId> = new Set();

export interface PassageDeps {
  readonly timing?: () => TimingMode;
  /** Why it may not go on, if the table has changed since it was judged under this version. */
  readonly barred?: (flow: Flow, target: Target, version: number) => Problem | undefined;
  readonly nowMs: () => number;
  readonly counters: Counters;
  readonly budget: () => RetryBudget;
  readonly poison: PoisonState;
}

export interface PassageFacts {
  readonly view: ExchangeView;
  readonly flow: Flow;
  readonly target: Target;
  readonly stay: Stay;
  readonly version?: number;
}

/** Where it goes next, or what its client is told instead. */
type Step = Lane | OwnAnswer;

export class Passage implements AttemptOwner, Wish {
  readonly view: ExchangeView;
  readonly flow: Flow;
  readonly target: Target;
  readonly #stay: Stay;
  readonly #version: number;
  readonly isHurried: boolean;
  readonly requestId: string;
  readonly trace: TraceSpan | undefined;
  /** Lines for the replica beside those of the flow. */
  readonly #add: string;
  /** And those of its connection. */
  readonly #own: string;
  readonly #deps: PassageDeps;
  readonly #startedMs: number;
  /** Of the client's time, or the route's. */
  readonly #totalMs: number;
  #tried: Set<ReplicaId> | undefined;
  #unsent: Set<ReplicaId> | undefined;
  /** Replicas that broke with it inside. */
  #brokeIn: ReplicaId[] | undefined;
  #attempt: Attempt | undefined;
  #last: Lane | undefined;
  #attempts = 0;
  #breaks = 0;
  /** Of these, what another combination was found guilty of. */
  #forgiven = 0;
  #errorAnswers = 0;
  #isSuspected = false;
  #hadItsTurn = false;
  #begun = false;
  #leaving = false;
  #turnUntilMs = NEVER;
  #waitUntilMs = NEVER;
  #timer: NodeJS.Timeout | undefined;
  #waiter: (() => void) | undefined;
  #over = false;
  /** Why the gateway itself said no, if it did. */
  reason = '';
  /** From sending to the head of the answer, last attempt. */
  upstreamMs = 0;
  /** In tries that are over. */
  #spentMs = 0;

  constructor(
    deps: PassageDeps,
    facts: PassageFacts,
    ids: {
      readonly requestId: string;
      readonly add: string;
      readonly own: string;
      readonly trace: TraceSpan | undefined;
    },
  ) {
    this.#deps = deps;
    this.view = facts.view;
    this.flow = facts.flow;
    this.target = facts.target;
    this.#stay = facts.stay;
    this.#version = facts.version ?? 0;
    this.requestId = ids.requestId;
    this.trace = ids.trace;
    this.#add = ids.add;
    this.#own = ids.own;
    this.#startedMs = facts.view.startedMs;
    this.#totalMs = totalMs(facts.view.head.value(TIMEOUT_FIELD), facts.flow.plan.totalTimeoutMs);
    this.isHurried = this.#totalMs < facts.flow.plan.totalTimeoutMs;
  }

  get backend(): Backend {
    return this.flow.backend;
  }

  get turnMs(): number {
    return this.view.turnMs;
  }

  nowMs(): number {
    return this.#deps.nowMs();
  }

  suspect(): Suspect {
    const { tenant, entry } = this.flow;
    const { method, route } = this.target.kind;
    const { requestId } = this;
    return { tenant: tenant.id, service: entry.service.name, method, route, requestId };
  }

  // What it wishes of a replica.
  get region(): string {
    return this.flow.tenant.region;
  }

  get tenant(): TenantId {
    return this.flow.tenant.id;
  }

  get tried(): ReadonlySet<ReplicaId> {
    return this.#tried ?? NOBODY;
  }

  /** Whether its body will be too long to be kept is known for bodies of known length only. */
  get repeatable(): boolean {
    if (!this.isIdempotent) return false;
    const { view, flow } = this;
    if (this.#attempts > 0) return view.replayable;
    return view.head.contentLength <= flow.plan.replayBytesMax;
  }

  get suspected(): boolean {
    return this.#isSuspected && !this.#hadItsTurn;
  }

  get isIdempotent(): boolean {
    if (this.target.isIdempotent) return true;
    const { head } = this.view;
    const field = head.noted(KNOWN.idempotencyKey);
    return field !== -1 && (field < 0 || head.valueAt(field) !== '');
  }

  // What became of it.
  get replica(): Lane | undefined {
    return this.#last;
  }

  get attempts(): number {
    return this.#attempts;
  }

  /** Call once. `nowMs`: when it was let in. */
  start(nowMs: number): Decision | Promise<Decision> {
    const step = this.#next(nowMs);
    if (step instanceof Promise) return step.then((known) => this.#decision(known, this.nowMs()));
    return this.#decision(step, nowMs);
  }

  #decision(step: Step, nowMs: number): Decision {
    if ('kind' in step) return step;
    const { flow, requestId } = this;
    const { plan } = flow;
    const decision: Forward = {
      kind: 'forward',
      to: step.pool,
      plan,
      add: this.#lines(nowMs),
      addToAnswer: `x-request-id: ${requestId}\r\n`,
      partition: flow.tenant.id,
      shared: flow.lines(Date.now()),
      own: this.#own,
    };
    const totalTimeoutMs = leftMs(this.#totalMs, this.#startedMs, nowMs);
    if (totalTimeoutMs === plan.totalTimeoutMs) return decision;
    return { ...decision, plan: { ...plan, totalTimeoutMs } };
  }

  /** With the time that is left: nobody is to work on an answer that nobody waits for. */
  #lines(nowMs: number): string {
    return `${this.#add}${LEFT_TIMEOUT}: ${leftMs(this.#totalMs, this.#startedMs, nowMs)}\r\n`;
  }

  #verdict(step: Step): Verdict {
    return 'kind' in step ? step : { kind: 'retry', to: step.pool, add: this.#lines(this.nowMs()) };
  }

  #next(nowMs: number): Step | Promise<Step> {
    const { backend } = this.flow;
    const barred = this.#deps.barred?.(this.flow, this.target, this.#version);
    if (barred !== undefined) return this.#no(barred);
    // It may have become known as poison since it was let in, or since its last try.
    const heldMs = this.#heldMs(nowMs);
    if (heldMs > 0) {
      const detail = 'Requests of this kind broke more than one replica.';
      return this.#no({ status: 503, reason: 'held-as-poison', detail, retryAfterMs: heldMs });
    }
    this.#hadItsTurn = nowMs >= this.#turnUntilMs;
    const found = backend.choose(this);
    if (found === 'crowded') {
      this.#turnUntilMs = Math.min(this.#turnUntilMs, nowMs + TURN_MS);
      return this.#wait('turn', Math.max(5, this.#turnUntilMs - nowMs));
    }
    if (found === 'none') return this.#waitForReplica(nowMs);
    this.#attempts += 1;
    this.#last = found;
    this.#attempt = new Attempt(this, found, this.#isSuspected, nowMs);
    return found;
  }

  /** The combination that it is blamed and held by. */
  #combo(nowMs: number): string {
    return this.flow.good(this.#deps.poison, this.target.kind, nowMs).combo;
  }

  #heldMs(nowMs: number): number {
    const { poison } = this.#deps;
    return poison.held.size === 0 ? 0 : heldForMs(poison, this.#combo(nowMs), nowMs);
  }

  #waitForReplica(nowMs: number): Step | Promise<Step> {
    const { backend, tenant } = this.flow;
    if (this.#waitUntilMs === NEVER) {
      this.#waitUntilMs = Math.min(nowMs + WAIT_MAX_MS, this.#startedMs + this.#totalMs);
    }
    const leftMs = this.#waitUntilMs - nowMs;
    if (leftMs <= 0 || this.#attempts >= ATTEMPTS_MAX) return this.#noReplica();
    if (!backend.couldServe(tenant.region)) return this.#noReplica();
    this.#turnUntilMs = NEVER;
    return this.#wait('replica', Math.min(leftMs, WAIT_SLICE_MS));
  }

  #wait(what: 'replica' | 'turn', forMs: number): Promise<Step> {
    return this.#pause(what, forMs, () => {
      // Whoever was never reached may be there now: see PS2.
      if (what === 'replica' && this.#unsent !== undefined) {
        for (const id of this.#unsent) this.#tried?.delete(id);
        this.#unsent.clear();
      }
      return this.#next(this.nowMs());
    });
  }

  /** Goes on at the next change, or in time. */
  #pause(what: 'replica' | 'turn', forMs: number, goOn: () => Step | Promise<Step>): Promise<Step> {
    const { backend } = this.flow;
    return new Promise((resolve, reject) => {
      const again = (): void => {
        if (this.#over) return;
        this.#stopWaiting();
        try {
          resolve(goOn());
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
    if (this.#waiter === undefined) return;
    clearTimeout(this.#timer);
    this.flow.backend.stopWaiting(this.#waiter);
    this.#waiter = undefined;
  }

  #noReplica(): OwnAnswer {
    const { entry, tenant } = this.flow;
    const detail = `No replica of ${entry.service.name} can serve region ${tenant.region} now.`;
    return this.#no({ status: 503, reason: 'no-replica', detail, retryAfterMs: 1_000 });
  }

  #no(problem: Problem): OwnAnswer {
    this.reason = problem.reason;
    return problemAnswer(problem, this.requestId);
  }

  /** The head of an answer came: does it pass? */
  answerHead(status: number, head: Head): AnswerVerdict {
    const nowMs = this.nowMs();
    const failed = status >= 500 ? head.value(FAILED_FIELD) : undefined;
    const isExcused = failed !== undefined && needsIt(this.flow.terms, failed);
    const attempt = this.#attempt;
    const judged = attempt?.answerHead(status, nowMs, isExcused);
    // What it lays on a dependency is no better elsewhere.
    if (judged === 'bad' && !isExcused && this.#mayDrop(status)) return 'discard';
    this.#begun = true;
    this.#stay.headCame(status, failed, attempt?.headMs ?? 0, nowMs);
    const { view } = this;
    const mode = this.#deps.timing?.() ?? 'never';
    if (mode !== 'never' && wantsTiming(mode, view.head, true)) {
      const upMs = this.#spentMs + (attempt === undefined ? 0 : nowMs - attempt.startedMs);
      view.answerLines += serverTiming(nowMs - this.#startedMs, upMs, this.#attempts);
    }
    return 'pass';
  }

  /** May an error answer be dropped for a try elsewhere? Only if there is an elsewhere. */
  #mayDrop(status: number): boolean {
    if (!isRetryStatus(status) || !this.view.replayable || !this.#hasOther()) return false;
    return this.#mayRepeat({ kind: 'status', status }, true);
  }

  #hasOther(): boolean {
    const { backend, tenant } = this.flow;
    this.#noteTried();
    return backend.hasOther(tenant.region, this.tried, this.nowMs(), tenant.id);
  }

  #noteTried(): void {
    if (this.#last !== undefined) (this.#tried ??= new Set()).add(this.#last.id);
  }

  /** Another one, or the end? */
  attemptEnded(outcome: Outcome): Verdict | undefined | Promise<Verdict> {
    const attempt = this.#attempt;
    const ending = attempt?.end(outcome);
    this.#attempt = undefined;
    this.upstreamMs = outcome.headMs;
    this.#spentMs += outcome.totalMs;
    if (ending === undefined || attempt === undefined || this.#begun) return undefined;
    const { lane } = attempt;
    this.#noteTried();
    if (ending.kind === 'unsent') (this.#unsent ??= new Set()).add(lane.id);
    if (ending.kind === 'broken' || ending.kind === 'garbled') {
      this.#breaks += 1;
      this.#isSuspected = true;
      if (ending.kind === 'broken') (this.#brokeIn ??= []).push(lane.id);
    }
    const step = this.#after(ending, outcome.replayable);
    if (step instanceof Promise) return step.then((known) => this.#verdict(known));
    return this.#verdict(step);
  }

  #after(ending: Ending, bodyKept: boolean): Step | Promise<Step> {
    // What was dropped or left was asked and paid for already.
    const isAllowed = ending.kind === 'status' || (ending.kind === 'hung' && this.#leaving);
    this.#leaving = false;
    if (isAllowed || this.#mayRepeat(ending, bodyKept)) return this.#next(this.nowMs());
    // PS6: refused for nothing but its two deaths?
    const isTwice = this.#breaks === 2 && this.#brokeIn?.length === 2;
    const mayBeCleared = isTwice && this.#judge(ending, bodyKept, 1).kind === 'retry';
    if (!mayBeCleared) return this.#failure(ending);
    return this.#awaitVerdict(ending, this.nowMs(), NEVER);
  }

  /** Who broke both of its replicas is known as soon as they have been looked at, or never. */
  #awaitVerdict(ending: Ending, sinceMs: number, quietMs: number): Step | Promise<Step> {
    const nowMs = this.nowMs();
    const { backend } = this.flow;
    const { poison } = this.#deps;
    const replicas = this.#brokeIn ?? [];
    if (this.#heldMs(nowMs) > 0) return this.#failure(ending);
    if (isCleared(poison, this.#combo(nowMs), replicas, nowMs)) {
      this.#forgiven = 1;
      if (!takeRepeat(this.#deps.budget(), nowMs, this.flow.account)) return this.#failure(ending);
      return this.#next(nowMs);
    }
    const isLookedAt = !replicas.some((id) => backend.lanes.get(id)?.dying !== undefined);
    const sinceQuietMs = isLookedAt ? Math.min(quietMs, nowMs) : NEVER;
    const isLate = nowMs - sinceMs >= VERDICT_MAX_MS;
    if (isLate || nowMs - sinceQuietMs >= VERDICT_AFTER_LOOK_MS) return this.#failure(ending);
    return this.#pause('replica', VERDICT_SLICE_MS, () =>
      this.#awaitVerdict(ending, sinceMs, sinceQuietMs),
    );
  }

  #failure(ending: Ending): OwnAnswer {
    if (ending.kind !== 'timeout') return this.#no(problemOf(ending));
    const tookMs = Math.round(this.nowMs() - this.#startedMs);
    if (this.turnMs === NEVER) {
      const detail = `The request was not here, whole, within ${tookMs} ms.`;
      return this.#no({ status: 408, reason: 'request-too-slow', detail });
    }
    const detail = `No answer within ${tookMs} ms.`;
    return this.#no({ status: 504, reason: 'replica-timeout', detail });
  }

  #mayRepeat(ending: Ending, bodyKept: boolean): boolean {
    if (ending.kind === 'status') this.#errorAnswers += 1;
    const verdict = this.#judge(ending, bodyKept, this.#breaks - this.#forgiven);
    if (verdict.kind === 'give-up') return false;
    return !verdict.charged || takeRepeat(this.#deps.budget(), this.nowMs(), this.flow.account);
  }

  #judge(ending: Ending, bodyKept: boolean, breaks: number): RetryAnswer {
    return judgeRetry({
      ending,
      answerBegun: this.#begun,
      idempotent: this.isIdempotent,
      routeAllows: this.flow.entry.route.retry,
      bodyKept,
      breaks,
      errorAnswers: this.#errorAnswers,
    });
  }

  /** Once only (RE3): work that merely blocks its replica must be able to end somewhere. */
  leaveHung(attempt: Attempt): void {
    if (this.#over || this.#attempt !== attempt || !this.#hasOther()) return;
    this.#breaks += 1;
    if (this.#mayRepeat({ kind: 'hung' }, this.view.replayable)) {
      this.#leaving = true;
      this.view.abandon('hung');
    } else {
      this.#breaks -= 1;
    }
  }

  note(lane: Lane, result: AttemptResult, tookMs: number): void {
    const { flow, target } = this;
    const { counters, poison } = this.#deps;
    countIn(flow.cell(counters, lane), result, tookMs);
    if (result === 'answered') flow.noteAnswered(poison, target.kind, this.#startedMs);
  }

  /** The client has its answer, or will never have one. */
  ended(end: ExchangeEnd): void {
    if (this.#over) return;
    this.#over = true;
    this.#stopWaiting();
    // Chosen, but its client was gone before it was tried.
    this.#attempt?.gone();
    this.#attempt = undefined;
    const { flow } = this;
    const failed = end.kind === 'cut' || (end.kind !== 'client-gone' && end.status >= 500);
    const counts = failed && !(end.status === 504 && this.isHurried);
    if (counts && this.#last !== undefined) flow.cell(this.#deps.counters, this.#last).failed += 1;
    this.#stay.end(this.#startedMs + end.tookMs);
    release(flow.account);
  }
}
