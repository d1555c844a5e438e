// What is the same for every request of one principal on one route? Its plan, the lines that tell
// the replica whose request it is, and where it is counted: made once, kept with the principal.
//
//   FL1. The lines say what the principal and its table say; an assertion is reused for 10 s at
//        most, so that it never has less than 20 s to live when it is sent.
//   FL2. A cell is kept for one window of the counters, a count for one generation of shares:
//        nothing is counted where it was taken away already.
//   FL3. What is kept by kind of request is bounded.
import type { Account } from './admission.ts';
import type { StayTerms } from './fair/stay.ts';
import type { Backend } from './backend.ts';
import type { Cell, Counters } from './counters.ts';
import type { ForwardPlan } from './http/hooks.ts';
import {
  ASSERTION_REUSE_MS,
  DROP_FROM_ANSWER,
  DROP_FROM_REQUEST,
  identityLines,
} from './identity.ts';
import type { Lane } from './lane.ts';
import type { Good, PoisonState } from './poison.ts';
import { combination, generationOf, goodOf } from './poison.ts';
import type { Principal } from './principals.ts';
import { rulingOf } from './tenancy-ruling.ts';
import type { Ruling } from './tenancy-ruling.ts';
import { REPLAY_BYTES_MAX } from './retry.ts';
import type { Entry } from './routes.ts';
import type { RouteKind } from './targets.ts';
import type { TenantRoute } from '../model/routing.ts';

const BODY_IDLE_MS = 300_000;
const KINDS_MAX = 1_024;

export class Flow {
  readonly tenant: TenantRoute;
  readonly account: Account;
  readonly subject: string;
  readonly entry: Entry;
  readonly backend: Backend;
  readonly plan: ForwardPlan;
  readonly ruling: Ruling;
  /** Of its stay in the service; made with its first request. */
  terms: StayTerms | undefined;
  #lines = '';
  #linesUntilMs = Number.NEGATIVE_INFINITY;
  readonly #cells = new Map<Lane, Cell>();
  #window = -1;
  readonly #goods = new Map<RouteKind, Good>();
  #share: PoisonState['now'] | undefined;

  constructor(principal: Principal, entry: Entry, backend: Backend) {
    this.tenant = principal.tenant;
    this.account = principal.account;
    this.subject = principal.subject;
    this.entry = entry;
    this.backend = backend;
    this.plan = planFor(entry, principal.tenant);
    this.ruling = rulingOf(principal, entry);
  }

  /** Wall ms. */
  lines(nowMs: number): string {
    // A clock that was set back would keep an assertion for longer.
    const leftMs = this.#linesUntilMs - nowMs;
    if (leftMs > 0 && leftMs <= ASSERTION_REUSE_MS) return this.#lines;
    const { tenant, subject, entry } = this;
    const identity = { tenant: tenant.id, subject, region: tenant.region };
    const assertion = { service: entry.service.name, key: entry.assertionKey, nowMs };
    this.#lines = identityLines(identity, assertion);
    this.#linesUntilMs = nowMs + ASSERTION_REUSE_MS;
    return this.#lines;
  }

  cell(counters: Counters, lane: Lane): Cell {
    if (this.#window !== counters.window) {
      this.#cells.clear();
      this.#window = counters.window;
    }
    const known = this.#cells.get(lane);
    if (known !== undefined) return known;
    const { service, route } = this.entry;
    const cell = counters.cellOf({
      service: service.name,
      replica: lane.id,
      release: lane.route.release,
      tenant: this.tenant.id,
      prefix: route.prefix,
    });
    this.#cells.set(lane, cell);
    return cell;
  }

  /** Where requests of this kind are counted that were answered well. */
  good(poison: PoisonState, kind: RouteKind, nowMs: number): Good {
    const share = generationOf(poison, nowMs);
    if (this.#share !== share) {
      this.#goods.clear();
      this.#share = share;
    }
    const known = this.#goods.get(kind);
    if (known !== undefined) return known;
    const { tenant, entry } = this;
    const { method, route } = kind;
    const service = entry.service.name;
    const good = goodOf(share, combination({ tenant: tenant.id, service, method, route }));
    if (this.#goods.size < KINDS_MAX) this.#goods.set(kind, good);
    return good;
  }

  noteAnswered(poison: PoisonState, kind: RouteKind, nowMs: number): void {
    const good = this.good(poison, kind, nowMs);
    good.count += 1;
    poison.now.total += 1;
  }
}

/** The flow of this principal on this route. */
export function flowOf(principal: Principal, entry: Entry, backend: Backend): Flow {
  const known = principal.flows.get(entry);
  if (known !== undefined && known.backend === backend) return known;
  const flow = new Flow(principal, entry, backend);
  principal.flows.set(entry, flow);
  return flow;
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
