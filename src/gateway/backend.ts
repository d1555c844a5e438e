// One service behind the gateway: its replicas, who is inside each, and which one is next. Joins
// the pure judges (health, balance, poison) with real connections and timers.
//
//   BE1. A request is inside a replica from `enter` to `leave`, and is counted exactly.
//   BE2. A replica with weight 0 gets nothing new; one that left the table finishes what is inside,
//        then its connections are closed.
//   BE3. A hang is: the oldest request waits ≥ 300 ms, nothing ended since, and our own look gets
//        no answer within 250 ms. Then it is ejected and what may be repeated is, at once.
//   BE4. No timer runs while nobody is inside, nobody is out and nobody waits.
//   BE5. After a death, suspects are repeated one at a time per replica, so that the guilty one
//        takes no bystander with it a second time.
//   BE6. What waits inside a replica that was ejected as slow is repeated elsewhere, if that is
//        safe, as soon as it waits far longer than is usual.
//   BE7. One that takes no connection is looked at once: if that gets none either it is ejected,
//        however well those that are connected already are served.
//
// Longer than 400 lines because a lane is one state that its guests, looks and timers all change.
import type { ReplicaId, TenantId } from '../model/ids.ts';
import type { InFlight, ReplicaRoute, ServiceRoute } from '../model/routing.ts';
import type { GatewayEvent, Suspect } from '../model/signal.ts';
import { Choice } from './fair/choice.ts';
import { NO_RULES } from './fair/rules.ts';
import type { TenantRules } from './fair/rules.ts';
import { Guests } from './guests.ts';
import type { Health, HealthEvent, Outcome } from './health.ts';
import type { BackendDeps, Guest, Lane, Wish } from './lane.ts';
import {
  dueProbes,
  forgive,
  nextProbeAtMs,
  noteHung,
  noteOutcome,
  noteProbe,
  noteWaiting,
  openHealth,
  setReplicas,
  stuckNeeded,
} from './health.ts';
import { noteDeath } from './poison.ts';

export const HANG_AFTER_MS = 300;
export const LOOK_TIMEOUT_MS = 250;
const DEATH_SETTLE_MS = 20;
const SLOW_LOOK_MS = 100;
const RESCUE_AFTER_MS = 50;
const SUSPECTS_MAX = 100;
const WAITING_MAX = 512;
const NEVER = Number.POSITIVE_INFINITY;

export class Backend {
  service: ServiceRoute;
  readonly lanes = new Map<ReplicaId, Lane>();
  readonly #deps: BackendDeps;
  readonly #health: Health;
  readonly #choice: Choice;
  /** Waiting for a replica that may serve; waiting for a turn of theirs (BE5). */
  readonly #waiting = new Set<() => void>();
  readonly #turns = new Set<() => void>();
  #probeTimer: NodeJS.Timeout | undefined;

  constructor(service: ServiceRoute, deps: BackendDeps, rules: TenantRules = NO_RULES) {
    this.service = service;
    this.#deps = deps;
    this.#health = openHealth(deps.random);
    this.#choice = new Choice(service, this.lanes, deps.poison);
    this.apply(service, rules);
  }

