// What happens to a request? Read it top to bottom in `onRequestHead` and below: path → who → whose
// route → held back? → limits → passage. Holds the current table and swaps it whole.
//
//   GP1. A table is applied between two requests; a version below the current one never is.
//   GP2. With no table everything but the gateway's own health is refused.
//   GP3. A held or quarantined combination reaches no replica.
//   GP4. What was admitted is released with the end of its exchange, whatever that is.
import { openAdmission, admit, keepTenants, release } from './admission.ts';
import { openAuthenticator } from './auth.ts';
import type { AuthAnswer } from './auth.ts';
import { Backend } from './backend.ts';
import type { BackendDeps } from './lane.ts';
import { openCounters } from './counters.ts';
import type { Counters } from './counters.ts';
import type {
  AnswerVerdict,
  Decision,
  ExchangeEnd,
  ExchangeView,
  ForwardPlan,
  Hooks,
  Outcome,
  OwnAnswer,
  Verdict,
} from './http/hooks.ts';
import { fieldName } from './http/names.ts';
import { DROP_FROM_ANSWER, DROP_FROM_REQUEST, requestIdOf, upstreamLines } from './identity.ts';
import { Passage } from './passage.ts';
import type { PassageDeps } from './passage.ts';
import { foldRoute, pathOf } from './paths.ts';
import { combination, heldForMs, noteDeath, openPoison } from './poison.ts';
import { problemAnswer } from './problem.ts';
import type { Problem } from './problem.ts';
import type { RetryBudget } from './retry.ts';
import { isIdempotent, noteRequest, openBudget, REPLAY_BYTES_MAX } from './retry.ts';
import type { Entry, Routes } from './routes.ts';
import { compileTable, findEntry } from './routes.ts';
import type { ReplicaId, ServiceName } from '../model/ids.ts';
import { messageOf } from '../model/errors.ts';
import type { InFlight, RoutingTable, TenantRoute } from '../model/routing.ts';
import type { GatewayEvent, Suspect } from '../model/signal.ts';
import type { Clock } from '../world/clock.ts';

