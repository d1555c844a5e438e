// What must never happen? Looked at after every act, every push of a table, every entry and every
// write of a simulation; the first violation stops it. The checkers know the truth of the simulated
// machine, which the loop can only guess at.
import type { CheckId, ReplicaId, ServiceName } from '../../src/model/ids.ts';
import type { IncidentState } from '../../src/model/incident.ts';
import type { Plan, Step } from '../../src/model/plan.ts';
import { holdId } from '../../src/model/hold.ts';
import { quarantineId } from '../../src/model/quarantine.ts';
import type { Receipt } from '../../src/model/receipt.ts';
import { mayBecome } from '../../src/model/replica.ts';
import type { RoutingTable } from '../../src/model/routing.ts';
import type { Run } from '../../src/model/run.ts';
import type { Store } from '../../src/world/store.ts';
import type { LogLine } from '../../src/world/sim/chance.ts';
import type { SimEntry } from '../../src/world/sim/ledger.ts';
import type { SimProcess } from '../../src/world/sim/machine.ts';
import type { RuntimeAct } from '../../src/world/sim/runtime.ts';
import type { Poison } from './data-plane.ts';
import { DATABASE } from './setting.ts';
import type { Simulation } from './simulation.ts';

export interface Violation {
  readonly atMs: number;
  readonly checker: string;
  readonly message: string;
}

export interface Checkers {
  readonly violations: readonly Violation[];
  /** Acts on replicas and controls so far. */
  readonly acts: number;
  busyUntilMs: number;
  /** The truth about what was broken on purpose, for those checkers that need it. */
  noteFault(kind: string, subject: string, forMs: number): void;
  readonly lastFaultEndsMs: number;
  fail(checker: string, message: string): void;
  onAct(act: RuntimeAct, receipt: Receipt | undefined): void;
  onEnforce(check: CheckId, subjects: readonly string[], receipt: Receipt): void;
  onPush(before: RoutingTable | undefined, table: RoutingTable): void;
  onPoisoned(poison: Poison, replica: ReplicaId): void;
  onEntry(entry: SimEntry): void;
  onLog(line: LogLine): void;
  onKill(): void;
  watchStore(store: Store): Store;
  /** Now and then: is anything open for too long? */
  sweep(): void;
  /** After a long quiet time: is everything as it should be? */
  final(): void;
}

/** An incident may stay without a verdict this long after the last fault. */
const BOUND_MS = 300_000;
/** What went wrong less than this ago cannot be known to the loop yet. */
const BLIND_MS = 6_000;
/** A replica that was sick this short ago may still be taken for it. */
const RECENT_MS = 45_000;

const HOT_LINES = 300;

export function openCheckers(sim: Simulation): Checkers {
  return new AllCheckers(sim);
}

class AllCheckers implements Checkers {
  readonly violations: Violation[] = [];
  acts = 0;
  busyUntilMs = 0;
  lastFaultEndsMs = 0;
  readonly #sim: Simulation;
  /** Replica → the plan that started it. */
  readonly #startedBy = new Map<string, string>();
  readonly #incidents = new Map<string, IncidentState['kind']>();
  /** Service or replica → until when it is allowed to be seen as sick, by any fault. */
  readonly #excused = new Map<string, number>();
  readonly #guilty = new Set<string>();
  readonly #quarantinedAtMs = new Map<string, number>();
  #entries = 0;
  #linesNow = 0;
  #linesAtMs = 0;
  #version = 0;

  constructor(sim: Simulation) {
    this.#sim = sim;
  }

