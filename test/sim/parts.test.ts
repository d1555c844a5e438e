// Are the parts of the simulated world what the real ones are? Clock, chance, machine, runtime,
// probes, controls, ledger and data plane, each by its invariants.
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { asReplicaId, planId, releaseId } from '../../src/model/ids.ts';
import { mintReceipt } from '../../src/model/receipt.ts';
import type { ReplicaOrder } from '../../src/world/runtime.ts';
import { openChance, openSimIds, openSimLog } from '../../src/world/sim/chance.ts';
import { openSimClock } from '../../src/world/sim/clock.ts';
import type { Life, SimClock } from '../../src/world/sim/clock.ts';
import { openSimControls } from '../../src/world/sim/controls.ts';
import { openHeap } from '../../src/world/sim/heap.ts';
import { ledgerDisk, openSimLedger } from '../../src/world/sim/ledger.ts';
import { openMachine } from '../../src/world/sim/machine.ts';
import type { Machine } from '../../src/world/sim/machine.ts';
import { openSimProbes } from '../../src/world/sim/probes.ts';
import { FLAWLESS, openSimRuntime } from '../../src/world/sim/runtime.ts';
import type { DriverFaults } from '../../src/world/sim/runtime.ts';
import type { Runtime } from '../../src/world/runtime.ts';
import { DATABASE, NEEDS, POSTGRES, READY_PATH, RLS, SERVICES } from './setting.ts';
import { Simulation } from './simulation.ts';

const clockAt = (startMs: number): SimClock =>
  openSimClock({
    startMs,
    wallMs: 5_000_000,
    settle: async () => {
      await setImmediate();
    },
  });
const receipt = mintReceipt(planId('p'), 'd', 1, '');
const alive = (): Life => ({ dead: false });
const [RECORDS = DATABASE] = SERVICES;

interface Bench {
  readonly clock: SimClock;
  readonly machine: Machine;
  readonly runtime: (life: Life, faults?: DriverFaults) => Runtime;
  readonly order: (id: string, service?: typeof DATABASE) => ReplicaOrder;
}

function bench(): Bench {
  const clock = clockAt(0);
  const chance = openChance(1);
  const machine = openMachine({ clock, chance, needs: NEEDS, bootMs: () => [100, 100] });
  return {
    clock,
    machine,
    runtime: (life, faults = FLAWLESS) =>
      openSimRuntime({
        machine,
        clock,
        chance,
        life,
        faults: () => faults,
        onAct: () => undefined,
      }),
    order: (id, service = RECORDS) => ({
      id: asReplicaId(id),
      service,
      release: releaseId('r-1'),
      cwd: '/',
      command: ['x'],
      env: {},
      port: 0,
      memoryBytes: 256 * 1_048_576,
      cpuCores: 1,
      logBytes: 1,
    }),
  };
}

/** Lets a promise end in virtual time. */
async function within<T>(clock: SimClock, forMs: number, promise: Promise<T>): Promise<T | 'open'> {
  let answer: T | 'open' = 'open';
  const settled = promise.then((value) => {
    answer = value;
  });
  await clock.runUntil(clock.monotonicMs() + forMs);
  await Promise.race([settled, setImmediate()]);
  return answer;
}

