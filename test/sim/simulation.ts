// How does a whole system live in one process and no time? The simulated machine, data plane, store
// and ledger outlive the control plane, which is the real loop, started and killed at will and
// brought up again just as `main/boot.ts` does it.
//
//   SY1. What is written here is written by the real loop, through the World alone.
//   SY2. After a kill nothing of the old incarnation acts or answers.
import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { canonicalJson } from '@kintsugi/ledger';
import { createLoop } from '../../src/loop/loop.ts';
import type { Loop } from '../../src/loop/loop.ts';
import { adopt } from '../../src/main/boot.ts';
import { buildTable } from '../../src/main/table.ts';
import type { StoryEvent } from '../../src/model/entry.ts';
import { messageOf } from '../../src/model/errors.ts';
import { releaseId } from '../../src/model/ids.ts';
import type { ReleaseId, ServiceName } from '../../src/model/ids.ts';
import type { Manifest } from '../../src/model/manifest.ts';
import type { Release } from '../../src/model/release.ts';
import type { Replica } from '../../src/model/replica.ts';
import { memoryDisk, memoryStore } from '../../src/store/memory.ts';
import type { MemoryDisk, MemoryStore } from '../../src/store/memory.ts';
import { openChance, openSimIds, openSimLog } from '../../src/world/sim/chance.ts';
import type { Chance } from '../../src/world/sim/chance.ts';
import { openSimClock } from '../../src/world/sim/clock.ts';
import type { Life, SimClock } from '../../src/world/sim/clock.ts';
import { openSimControls } from '../../src/world/sim/controls.ts';
import { ledgerDisk, openSimLedger } from '../../src/world/sim/ledger.ts';
import type { LedgerDisk, SimEntry } from '../../src/world/sim/ledger.ts';
import { openMachine } from '../../src/world/sim/machine.ts';
import type { Machine, ReleaseKind } from '../../src/world/sim/machine.ts';
import { openSimProbes } from '../../src/world/sim/probes.ts';
import { FLAWLESS, openSimRuntime } from '../../src/world/sim/runtime.ts';
import type { DriverFaults } from '../../src/world/sim/runtime.ts';
import type { ReplicaOrder } from '../../src/world/runtime.ts';
import type { Ledger } from '../../src/world/ledger.ts';
import type { World } from '../../src/world/world.ts';
import { openCheckers } from './checkers.ts';
import type { Checkers } from './checkers.ts';
import { openDataPlane } from './data-plane.ts';
import type { DataPlane } from './data-plane.ts';
import { RealLedger } from './real-ledger.ts';
import {
  DATABASE,
  NEEDS,
  POSTGRES,
  READY_PATH,
  SERVICES,
  TABLES,
  TENANTS,
  settingOf,
} from './setting.ts';
import type { Tuning } from './setting.ts';

export interface SimulationOptions {
  readonly seed: number;
  readonly tuning?: Partial<Tuning>;
  /** Store and ledger take up to so long for each call, 0 for no time at all. */
  readonly diskMs?: number;
  /** The control plane dies when it passes this point, once. */
  readonly crashAt?: (name: string) => boolean;
  readonly calmLookMs?: number;
  /** Runs over the real transparency log, on a disk in memory. */
  readonly realLedger?: boolean;
}

/** Faults of the surroundings, changed while the simulation runs. */
export interface Surroundings {
  driver: DriverFaults;
  pushes: { readonly slow: number; readonly lost: number };
  /** Until then the ledger refuses everything. */
  ledgerBackAtMs: number;
  enforceFails: number;
}

interface Incarnation {
  readonly life: Life;
  readonly store: MemoryStore;
  readonly number: number;
  loop: Loop | undefined;
}

const START_MS = 1_000_000;
const WALL_MS = Date.UTC(2026, 10, 20, 9);
const BOOT_AFTER_MS = [500, 2_000] as const;