const OWN_PREFIX = '/__kintsugi/';
const BODY_IDLE_MS = 300_000;
const IDEMPOTENCY_KEY = fieldName('idempotency-key');
/** Tag of an exchange whose client left before it was known who it is. */
const GONE = Symbol('gone');
const LEFT: Problem = { status: 503, reason: 'overloaded', detail: 'The client left.' };

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
  readonly #auth = openAuthenticator();
  readonly #admission;
  readonly #poison;
  readonly #backends = new Map<ServiceName, Backend>();
  readonly #passageDeps: PassageDeps;
  #routes: Routes | undefined;
  #budget: RetryBudget = openBudget(0);

  constructor(deps: ProxyDeps) {
    this.#deps = deps;
    this.#admission = openAdmission(deps.workers);
    this.#poison = openPoison(deps.clock.monotonicMs());
    this.#passageDeps = {
      nowMs: () => deps.clock.monotonicMs(),
      counters: this.counters,
      budget: () => this.#budget,
      poison: this.#poison,
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
      this.#auth.use(routes);
    } catch (error) {
      if (this.#routes !== undefined) this.#auth.use(this.#routes);
      return { kind: 'refused', reason: messageOf(error) };
    }
    this.#routes = routes;
    if (table.retryBudget !== this.#budget.share) this.#budget = openBudget(table.retryBudget);
    keepTenants(this.#admission, routes.tenants);
    this.#placeBackends(table);
    return { kind: 'applied', version: routes.version };
  }

  #placeBackends(table: RoutingTable): void {
    const wanted = new Set(table.services.map((s) => s.name));
    for (const [name, backend] of this.#backends) {
      if (wanted.has(name)) continue;
      backend.close();
      this.#backends.delete(name);
    }
    for (const service of table.services) {
      const known = this.#backends.get(service.name);
      if (known === undefined) this.#backends.set(service.name, this.#openBackend(service));
      else known.apply(service);
    }
  }

  #openBackend(service: Entry['service']): Backend {
    const { clock, random, open, look, emit, active } = this.#deps;
    return new Backend(service, {
      nowMs: () => clock.monotonicMs(),
      random,
      open,
      look,
      emit,
      changed: (lane) => active(lane.route.weight === 0 && lane.inside.size === 0),
      poison: this.#poison,
    });
  }

  forgive(replicas: readonly ReplicaId[]): void {
    const ids = new Set(replicas);
    for (const backend of this.#backends.values()) backend.forgive(ids);
  }

  learnDeath(replica: ReplicaId, suspects: readonly Suspect[]): void {
    const death = { atMs: this.#deps.clock.monotonicMs(), replica, suspects };
    for (const held of noteDeath(this.#poison, death)) this.#deps.emit(held);
  }

  inFlight(): InFlight[] {
    return [...this.#backends.values()].flatMap((backend) => backend.inFlight());
  }

  ejections(): GatewayEvent[] {
    return [...this.#backends.values()].flatMap((backend) => backend.ejections());
  }

  close(): void {
    for (const backend of this.#backends.values()) backend.close();
  }

  onRequestHead(view: ExchangeView): Decision | Promise<Decision> {
    const { head } = view;
    const path = pathOf(head.path);
    if (path === undefined) {
      const detail = 'The request target is not a plain path.';
      return problemAnswer({ status: 400, reason: 'bad-request', detail }, undefined);
    }
    if (path.startsWith(OWN_PREFIX)) return this.#answerOwn(path);
    const routes = this.#routes;
    if (routes === undefined) {
      const detail = 'The gateway has no routing table yet.';
      const problem: Problem = { status: 503, reason: 'no-table', detail, retryAfterMs: 1_000 };
      return problemAnswer(problem, undefined);
    }
    const requestId = requestIdOf(head);
    const who = this.#auth.authenticate(head, this.#deps.clock.nowMs());
    if (!(who instanceof Promise)) return this.#authenticated(view, path, requestId, routes, who);
    return who.then((known) => this.#authenticated(view, path, requestId, routes, known));
  }

  onAnswerHead(view: ExchangeView, status: number): AnswerVerdict {
    return view.tag instanceof Passage ? view.tag.answerHead(status) : 'pass';
  }

  onAttemptEnd(
    view: ExchangeView,
    outcome: Outcome,
  ): Verdict | undefined | Promise<Verdict | undefined> {
    return view.tag instanceof Passage ? view.tag.attemptEnded(outcome) : undefined;
  }

  onExchangeEnd(view: ExchangeView, end: ExchangeEnd): void {
    if (view.tag instanceof Passage) view.tag.ended(end);
    // What is still to be decided comes too late.
    view.tag = GONE;
  }

  onBug(error: unknown): void {
    this.#deps.onBug(error);
  }

  #authenticated(
    view: ExchangeView,
    path: string,
    requestId: string,
    routes: Routes,
    who: AuthAnswer,
  ): Decision | Promise<Decision> {
    const refuse = (problem: Problem): OwnAnswer => problemAnswer(problem, requestId);
    if (who.kind === 'refused') {
      const detail = `The credential is ${who.reason}.`;
      return refuse({ status: 401, reason: 'unauthenticated', detail });
    }
    const { tenant, subject } = who;
    if (tenant.status === 'suspended') {
      const detail = 'This tenant is suspended.';
      return refuse({ status: 403, reason: 'tenant-suspended', detail });
    }
    const entry = findEntry(routes, path);
    const backend = entry === undefined ? undefined : this.#backends.get(entry.service.name);
    if (entry === undefined || backend === undefined) {
      return refuse({ status: 404, reason: 'route-unknown', detail: 'No service has this path.' });
    }
    if (view.head.contentLength > tenant.bodyBytes) {
      const detail = `Limit: ${tenant.bodyBytes} bytes.`;
      return refuse({ status: 413, reason: 'body-too-large', detail });
    }
    const { method } = view.head;
    const held = this.#heldBack(routes, tenant, entry, method, path);
    if (held !== undefined) return refuse(held);
    if (view.tag === GONE) return refuse(LEFT);
    const over = this.#overLimit(tenant);
    if (over !== undefined) return refuse(over);
    return this.#admitted({ view, method, path, requestId, entry, backend, tenant, subject });
  }

  #heldBack(
    routes: Routes,
    tenant: TenantRoute,
    entry: Entry,
    method: string,
    path: string,
  ): Problem | undefined {
    // Folding a path costs about a microsecond: only when somebody is held back at all.
    if (routes.quarantines.size === 0 && this.#poison.held.size === 0) return undefined;
    const service = entry.service.name;
    const combo = combination({ tenant: tenant.id, service, method, route: foldRoute(path) });
    const rule = routes.quarantines.get(combo);
    if (rule !== undefined) {
      const detail = `Held back: ${rule.reason}`;
      return { status: 503, reason: 'quarantined', detail, retryAfterMs: 30_000 };
    }
    const heldMs = heldForMs(this.#poison, combo, this.#deps.clock.monotonicMs());
    if (heldMs === 0) return undefined;
    const detail = 'Requests of this kind broke more than one replica.';
    return { status: 503, reason: 'held-as-poison', detail, retryAfterMs: heldMs };
  }

  #overLimit(tenant: TenantRoute): Problem | undefined {
    const answer = admit(this.#admission, tenant, this.#deps.clock.monotonicMs());
    if (answer.kind === 'admitted') return undefined;
    const { retryAfterMs } = answer;
    return answer.reason === 'rate'
      ? {
          status: 429,
          reason: 'rate-limited',
          detail: `Limit: ${tenant.ratePerSecond} requests a second.`,
          retryAfterMs,
        }
      : {
          status: 429,
          reason: 'concurrency-limited',
          detail: `Limit: ${tenant.concurrency} requests at once.`,
          retryAfterMs,
        };
  }

  #admitted(request: Admitted): Decision | Promise<Decision> {
    const { view, method, path, requestId, entry, backend, tenant, subject } = request;
    const { clock } = this.#deps;
    noteRequest(this.#budget, clock.monotonicMs());
    const { head, remoteAddress } = view;
    const identity = { tenant: tenant.id, subject, region: tenant.region, requestId };
    const { name: service } = entry.service;
    const assertion = { service, key: entry.assertionKey, nowMs: clock.nowMs() };
    const passage = new Passage(this.#passageDeps, {
      view,
      method,
      backend,
      entry,
      tenant,
      requestId,
      path,
      lines: upstreamLines(head, remoteAddress, identity, assertion),
      plan: planFor(entry, tenant),
      idempotent: isIdempotent(method, head.value(IDEMPOTENCY_KEY)),
      onOver: () => release(this.#admission, tenant),
    });
    view.tag = passage;
    return passage.start();
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

function planFor(entry: Entry, tenant: TenantRoute): ForwardPlan {
  return {
    dropFromRequest: DROP_FROM_REQUEST,
    dropFromAnswer: DROP_FROM_ANSWER,
    replayBytesMax: REPLAY_BYTES_MAX,
    bodyBytesMax: tenant.bodyBytes,
    totalTimeoutMs: entry.route.timeoutMs,
    // An attempt has no time of its own: hangs are found by what is inside (BE3).
    headTimeoutMs: Number.POSITIVE_INFINITY,
    bodyIdleMs: BODY_IDLE_MS,
  };
}

interface Admitted {
  readonly view: ExchangeView;
  readonly method: string;
  readonly path: string;
  readonly requestId: string;
  readonly entry: Entry;
  readonly backend: Backend;
  readonly tenant: TenantRoute;
  readonly subject: string;
}