  fail(checker: string, message: string): void {
    this.violations.push({ atMs: this.#sim.nowMs, checker, message });
  }

  noteFault(kind: string, subject: string, forMs: number): void {
    const { nowMs } = this.#sim;
    this.lastFaultEndsMs = Math.max(this.lastFaultEndsMs, nowMs + forMs);
    this.busyUntilMs = Math.max(this.busyUntilMs, nowMs + forMs + 10_000);
    this.#excused.set(
      subject,
      Math.max(this.#excused.get(subject) ?? 0, nowMs + forMs + RECENT_MS),
    );
    if (kind === 'poison') this.#guilty.add(subject);
    this.#sim.trace(`fault ${kind} ${subject} ${forMs}`);
  }

  onAct(act: RuntimeAct, receipt: Receipt | undefined): void {
    this.acts += 1;
    this.#sim.trace(`act ${act.kind} ${act.replica}`);
    if (act.kind === 'reap') {
      const row = this.#sim.disk.replicas.get(act.replica);
      if (row !== undefined && row.phase === 'ready') {
        this.fail('reap', `${act.replica} is ready in the book and was reaped`);
      }
      return;
    }
    const run = this.#runOf(receipt, `${act.kind} ${act.replica}`);
    if (run === undefined) return;
    const steps = run.plan.steps.flatMap(({ step, undo }) => [step, ...undo]);
    if (!steps.some((s) => s.kind === act.kind && s.replica === act.replica)) {
      this.fail('receipt', `${act.kind} ${act.replica} is no step of ${run.plan.id}`);
    }
    if (act.kind === 'start') this.#onStart(act.replica, run.plan);
    else this.#onStop(act.replica, run.plan);
  }

  /** The receipt, its open intent, its open run, and that this run alone holds its target. */
  #runOf(receipt: Receipt | undefined, what: string): Run | undefined {
    const { ledger, disk } = this.#sim;
    const intent = receipt === undefined ? undefined : ledger.open.get(receipt.index);
    if (receipt === undefined || intent === undefined) {
      this.fail('receipt', `${what} without an open intent in the ledger`);
      return undefined;
    }
    const detail = intent.detail as { readonly run: string; readonly digest: string };
    const run = disk.runs.get(detail.run);
    if (run === undefined || detail.digest !== receipt.planDigest) {
      this.fail('receipt', `${what}: its intent is of another plan or of no run`);
      return undefined;
    }
    if (!disk.openRuns.has(run.id)) this.fail('runs', `${what} by ${run.id}, which has ended`);
    if (disk.targets.get(run.plan.target) !== run.id) {
      this.fail('one plan a target', `${what}: ${run.id} does not hold ${run.plan.target}`);
    }
    return run;
  }

  #onStart(replica: ReplicaId, plan: Plan): void {
    const before = this.#startedBy.get(replica);
    if (before !== undefined && before !== plan.id) {
      this.fail('ids', `${replica} was given to ${before} and to ${plan.id}`);
    }
    this.#startedBy.set(replica, plan.id);
    const others = this.#sim.machine.alive(DATABASE);
    if (replica.startsWith(`${DATABASE}-`) && others.length > 0) {
      this.fail('one writer', `${replica} starts while ${others[0]?.id} runs on the same data`);
    }
  }

