// What happens to a request? Read it top to bottom in `onRequestHead` and below: path → who → whose
// route → held back? → limits → passage. Holds the current table and swaps it whole.
//
//   GP1. A table is applied between two requests; a version below the current one never is.
//   GP2. With no table everything but the gateway's own health is refused.
//   GP3. A held or quarantined combination reaches no replica.
//   GP4. What was admitted is released with the end of its exchange, whatever that is.
import { admit, keepTenants, openAdmission, release } from './admission.ts';
import { openAuthenticator } from './auth.ts';
import { Backends } from './backends.ts';
import { heldBack, tenantBarred } from './barred.ts';
import { openCounters } from './counters.ts';
import type { Counters } from './counters.ts';
import { factsOf, Refusal, Wall } from './ending.ts';
import { Isolation } from './fair/isolation.ts';
import { Stay } from './fair/stay.ts';
import type { Flow } from './flow.ts';
import { flowOf } from './flow.ts';
import type {
  AnswerVerdict,
  Decision,
  ExchangeEnd,
  ExchangeView,
  Hooks,
  Outcome,
  OwnAnswer,
  Verdict,
} from './http/hooks.ts';
import type { Head } from './http/head.ts';
import { connectionLines, keepsRequestId, requestIdOf, traceLineOf } from './identity.ts';
import type { BackendDeps } from './lane.ts';
import { noFacts } from './observe/facts.ts';
import type { Observer } from './observe/observer.ts';
import { traceLine } from './observe/trace.ts';
import type { TraceSpan } from './observe/trace.ts';
import { Passage } from './passage.ts';
import type { PassageDeps } from './passage.ts';
import { Queued } from './queued.ts';
import { noteDeath, openPoison } from './poison.ts';
import { openCrossings } from './tenancy-tally.ts';
import { judge, judgementProblem } from './tenancy-ruling.ts';
import type { Refusal as MessageRefusal } from './http/refusal.ts';
import type { Principal, Refused, Seat } from './principals.ts';
import { Principals, seatOf } from './principals.ts';
import { authProblem, LEFT, overLimit, SUSPENDED, UNKNOWN } from './door-problems.ts';
import { problemAnswer } from './problem.ts';
import type { Problem } from './problem.ts';
import type { RetryBudget } from './retry.ts';
import { noteRequest, openBudget } from './retry.ts';
import type { Routes } from './routes.ts';
import { compileTable } from './routes.ts';
import type { RouteKind, Target } from './targets.ts';
import { OWN_PREFIX, Targets } from './targets.ts';
import type { ReplicaId } from '../model/ids.ts';
import { messageOf } from '../model/errors.ts';
import type { InFlight, RoutingTable } from '../model/routing.ts';
import type { GatewayEvent, Suspect } from '../model/signal.ts';
import type { Clock } from '../world/clock.ts';

/** Tag of an exchange whose client left before it was known who it is. */
const GONE = Symbol('gone');
export interface ProxyDeps {
  readonly clock: Pick<Clock, 'nowMs' | 'monotonicMs'>;
  readonly random: () => number;
  readonly workers: number;
  readonly open: BackendDeps['open'];
  readonly look: BackendDeps['look'];
  readonly emit: (event: GatewayEvent) => void;
  /** There is something to report. `drained`: a replica without weight has become empty. */
  readonly active: (drained: boolean) => void;
  /** What `/__kintsugi/health` says beside its status. */
  readonly about: Readonly<Record<string, unknown>>;
  /** Something threw: one exchange is answered 500, the others go on. */
  readonly onBug: (error: unknown) => void;
  /** Counts, logs and traces; undefined: nothing of the kind. */
  readonly observer?: Pick<Observer, 'begin' | 'ended' | 'refused' | 'timing'>;
}

export type ApplyAnswer =
  | { readonly kind: 'applied'; readonly version: number }
  /** It has this or a newer one. */
  | { readonly kind: 'kept'; readonly version: number }
  | { readonly kind: 'refused'; readonly reason: string };

