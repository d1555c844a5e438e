// What do clients get in a simulation? One gateway with synthetic traffic: judgement, poison and
// quarantine rules are those of src/gateway, run on requests that are drawn by the window instead
// of one by one. It outlives every incarnation of the control plane.
//
//   SG1. Every table has a higher version than the one before; one that is older is not applied.
//   SG2. A combination that the applied table holds back is never given to a replica.
import {
  dueProbes,
  forgive,
  noteHung,
  noteOutcome,
  noteProbe,
  openHealth,
  portion,
  setReplicas,
} from '../../src/gateway/health.ts';
import type { Health, HealthEvent, Outcome } from '../../src/gateway/health.ts';
import {
  combination,
  heldForMs,
  noteAnswered,
  noteDeath,
  openPoison,
} from '../../src/gateway/poison.ts';
import type { PoisonState } from '../../src/gateway/poison.ts';
import type { ReplicaId, ServiceName, TenantId } from '../../src/model/ids.ts';
import { noLatency } from '../../src/model/picture.ts';
import { quarantineId } from '../../src/model/quarantine.ts';
import type { RoutingTable, ServiceRoute } from '../../src/model/routing.ts';
import type { GatewayEvent, Suspect, TrafficCell } from '../../src/model/signal.ts';
import type { GatewaySignal, Gateways, PushAnswer } from '../../src/world/gateways.ts';
import type { Chance } from '../../src/world/sim/chance.ts';
import type { Life, SimClock } from '../../src/world/sim/clock.ts';
import type { Machine, SimProcess } from '../../src/world/sim/machine.ts';
import { unanswered } from '../../src/world/sim/runtime.ts';

const WORKER = 'worker-1';
const FLUSH = { calmMs: 5_000, busyMs: 250, afterChangeMs: 10, busyForMs: 10_000 } as const;
/** Of all requests, this share may be repeated on another replica. */
const REPEATABLE = 0.8;
const HUNG_AFTER_MS = 600;
const OUTCOMES_MAX = 6;
/** Different routes that clients use of each service. */
const ROUTES = 40;
const routeOf = (process: SimProcess, n: number): string => `/${process.service}/usual-${n}`;

export interface Poison {
  readonly tenant: TenantId;
  readonly service: ServiceName;
  readonly method: string;
  readonly route: string;
  /** Is a request that broke one replica tried on a second one? */
  readonly repeated: boolean;
}

export interface DataPlaneSetup {
  readonly machine: Machine;
  readonly clock: SimClock;
  readonly chance: Chance;
  readonly requestsPerSecond: ReadonlyMap<ServiceName, number>;
  readonly tenants: readonly TenantId[];
  readonly pushes: () => { readonly slow: number; readonly lost: number };
  readonly onPush: (before: RoutingTable | undefined, table: RoutingTable) => void;
  readonly onPoisoned: (poison: Poison, replica: ReplicaId) => void;
}

export interface DataPlane {
  connect(life: Life): Gateways;
  poison(poison: Poison): () => void;
  /** The worker is gone for so long and comes back with its last table. */
  restart(forMs: number): void;
  table(): RoutingTable | undefined;
  isOut(replica: ReplicaId): boolean;
  readonly totals: { requests: number; failed: number };
}

interface Lane {
  readonly id: ReplicaId;
  carry: number;
  stuckSinceMs: number | undefined;
}

/** Requests of one window that one replica got. */
interface Batch {
  readonly state: ServiceState;
  readonly lane: Lane;
  readonly process: SimProcess | undefined;
  readonly requests: number;
  /** Nobody else is routed: what fails here fails for its client. */
  readonly alone: boolean;
  readonly nowMs: number;
}

interface ServiceState {
  readonly name: ServiceName;
  readonly health: Health;
  readonly poison: PoisonState;
  readonly lanes: Map<ReplicaId, Lane>;
  route: ServiceRoute | undefined;
  busyUntilMs: number;
  flushedAtMs: number;
}

export function openDataPlane(setup: DataPlaneSetup): DataPlane {
  return new Plane(setup);
}

