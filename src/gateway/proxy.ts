// What happens to a request? Read it top to bottom in `handle` and `admitted`: path → who → whose
// route → held back? → limits → body → passage. Holds the current table and swaps it whole.
//
//   GP1. A table is applied between two requests; a version below the current one never is.
//   GP2. With no table everything but the gateway's own health is refused.
//   GP3. A held or quarantined combination reaches no replica.
import { openAdmission, admit, keepTenants, release } from './admission.ts';
import { openAuthenticator } from './auth.ts';
import type { AuthAnswer } from './auth.ts';
import { Backend } from './backend.ts';
import type { BackendDeps } from './lane.ts';
import { takeBody } from './body.ts';
import type { TakenBody } from './body.ts';
import { openCounters } from './counters.ts';
import type { Counters } from './counters.ts';
import type { Exchange } from './exchange.ts';
import { requestIdOf, upstreamHeaders } from './identity.ts';
import { Passage } from './passage.ts';
import { foldRoute, pathOf } from './paths.ts';
import { combination, heldForMs, noteDeath, openPoison } from './poison.ts';
import { answerProblem } from './problem.ts';
import type { Problem } from './problem.ts';
import type { RetryBudget } from './retry.ts';
import { isIdempotent, noteRequest, openBudget } from './retry.ts';
import type { Entry, Routes } from './routes.ts';
import { compileTable, findEntry } from './routes.ts';
import type { ReplicaId, ServiceName } from '../model/ids.ts';
import { messageOf } from '../model/errors.ts';
import type { InFlight, RoutingTable, TenantRoute } from '../model/routing.ts';
import type { GatewayEvent, Suspect } from '../model/signal.ts';
import type { Clock } from '../world/clock.ts';

const OWN_PREFIX = '/__kintsugi/';

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
}

export type ApplyAnswer =
  | { readonly kind: 'applied'; readonly version: number }
  /** It has this or a newer one. */
  | { readonly kind: 'kept'; readonly version: number }
  | { readonly kind: 'refused'; readonly reason: string };

export interface Proxy {
  handle(exchange: Exchange): void;
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
  #routes: Routes | undefined;
  #budget: RetryBudget = openBudget(0);

  constructor(deps: ProxyDeps) {
    this.#deps = deps;
    this.#admission = openAdmission(deps.workers);
    this.#poison = openPoison(deps.clock.monotonicMs());
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

  handle(exchange: Exchange): void {
    const path = pathOf(exchange.target);
    if (path === undefined) {
      const detail = 'The request target is not a plain path.';
      answerProblem(exchange, { status: 400, reason: 'bad-request', detail }, undefined);
    } else if (path.startsWith(OWN_PREFIX)) {
      this.#answerOwn(exchange, path);
    } else if (this.#routes === undefined) {
      const detail = 'The gateway has no routing table yet.';
      const problem: Problem = { status: 503, reason: 'no-table', detail, retryAfterMs: 1_000 };
      answerProblem(exchange, problem, undefined);
    } else {
      const routes = this.#routes;
      const requestId = requestIdOf(exchange);
      const who = this.#auth.authenticate(exchange, this.#deps.clock.nowMs());
      if (who instanceof Promise) {
        void who.then((known) => this.#authenticated(exchange, path, requestId, routes, known));
      } else {
        this.#authenticated(exchange, path, requestId, routes, who);
      }
    }
  }

  #authenticated(
    exchange: Exchange,
    path: string,
    requestId: string,
    routes: Routes,
    who: AuthAnswer,
  ): void {
    const refuse = (problem: Problem): void => answerProblem(exchange, problem, requestId);
    if (who.kind === 'refused') {
      const detail = `The credential is ${who.reason}.`;
      refuse({ status: 401, reason: 'unauthenticated', detail });
      return;
    }
    const { tenant, subject } = who;
    if (tenant.status === 'suspended') {
      refuse({ status: 403, reason: 'tenant-suspended', detail: 'This tenant is suspended.' });
      return;
    }
    const entry = findEntry(routes, path);
    if (entry === undefined) {
      refuse({ status: 404, reason: 'route-unknown', detail: 'No service has this path.' });
      return;
    }
    const held = this.#heldBack(routes, tenant, entry, exchange.method, path);
    if (held !== undefined) {
      refuse(held);
      return;
    }
    const over = this.#overLimit(tenant);
    if (over !== undefined) {
      refuse(over);
      return;
    }
    this.#admitted({ exchange, path, requestId, entry, tenant, subject });
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

  #admitted(request: Admitted): void {
    const { exchange, tenant } = request;
    let passage: Passage | undefined;
    const body = takeBody(exchange.body, tenant.bodyBytes, () => passage?.overflowed());
    const forward = (taken: TakenBody): void => {
      if (taken.kind === 'kept' || taken.kind === 'streamed') {
        passage = this.#forward(request, taken);
        return;
      }
      release(this.#admission, tenant);
      if (taken.kind === 'gone') return;
      const detail = `Limit: ${tenant.bodyBytes} bytes.`;
      const problem: Problem = { status: 413, reason: 'body-too-large', detail };
      answerProblem(exchange, problem, request.requestId);
    };
    if (body instanceof Promise) void body.then(forward);
    else forward(body);
  }

  #forward(request: Admitted, body: PassageBody): Passage | undefined {
    const { exchange, path, requestId, entry, tenant, subject } = request;
    const backend = this.#backends.get(entry.service.name);
    if (backend === undefined) {
      // The table changed while the body was read, and the service is gone.
      release(this.#admission, tenant);
      const detail = 'No service has this path any more.';
      answerProblem(exchange, { status: 404, reason: 'route-unknown', detail }, requestId);
      return undefined;
    }
    const { clock } = this.#deps;
    noteRequest(this.#budget, clock.monotonicMs());
    const passage = new Passage(
      {
        nowMs: () => clock.monotonicMs(),
        counters: this.counters,
        budget: () => this.#budget,
        poison: this.#poison,
      },
      {
        exchange,
        backend,
        entry,
        tenant,
        requestId,
        path,
        headers: upstreamHeaders(
          exchange,
          { tenant: tenant.id, subject, region: tenant.region, requestId },
          { service: entry.service.name, key: entry.assertionKey, nowMs: clock.nowMs() },
        ),
        body,
        idempotent: isIdempotent(exchange.method, exchange.header('idempotency-key')),
        onOver: () => release(this.#admission, tenant),
      },
    );
    passage.next();
    return passage;
  }

  #answerOwn(exchange: Exchange, path: string): void {
    if (path !== `${OWN_PREFIX}health`) {
      const detail = 'The gateway has no such page.';
      answerProblem(exchange, { status: 404, reason: 'route-unknown', detail }, undefined);
      return;
    }
    const status = this.#routes === undefined ? 503 : 200;
    const facts = { status: status === 200 ? 'ok' : 'no-table', version: this.version };
    const body = Buffer.from(JSON.stringify({ ...facts, ...this.#deps.about }));
    const type = ['content-type', 'application/json', 'cache-control', 'no-store'];
    exchange.begin(status, [...type, 'content-length', String(body.length)]);
    exchange.end(exchange.method === 'HEAD' ? undefined : body);
  }
}

type PassageBody = Extract<TakenBody, { kind: 'kept' | 'streamed' }>;

interface Admitted {
  readonly exchange: Exchange;
  readonly path: string;
  readonly requestId: string;
  readonly entry: Entry;
  readonly tenant: TenantRoute;
  readonly subject: string;
}