export class Simulation {
  readonly options: SimulationOptions;
  readonly clock: SimClock;
  readonly chance: Chance;
  readonly machine: Machine;
  readonly plane: DataPlane;
  readonly disk: MemoryDisk = memoryDisk();
  readonly ledger: LedgerDisk = ledgerDisk();
  readonly tables = new Map(TABLES.map((table) => [table, true]));
  readonly checkers: Checkers;
  readonly manifest: Manifest;
  readonly surroundings: Surroundings = {
    driver: FLAWLESS,
    pushes: { slow: 0, lost: 0 },
    ledgerBackAtMs: 0,
    enforceFails: 0,
  };
  /** Hears of each line of the story. */
  onStory: ((event: StoryEvent) => void) | undefined;
  readonly realLedger: RealLedger | undefined;
  readonly #ids = openSimIds();
  readonly #trace = createHash('sha256');
  #now: Incarnation | undefined;
  #starts = 0;
  #releases = 0;

  constructor(options: SimulationOptions) {
    this.options = options;
    this.chance = openChance(options.seed);
    this.realLedger = options.realLedger === true ? new RealLedger() : undefined;
    const settle = async (): Promise<void> => {
      await setImmediate();
    };
    this.clock = openSimClock({ startMs: START_MS, wallMs: WALL_MS, settle });
    this.manifest = settingOf({ probeMs: 2_000, ...options.tuning });
    const { clock, chance } = this;
    this.machine = openMachine({
      clock,
      chance,
      needs: NEEDS,
      bootMs: (service) => (service === DATABASE ? [800, 1_500] : [150, 600]),
    });
    this.plane = openDataPlane({
      machine: this.machine,
      clock,
      chance,
      tenants: TENANTS,
      requestsPerSecond: new Map(SERVICES.map((name, i) => [name, i === 0 ? 60 : 40])),
      pushes: () => this.surroundings.pushes,
      onPush: (before, table) => this.checkers.onPush(before, table),
      onPoisoned: (poison, replica) => this.checkers.onPoisoned(poison, replica),
    });
    this.checkers = openCheckers(this);
  }

  get loop(): Loop | undefined {
    return this.#now?.loop;
  }

  get nowMs(): number {
    return this.clock.monotonicMs() - START_MS;
  }

  /** A line of the trace: what two runs of one seed must have in common. */
  trace(line: string): void {
    this.#trace.update(`${this.nowMs.toFixed(3)} ${line}\n`);
  }

  digest(): string {
    return this.#trace.copy().digest('hex');
  }

  async run(forMs: number): Promise<void> {
    await this.clock.runUntil(this.clock.monotonicMs() + forMs);
  }

  /** Runs until `done` or `forMs` are over, whichever is first. Was it done? */
  async until(done: () => boolean, forMs: number, everyMs = 50): Promise<boolean> {
    const endMs = this.clock.monotonicMs() + forMs;
    while (!done() && this.clock.monotonicMs() < endMs) await this.run(everyMs);
    return done();
  }

  /** Starts the control plane; the loop is there a moment later. */
  boot(): void {
    this.#starts += 1;
    const life: Life = { dead: false };
    const store = memoryStore(this.disk, this.#storeHooks(life));
    const incarnation: Incarnation = { life, store, number: this.#starts, loop: undefined };
    this.#now = incarnation;
    this.trace(`boot ${this.#starts}`);
    this.#bring(incarnation).catch((error: unknown) => {
      if (!life.dead) this.checkers.fail('boot', messageOf(error));
    });
  }

  /** `kill -9` of the control plane; another comes up by itself unless told otherwise. */
  kill(again = true): void {
    const now = this.#now;
    if (now === undefined) return;
    now.life.dead = true;
    now.store.kill();
    this.realLedger?.crash();
    this.#now = undefined;
    this.trace('killed');
    this.checkers.onKill();
    if (!again) return;
    this.clock.after(this.chance.whole('boot', ...BOOT_AFTER_MS), () => this.boot());
  }

  /** How often the control plane was started. */
  get starts(): number {
    return this.#starts;
  }

  isUp(): boolean {
    return this.#now !== undefined;
  }