describe('time and chance', () => {
  it('HP1: the heap gives timers by time, and by age within one moment', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20)), (times) => {
        const heap = openHeap();
        times.forEach((atMs, order) => heap.push({ atMs, order, fire: () => undefined }));
        const out = times
          .map(() => heap.pop())
          .map((t) => [t?.atMs ?? -1, t?.order ?? -1] as const);
        const sorted = out.toSorted((a, b) => a[0] - b[0] || a[1] - b[1]);
        assert.deepEqual(out, sorted);
        assert.equal(heap.pop(), undefined);
      }),
    );
  });

  it('SC1: time jumps from timer to timer, each in order, and stands still otherwise', async () => {
    const clock = clockAt(100);
    const seen: string[] = [];
    const wait = async (name: string, ms: number): Promise<void> => {
      await clock.sleep(ms);
      seen.push(`${name} ${clock.monotonicMs()}`);
    };
    const all = Promise.all([wait('b', 20), wait('a', 10), wait('c', 5_000)]);
    await setImmediate();
    assert.equal(clock.monotonicMs(), 100);
    await clock.runUntil(200);
    assert.deepEqual(seen, ['a 110', 'b 120']);
    assert.equal(clock.monotonicMs(), 200);
    clock.stepWall(-1_000);
    assert.equal(clock.nowMs(), 5_000_000 + 100 - 1_000);
    await clock.runUntil(6_000);
    await all;
    assert.equal(seen.at(-1), 'c 5100');
  });

  it('SC2: an aborted sleep rejects with the reason and leaves nothing behind', async () => {
    const clock = clockAt(0);
    const control = new AbortController();
    const reason = new Error('enough');
    const failed = assert.rejects(clock.sleep(1_000, control.signal), reason);
    control.abort(reason);
    await failed;
    await assert.rejects(clock.sleep(1, control.signal), reason);
    await clock.runUntil(2_000);
    assert.equal(clock.fired, 0);
  });

  it('SC3: what a dead incarnation waits for never comes', async () => {
    const clock = clockAt(0);
    const life = alive();
    let woken = false;
    void clock
      .ownedBy(life)
      .sleep(10)
      .then(() => {
        woken = true;
      });
    life.dead = true;
    await clock.runUntil(100);
    assert.equal(woken, false);
  });

  it('SR1: streams are repeatable and independent of each other', () => {
    const [one, two] = [openChance(7), openChance(7)];
    two.next('other');
    const draws = Array.from({ length: 5 }, () => one.next('x'));
    assert.deepEqual(
      draws,
      Array.from({ length: 5 }, () => two.next('x')),
    );
    assert.notDeepEqual(
      draws,
      Array.from({ length: 5 }, () => openChance(8).next('x')),
    );
    for (const draw of draws) assert.ok(draw >= 0 && draw < 1);
    assert.equal(openChance(1).one('x', []), undefined);
    const ids = openSimIds();
    const made = [ids.next('run'), ids.next('run'), ids.next('inc')];
    assert.equal(new Set(made).size, 3);
    assert.match(made[0] ?? '', /^run_\d{26}$/u);
  });

  it('the log keeps what a checker reads and drops the rest', () => {
    const kept: string[] = [];
    const log = openSimLog(({ text }) => kept.push(text));
    log.debug('a');
    log.info('b');
    log.warn('c');
    log.error('d', { x: 1 });
    assert.deepEqual(kept, ['c', 'd']);
  });
});

describe('the simulated machine', () => {
  it('SM1: an end is final', async () => {
    const { clock, machine, order } = bench();
    const process = machine.spawn(order('records-1'));
    await clock.runUntil(200);
    assert.ok(machine.isUp(process) && machine.isWell(process));
    machine.end(process, { kind: 'code', code: 3 });
    machine.end(process, { kind: 'memory' });
    machine.set(process, { hung: true });
    assert.deepEqual(process.exit, { kind: 'code', code: 3 });
    assert.equal(process.hung, false);
    assert.deepEqual(machine.alive(), []);
    assert.equal(machine.at(process.port), undefined);
  });

  it('SM2: a leak ends at the memory limit, not before', async () => {
    const { clock, machine, order } = bench();
    const process = machine.spawn(order('records-1'));
    machine.set(process, { leakBytesPerMs: (10 * 1_048_576) / 1_000 });
    await clock.runUntil(10_000);
    assert.equal(process.exit, undefined);
    await clock.runUntil(30_000);
    assert.deepEqual(process.exit, { kind: 'memory' });
  });

  it('releases crash at start, or need what is missing, as they are told', async () => {
    const { clock, machine, order } = bench();
    machine.releaseKinds.set(releaseId('r-1'), 'crash-at-start');
    const process = machine.spawn(order('records-1'));
    await clock.runUntil(200);
    assert.deepEqual(process.exit, { kind: 'code', code: 1 });
    assert.equal(machine.hasNeeds(RECORDS), false);
    machine.releaseKinds.set(releaseId('r-1'), 'good');
    machine.spawn(order('database-1', DATABASE));
    await clock.runUntil(400);
    assert.ok(machine.hasNeeds(RECORDS));
  });
});