class Plane implements DataPlane {
  readonly totals = { requests: 0, failed: 0 };
  readonly #setup: DataPlaneSetup;
  readonly #services = new Map<ServiceName, ServiceState>();
  #listeners = new Set<(signal: GatewaySignal) => void>();
  #life: Life = { dead: true };
  #table: RoutingTable | undefined;
  #late: RoutingTable | undefined;
  #up = true;
  #cancel: (() => void) | undefined;
  #dueAtMs = Number.POSITIVE_INFINITY;
  /** Their deaths are told with the request that caused them. */
  readonly #poisoned = new WeakSet<SimProcess>();

  constructor(setup: DataPlaneSetup) {
    this.#setup = setup;
    setup.machine.onChange((service) => this.#stir(service));
    setup.machine.onExit((process) => this.#died(process));
    this.#schedule(setup.clock.monotonicMs() + FLUSH.calmMs);
  }

  table(): RoutingTable | undefined {
    return this.#table;
  }

  isOut(replica: ReplicaId): boolean {
    for (const { health } of this.#services.values()) {
      if (health.tracks.get(replica)?.standing.kind === 'out') return true;
    }
    return false;
  }

  connect(life: Life): Gateways {
    this.#life = life;
    const listeners = new Set<(signal: GatewaySignal) => void>();
    this.#listeners = listeners;
    // A gateway says hello to its new controller, and whom it holds back.
    this.#setup.clock.after(20, () => {
      if (life.dead) return;
      this.#emit({ kind: 'connected', worker: WORKER, version: this.#table?.version ?? 0 });
      for (const { health } of this.#services.values()) {
        for (const { id, standing } of health.tracks.values()) {
          if (standing.kind !== 'out') continue;
          const { reason } = standing;
          this.#emit({ kind: 'ejected', replica: id, reason, detail: 'since before' });
        }
      }
    });
    return {
      push: (table) => this.#push(table, life),
      forgive: (replicas) => this.#forgive(replicas, life),
      inFlight: (replica) => this.#inFlight(replica),
      connected: () => (this.#up ? [WORKER] : []),
      onSignal(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      async close() {},
    };
  }

  poison(poison: Poison): () => void {
    const { clock, chance } = this.#setup;
    let active = true;
    let sent = 0;
    const send = (): void => {
      if (!active) return;
      sent += 1;
      this.#sendPoison(poison, `poison-${sent}`);
      clock.after(chance.whole('poison', 500, 1_500), send);
    };
    clock.after(100, send);
    return () => {
      active = false;
    };
  }

  restart(forMs: number): void {
    if (!this.#up) return;
    this.#up = false;
    this.#emit({ kind: 'disconnected', worker: WORKER });
    this.#setup.clock.after(forMs, () => {
      this.#up = true;
      this.#emit({ kind: 'connected', worker: WORKER, version: this.#table?.version ?? 0 });
      this.#applyLate();
    });
  }

  async #push(table: RoutingTable, life: Life): Promise<PushAnswer> {
    if (life.dead) return unanswered();
    const { clock, chance, pushes } = this.#setup;
    this.#setup.onPush(this.#late ?? this.#table, table);
    this.#late = table;
    const faults = pushes();
    if (!this.#up || chance.yes('push', faults.lost)) {
      if (this.#up) clock.after(chance.whole('push', 500, 2_000), () => this.#applyLate());
      return { kind: 'partial', missing: [WORKER] };
    }
    if (chance.yes('push', faults.slow)) {
      await clock.ownedBy(life).sleep(chance.whole('push', 5, 400));
    }
    this.#applyLate();
    return life.dead ? unanswered() : { kind: 'applied', workers: 1 };
  }

  /** Applies what was pushed last, unless something newer is there already (SG1). */
  #applyLate(): void {
    const table = this.#late;
    if (!this.#up || table === undefined) return;
    if (this.#table !== undefined && table.version <= this.#table.version) return;
    this.#table = table;
    const nowMs = this.#setup.clock.monotonicMs();
    for (const route of table.services) {
      const state = this.#stateOf(route.name);
      state.route = route;
      const before = [...state.lanes.keys()];
      for (const { id } of route.replicas) {
        if (!state.lanes.has(id)) {
          state.lanes.set(id, { id, carry: 0, stuckSinceMs: undefined });
        }
      }
      const now = new Set(route.replicas.map((r) => r.id));
      for (const id of before) if (!now.has(id)) state.lanes.delete(id);
      this.#say(setReplicas(state.health, route, nowMs));
    }
  }

  #stateOf(name: ServiceName): ServiceState {
    let state = this.#services.get(name);
    if (state === undefined) {
      const { chance, clock } = this.#setup;
      const nowMs = clock.monotonicMs();
      state = {
        name,
        health: openHealth(() => chance.next('gateway')),
        poison: openPoison(nowMs),
        lanes: new Map(),
        route: undefined,
        busyUntilMs: 0,
        flushedAtMs: nowMs,
      };
      this.#services.set(name, state);
    }
    return state;
  }

  #forgive(replicas: readonly ReplicaId[], life: Life): void {
    if (life.dead) return;
    const nowMs = this.#setup.clock.monotonicMs();
    for (const { health } of this.#services.values()) {
      for (const id of replicas) this.#say(forgive(health, id, nowMs));
    }
  }