  apply(service: ServiceRoute, rules: TenantRules = NO_RULES): void {
    this.service = service;
    const { replicas, slowMs } = service;
    const nowMs = this.#deps.nowMs();
    // A reserved one serves nobody else: it can neither stand in for another nor be spared for one.
    const kept = replicas.filter((r) => rules.reserved.has(r.id)).length;
    const setup = {
      replicas: replicas.map(({ id, weight }) => ({
        id,
        weight: rules.reserved.has(id) ? 0 : weight,
      })),
      minRouted: Math.max(1, service.minRouted - kept),
      slowMs,
    };
    const events = setReplicas(this.#health, setup, nowMs);
    const wanted = new Set(replicas.map((r) => r.id));
    for (const lane of this.lanes.values()) if (!wanted.has(lane.id)) this.#retire(lane);
    for (const route of replicas) this.#place(route, rules.reserved.has(route.id));
    this.#choice.use(service, rules);
    this.#report(events);
    this.wake();
  }

  /** The replica for this wish, or why there is none right now. */
  choose(wish: Wish): Lane | 'none' | 'crowded' {
    return this.#choice.choose(wish, this.#deps.nowMs());
  }

  /** Is there any replica in the table that this region may use? */
  couldServe(region: string): boolean {
    return this.service.replicas.some((r) => r.region === region || r.region === 'any');
  }

  /** Is there one that is routed, that this tenant may use, and that is not among `tried`? */
  hasOther(
    region: string,
    tried: ReadonlySet<ReplicaId>,
    nowMs: number,
    tenant?: TenantId,
  ): boolean {
    const wish = { region, tried, repeatable: true, suspected: false };
    return this.#choice.hasOther(tenant === undefined ? wish : { ...wish, tenant }, nowMs);
  }

  /** Calls back once, at the next change of what it waits for; false when too many wait. */
  waitFor(what: 'replica' | 'turn', wakeUp: () => void): boolean {
    if (this.#waiting.size + this.#turns.size >= WAITING_MAX) return false;
    (what === 'turn' ? this.#turns : this.#waiting).add(wakeUp);
    return true;
  }

  stopWaiting(wakeUp: () => void): void {
    this.#waiting.delete(wakeUp);
    this.#turns.delete(wakeUp);
  }

  wake(): void {
    const woken = [...this.#waiting, ...this.#turns];
    this.#waiting.clear();
    this.#turns.clear();
    for (const wakeUp of woken) wakeUp();
  }

  enter(lane: Lane, guest: Guest): void {
    if (lane.inside.size === 0) lane.progressMs = this.#deps.nowMs();
    lane.inside.add(guest);
    lane.inFlight = lane.inside.size;
    if (lane.hangTimer === undefined) this.#armHang(lane, HANG_AFTER_MS);
    this.#deps.changed(lane);
  }

  leave(lane: Lane, guest: Guest): void {
    if (!lane.inside.delete(guest)) return;
    lane.inFlight = lane.inside.size;
    lane.lastEndMs = this.#deps.nowMs();
    lane.progressMs = lane.lastEndMs;
    this.#deps.changed(lane);
    if (guest.suspected) this.#nextTurn();
    if (lane.gone) this.#closeWhenEmpty(lane);
  }

  /** `unconnected`: there was no connection in time. */
  outcome(lane: Lane, told: Outcome | 'unconnected', tookMs: number): void {
    const nowMs = this.#deps.nowMs();
    const outcome = told === 'unconnected' ? 'broken' : told;
    if (told === 'unconnected') void this.#lookAtDoor(lane);
    else lane.progressMs = nowMs;
    if (outcome === 'ok') this.#choice.noteGood(tookMs);
    const events = noteOutcome(this.#health, lane.id, outcome, tookMs, nowMs);
    if (events.length === 0) return;
    this.#report(events);
    this.#rescueSlow(lane, nowMs);
  }

  /**
   * A connection died with `guest` inside, which has not left yet. Until a look has told whether
   * the whole replica died, it is avoided but not yet judged: the reason would be the wrong one.
   */
  broke(lane: Lane, guest: Guest): void {
    const suspect = guest.suspect();
    if (lane.dying !== undefined) {
      if (lane.dying.broken.length < SUSPECTS_MAX) lane.dying.broken.push(suspect);
      return;
    }
    const all = [...lane.inside].slice(0, SUSPECTS_MAX).map((g) => g.suspect());
    lane.dying = { all, broken: [suspect] };
    // Judged at once, over all that were inside: after the look it would be too late to stop a
    // poison request that is sent again. Too large a crowd only makes the verdict more careful.
    this.#judgePoison(lane, all);
    void this.#lookIntoDeath(lane);
  }

  forgive(replicas: ReadonlySet<ReplicaId>): void {
    const nowMs = this.#deps.nowMs();
    for (const id of replicas) this.#report(forgive(this.#health, id, nowMs));
    this.wake();
  }

  inFlight(): InFlight[] {
    return [...this.lanes.values()].map((lane) => this.countOf(lane));
  }

  countOf(lane: Lane): InFlight {
    let oldestMs = 0;
    const nowMs = this.#deps.nowMs();
    for (const guest of lane.inside) {
      oldestMs = Math.round(nowMs - guest.startedMs);
      break;
    }
    return { replica: lane.id, count: lane.inside.size, oldestMs };
  }

  /** Those out now, as events: told again to a controller that has just come. */
  ejections(): GatewayEvent[] {
    const events: GatewayEvent[] = [];
    for (const { id, standing } of this.#health.tracks.values()) {
      if (standing.kind !== 'out') continue;
      const detail = 'still out';
      events.push({ kind: 'ejected', replica: id, reason: standing.reason, detail });
    }
    return events;
  }

  close(): void {
    clearTimeout(this.#probeTimer);
    for (const lane of this.lanes.values()) this.#retire(lane);
    // Else its probes would be due for ever.
    this.#health.tracks.clear();
    this.wake();
  }

  #place(route: ReplicaRoute, reserved: boolean): void {
    const track = this.#health.tracks.get(route.id);
    const known = this.lanes.get(route.id);
    const sameAddress = known?.route.host === route.host && known.route.port === route.port;
    if (known !== undefined && sameAddress) {
      known.route = route;
      known.track = track;
      known.reserved = reserved;
      known.gone = false;
      return;
    }
    if (known !== undefined) this.#retire(known);
    this.lanes.set(route.id, {
      id: route.id,
      route,
      pool: this.#deps.open(route.host, route.port),
      inside: new Guests(),
      track,
      share: route.weight,
      inFlight: 0,
      failures: 0,
      credit: 0,
      lastEndMs: 0,
      progressMs: 0,
      reserved,
      endedWith: undefined,
      hangTimer: undefined,
      looking: false,
      lookedMs: 0,
      dying: undefined,
      hungWith: undefined,
      dead: false,
      gone: false,
    });
  }

  #retire(lane: Lane): void {
    lane.gone = true;
    lane.track = undefined;
    this.#closeWhenEmpty(lane);
  }

  #closeWhenEmpty(lane: Lane): void {
    if (lane.inside.size > 0) return;
    clearTimeout(lane.hangTimer);
    lane.hangTimer = undefined;
    lane.pool.close();
    if (this.lanes.get(lane.id) === lane) this.lanes.delete(lane.id);
  }

  #armHang(lane: Lane, afterMs: number): void {
    lane.hangTimer = setTimeout(() => {
      lane.hangTimer = undefined;
      if (lane.inside.size > 0) this.#checkHang(lane);
    }, afterMs);
  }

  /** Due 300 ms after the oldest waiting request came or the last one ended, whichever is later. */
  #checkHang(lane: Lane): void {
    const nowMs = this.#deps.nowMs();
    let oldestMs = NEVER;
    const agesMs: number[] = [];
    for (const { waitingSinceMs } of lane.inside) {
      if (waitingSinceMs === NEVER) continue;
      oldestMs = Math.min(oldestMs, waitingSinceMs);
      if (agesMs.length < 16) agesMs.push(nowMs - waitingSinceMs);
    }
    const sinceMs = oldestMs === NEVER ? nowMs : Math.max(oldestMs, lane.lastEndMs);
    const leftMs = sinceMs + HANG_AFTER_MS - nowMs;
    // One that stands still is called slow only after it answered a look: it may hang.
    const maySlow = leftMs > 0 || (!lane.looking && lane.lookedMs >= sinceMs);
    if (maySlow) this.#report(noteWaiting(this.#health, lane.id, agesMs, nowMs));
    const isSlow = this.#rescueSlow(lane, nowMs);
    const needed = lane.track === undefined ? 1 : stuckNeeded(lane.track);
    // The moment in which enough of them wait too long to be judged: no later than that.
    const third = agesMs[needed - 1] ?? 0;
    const toStuckMs = this.service.slowMs - third;
    const soonMs = isSlow ? SLOW_LOOK_MS : toStuckMs > 0 && third > 0 ? toStuckMs + 1 : NEVER;
    if (leftMs <= 0 && !lane.looking && !lane.gone) void this.#lookForHang(lane, sinceMs);
    const nextMs = leftMs > 0 ? leftMs : HANG_AFTER_MS;
    this.#armHang(lane, Math.max(20, Math.min(nextMs, soonMs)));
  }

  /** BE6. Is it out for being slow? */
  #rescueSlow(lane: Lane, nowMs: number): boolean {
    const standing = lane.track?.standing;
    if (standing?.kind !== 'out' || standing.reason !== 'slow') return false;
    const afterMs = Math.max(RESCUE_AFTER_MS, 4 * this.#choice.typicalMs);
    for (const guest of [...lane.inside]) {
      if (nowMs - guest.waitingSinceMs >= afterMs) guest.rescue();
    }
    return true;
  }

  async #lookForHang(lane: Lane, sinceMs: number): Promise<void> {
    lane.looking = true;
    const { host, port } = lane.route;
    const path = this.service.healthPath ?? '/';
    const look = await this.#deps.look(host, port, path, LOOK_TIMEOUT_MS);
    lane.looking = false;
    const nowMs = this.#deps.nowMs();
    if (look.kind !== 'silent') lane.lookedMs = nowMs;
    if (look.kind !== 'silent' || lane.lastEndMs > sinceMs) return;
    const stillMs = Math.round(nowMs - sinceMs);
    const inside = `${lane.inside.size} requests inside`;
    const detail = `${inside}, none ended for ${stillMs} ms, no answer to a probe`;
    const events = noteHung(this.#health, lane.id, detail, nowMs);
    const stuck = [...lane.inside].filter((g) => g.waitingSinceMs !== NEVER);
    const suspects = stuck.slice(0, SUSPECTS_MAX).map((g) => g.suspect());
    if (events.length > 0) {
      lane.hungWith = suspects;
      this.#remember(lane, suspects);
    }
    this.#report(events);
    for (const guest of stuck) guest.rescue();
  }

  /** BE7. */
  async #lookAtDoor(lane: Lane): Promise<void> {
    if (lane.looking || lane.gone || lane.track?.standing.kind === 'out') return;
    lane.looking = true;
    const { host, port } = lane.route;
    const path = this.service.healthPath ?? '/';
    const look = await this.#deps.look(host, port, path, LOOK_TIMEOUT_MS);
    lane.looking = false;
    if (look.kind !== 'silent' || lane.gone) return;
    const detail = `no connection within ${LOOK_TIMEOUT_MS} ms, twice`;
    this.#report(noteHung(this.#health, lane.id, detail, this.#deps.nowMs()));
  }