  /** A release that is known, not deployed. */
  async makeRelease(service: ServiceName, kind: ReleaseKind): Promise<ReleaseId | undefined> {
    const loop = this.loop;
    if (loop === undefined) return undefined;
    const release = this.#newRelease(service, kind);
    await loop.state.book.change({ releases: [release] });
    return release.id;
  }

  #newRelease(service: ServiceName, kind: ReleaseKind): Release {
    this.#releases += 1;
    const id = releaseId(`r-${this.#releases}`);
    this.machine.releaseKinds.set(id, kind);
    return {
      id,
      service,
      digest: `sha256:${this.#releases}`,
      dir: `/releases/${id}`,
      command: ['node', 'server.ts'],
      cwd: '.',
      env: {},
      createdAtMs: this.clock.nowMs(),
      schema: undefined,
      verdict: { kind: 'new' },
    };
  }

  #storeHooks(life: Life): Parameters<typeof memoryStore>[1] {
    const { diskMs = 0 } = this.options;
    if (diskMs === 0) return {};
    const pause = (): Promise<void> =>
      this.clock.ownedBy(life).sleep((this.chance.next('store') * diskMs) / 2);
    return { before: pause, after: pause };
  }

  /** Both keep the same mirror of what is open; the real one is opened anew by each incarnation. */
  async #openLedger(life: Life): Promise<Ledger> {
    const owned = this.clock.ownedBy(life);
    const before = (): Promise<void> => this.#ledgerGate(owned);
    const { ledger: disk } = this;
    if (this.realLedger !== undefined) {
      return this.realLedger.open({ life, clock: owned, disk, before });
    }
    const onEntry = (entry: SimEntry): void => this.checkers.onEntry(entry);
    return openSimLedger({ disk, life, before, onEntry });
  }

  #world(incarnation: Incarnation, ledger: Ledger): World {
    const { clock, chance, machine, surroundings } = this;
    const { life } = incarnation;
    const owned = clock.ownedBy(life);
    return {
      clock: owned,
      random: chance,
      ids: this.#ids,
      log: openSimLog((line) => {
        if (!life.dead) this.checkers.onLog(line);
      }),
      runtime: openSimRuntime({
        machine,
        clock,
        chance,
        life,
        faults: () => surroundings.driver,
        onAct: (act, receipt) => this.checkers.onAct(act, receipt),
      }),
      store: this.checkers.watchStore(incarnation.store),
      gateways: this.plane.connect(life),
      ledger,
      probes: openSimProbes({
        machine,
        clock,
        life,
        readyPath: READY_PATH,
        providers: new Map([[POSTGRES, DATABASE]]),
      }),
      controls: openSimControls({
        life,
        tables: this.tables,
        isUp: () => machine.alive(DATABASE).some((p) => machine.isUp(p) && !p.hung),
        fails: () => chance.yes('enforce', surroundings.enforceFails),
        onEnforce: (check, subjects, receipt) => this.checkers.onEnforce(check, subjects, receipt),
      }),
    };
  }

  async #ledgerGate(clock: { sleep(ms: number): Promise<void> }): Promise<void> {
    const { diskMs = 0 } = this.options;
    if (diskMs > 0) await clock.sleep(this.chance.next('ledger') * diskMs);
    if (this.clock.monotonicMs() >= this.surroundings.ledgerBackAtMs) return;
    throw Object.assign(new Error('the ledger does not answer'), { code: 'KIN_LEDGER_DEADLINE' });
  }

  async #bring(incarnation: Incarnation): Promise<void> {
    const { number, life } = incarnation;
    const ledger = await this.#openLedger(life);
    if (life.dead) return;
    const world = this.#world(incarnation, ledger);
    const { store } = world;
    const owner = `controller-${number}`;
    let lease = await store.lease(owner, this.clock.nowMs(), 3_600_000_000);
    if (lease.kind === 'taken') {
      await store.release(lease.owner);
      lease = await store.lease(owner, this.clock.nowMs(), 3_600_000_000);
    }
    if (lease.kind === 'taken') throw new Error('the lease of a dead controller stays taken');
    const { epoch } = lease;
    const [book, runs, incidents] = await Promise.all([
      store.fleet(),
      store.openRuns(),
      store.openIncidents(),
    ]);
    const adoption = await adopt(book, runs, world.runtime);
    if (adoption.gone.length > 0) await store.changeFleet({ replicas: adoption.gone }, epoch);
    if (book.services.size === 0) await this.#firstBook(world, epoch);
    const fleet = { ...(await store.fleet()), replicas: adoption.fleet.replicas };
    const calmMs = this.options.calmLookMs ?? 5_000;
    const isBusy = (): boolean => this.#isBusy(incarnation);
    const loop = createLoop({
      world,
      epoch,
      fleet,
      incidents,
      runs,
      manifest: () => this.manifest,
      table: (now, version) =>
        buildTable(now, version, {
          manifest: this.manifest,
          keys: new Map(),
          jwt: [],
          assertionRoot: '',
        }),
      order: (replica, release) => this.#order(replica, release),
      digest: (essence) => createHash('sha256').update(canonicalJson(essence)).digest('hex'),
      crashPoint: (name) => this.#crashPoint(name, life),
      get lookEveryMs() {
        return isBusy() ? 250 : calmMs;
      },
    });
    incarnation.loop = loop;
    for (const { id, exit } of adoption.report.ended) {
      const atMs = this.clock.monotonicMs();
      loop.state.inbox.put({ kind: 'exited', atMs, replica: id, exit });
    }
    const { adopted, ended } = adoption.report;
    loop.state.recorder.tell({
      entry: 'controller.started',
      kind: 'controller.started',
      text:
        adopted.length + ended.length === 0
          ? 'the controller started'
          : `the controller started: ${adopted.length} replicas adopted, ${ended.length} had ended`,
      data: { epoch },
    });
    loop.state.recorder.onStory((event) => {
      if (life.dead) return;
      this.trace(`${event.kind} ${event.text}`);
      this.onStory?.(event);
    });
    loop.run().then(
      () => this.checkers.fail('loop', 'ended by itself'),
      (error: unknown) =>
        this.checkers.fail(
          'loop',
          error instanceof Error ? (error.stack ?? error.message) : messageOf(error),
        ),
    );
    void loop.state.book.publish();
  }

  /** With nothing to look at closely it looks less often: simulated hours are cheap. */
  #isBusy({ loop }: Incarnation): boolean {
    if (loop === undefined) return true;
    const { state } = loop;
    return (
      state.incidents.size > 0 ||
      state.live.size > 0 ||
      state.findings.length > 0 ||
      this.nowMs < this.checkers.busyUntilMs
    );
  }

  async #firstBook(world: World, epoch: number): Promise<void> {
    const specs = [...this.manifest.services.values()];
    const releases = specs.map((spec) => this.#newRelease(spec.name, 'good'));
    await world.store.changeFleet(
      {
        releases,
        services: specs.map((spec, i) => ({
          name: spec.name,
          replicas: spec.replicas.min,
          release: releases[i]?.id ?? releaseId('r'),
          previous: undefined,
          releasedAtMs: undefined,
          nextOrdinal: 1,
          paused: false,
        })),
      },
      epoch,
    );
  }

  async #order(replica: Replica, release: Release): Promise<ReplicaOrder> {
    const spec = this.manifest.services.get(replica.service);
    return {
      id: replica.id,
      service: replica.service,
      release: release.id,
      cwd: release.dir,
      command: release.command,
      env: {},
      port: 0,
      memoryBytes: spec?.resources.memoryBytes,
      cpuCores: 1,
      logBytes: 1_048_576,
    };
  }

  async #crashPoint(name: string, life: Life): Promise<void> {
    if (life.dead) return new Promise<never>(() => undefined);
    if (this.options.crashAt?.(name) !== true) return;
    this.trace(`crash at ${name}`);
    this.kill();
    await new Promise<never>(() => undefined);
  }
}