export interface Proxy extends Hooks {
  apply(table: RoutingTable, pepper: string): ApplyAnswer;
  forgive(replicas: readonly ReplicaId[]): void;
  /** Another worker saw this replica die with these requests inside. */
  learnDeath(replica: ReplicaId, suspects: readonly Suspect[]): void;
  readonly version: number;
  readonly counters: Counters;
  /** Before a flush: what is due of events that are counted. */
  settle(): void;
  inFlight(): InFlight[];
  ejections(): GatewayEvent[];
  close(): void;
}

export function openProxy(deps: ProxyDeps): Proxy {
  return new GatewayProxy(deps);
}

class GatewayProxy implements Proxy {
  readonly counters = openCounters();
  readonly #deps: ProxyDeps;
  readonly #admission;
  readonly #principals: Principals;
  readonly #targets = new Targets();
  readonly #crossings;
  readonly #facts = noFacts();
  readonly #wall: Wall;
  readonly #poison;
  readonly #backends: Backends;
  readonly #isolation: Isolation;
  readonly #passageDeps: PassageDeps;
  #routes: Routes | undefined;
  #budget: RetryBudget = openBudget(0);

  constructor(deps: ProxyDeps) {
    this.#deps = deps;
    this.#wall = new Wall(deps.clock);
    this.#admission = openAdmission(deps.workers);
    this.#principals = new Principals(
      openAuthenticator({
        onKeysWanted: (issuer) => deps.emit({ kind: 'keys-wanted', issuer }),
      }),
      this.#admission,
    );
    this.#crossings = openCrossings(deps.emit);
    this.#poison = openPoison(deps.clock.monotonicMs());
    const { workers, random, open, look, emit, active } = deps;
    const nowMs = (): number => deps.clock.monotonicMs();
    this.#isolation = new Isolation({ workers, nowMs, random });
    this.#backends = new Backends({
      nowMs,
      random,
      open,
      look,
      emit,
      changed: (lane) => active(lane.route.weight === 0 && lane.inside.size === 0),
      poison: this.#poison,
    });
    this.#passageDeps = {
      nowMs,
      counters: this.counters,
      budget: () => this.#budget,
      poison: this.#poison,
      barred: (flow, { method, kind }, version) =>
        version === this.version
          ? undefined
          : (tenantBarred(this.#routes, this.#isolation, flow.tenant.id, method) ??
            this.#heldBack(flow, kind)),
      timing: () => deps.observer?.timing ?? 'never',
    };
  }

  get version(): number {
    return this.#routes?.version ?? 0;
  }

  apply(table: RoutingTable, pepper: string): ApplyAnswer {
    if (this.#routes !== undefined && table.version <= this.#routes.version) {
      return { kind: 'kept', version: this.#routes.version };
    }
    const compiled = compileTable(table, pepper);
    if (compiled.kind === 'refused') return compiled;
    const { routes } = compiled;
    try {
      this.#principals.use(routes);
    } catch (error) {
      if (this.#routes !== undefined) this.#principals.use(this.#routes);
      return { kind: 'refused', reason: messageOf(error) };
    }
    this.#routes = routes;
    this.#targets.use(routes);
    if (table.retryBudget !== this.#budget.share) this.#budget = openBudget(table.retryBudget);
    keepTenants(this.#admission, routes.tenants);
    this.#isolation.use(table);
    this.#backends.use(table.services, this.#isolation.rules);
    return { kind: 'applied', version: routes.version };
  }

  forgive(replicas: readonly ReplicaId[]): void {
    this.#backends.forgive(replicas);
  }

  learnDeath(replica: ReplicaId, suspects: readonly Suspect[]): void {
    const death = { atMs: this.#deps.clock.monotonicMs(), replica, suspects };
    for (const held of noteDeath(this.#poison, death)) this.#deps.emit(held);
  }

  settle(): void {
    this.#crossings.flush(this.#deps.clock.monotonicMs());
  }

  inFlight(): InFlight[] {
    return this.#backends.inFlight();
  }

  ejections(): GatewayEvent[] {
    return this.#backends.ejections();
  }

  close(): void {
    this.#isolation.close();
    this.#backends.close();
  }

  onRequestHead(view: ExchangeView): Decision | Promise<Decision> {
    const target = this.#targets.find(view.head);
    if (target === undefined) {
      const detail = 'The request target is not a plain path.';
      return problemAnswer({ status: 400, reason: 'bad-request', detail }, undefined);
    }
    if (target.isOwn) return this.#answerOwn(target.path);
    const routes = this.#routes;
    if (routes === undefined) {
      const detail = 'The gateway has no routing table yet.';
      const problem: Problem = { status: 503, reason: 'no-table', detail, retryAfterMs: 1_000 };
      return problemAnswer(problem, undefined);
    }
    const seat = seatOf(view);
    const who = this.#principals.find(view, seat, this.#deps.clock.nowMs());
    if (!(who instanceof Promise)) return this.#known(view, seat, target, who);
    return who.then((known) => {
      if (view.tag === GONE) return problemAnswer(LEFT, undefined);
      // The table may have changed meanwhile, and what its routes were.
      return this.#known(view, seat, this.#targets.find(view.head) ?? target, known);
    });
  }

  onAnswerHead(view: ExchangeView, status: number, head: Head): AnswerVerdict {
    return view.tag instanceof Passage ? view.tag.answerHead(status, head) : 'pass';
  }

  onAttemptEnd(
    view: ExchangeView,
    outcome: Outcome,
  ): Verdict | undefined | Promise<Verdict | undefined> {
    return view.tag instanceof Passage ? view.tag.attemptEnded(outcome) : undefined;
  }

  onExchangeEnd(view: ExchangeView, end: ExchangeEnd): void {
    const { tag } = view;
    if (tag instanceof Passage) tag.ended(end);
    else if (tag instanceof Queued) tag.ended(this.#deps.clock.monotonicMs());
    if (this.#deps.observer !== undefined) this.#tell(this.#deps.observer, view, end);
    // What is still to be decided comes too late.
    view.tag = GONE;
  }

  onRefused(refusal: MessageRefusal, remoteAddress: string): void {
    const { observer, clock } = this.#deps;
    observer?.refused(refusal.status, refusal.code, remoteAddress, clock.nowMs());
  }

  onBug(error: unknown): void {
    this.#deps.onBug(error);
  }

  /** Who it is, is known: may it come in, and is it for this route? */
  #known(
    view: ExchangeView,
    seat: Seat,
    target: Target,
    who: Principal | Refused,
  ): Decision | Promise<Decision> {
    const arrival: Arrival = { view, seat, target, requestId: requestIdOf(view.head) };
    if (who.kind === 'refused') return this.#refuse(arrival, authProblem(who.reason), undefined);
    const { tenant } = who;
    if (tenant.status === 'suspended') return this.#refuse(arrival, SUSPENDED, who);
    const { entry } = target;
    const routes = this.#routes;
    if (routes === undefined) return this.#refuse(arrival, UNKNOWN, who);
    const backend = entry === undefined ? undefined : this.#backends.of(entry.service.name);
    if (entry === undefined || backend === undefined) return this.#refuse(arrival, UNKNOWN, who);
    const flow = flowOf(who, entry, backend);
    const problem =
      this.#ruled(flow, arrival, routes) ??
      this.#isolation.ruled(tenant.id, target.method, view.startedMs) ??
      this.#heldBack(flow, target.kind);
    if (problem !== undefined) return this.#refuse(arrival, problem, who);
    return this.#enter(arrival, flow);
  }

  /**
   * What is the same for all requests of this flow, by method: judged once, a look-up then. Here
   * belong the route's own tenants and its matrix of roles, and the host beside `seat.host`.
   */
  #ruled(flow: Flow, { view, seat, target }: Arrival, routes: Routes): Problem | undefined {
    const owner = seat.hostMemo.ownerOf(routes, view.head);
    const { path, plain, method } = target;
    let judgement = judge(flow.ruling, owner, path, method);
    // Whichever of its spellings is meant: both must be right.
    if (judgement === 'same' && plain !== path)
      judgement = judge(flow.ruling, owner, plain, method);
    if (judgement !== 'same') {
      const { tenant, service } = flow.ruling;
      if (judgement !== 'not-allowed') {
        this.#crossings.note(tenant, service, judgement, view.startedMs);
      }
      return judgementProblem(judgement);
    }
    const { bodyBytes } = flow.tenant;
    if (view.head.contentLength <= bodyBytes) return undefined;
    return { status: 413, reason: 'body-too-large', detail: `Limit: ${bodyBytes} bytes.` };
  }

  #heldBack(flow: Flow, kind: RouteKind): Problem | undefined {
    return heldBack(this.#routes, this.#poison, flow, kind, this.#deps.clock.monotonicMs());
  }

  /** The last doors: the tenant's own limits, and the service's gate, which may let it wait. */
  #enter(arrival: Arrival, flow: Flow): Decision | Promise<Decision> {
    const { view } = arrival;
    const { version } = this;
    const answer = admit(flow.account, view.startedMs);
    if (answer.kind === 'limited')
      return this.#refuse(arrival, overLimit(answer, flow.tenant), flow);
    flow.terms ??= this.#isolation.termsOf(flow.tenant, flow.entry);
    const stay = new Stay(flow.terms);
    const entered = stay.enter(view.startedMs);
    if (entered === 'in') return this.#pass(arrival, flow, { stay, version }, view.startedMs);
    if (!(entered instanceof Promise)) return this.#turnAway(arrival, flow, entered);
    view.tag = new Queued(flow, stay);
    return entered.then((then) => {
      if (view.tag === GONE) return problemAnswer(LEFT, undefined);
      if (then !== 'in') return this.#turnAway(arrival, flow, then);
      return this.#pass(arrival, flow, { stay, version }, this.#deps.clock.monotonicMs());
    });
  }

  #turnAway(arrival: Arrival, flow: Flow, problem: Problem): OwnAnswer {
    release(flow.account);
    return this.#refuse(arrival, problem, flow);
  }

  #pass(
    arrival: Arrival,
    flow: Flow,
    { stay, version }: { readonly stay: Stay; readonly version: number },
    enteredMs: number,
  ): Decision | Promise<Decision> {
    const { view, requestId } = arrival;
    noteRequest(this.#budget, view.startedMs);
    const trace = this.#deps.observer?.begin(view.head);
    const add = this.#linesFor(arrival, trace);
    const own = connectionLines(arrival.seat, view);
    const ids = { requestId, add, own, trace };
    const passage = new Passage(
      this.#passageDeps,
      { view, flow, target: arrival.target, stay, version },
      ids,
    );
    view.tag = passage;
    return passage.start(enteredMs);
  }

  /** The lines that are this request's alone. */
  #linesFor({ view, requestId }: Arrival, span: TraceSpan | undefined): string {
    const { head } = view;
    const trace = span === undefined ? traceLineOf(head) : traceLine(head, span);
    return keepsRequestId(head) ? trace : `x-request-id: ${requestId}\r\n${trace}`;
  }

  #refuse(arrival: Arrival, problem: Problem, who: Principal | Flow | undefined): OwnAnswer {
    const { view, requestId, target } = arrival;
    if (this.#deps.observer !== undefined) {
      view.tag = new Refusal(problem.reason, requestId, who, target.entry);
    }
    return problemAnswer(problem, requestId);
  }

  /** One record for all: whoever wants to keep something of it copies it. */
  #tell(observer: Pick<Observer, 'ended'>, view: ExchangeView, end: ExchangeEnd): void {
    observer.ended(factsOf(this.#facts, view, end, this.#wall.at(view.startedMs)));
  }

  #answerOwn(path: string): OwnAnswer {
    if (path !== `${OWN_PREFIX}health`) {
      const detail = 'The gateway has no such page.';
      return problemAnswer({ status: 404, reason: 'route-unknown', detail }, undefined);
    }
    const status = this.#routes === undefined ? 503 : 200;
    const facts = { status: status === 200 ? 'ok' : 'no-table', version: this.version };
    const body = JSON.stringify({ ...facts, ...this.#deps.about });
    const headers = 'content-type: application/json\r\ncache-control: no-store\r\n';
    return { kind: 'answer', status, headers, body };
  }
}

/** What is known of a request before it is let in. */
interface Arrival {
  readonly view: ExchangeView;
  readonly seat: Seat;
  readonly target: Target;
  readonly requestId: string;
}
