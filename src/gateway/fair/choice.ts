// Which of a service's replicas may this tenant's request go to, and which of these is next? Its
// own shard before others, the healthy before the doubtful, and none on one kept for others.
//
//   CE1. A tenant is served by its shard while any untried replica of it is routed. When none is,
//        by the others: being served goes before being kept apart …
//   CE2. … but not for a request that was inside a replica that died, nor for a tenant under a rule
//        or a hold, nor for one that was inside all of its replicas (two or more) when each of them
//        died or hung: what may have broken a whole shard is not let loose on the next one.
//   CE3. A pinned tenant is served by its replicas only, whatever they look like; one that is kept
//        for pinned tenants serves nobody else. A pin binds in the service of its replicas only.
//   CE4. What could not be repeated does not go where the last answer was a failure, where a
//        replica is on trial, or where requests stand still, if there is anywhere else to go.
import type { ReplicaId, TenantId } from '../../model/ids.ts';
import type { ServiceRoute } from '../../model/routing.ts';
import { shardOf } from '../../model/shards.ts';
import { pick } from '../balance.ts';
import { onTrial, portion } from '../health.ts';
import type { Track } from '../health.ts';
import type { Lane, Wish } from '../lane.ts';
import { DEATH_WINDOW_MS } from '../poison.ts';
import type { PoisonState } from '../poison.ts';
import { NO_RULES } from './rules.ts';
import type { TenantRules } from './rules.ts';

const HOMES_MAX = 16_384;
/** Only a preference: a pause of the collector that looks so costs nothing. */
const STILL_MS = 10;
const STILL_LOOKED_AT = 8;

export class Choice {
  readonly #lanes: ReadonlyMap<ReplicaId, Lane>;
  readonly #poison: PoisonState;
  #all: readonly Lane[] = [];
  #service: ServiceRoute;
  #rules: TenantRules = NO_RULES;
  readonly #homes = new Map<TenantId, readonly Lane[]>();
  readonly #pins = new Map<TenantId, ReadonlySet<ReplicaId>>();
  /** How long an answer usually takes. */
  #typicalMs = 0;
  // Filled anew by each scan; no request makes garbage here.
  readonly #fit: Lane[] = [];
  readonly #doubtful: Lane[] = [];
  readonly #out: Lane[] = [];
  #crowded = false;

  constructor(service: ServiceRoute, lanes: ReadonlyMap<ReplicaId, Lane>, poison: PoisonState) {
    this.#service = service;
    this.#lanes = lanes;
    this.#poison = poison;
  }

  /** A new table: call once the lanes are placed. */
  use(service: ServiceRoute, rules: TenantRules): void {
    this.#service = service;
    this.#rules = rules;
    this.#all = [...this.#lanes.values()];
    this.#homes.clear();
    this.#pins.clear();
    for (const { tenant, replicas } of rules.byTenant.values()) {
      const own = new Set([...replicas].filter((id) => isOf(id, service.name)));
      if (own.size > 0) this.#pins.set(tenant, own);
    }
  }