describe('the simulated runtime', () => {
  it('SU1: neither starts nor stops without a genuine receipt', async () => {
    const { runtime, order, machine } = bench();
    const driver = runtime(alive());
    await assert.rejects(driver.start(order('records-1'), { ...receipt }), /receipt/u);
    await assert.rejects(driver.stop(asReplicaId('records-1'), 0, { ...receipt }), /receipt/u);
    assert.deepEqual(machine.alive(), []);
  });

  it('SU2: repeats do nothing twice, and an id that has ended is never started again', async () => {
    const { clock, runtime, order, machine } = bench();
    const driver = runtime(alive());
    const id = asReplicaId('records-1');
    assert.equal((await driver.start(order(id), receipt)).kind, 'started');
    assert.equal((await driver.start(order(id), receipt)).kind, 'already');
    assert.equal(machine.alive().length, 1);
    const seen: string[] = [];
    driver.onEvent((event) => seen.push(event.kind));
    const stopped = await within(clock, 1_000, driver.stop(id, 500, receipt));
    assert.ok(stopped !== 'open' && stopped.kind === 'stopped' && !stopped.forced);
    assert.equal((await driver.stop(id, 500, receipt)).kind, 'not-running');
    assert.equal((await driver.start(order(id), receipt)).kind, 'ended');
    assert.deepEqual(seen, ['exited']);
    assert.equal(driver.look(id), 'ended');
    assert.equal(driver.look(asReplicaId('records-9')), 'unknown');
  });

  it('SU3: a dead incarnation is answered by nobody and does nothing more', async () => {
    const { clock, runtime, order, machine } = bench();
    const life = alive();
    const driver = runtime(life);
    await driver.start(order('records-1'), receipt);
    life.dead = true;
    assert.equal(await within(clock, 5_000, driver.start(order('records-2'), receipt)), 'open');
    const stop = driver.stop(asReplicaId('records-1'), 0, receipt);
    assert.equal(await within(clock, 5_000, stop), 'open');
    assert.equal(machine.alive().length, 1);
  });

  it('adopts what is known, reaps what is not, reports what ended', async () => {
    const { runtime, order, machine } = bench();
    const driver = runtime(alive());
    for (const id of ['records-1', 'records-2', 'records-3']) {
      await driver.start(order(id), receipt);
    }
    const dead = machine.find('records-3');
    assert.ok(dead !== undefined);
    machine.end(dead, { kind: 'memory' });
    const report = await runtime(alive()).adopt(
      new Set(['records-1', 'records-3'].map(asReplicaId)),
    );
    assert.deepEqual(
      report.adopted.map((r) => r.id),
      ['records-1'],
    );
    assert.deepEqual(
      report.reaped.map((r) => r.replica),
      ['records-2'],
    );
    assert.deepEqual(report.ended, [{ id: 'records-3', exit: { kind: 'memory' } }]);
  });

  it('the driver fails, and does things by half, when the simulation says so', async () => {
    const { runtime, order, machine } = bench();
    const fails = runtime(alive(), { ...FLAWLESS, startFails: 1 });
    assert.equal((await fails.start(order('records-1'), receipt)).kind, 'failed');
    assert.deepEqual(machine.alive(), []);
    const half = runtime(alive(), { ...FLAWLESS, startPartial: 1 });
    assert.equal((await half.start(order('records-2'), receipt)).kind, 'failed');
    assert.equal(machine.alive().length, 1);
  });
});

