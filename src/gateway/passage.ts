// How does one admitted request get its answer? Choose a replica, send, pass the answer on; if that
// fails and repeating is safe, choose another; if nobody is there, wait a moment for a change.
//
//   PS1. The client gets exactly one answer, or a cut connection if one was already begun.
//   PS2. A repeat goes to a replica that has not been tried; only one that was never reached
//        (unsent) may be tried again, after waiting.
//   PS3. Bodies are never buffered whole: an answer flows with back-pressure, event streams too.
//   PS4. Waiting for a replica is bounded in time (2 s, and the route's timeout) and in number.
import type { ReplicaId, TenantId } from '../model/ids.ts';
import type { TenantRoute } from '../model/routing.ts';
import type { Suspect } from '../model/signal.ts';
import { Attempt } from './attempt.ts';
import type { AttemptOwner } from './attempt.ts';
import type { Backend } from './backend.ts';
import type { Lane } from './lane.ts';
import type { TakenBody } from './body.ts';
import type { AttemptResult, Counters } from './counters.ts';
import type { Exchange } from './exchange.ts';
import { foldRoute } from './paths.ts';
import type { PoisonState } from './poison.ts';
import { combination, heldForMs, noteAnswered } from './poison.ts';
import type { Problem } from './problem.ts';
import { answerProblem } from './problem.ts';
import type { Ending, RetryBudget } from './retry.ts';
import { isRetryStatus, judgeRetry, takeRepeat } from './retry.ts';
import type { Entry } from './routes.ts';

const WAIT_MAX_MS = 2_000;
const WAIT_SLICE_MS = 250;
const TURN_MS = 1_000;
const ATTEMPTS_MAX = 32;

export interface PassageDeps {
  readonly nowMs: () => number;
  readonly counters: Counters;
  readonly budget: () => RetryBudget;
  readonly poison: PoisonState;
}