  /** A good answer came. One that is far off moves what is usual only a little. */
  noteGood(tookMs: number): void {
    const bounded = Math.min(tookMs, 4 * this.#typicalMs + 10);
    this.#typicalMs += (bounded - this.#typicalMs) / 16;
  }

  get typicalMs(): number {
    return this.#typicalMs;
  }

  choose(wish: Wish, nowMs: number): Lane | 'none' | 'crowded' {
    const pins = this.#pinsOf(wish.tenant);
    const home = pins === undefined ? this.#homeOf(wish) : undefined;
    if (home === undefined) {
      this.#scan(this.#all, wish, pins, nowMs);
      return this.#routed() ?? (this.#crowded ? 'crowded' : this.#lastResort());
    }
    this.#scan(home, wish, undefined, nowMs);
    const own = this.#routed();
    if (own !== undefined) return own;
    if (this.#crowded) return 'crowded';
    if (this.#staysHome(wish, home, nowMs)) return this.#lastResort();
    this.#scan(this.#all, wish, undefined, nowMs);
    return this.#routed() ?? (this.#crowded ? 'crowded' : this.#lastResort());
  }

  /** Is there one that is routed, that this tenant may use, and that is not among `tried`? */
  hasOther(wish: Wish, nowMs: number): boolean {
    const pins = this.#pinsOf(wish.tenant);
    const home = pins === undefined ? this.#homeOf(wish) : undefined;
    const stays = home !== undefined && this.#staysHome(wish, home, nowMs);
    for (const lane of stays ? home : this.#all) {
      const { track } = lane;
      if (track === undefined || !this.#mayUse(lane, wish, pins)) continue;
      if (portion(track, nowMs) > 0) return true;
    }
    return false;
  }

  #pinsOf(tenant: TenantId | undefined): ReadonlySet<ReplicaId> | undefined {
    if (this.#pins.size === 0 || tenant === undefined) return undefined;
    return this.#pins.get(tenant);
  }

  #homeOf({ tenant, region }: Wish): readonly Lane[] | undefined {
    const { shardSize } = this.#service;
    if (shardSize === undefined || tenant === undefined) return undefined;
    const known = this.#homes.get(tenant);
    if (known !== undefined) return known;
    if (this.#homes.size >= HOMES_MAX) this.#homes.clear();
    const fit: { id: ReplicaId; weight: number; lane: Lane }[] = [];
    for (const lane of this.#all) {
      if (lane.gone || lane.reserved || !fits(lane, region)) continue;
      fit.push({ id: lane.id, weight: lane.route.weight, lane });
    }
    const home = shardOf(tenant, fit, shardSize).map(({ lane }) => lane);
    this.#homes.set(tenant, home);
    return home;
  }

  /** CE2. */
  #staysHome({ suspected, tenant }: Wish, home: readonly Lane[], nowMs: number): boolean {
    if (suspected || tenant === undefined) return suspected;
    if (this.#rules.byTenant.has(tenant)) return true;
    for (const [combo, untilMs] of this.#poison.held) {
      if (untilMs > nowMs && combo.startsWith(`${tenant} `)) return true;
    }
    if (home.length < 2) return false;
    return home.every(
      ({ endedWith }) =>
        endedWith !== undefined &&
        endedWith.atMs > nowMs - DEATH_WINDOW_MS &&
        endedWith.tenants.has(tenant),
    );
  }

  #mayUse(lane: Lane, wish: Wish, pins: ReadonlySet<ReplicaId> | undefined): boolean {
    // Of one that may be dead it is known in milliseconds: rather wait than break with it.
    if (lane.gone || lane.dying !== undefined || lane.route.weight === 0) return false;
    if (pins === undefined ? lane.reserved : !pins.has(lane.id)) return false;
    return fits(lane, wish.region) && !wish.tried.has(lane.id);
  }

  #scan(
    lanes: readonly Lane[],
    wish: Wish,
    pins: ReadonlySet<ReplicaId> | undefined,
    nowMs: number,
  ): void {
    empty(this.#fit);
    empty(this.#doubtful);
    empty(this.#out);
    this.#crowded = false;
    for (const lane of lanes) {
      const { track } = lane;
      if (track === undefined || !this.#mayUse(lane, wish, pins)) continue;
      if (wish.suspected && hasSuspect(lane)) {
        this.#crowded = true;
        continue;
      }
      lane.share = lane.route.weight * portion(track, nowMs);
      lane.failures = track.failures;
      if (lane.share === 0) this.#out.push(lane);
      else if (wish.repeatable || !this.#isDoubtful(lane, track, nowMs)) this.#fit.push(lane);
      else this.#doubtful.push(lane);
    }
  }

  /** CE4. */
  #isDoubtful(lane: Lane, track: Track, nowMs: number): boolean {
    if (track.failures > 0 || onTrial(track)) return true;
    if (lane.inside.size === 0) return false;
    const sinceMs = nowMs - Math.max(STILL_MS, 3 * this.#typicalMs);
    if (lane.progressMs >= sinceMs) return false;
    let looked = 0;
    // The oldest come first; those that have an answer's head, such as streams, do not wait.
    for (const guest of lane.inside) {
      if (guest.waitingSinceMs < sinceMs) return true;
      looked += 1;
      if (looked >= STILL_LOOKED_AT) return false;
    }
    return false;
  }

  #routed(): Lane | undefined {
    return pick(this.#fit) ?? (this.#crowded ? undefined : pick(this.#doubtful));
  }

  /** Nobody routed is left: one that errs or is slow is better than no answer at all. */
  #lastResort(): Lane | 'none' {
    for (const lane of this.#out) lane.share = lane.track === undefined ? 0 : mildness(lane.track);
    return pick(this.#out) ?? 'none';
  }
}

const fits = ({ route }: Lane, region: string): boolean =>
  route.region === region || route.region === 'any';

/** `records-12` is of `records`, `records-eu-3` is not. */
function isOf(id: ReplicaId, service: string): boolean {
  return id.startsWith(`${service}-`) && /^\d+$/u.test(id.slice(service.length + 1));
}

function hasSuspect(lane: Lane): boolean {
  for (const guest of lane.inside) if (guest.suspected) return true;
  return false;
}

/** Last resort, for replicas that are out: erring and slow ones may do, hung and dead ones not. */
function mildness(track: Track): number {
  if (track.standing.kind !== 'out') return 1;
  return track.standing.reason === 'slow' || track.standing.reason === 'errors' ? 1 : 0;
}

/** Setting the length costs more, for the few that these hold. */
function empty(list: unknown[]): void {
  while (list.length > 0) list.pop();
}