  #nextTurn(): void {
    const [first] = this.#turns;
    if (first === undefined) return;
    this.#turns.delete(first);
    first();
  }

  async #lookIntoDeath(lane: Lane): Promise<void> {
    const { host, port } = lane.route;
    const path = this.service.healthPath ?? '/';
    let look = await this.#deps.look(host, port, path, LOOK_TIMEOUT_MS);
    if (look.kind !== 'refused') {
      // The kernel closes a dead process's files one by one: its listener may be the last.
      await new Promise((resolve) => setTimeout(resolve, DEATH_SETTLE_MS));
      look = await this.#deps.look(host, port, path, LOOK_TIMEOUT_MS);
    }
    const { dying } = lane;
    lane.dying = undefined;
    if (dying === undefined) return;
    const dead = look.kind === 'refused';
    const suspects = dead ? dying.all : dying.broken;
    if (!lane.dead) this.#deps.emit({ kind: 'died-serving', replica: lane.id, suspects });
    lane.dead = dead;
    if (dead) this.#remember(lane, dying.all);
    if (dead) this.outcome(lane, 'unreachable', 0);
    else for (let i = 0; i < dying.broken.length; i += 1) this.outcome(lane, 'broken', 0);
    this.wake();
  }

  #remember(lane: Lane, suspects: readonly Suspect[]): void {
    const tenants = new Set(suspects.map((s) => s.tenant));
    lane.endedWith = { atMs: this.#deps.nowMs(), tenants };
  }

  #judgePoison(lane: Lane, suspects: readonly Suspect[]): void {
    const death = { atMs: this.#deps.nowMs(), replica: lane.id, suspects };
    for (const held of noteDeath(this.#deps.poison, death)) this.#deps.emit(held);
  }

  #report(events: readonly HealthEvent[]): void {
    for (const event of events) this.#deps.emit(event);
    this.#armProbe();
    if (events.length > 0) this.wake();
  }

  #armProbe(): void {
    const atMs = nextProbeAtMs(this.#health);
    if (atMs === undefined || this.#probeTimer !== undefined) return;
    const afterMs = Math.max(50, atMs - this.#deps.nowMs());
    this.#probeTimer = setTimeout(() => {
      this.#probeTimer = undefined;
      void this.#probeOut();
    }, afterMs);
    this.#probeTimer.unref();
  }

  async #probeOut(): Promise<void> {
    const due = dueProbes(this.#health, this.#deps.nowMs());
    await Promise.all(due.map((id) => this.#probeOne(id)));
    this.#armProbe();
  }

  async #probeOne(id: ReplicaId): Promise<void> {
    const lane = this.lanes.get(id);
    if (lane === undefined) return;
    const { host, port } = lane.route;
    const path = this.service.healthPath ?? '/';
    const look = await this.#deps.look(host, port, path, LOOK_TIMEOUT_MS);
    const passed = look.kind === 'answered' && look.status < 500;
    // Still silent after its hold-down: what hung it was no long piece of work. See PO1.
    if (!passed && lane.hungWith !== undefined) this.#judgePoison(lane, lane.hungWith);
    lane.hungWith = undefined;
    if (passed) lane.dead = false;
    this.#report(noteProbe(this.#health, id, passed, this.#deps.nowMs()));
  }
}