export interface PassageFacts {
  readonly exchange: Exchange;
  readonly backend: Backend;
  readonly entry: Entry;
  readonly tenant: TenantRoute;
  readonly requestId: string;
  readonly path: string;
  readonly headers: string[];
  readonly body: Extract<TakenBody, { kind: 'kept' | 'streamed' }>;
  readonly idempotent: boolean;
  readonly onOver: () => void;
}

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
  #turnUntilMs: number | undefined;
  #waitUntilMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #waiter: (() => void) | undefined;
  #deadline: NodeJS.Timeout;
  #over = false;
  #route: string | undefined;

  constructor(deps: PassageDeps, facts: PassageFacts) {
    this.deps = deps;
    this.facts = facts;
    this.#startedMs = deps.nowMs();
    const { timeoutMs } = facts.entry.route;
    this.#deadline = setTimeout(() => this.#timedOut(), timeoutMs);
    facts.exchange.onGone(() => this.#clientGone());
  }

  get backend(): Backend {
    return this.facts.backend;
  }

  get exchange(): Exchange {
    return this.facts.exchange;
  }

  get requestId(): string {
    return this.facts.requestId;
  }

  nowMs(): number {
    return this.deps.nowMs();
  }

  get route(): string {
    this.#route ??= foldRoute(this.facts.path);
    return this.#route;
  }

  suspect(): Suspect {
    const { tenant, entry, exchange, requestId } = this.facts;
    const { method } = exchange;
    const service = entry.service.name;
    return { tenant: tenant.id, service, method, route: this.route, requestId };
  }

  /** Call once to start, and whenever another replica shall be tried. */
  next(): void {
    if (this.#over) return;
    const { backend, tenant } = this.facts;
    const nowMs = this.deps.nowMs();
    // It may have become known as poison since it was let in, or since its last try.
    const heldMs = this.#heldMs(nowMs);
    if (heldMs > 0) {
      const detail = 'Requests of this kind broke more than one replica.';
      this.fail({ status: 503, reason: 'held-as-poison', detail, retryAfterMs: heldMs });
      return;
    }
    const turnOver = this.#turnUntilMs !== undefined && nowMs >= this.#turnUntilMs;
    const found = backend.choose({
      region: tenant.region,
      tried: this.#tried,
      repeatable: this.facts.idempotent && this.facts.body.kind === 'kept',
      suspected: this.#suspected && !turnOver,
    });
    if (found === 'crowded') {
      this.#turnUntilMs ??= nowMs + TURN_MS;
      this.#wait('turn', Math.max(5, this.#turnUntilMs - nowMs));
    } else if (found === 'none') {
      this.#waitForReplica(nowMs);
    } else {
      this.#send(found);
    }
  }

  #heldMs(nowMs: number): number {
    const { poison } = this.deps;
    return poison.held.size === 0 ? 0 : heldForMs(poison, combination(this.suspect()), nowMs);
  }

  #send(lane: Lane): void {
    this.#attempts += 1;
    this.#tried.add(lane.id);
    this.#last = lane;
    const { exchange, headers, body } = this.facts;
    const length = body.kind === 'streamed' ? body.length : undefined;
    const complete =
      length === undefined ? headers : [...headers, 'content-length', String(length)];
    const attempt = new Attempt(this, lane, this.#suspected);
    this.#attempt = attempt;
    this.facts.backend.enter(lane, attempt);
    attempt.call = lane.upstream.send(
      {
        method: exchange.method,
        path: exchange.target,
        headers: complete,
        body: body.kind === 'kept' ? body.bytes : body.open(),
      },
      attempt,
    );
  }

  #waitForReplica(nowMs: number): void {
    const { backend, tenant } = this.facts;
    this.#waitUntilMs ??= nowMs + WAIT_MAX_MS;
    const leftMs = this.#waitUntilMs - nowMs;
    if (this.#breaks >= 2 || leftMs <= 0 || this.#attempts >= ATTEMPTS_MAX) {
      this.#noReplica();
    } else if (!backend.couldServe(tenant.region)) {
      this.#noReplica();
    } else {
      this.#turnUntilMs = undefined;
      this.#wait('replica', Math.min(leftMs, WAIT_SLICE_MS));
    }
  }

  #wait(what: 'replica' | 'turn', forMs: number): void {
    const { backend } = this.facts;
    const again = (): void => {
      this.#stopWaiting();
      // Whoever was never reached may be there now: see PS2.
      if (what === 'replica') {
        for (const id of this.#unsent) this.#tried.delete(id);
        this.#unsent.clear();
      }
      this.next();
    };
    if (!backend.waitFor(what, again)) {
      this.fail({ status: 503, reason: 'overloaded', detail: 'Too many requests wait.' });
      return;
    }
    this.#waiter = again;
    this.#timer = setTimeout(again, forMs);
  }

  #stopWaiting(): void {
    clearTimeout(this.#timer);
    if (this.#waiter !== undefined) this.facts.backend.stopWaiting(this.#waiter);
    this.#waiter = undefined;
  }

  #noReplica(): void {
    const { entry, tenant } = this.facts;
    const detail = `No replica of ${entry.service.name} can serve region ${tenant.region} now.`;
    this.fail({ status: 503, reason: 'no-replica', detail, retryAfterMs: 1_000 });
  }

  /** The attempt ended without an answer: another one, or the end? */
  endedWith(attempt: Attempt, ending: Ending): void {
    if (this.#over || this.#attempt !== attempt) return;
    this.#attempt = undefined;
    if (ending.kind === 'unsent') this.#unsent.add(attempt.lane.id);
    if (ending.kind === 'broken') {
      this.#breaks += 1;
      this.#suspected = true;
    }
    if (this.mayRepeat(ending)) this.next();
    else this.fail(problemOf(ending));
  }

  mayRepeat(ending: Ending): boolean {
    const { body, entry, idempotent, exchange } = this.facts;
    const bodyKept = body.kind === 'kept' || ending.kind === 'unsent';
    if (ending.kind === 'status') this.#errorAnswers += 1;
    const verdict = judgeRetry({
      ending,
      answerBegun: exchange.begun,
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
  mayLeave(attempt: Attempt): boolean {
    if (this.#over || this.#attempt !== attempt) return false;
    const { backend, tenant } = this.facts;
    if (!backend.hasOther(tenant.region, this.#tried, this.deps.nowMs())) return false;
    this.#breaks += 1;
    if (this.mayRepeat({ kind: 'hung' })) return true;
    this.#breaks -= 1;
    return false;
  }

  left(): void {
    this.#attempt = undefined;
    this.next();
  }

  unsendable(attempt: Attempt, detail: string): void {
    if (this.#attempt !== attempt) return;
    this.fail({ status: 400, reason: 'bad-request', detail });
  }

  /** May an error answer be dropped for a try elsewhere? Only if there is an elsewhere. */
  mayDrop(status: number): boolean {
    if (!isRetryStatus(status) || this.#over) return false;
    const { backend, tenant } = this.facts;
    const { nowMs } = this.deps;
    if (!backend.hasOther(tenant.region, this.#tried, nowMs())) return false;
    return this.mayRepeat({ kind: 'status', status });
  }

  dropped(attempt: Attempt): void {
    if (this.#attempt === attempt) this.#attempt = undefined;
    this.next();
  }

  /** The head of the answer is on its way to the client. */
  begun(): void {
    clearTimeout(this.#deadline);
  }

  answered(failed: boolean): void {
    if (failed) this.#countFailed();
    this.#finish();
  }

  fail(problem: Problem): void {
    if (this.#over) return;
    this.#countFailed();
    const { exchange, requestId } = this.facts;
    answerProblem(exchange, problem, requestId);
    this.#finish();
  }

  overflowed(): void {
    if (this.#over) return;
    const attempt = this.#attempt;
    this.#attempt = undefined;
    const detail = `The tenant's limit is ${this.facts.tenant.bodyBytes} bytes.`;
    const { exchange, requestId } = this.facts;
    answerProblem(exchange, { status: 413, reason: 'body-too-large', detail }, requestId);
    attempt?.call?.abort();
    this.#finish();
  }

  note(lane: Lane, result: AttemptResult, tookMs: number): void {
    const { service, route } = this.facts.entry;
    this.deps.counters.note({ ...this.#place(lane, service.name, route.prefix), result, tookMs });
    if (result !== 'answered') return;
    noteAnswered(this.deps.poison, combination(this.suspect()), this.deps.nowMs());
  }

  #place(
    lane: Lane,
    service: Entry['service']['name'],
    prefix: string,
  ): {
    service: Entry['service']['name'];
    replica: ReplicaId;
    release: Lane['route']['release'];
    tenant: TenantId;
    prefix: string;
  } {
    const { release } = lane.route;
    return { service, replica: lane.id, release, tenant: this.facts.tenant.id, prefix };
  }

  #countFailed(): void {
    if (this.#last === undefined) return;
    const { service, route } = this.facts.entry;
    this.deps.counters.noteFailed(this.#place(this.#last, service.name, route.prefix));
  }

  #timedOut(): void {
    if (this.#over || this.facts.exchange.begun) return;
    const attempt = this.#attempt;
    this.#attempt = undefined;
    attempt?.timedOut();
    const tookMs = Math.round(this.deps.nowMs() - this.#startedMs);
    const detail = `No answer within ${tookMs} ms.`;
    this.fail({ status: 504, reason: 'replica-timeout', detail });
  }

  #clientGone(): void {
    if (this.#over) return;
    this.#attempt?.call?.abort();
    this.#attempt = undefined;
    this.#finish();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#deadline);
    this.#stopWaiting();
    this.facts.onOver();
  }
}

function problemOf(ending: Ending): Problem {
  switch (ending.kind) {
    case 'broken':
      return { status: 502, reason: 'replica-broke', detail: 'The replica broke off.' };
    case 'hung':
      return { status: 504, reason: 'replica-hung', detail: 'The replica hangs.' };
    case 'unsent':
      return { status: 503, reason: 'no-replica', detail: 'No replica took the request.' };
    case 'timeout':
      return { status: 504, reason: 'replica-timeout', detail: 'No answer in time.' };
    case 'status':
      return { status: 502, reason: 'replica-broke', detail: `Answer ${ending.status}.` };
  }
}