describe('simulated probes, controls and ledger', () => {
  it('SP1: probes tell the truth within their timeout, unless told to lie', async () => {
    const { clock, machine, order } = bench();
    const life = alive();
    const probes = openSimProbes({
      machine,
      clock,
      life,
      readyPath: READY_PATH,
      providers: new Map([[POSTGRES, DATABASE]]),
    });
    const process = machine.spawn(order('records-1'));
    const database = machine.spawn(order('database-1', DATABASE));
    const endpoint = { host: '127.0.0.1', port: process.port };
    const spec = {
      kind: 'http',
      path: READY_PATH,
      intervalMs: 1,
      timeoutMs: 500,
      failures: 2,
    } as const;
    assert.equal((await probes.probe(endpoint, spec)).kind, 'unreachable');
    await clock.runUntil(200);
    assert.equal((await probes.probe(endpoint, spec)).kind, 'ok');
    machine.set(process, { hung: true });
    const late = await within(clock, 500, probes.probe(endpoint, spec));
    assert.deepEqual(late, { kind: 'timeout', afterMs: 500 });
    machine.set(process, { hung: false });
    machine.lies.set(RECORDS, 'refused');
    assert.equal((await probes.probe(endpoint, spec)).kind, 'refused');
    machine.lies.clear();
    machine.end(database, { kind: 'code', code: 0 });
    assert.equal((await probes.probe(endpoint, spec)).kind, 'refused');
    assert.equal((await probes.probe(endpoint, { ...spec, path: '/healthz' })).kind, 'ok');
    assert.equal((await probes.dependency(POSTGRES, 100)).kind, 'unreachable');
    life.dead = true;
    assert.equal(await within(clock, 5_000, probes.probe(endpoint, spec)), 'open');
  });

  it('SO3, SO4: controls enforce what is named; away, nothing is satisfied', async () => {
    const tables = new Map([
      ['a', false],
      ['b', false],
    ]);
    let isUp = true;
    const controls = openSimControls({
      life: alive(),
      tables,
      isUp: () => isUp,
      fails: () => false,
      onEnforce: () => undefined,
    });
    assert.equal((await controls.measure(RLS)).kind, 'not-satisfied');
    await assert.rejects(controls.enforce(RLS, ['a'], { ...receipt }), /receipt/u);
    assert.equal((await controls.enforce(RLS, ['a'], receipt)).kind, 'enforced');
    assert.deepEqual([...tables.values()], [true, false]);
    await controls.enforce(RLS, ['b'], receipt);
    assert.equal((await controls.prove(RLS)).kind, 'satisfied');
    isUp = false;
    assert.equal((await controls.measure(RLS)).kind, 'error');
    assert.equal((await controls.enforce(RLS, ['a'], receipt)).kind, 'failed');
  });

  it('SL1, SL2: entries only grow, and an intent gets one outcome', async () => {
    const disk = ledgerDisk();
    const seen: number[] = [];
    const ledger = openSimLedger({
      disk,
      life: alive(),
      before: () => undefined,
      onEntry: ({ index }) => seen.push(index),
    });
    const intent = await ledger.intent(
      's',
      { run: 'r' },
      {
        deadlineMs: 1_000,
        level: 'durable',
        tenant: undefined,
      },
    );
    assert.equal(ledger.openIntents()[0]?.index, intent.index);
    await ledger.outcome(intent.index, 'succeeded', {});
    await assert.rejects(ledger.outcome(intent.index, 'failed', {}), /one outcome/u);
    await assert.rejects(ledger.outcome(77, 'failed', {}), /one outcome/u);
    await ledger.record('clock.jumped', {});
    assert.deepEqual(seen, [0, 1, 2]);
    assert.equal(ledger.head().size, 3);
    assert.deepEqual(ledger.openIntents(), []);
  });
});