  #onStop(replica: ReplicaId, plan: Plan): void {
    const { machine } = this.#sim;
    const process = machine.find(replica);
    if (process === undefined || process.exit !== undefined) return;
    if (this.#serves(this.#sim.plane.table(), process)) {
      const after = this.#serving(this.#sim.plane.table(), process.service).filter(
        (p) => p !== process,
      ).length;
      const floor = this.#floor(process.service);
      if (after < floor && process.service !== DATABASE) {
        this.fail('budget', `stop ${replica} by ${plan.playbook}: ${after} left, floor ${floor}`);
      }
    }
    this.#checkHarm(process, plan);
  }

  /** A heal must not end what is well: whatever probes said, this replica was fine all along. */
  #checkHarm(process: SimProcess, plan: Plan): void {
    const { machine, nowMs } = this.#sim;
    if (plan.origin.kind !== 'heal' || this.#startedBy.get(process.id) === plan.id) return;
    const kind = machine.releaseKinds.get(process.release);
    if (!machine.isWell(process) || kind !== 'good') return;
    const excusedUntil = Math.max(
      this.#excused.get(process.id) ?? 0,
      plan.playbook === 'rollback' ? (this.#excused.get(process.service) ?? 0) : 0,
    );
    if (nowMs <= excusedUntil) return;
    this.fail('harm', `${plan.playbook} (${plan.summary}) stops ${process.id}, which is well`);
  }

  #serves(table: RoutingTable | undefined, process: SimProcess): boolean {
    const { machine, plane } = this.#sim;
    const route = table?.services
      .find((s) => s.name === process.service)
      ?.replicas.find((r) => r.id === process.id);
    return (
      (route?.weight ?? 0) > 0 && machine.isUp(process) && !process.hung && !plane.isOut(process.id)
    );
  }

  #serving(table: RoutingTable | undefined, service: ServiceName): SimProcess[] {
    return this.#sim.machine.alive(service).filter((p) => this.#serves(table, p));
  }

  #floor(service: ServiceName): number {
    const { disk, manifest } = this.#sim;
    const wanted = disk.services.get(service)?.replicas ?? 1;
    return Math.max(1, wanted - manifest.healing.budget.maxUnavailable);
  }

  onEnforce(check: CheckId, subjects: readonly string[], receipt: Receipt): void {
    this.acts += 1;
    this.#sim.trace(`act enforce ${check} ${subjects.join(',')}`);
    const run = this.#runOf(receipt, `enforce ${check}`);
    const named = (run?.plan.steps ?? []).some(
      ({ step }) =>
        step.kind === 'enforce-control' &&
        step.check === check &&
        subjects.every((s) => step.subjects.includes(s)),
    );
    if (run !== undefined && !named)
      this.fail('receipt', `enforce ${check} is no step of its plan`);
  }

  onPush(before: RoutingTable | undefined, table: RoutingTable): void {
    this.#sim.trace(`push ${table.version} ${weightsOf(table)}`);
    if (table.version <= this.#version) {
      this.fail('versions', `table ${table.version} after ${this.#version}`);
    }
    this.#version = table.version;
    for (const route of table.services) this.#checkShift(before, table, route.name);
    const ruled = new Set<string>((table.tenantRules ?? []).map((rule) => holdId(rule.tenant)));
    const held = new Set<string>([...table.quarantines.map((rule) => rule.id), ...ruled]);
    const written = [...this.#sim.disk.quarantines.keys(), ...this.#sim.disk.holds.keys()];
    for (const id of this.#quarantinedAtMs.keys()) {
      if (!written.includes(id)) this.#quarantinedAtMs.delete(id);
    }
    for (const id of written) {
      const sinceMs = this.#quarantinedAtMs.get(id);
      if (sinceMs === undefined) this.#quarantinedAtMs.set(id, this.#sim.nowMs);
      else if (!held.has(id) && this.#sim.nowMs - sinceMs > 1_000) {
        this.fail('quarantine', `${id} is in the book and not in table ${table.version}`);
      }
    }
  }

  /** Weights that we take away leave at least the floor, or at least as many as before. */
  #checkShift(before: RoutingTable | undefined, table: RoutingTable, service: ServiceName): void {
    const { machine, clock } = this.#sim;
    const was = this.#serving(before, service);
    const is = this.#serving(table, service);
    const taken = was.filter((p) => !is.includes(p));
    if (taken.length === 0) return;
    const nowMs = clock.monotonicMs();
    // Those in the new table that went bad a moment ago: nobody can know yet.
    const blind = (table.services.find((s) => s.name === service)?.replicas ?? [])
      .filter((r) => r.weight > 0)
      .flatMap((r) => machine.find(r.id) ?? [])
      .filter((p) => !is.includes(p) && nowMs - Math.max(p.exitedAtMs, p.touchedAtMs) < BLIND_MS);
    const after = is.length + blind.length;
    const floor = this.#floor(service);
    if (after >= floor || after >= was.length) return;
    this.fail(
      'budget',
      `table ${table.version} takes ${taken.map((p) => p.id).join(', ')}: ` +
        `${was.length} → ${after}, floor ${floor}`,
    );
  }

  onPoisoned(poison: Poison, replica: ReplicaId): void {
    const id = quarantineId(poison);
    const held = this.#sim.plane.table()?.quarantines.some((rule) => rule.id === id) === true;
    if (held) this.fail('quarantine', `${id} was routed to ${replica}`);
  }

  onEntry(entry: SimEntry): void {
    if (entry.index !== this.#entries) this.fail('ledger', `index ${entry.index} is not the next`);
    this.#entries += 1;
    this.#sim.trace(`entry ${entry.index} ${entry.kind}`);
  }

  onLog(line: LogLine): void {
    const { surroundings, clock } = this.#sim;
    this.#countAt(clock.monotonicMs());
    const ledgerAway = clock.monotonicMs() < surroundings.ledgerBackAtMs + 10_000;
    if (ledgerAway) return;
    this.fail('log', `${line.level}: ${line.text} ${JSON.stringify(line.fields)}`);
  }

  /** A loop that never lets time pass would hang the simulation: its control plane is ended. */
  #countAt(nowMs: number): void {
    this.#linesNow = nowMs === this.#linesAtMs ? this.#linesNow + 1 : 1;
    this.#linesAtMs = nowMs;
    if (this.#linesNow < HOT_LINES) return;
    this.fail('hot loop', `${HOT_LINES} warnings within one moment`);
    this.#sim.kill(false);
  }

  onKill(): void {
    this.#incidents.clear();
  }

  watchStore(store: Store): Store {
    return {
      ...store,
      putIncident: (incident, epoch) => {
        const to = incident.state.kind;
        // Writes are behind and the newest value counts, so steps between may be missing; each
        // single step is asserted by the loop. That a healed one stays so is seen from outside.
        const before =
          this.#incidents.get(incident.id) ?? this.#sim.disk.incidents.get(incident.id)?.state.kind;
        if (before === 'healed' && to !== 'healed') {
          this.fail('incident table', `${incident.id}: healed → ${to}`);
        }
        this.#incidents.set(incident.id, to);
        return store.putIncident(incident, epoch);
      },
      changeFleet: (change, epoch) => {
        for (const replica of change.replicas ?? []) {
          const before = this.#sim.disk.replicas.get(replica.id)?.phase;
          const fine =
            before === undefined || before === replica.phase || mayBecome(before, replica.phase);
          if (!fine) this.fail('replica table', `${replica.id}: ${before} → ${replica.phase}`);
        }
        for (const rule of change.quarantine ?? []) this.#onQuarantine(rule.id);
        return store.changeFleet(change, epoch);
      },
    };
  }

  #onQuarantine(id: string): void {
    if (!this.#guilty.has(id)) this.fail('quarantine', `${id} is innocent`);
  }

  sweep(): void {
    const { disk, nowMs, clock } = this.#sim;
    if (nowMs < this.lastFaultEndsMs + BOUND_MS || !this.#sim.isUp()) return;
    for (const id of disk.openIncidents) {
      const incident = disk.incidents.get(id);
      if (incident === undefined || incident.state.kind === 'escalated') continue;
      const ageMs = clock.monotonicMs() - incident.openedAtMs;
      if (ageMs < BOUND_MS) continue;
      this.fail(
        'bound',
        `${id} (${incident.title}) is ${incident.state.kind} after ` +
          `${Math.round(ageMs / 1000)} s`,
      );
    }
  }

  final(): void {
    this.#finalBooks();
    for (const id of this.#sim.disk.openIncidents) {
      const incident = this.#sim.disk.incidents.get(id);
      if (incident === undefined) continue;
      this.fail('final', `${id} (${incident.title}) is ${JSON.stringify(incident.state)}`);
    }
    for (const name of this.#sim.manifest.services.keys()) this.#finalService(name);
    for (const [table, on] of this.#sim.tables) {
      if (!on) this.fail('final', `row-level security of ${table} is off`);
    }
  }

  #finalBooks(): void {
    const { disk, ledger } = this.#sim;
    for (const id of disk.openRuns) {
      this.fail('final', `run ${id} (${disk.runs.get(id)?.plan.summary}) is still open`);
    }
    for (const intent of ledger.open.values()) {
      this.fail('final', `intent ${intent.index} (${intent.subject}) has no outcome`);
    }
    if (ledger.intents !== ledger.closed + ledger.open.size) {
      this.fail('final', `${ledger.intents} intents, ${ledger.closed} outcomes`);
    }
  }

  #finalService(name: ServiceName): void {
    const { disk, machine, plane, manifest } = this.#sim;
    const rows = [...disk.replicas.values()].filter(
      (r) => r.service === name && r.phase !== 'gone',
    );
    const active = rows.filter((r) => r.role === 'active');
    const wanted = disk.services.get(name)?.replicas ?? 0;
    const spares = manifest.services.get(name)?.replicas.spares ?? 0;
    const say = (message: string): void => this.fail('final', `${name}: ${message}`);
    if (active.length !== wanted) say(`${active.length} active replicas, ${wanted} wanted`);
    if (rows.length - active.length !== spares) say(`${rows.length - active.length} spares`);
    for (const row of rows) {
      const process = machine.find(row.id);
      const well = process !== undefined && machine.isWell(process);
      // A spare gets no requests: that it would fail them shows when it is promoted.
      const idle =
        row.role === 'spare' && process !== undefined && machine.isUp(process) && !process.hung;
      if (!well && !idle) say(`${row.id} is not well`);
      if (row.phase !== 'ready') say(`${row.id} is ${row.phase}`);
      if (row.role === 'active' && row.weight !== 100) say(`${row.id} has weight ${row.weight}`);
      if (row.release !== disk.services.get(name)?.release) say(`${row.id} is on ${row.release}`);
    }
    for (const process of machine.alive(name)) {
      if (!rows.some((r) => r.id === process.id)) say(`${process.id} runs and is in no book`);
    }
    if (name === DATABASE) return;
    const routed =
      plane
        .table()
        ?.services.find((s) => s.name === name)
        ?.replicas.filter((r) => r.weight > 0)
        .map((r) => r.id) ?? [];
    for (const row of active) if (!routed.includes(row.id)) say(`${row.id} is not routed`);
    if (routed.length !== active.length) say(`${routed.length} are routed`);
  }
}

function weightsOf(table: RoutingTable): string {
  return table.services
    .map((s) => s.replicas.map((r) => `${r.id}=${r.weight}`).join(' '))
    .join(' ');
}

/** Names the step for messages. */
export function stepName(step: Step): string {
  return 'replica' in step ? `${step.kind} ${step.replica}` : step.kind;
}