  #inFlight(replica: ReplicaId): { replica: ReplicaId; count: number; oldestMs: number } {
    const process = this.#setup.machine.find(replica);
    for (const { lanes } of this.#services.values()) {
      const lane = lanes.get(replica);
      if (lane === undefined || process === undefined || process.exit !== undefined) continue;
      if (process.hung && lane.stuckSinceMs !== undefined) {
        return { replica, count: 2, oldestMs: 1_000 };
      }
    }
    return { replica, count: 0, oldestMs: 0 };
  }

  #emit(event: GatewayEvent): void {
    if (this.#life.dead) return;
    for (const listener of this.#listeners) listener({ kind: 'event', event });
  }

  #say(events: readonly HealthEvent[]): void {
    for (const event of events) this.#emit(event);
  }

  /** Something changed: the next requests show it within milliseconds. */
  #stir(service: ServiceName): void {
    const { clock } = this.#setup;
    const nowMs = clock.monotonicMs();
    for (const state of this.#services.values()) {
      const concerned = state.name === service || service === 'database';
      if (concerned) state.busyUntilMs = nowMs + FLUSH.busyForMs;
    }
    this.#schedule(nowMs + FLUSH.afterChangeMs);
  }

  #schedule(atMs: number): void {
    if (atMs >= this.#dueAtMs) return;
    this.#cancel?.();
    this.#dueAtMs = atMs;
    this.#cancel = this.#setup.clock.at(atMs, () => this.#flush());
  }

  #flush(): void {
    const nowMs = this.#setup.clock.monotonicMs();
    this.#dueAtMs = Number.POSITIVE_INFINITY;
    const cells: TrafficCell[] = [];
    let busy = false;
    for (const state of this.#services.values()) {
      if (state.route === undefined) continue;
      const abnormal = this.#isAbnormal(state, nowMs);
      busy ||= abnormal;
      this.#serve(state, nowMs, abnormal, cells);
    }
    if (cells.length > 0 && this.#up && !this.#life.dead) {
      for (const listener of this.#listeners) listener({ kind: 'traffic', cells });
    }
    this.#schedule(nowMs + (busy ? FLUSH.busyMs : FLUSH.calmMs));
  }

  #isAbnormal(state: ServiceState, nowMs: number): boolean {
    const { machine } = this.#setup;
    if (nowMs < state.busyUntilMs || machine.lies.size > 0) return true;
    if (!machine.hasNeeds(state.name)) return true;
    for (const { id, weight } of state.route?.replicas ?? []) {
      if (weight === 0) continue;
      const process = machine.find(id);
      if (process === undefined || !machine.isWell(process)) return true;
      if (state.health.tracks.get(id)?.standing.kind !== 'in') return true;
    }
    return false;
  }

  #serve(state: ServiceState, nowMs: number, abnormal: boolean, cells: TrafficCell[]): void {
    const { machine, requestsPerSecond } = this.#setup;
    const spentMs = nowMs - state.flushedAtMs;
    state.flushedAtMs = nowMs;
    const rate = requestsPerSecond.get(state.name) ?? 0;
    if (abnormal) this.#lookAtEjected(state, nowMs);
    const shares: { lane: Lane; share: number; process: SimProcess | undefined }[] = [];
    let sum = 0;
    for (const { id, weight } of state.route?.replicas ?? []) {
      const track = state.health.tracks.get(id);
      const lane = state.lanes.get(id);
      if (track === undefined || lane === undefined || weight === 0) continue;
      const share = weight * portion(track, nowMs);
      if (share === 0) continue;
      shares.push({ lane, share, process: machine.find(id) });
      sum += share;
    }
    const all = (rate * spentMs) / 1_000;
    if (sum === 0) {
      this.totals.requests += all;
      this.totals.failed += all;
      return;
    }
    for (const { lane, share, process } of shares) {
      lane.carry += (all * share) / sum;
      const requests = Math.floor(lane.carry);
      lane.carry -= requests;
      if (requests === 0) continue;
      this.#answer({ state, lane, process, requests, alone: shares.length < 2, nowMs }, cells);
    }
  }

  /** What these requests get from this replica, and what the gateway makes of it. */
  #answer(batch: Batch, cells: TrafficCell[]): void {
    const { machine, chance } = this.#setup;
    const { state, lane, process, requests, alone, nowMs } = batch;
    this.totals.requests += requests;
    if (process === undefined || !machine.isUp(process)) {
      this.#say(noteOutcome(state.health, lane.id, 'unreachable', 1, nowMs));
      const stays = state.health.tracks.get(lane.id)?.standing.kind !== 'out';
      const failed = stays || alone ? requests : 0;
      this.#count(state, lane, process, cells, { requests, broken: failed, failed });
      return;
    }
    if (process.hung) {
      lane.stuckSinceMs ??= nowMs;
      const held = Math.min(requests, 2);
      if (nowMs - lane.stuckSinceMs >= HUNG_AFTER_MS) {
        this.#say(noteHung(state.health, lane.id, 'no answer to its own probe', nowMs));
      }
      const failed = held * (alone ? 1 : 1 - REPEATABLE);
      this.#count(state, lane, process, cells, { requests: held, timeouts: held, failed });
      return;
    }
    lane.stuckSinceMs = undefined;
    const rate = machine.hasNeeds(state.name) ? process.errorRate : 1;
    if (rate === 0 && process.slowMs === 0 && !this.#isAbnormal(state, nowMs)) {
      this.#count(state, lane, process, cells, { requests });
      return;
    }
    let errors = 0;
    for (let i = 0; i < requests; i += 1) {
      const outcome: Outcome = rate > 0 && chance.yes('answers', rate) ? 'error' : 'ok';
      if (outcome === 'error') errors += 1;
      if (i >= OUTCOMES_MAX) continue;
      this.#say(noteOutcome(state.health, lane.id, outcome, process.slowMs + 4, nowMs));
    }
    const failed = errors * (alone || rate === 1 ? 1 : 1 - REPEATABLE);
    this.#count(state, lane, process, cells, { requests, errors, failed });
  }

  #count(
    state: ServiceState,
    lane: Lane,
    process: SimProcess | undefined,
    cells: TrafficCell[],
    what: {
      requests: number;
      errors?: number;
      broken?: number;
      timeouts?: number;
      failed?: number;
    },
  ): void {
    const { tenants } = this.#setup;
    const release = state.route?.replicas.find((r) => r.id === lane.id)?.release;
    if (release === undefined) return;
    const { requests, errors = 0, broken = 0, timeouts = 0, failed = 0 } = what;
    this.totals.failed += failed;
    const bucket = (process?.slowMs ?? 0) > 0 ? 12 : 3;
    const part = (n: number, i: number): number =>
      Math.floor((n * (i + 1)) / tenants.length) - Math.floor((n * i) / tenants.length);
    tenants.forEach((tenant, i) => {
      const count = part(requests, i);
      if (count === 0 && failed === 0) return;
      const latency = noLatency();
      latency[bucket] = count;
      cells.push({
        service: state.name,
        replica: lane.id,
        release,
        tenant,
        route: `/${state.name}`,
        requests: count,
        errors: part(errors, i),
        broken: part(broken, i),
        timeouts: part(timeouts, i),
        failed: part(Math.round(failed), i),
        latency,
      });
    });
  }

  #lookAtEjected(state: ServiceState, nowMs: number): void {
    const { machine } = this.#setup;
    for (const id of dueProbes(state.health, nowMs)) {
      const process = machine.find(id);
      const passed = process !== undefined && machine.isUp(process) && !process.hung;
      this.#say(noteProbe(state.health, id, passed, nowMs));
    }
  }

  #died(process: SimProcess): void {
    const state = this.#services.get(process.service);
    const route = state?.route?.replicas.find((r) => r.id === process.id);
    if (state === undefined || route === undefined || route.weight === 0) return;
    if (this.#poisoned.has(process)) return;
    this.#dead(state, process, this.#innocents(process));
  }

  #dead(state: ServiceState, process: SimProcess, suspects: readonly Suspect[]): void {
    const nowMs = this.#setup.clock.monotonicMs();
    if (suspects.length === 0) return;
    this.#emit({ kind: 'died-serving', replica: process.id, suspects });
    // What was answered well lately: the usual routes, in about equal shares.
    for (const tenant of this.#setup.tenants) {
      for (let i = 1; i <= ROUTES; i += 1) {
        const usual = {
          tenant,
          service: process.service,
          method: 'GET',
          route: routeOf(process, i),
        };
        noteAnswered(state.poison, combination(usual), nowMs);
      }
    }
    const death = { atMs: nowMs, replica: process.id, suspects };
    for (const held of noteDeath(state.poison, death)) this.#emit(held);
  }

  /** Who happened to be inside: few, since requests are short. */
  #innocents(process: SimProcess): Suspect[] {
    const { chance, tenants } = this.#setup;
    const count = chance.whole('inside', 0, 2);
    return Array.from({ length: count }, (_, i) => ({
      tenant: chance.one('inside', tenants) ?? ('' as TenantId),
      service: process.service,
      method: 'GET',
      route: routeOf(process, chance.whole('inside', 1, ROUTES)),
      requestId: `r${process.pid}-${i}`,
    }));
  }

  #sendPoison(poison: Poison, requestId: string): void {
    const { clock, chance, machine } = this.#setup;
    const state = this.#services.get(poison.service);
    if (state === undefined || !this.#up) return;
    const nowMs = clock.monotonicMs();
    for (let tries = poison.repeated ? 2 : 1; tries > 0; tries -= 1) {
      if (this.#table?.quarantines.some((rule) => rule.id === quarantineId(poison)) === true)
        return;
      if (heldForMs(state.poison, combination(poison), nowMs) > 0) return;
      const lanes = (state.route?.replicas ?? []).flatMap(({ id, weight }) => {
        const track = state.health.tracks.get(id);
        const process = machine.find(id);
        const serves =
          weight > 0 &&
          track !== undefined &&
          track.standing.kind !== 'out' &&
          process !== undefined &&
          machine.isUp(process) &&
          !process.hung;
        return serves ? [process] : [];
      });
      const victim = chance.one('poison', lanes);
      if (victim === undefined) return;
      this.#setup.onPoisoned(poison, victim.id);
      const { tenant, service, method, route } = poison;
      // Its suspects are told here, before the exit is heard of.
      this.#poisoned.add(victim);
      this.#dead(state, victim, [
        { tenant, service, method, route, requestId },
        ...this.#innocents(victim),
      ]);
      machine.end(victim, { kind: 'signal', signal: 'SIGSEGV' });
    }
  }
}