describe('the data plane and the whole', () => {
  it('SG1, SG2: an older table is not applied, what is held back reaches nobody', async () => {
    const sim = new Simulation({ seed: 3, tuning: { probeMs: 500 } });
    sim.boot();
    await sim.run(10_000);
    const now = sim.plane.table();
    const gateways = sim.loop?.state.ports.world.gateways;
    assert.ok(now !== undefined && gateways !== undefined);
    await gateways.push({ ...now, version: 1, services: [] }, 100);
    assert.equal(sim.plane.table()?.version, now.version);
    const [tenant] = sim.manifest.tenants.keys();
    assert.ok(tenant !== undefined);
    const poison = { tenant, service: RECORDS, method: 'POST', route: '/x', repeated: false };
    const rule = { ...poison, id: `quarantine:${tenant}/${RECORDS}/POST//x`, reason: 'test' };
    await gateways.push(
      {
        ...now,
        version: now.version + 1,
        quarantines: [rule as never],
      },
      100,
    );
    const stop = sim.plane.poison(poison);
    await sim.run(10_000);
    stop();
    assert.equal(sim.machine.alive(RECORDS).length, 4);
  });

  it('SY1, SY2: a killed control plane does nothing more, the next adopts all', async () => {
    const sim = new Simulation({ seed: 3, tuning: { probeMs: 500 } });
    sim.boot();
    await sim.run(10_000);
    const before = sim.machine.alive().map((p) => p.pid);
    const { acts } = sim.checkers;
    sim.kill(false);
    const victim = sim.machine.find('records-1');
    assert.ok(victim !== undefined);
    sim.machine.end(victim, { kind: 'signal', signal: 'SIGKILL' });
    await sim.run(60_000);
    assert.equal(sim.checkers.acts, acts);
    sim.boot();
    await sim.run(20_000);
    const after = new Set(sim.machine.alive().map((p) => p.pid));
    for (const pid of before) if (pid !== victim.pid) assert.ok(after.has(pid));
    sim.checkers.final();
    assert.deepEqual(sim.checkers.violations, []);
  });

  it('SJ1: the real transparency log recovers from every kill, and verifies', async () => {
    const sim = new Simulation({ seed: 3, tuning: { probeMs: 500 }, realLedger: true });
    sim.boot();
    await sim.run(10_000);
    for (let i = 1; i <= 3; i += 1) {
      const victim = sim.machine.alive(RECORDS)[0];
      assert.ok(victim !== undefined);
      sim.machine.end(victim, { kind: 'signal', signal: 'SIGKILL' });
      await sim.run(i);
      sim.kill();
      await sim.run(20_000);
    }
    assert.ok(sim.ledger.size > 10);
    assert.equal(sim.ledger.open.size, 0);
    assert.equal((await sim.realLedger?.verify())?.kind, 'intact');
    assert.deepEqual(sim.checkers.violations, []);
  });

  it('an old leader that is fenced ends by itself and touches nothing', async () => {
    const sim = new Simulation({ seed: 3, tuning: { probeMs: 500 } });
    sim.boot();
    await sim.run(10_000);
    // Somebody else takes the lead while this one still lives.
    sim.disk.lease = { owner: 'another', epoch: sim.disk.lease.epoch + 1, untilMs: 2 ** 50 };
    const { acts } = sim.checkers;
    const victim = sim.machine.find('billing-1');
    assert.ok(victim !== undefined);
    sim.machine.end(victim, { kind: 'signal', signal: 'SIGKILL' });
    await sim.run(10_000);
    assert.equal(sim.checkers.acts, acts);
    const ended = sim.checkers.violations.filter(({ checker }) => checker === 'loop');
    assert.equal(ended.length, 1);
    assert.match(ended[0]?.message ?? '', /another controller holds the lease/u);
  });
});
