// Does what is decided happen once, in order, written down, and is it undone when it must be? The
// executor, the book, approvals and steps over the simulated world.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createApprovals } from '../../src/loop/act/approvals.ts';
import { applyChange, keepBook } from '../../src/loop/act/book.ts';
import type { Executor } from '../../src/loop/act/executor.ts';
import { perform, stepText } from '../../src/loop/act/perform.ts';
import { createLoop } from '../../src/loop/loop.ts';
import { EMPTY_FLEET } from '../../src/model/fleet.ts';
import { approvalId, asReplicaId, planId, runId, target } from '../../src/model/ids.ts';
import type { Plan, PlannedStep, Step } from '../../src/model/plan.ts';
import { planEssence } from '../../src/model/plan.ts';
import { mintReceipt } from '../../src/model/receipt.ts';
import type { Outcome, Run } from '../../src/model/run.ts';
import { memoryDisk, memoryStore } from '../../src/store/memory.ts';
import { breakIt } from '../sim/faults.ts';
import { deploy, kill } from '../scenarios/language.ts';
import { Simulation } from '../sim/simulation.ts';
import { BILLING, RECORDS } from './kit.ts';

/** A system that stands, whose loop we act through. */
async function standing(options: Partial<ConstructorParameters<typeof Simulation>[0]> = {}) {
  const sim = new Simulation({ seed: 21, tuning: { probeMs: 500 }, ...options });
  sim.boot();
  await sim.run(20_000);
  const { loop } = sim;
  assert.ok(loop !== undefined);
  return { sim, loop, executor: loop.state.executor };
}

const plain = (step: Step): PlannedStep => ({ step, undo: [] });
const setScale = (replicas: number): Step => ({ kind: 'set-scale', service: BILLING, replicas });

function plan(
  id: string,
  steps: readonly [PlannedStep, ...PlannedStep[]],
  change: Partial<Plan> = {},
): Plan {
  return {
    id: planId(id),
    playbook: 'test',
    target: target('test', id),
    origin: { kind: 'operator', actor: 'test' },
    summary: id,
    steps,
    service: undefined,
    disrupts: 0,
    approval: { kind: 'none' },
    verification: { symptoms: [], stableMs: 0, deadlineMs: 0 },
    deadlineMs: 60_000,
    ...change,
  };
}

/** Drives a plan to its end in virtual time. */
async function drive(sim: Simulation, executor: Executor, of: Plan): Promise<Outcome> {
  const begun = executor.begin(of);
  await sim.run(100);
  const answer = await begun;
  assert.ok(answer.kind === 'begun');
  const ended = executor.finish(answer.run, answer.receipt);
  await sim.run(60_000);
  return await ended;
}

const failingStep = plain({
  kind: 'route',
  weights: [{ replica: asReplicaId('billing-77'), weight: 100 }],
});

describe('executor', () => {
  it('EX1: nothing happens before the intent is durable; without it no run is left', async () => {
    const { sim, executor } = await standing();
    sim.surroundings.ledgerBackAtMs = sim.clock.monotonicMs() + 1_000;
    const of = plan('p1', [plain(setScale(3))]);
    await assert.rejects(executor.begin(of), /ledger/u);
    assert.equal(sim.disk.openRuns.size, 0);
    assert.equal(sim.disk.services.get(BILLING)?.replicas, 2);
    await sim.run(2_000);
    const outcome = await drive(sim, executor, of);
    assert.equal(outcome.kind, 'done');
    assert.equal(sim.disk.services.get(BILLING)?.replicas, 3);
  });

  it('EX1: a target that is held begins no second run, and its intent is closed', async () => {
    const { sim, executor } = await standing();
    const one = await executor.begin(plan('p1', [plain(setScale(2))]));
    const two = await executor.begin(
      plan('p2', [plain(setScale(2))], {
        target: target('test', 'p1'),
      }),
    );
    assert.equal(one.kind, 'begun');
    assert.equal(two.kind, 'busy');
    assert.equal(sim.ledger.open.size, 1);
  });

  it('EX6: what only waits, or is one write itself, is written once, afterwards', async () => {
    const { sim, loop, executor } = await standing();
    const written: { readonly run: string; readonly text: string }[] = [];
    const { store } = loop.state.ports.world;
    const putStep = store.putStep.bind(store);
    store.putStep = async (run, step, epoch) => {
      written.push({ run, text: `${step.key} ${step.state}` });
      await putStep(run, step, epoch);
    };
    const one = asReplicaId('billing-1');
    const outcome = await drive(
      sim,
      executor,
      plan('p6', [
        plain(setScale(3)),
        plain({ kind: 'await-ready', replica: one, deadlineMs: 1_000 }),
        plain({ kind: 'route', weights: [{ replica: one, weight: 90 }] }),
        plain(setScale(2)),
      ]),
    );
    assert.equal(outcome.kind, 'done');
    // The first intent came with the run itself.
    const after = ['do:0 done', 'do:1 done', 'do:2 done', 'do:3 intended', 'do:3 done'];
    // Scaling back and forth made the loop act as well: only this run counts.
    const mine = written.filter(({ run }) => run === outcome.run.id).map(({ text }) => text);
    assert.deepEqual(mine, after);
  });

  it('EX2: a resumed run goes on at its first step without a result', async () => {
    const { sim, executor } = await standing();
    const begun = await executor.begin(plan('p1', [plain(setScale(3)), plain(setScale(4))]));
    assert.ok(begun.kind === 'begun');
    const done = { key: 'do:0', state: 'done', detail: '', atWallMs: 1, tookMs: 1 } as const;
    const ended = executor.finish({ ...begun.run, steps: [done] }, begun.receipt);
    await sim.run(1_000);
    await ended;
    const run = sim.disk.runs.get(begun.run.id);
    // The first stands as it was intended at the begin: it was not done again.
    assert.deepEqual(
      run?.steps.map((s) => `${s.key} ${s.state}`),
      ['do:0 intended', 'do:1 done'],
    );
  });

  it('EX3: before the commit a failure undoes; after it the rest still goes on', async () => {
    const { sim, executor } = await standing();
    const undone = await drive(
      sim,
      executor,
      plan('p1', [{ step: setScale(3), undo: [setScale(2)] }, failingStep]),
    );
    assert.ok(undone.kind === 'undone' && /route: billing-77 is gone/u.test(undone.reason));
    assert.equal(sim.disk.services.get(BILLING)?.replicas, 2);
    const { release } = sim.disk.services.get(BILLING) ?? {};
    assert.ok(release !== undefined);
    const commit = { kind: 'set-release', service: BILLING, release, previous: undefined } as const;
    const done = await drive(
      sim,
      executor,
      plan('p2', [plain(commit), failingStep, plain(setScale(3))]),
    );
    assert.equal(done.kind, 'done');
    assert.deepEqual(
      done.run.steps.map((s) => s.state),
      ['done', 'failed', 'done'],
    );
  });

  it('EX4: a stale epoch ends the run without another act and without an undo', async () => {
    const { sim, executor } = await standing();
    const begun = await executor.begin(plan('p1', [{ step: setScale(3), undo: [setScale(2)] }]));
    assert.ok(begun.kind === 'begun');
    sim.disk.lease = { owner: 'another', epoch: 99, untilMs: 2 ** 50 };
    await assert.rejects(executor.finish(begun.run, begun.receipt), /another controller/u);
    assert.equal(sim.disk.services.get(BILLING)?.replicas, 2);
    assert.ok(sim.disk.openRuns.has(begun.run.id));
  });

  it('EX5: each intent gets its one outcome: done, undone, refused', async () => {
    const { sim, executor } = await standing();
    await drive(sim, executor, plan('p1', [plain(setScale(2))]));
    await drive(sim, executor, plan('p2', [failingStep]));
    const asks = plan('p3', [plain(setScale(2))], {
      approval: { kind: 'needed', why: 'test', deadlineMs: 5_000 },
    });
    const outcome = await drive(sim, executor, asks);
    assert.ok(outcome.kind === 'refused' && outcome.reason === 'expired');
    assert.equal(sim.ledger.open.size, 0);
    assert.equal(sim.ledger.intents, sim.ledger.closed);
  });

  it('a run that is past its deadline is undone', async () => {
    const { sim, executor } = await standing();
    const outcome = await drive(
      sim,
      executor,
      plan(
        'p1',
        [
          { step: setScale(3), undo: [setScale(2)] },
          plain({ kind: 'await-ready', replica: asReplicaId('billing-1'), deadlineMs: 100 }),
        ],
        { deadlineMs: -1 },
      ),
    );
    assert.ok(outcome.kind === 'undone' && /deadline/u.test(outcome.reason));
  });
});

describe('steps', () => {
  it('SR1: an act that would leave too few is refused at its very moment', async () => {
    const { sim, executor } = await standing();
    const both = plan('p1', [
      plain({
        kind: 'route',
        weights: [
          { replica: asReplicaId('billing-1'), weight: 0 },
          { replica: asReplicaId('billing-2'), weight: 0 },
        ],
      }),
    ]);
    const outcome = await drive(sim, executor, both);
    assert.ok(outcome.kind === 'undone' && /budget: 0 would be available/u.test(outcome.reason));
    const stop = (id: string): PlannedStep =>
      plain({ kind: 'stop', replica: asReplicaId(id), termMs: 100 });
    const second = await drive(sim, executor, plan('p2', [stop('billing-1'), stop('billing-2')]));
    assert.ok(second.kind === 'undone', JSON.stringify(second.run.steps));
    assert.equal(sim.machine.find('billing-2')?.exit, undefined);
  });

  it('SR2: a drain says whether it ended empty or at its deadline', async () => {
    const { sim, executor } = await standing();
    const drain = (id: string): PlannedStep =>
      plain({ kind: 'drain', replica: asReplicaId(id), deadlineMs: 2_000 });
    const empty = await drive(sim, executor, plan('p1', [drain('records-1')]));
    assert.match(empty.run.steps[0]?.detail ?? '', /^empty after \d+ ms$/u);
    const gone = await drive(sim, executor, plan('p2', [drain('records-77')]));
    assert.equal(gone.run.steps[0]?.detail, 'already gone');
  });

  it('SR3: no living replica is stopped while a gateway still has the old table', async () => {
    const { sim, executor } = await standing();
    const began = sim.nowMs;
    sim.plane.restart(1_000);
    const begun = await executor.begin(
      plan('p1', [
        plain({ kind: 'route', weights: [{ replica: asReplicaId('records-1'), weight: 0 }] }),
        plain({ kind: 'stop', replica: asReplicaId('records-1'), termMs: 500 }),
      ]),
    );
    assert.ok(begun.kind === 'begun');
    const ended = executor.finish(begun.run, begun.receipt);
    assert.ok(await sim.until(() => sim.machine.find('records-1')?.exit !== undefined, 5_000, 10));
    assert.ok(sim.nowMs - began >= 1_000);
    await sim.run(1_000);
    assert.equal((await ended).kind, 'done');
  });

  it('SR4: readiness that the next step routes is written with it, once', async () => {
    const { sim, loop, executor } = await standing();
    const phases: string[] = [];
    const { store } = loop.state.ports.world;
    const changeFleet = store.changeFleet.bind(store);
    store.changeFleet = async (change, epoch) => {
      for (const r of change.replicas ?? []) phases.push(`${r.phase} ${r.weight}`);
      await changeFleet(change, epoch);
    };
    const nine = asReplicaId('billing-9');
    const [release] = [...sim.disk.releases.values()].filter((r) => r.service === BILLING);
    assert.ok(release !== undefined);
    const begin: Step = {
      kind: 'start',
      replica: nine,
      service: BILLING,
      release: release.id,
      role: 'active',
    };
    const outcome = await drive(
      sim,
      executor,
      plan('p1', [
        plain(begin),
        plain({ kind: 'await-ready', replica: nine, deadlineMs: 30_000 }),
        plain({ kind: 'route', weights: [{ replica: nine, weight: 100 }] }),
      ]),
    );
    assert.equal(outcome.kind, 'done', JSON.stringify(outcome.run.steps));
    assert.deepEqual(phases.slice(0, 3), ['starting 0', 'starting 0', 'ready 100']);
  });

  it('SO1: a watch condemns what is worse only once its needs have answered since', async () => {
    const { sim, loop } = await standing({ tuning: { probeMs: 500, bakeMs: 4_000 } });
    await breakIt(sim, deploy('billing', 'errors-under-traffic'));
    assert.ok(
      await sim.until(
        () =>
          [...sim.disk.runs.values()].some(
            (r) => r.plan.playbook === 'rollout' && r.state === 'undone',
          ),
        60_000,
      ),
    );
    const bad = [...sim.disk.releases.values()].find(
      (r) => r.service === BILLING && r.verdict.kind === 'bad',
    );
    assert.ok(bad !== undefined);
    // The same with the database away: undone perhaps, but nobody is called bad for it.
    await breakIt(sim, deploy('scheduling', 'good'));
    await sim.run(1_500);
    await breakIt(sim, { kind: 'stop-dependency', dependency: 'postgres' });
    await sim.run(120_000);
    const others = [...sim.disk.releases.values()].filter((r) => r.service === 'scheduling');
    assert.deepEqual(
      others.filter((r) => r.verdict.kind === 'bad'),
      [],
    );
    assert.ok(loop.warm());
  });

  it('SO2: a control is enforced where the plan says, and then proved', async () => {
    const { sim, executor } = await standing();
    sim.tables.set('notes', false);
    sim.tables.set('invoices', false);
    const check = sim.manifest.compliance.checks[0]?.id;
    assert.ok(check !== undefined);
    const outcome = await drive(
      sim,
      executor,
      plan('p1', [
        plain({ kind: 'enforce-control', check, subjects: ['notes'] }),
        plain({ kind: 'prove-control', check, deadlineMs: 100 }),
      ]),
    );
    assert.deepEqual(
      outcome.run.steps.map((s) => s.state),
      ['done', 'failed'],
    );
    assert.equal(sim.tables.get('notes'), true);
  });

  it('every kind of step has its words', () => {
    const texts = [
      stepText(setScale(2)),
      stepText({ kind: 'drain', replica: asReplicaId('a-1'), deadlineMs: 1 }),
    ];
    assert.deepEqual(texts, ['scale billing to 2', 'drain a-1']);
    assert.equal(typeof perform, 'function');
  });
});

describe('book', () => {
  const book = (sim: Simulation) => sim.loop?.state.book;

  it('BK1: what the book answers is durable; a refused change is not in it', async () => {
    const { sim, loop } = await standing();
    const service = loop.state.book.fleet().services.get(BILLING);
    assert.ok(service !== undefined);
    await loop.state.book.change({ services: [{ ...service, replicas: 3 }] });
    assert.deepEqual(sim.disk.services.get(BILLING), book(sim)?.fleet().services.get(BILLING));
    sim.disk.lease = { owner: 'another', epoch: 99, untilMs: 2 ** 50 };
    await assert.rejects(loop.state.book.change({ services: [{ ...service, replicas: 4 }] }));
    assert.equal(book(sim)?.fleet().services.get(BILLING)?.replicas, 3);
  });

  it('BK2: versions only grow, over restarts too', async () => {
    const { sim } = await standing();
    const before = sim.plane.table()?.version ?? 0;
    sim.kill();
    await sim.run(10_000);
    assert.ok((sim.plane.table()?.version ?? 0) > before);
    assert.deepEqual(sim.checkers.violations, []);
  });

  it('BK3: an ordinal is given once; R1: phases keep their table', () => {
    const fleet = {
      ...EMPTY_FLEET,
      services: new Map([
        [
          RECORDS,
          {
            name: RECORDS,
            replicas: 1,
            release: 'r' as never,
            previous: undefined,
            releasedAtMs: undefined,
            nextOrdinal: 4,
            paused: false,
          },
        ],
      ]),
    };
    const world = { store: memoryStore(memoryDisk()), gateways: {} as never };
    const kept = keepBook({ world, epoch: 1, fleet, table: () => ({}) as never });
    kept.reserve(RECORDS, 7);
    kept.reserve(RECORDS, 5);
    assert.equal(kept.fleet().services.get(RECORDS)?.nextOrdinal, 8);
    const row = {
      id: asReplicaId('records-1'),
      service: RECORDS,
      release: 'r',
      role: 'active',
      phase: 'starting',
      weight: 0,
      region: 'eu',
      endpoint: undefined,
      createdAtMs: 0,
    } as const;
    const one = applyChange(fleet, { replicas: [row as never] });
    assert.throws(
      () => applyChange(one, { replicas: [{ ...row, phase: 'draining' } as never] }),
      /from starting to draining/u,
    );
    assert.equal(
      applyChange(one, { replicas: [{ ...row, phase: 'gone' } as never] }).replicas.size,
      0,
    );
  });
});

describe('approvals', () => {
  function asking() {
    const sim = new Simulation({ seed: 1 });
    const disk = memoryDisk();
    disk.lease = { owner: 'me', epoch: 1, untilMs: 2 ** 50 };
    const world = { clock: sim.clock, store: memoryStore(disk), log: console as never };
    const make = () =>
      createApprovals({
        world,
        epoch: 1,
        nudge: () => undefined,
        told: () => undefined,
      });
    const run: Run = {
      id: runId('run_1'),
      plan: plan('p', [plain(setScale(2))], {
        approval: { kind: 'needed', why: 'test', deadlineMs: 10_000 },
      }),
      planDigest: 'd',
      state: 'waiting',
      incident: undefined,
      intentIndex: 1,
      startedAtWallMs: 0,
      endedAtWallMs: undefined,
      steps: [],
      failure: undefined,
    };
    return { sim, make, run };
  }
  const id = approvalId('apr_1');

  it('AP1: the first answer counts, later ones are told so; nobody in time means no', async () => {
    const { sim, make, run } = asking();
    const approvals = make();
    const answer = approvals.ask(run, new AbortController().signal);
    await sim.run(100);
    assert.equal(approvals.pending().length, 1);
    await approvals.decide(id, 'approved', 'ann');
    assert.equal(await answer, 'approved');
    await assert.rejects(approvals.decide(id, 'denied', 'bob'), { code: 'KIN_APPROVAL_CLOSED' });
    await assert.rejects(approvals.decide(approvalId('apr_9'), 'denied', 'bob'), {
      code: 'KIN_APPROVAL_UNKNOWN',
    });
    const other = { ...run, id: runId('run_2') };
    const late = approvals.ask(other, new AbortController().signal);
    await sim.run(11_000);
    assert.equal(await late, 'expired');
  });

  it('AP2: the wait survives a restart, under its old id and its old deadline', async () => {
    const { sim, make, run } = asking();
    const first = make().ask(run, new AbortController().signal);
    await sim.run(6_000);
    const second = make();
    const again = second.ask(run, new AbortController().signal);
    await sim.run(1_000);
    assert.equal(second.pending()[0]?.id, id);
    await sim.run(4_000);
    assert.equal(await again, 'expired');
    assert.equal(await first, 'expired');
  });
});

describe('the loop and its runs', () => {
  it('LP1: a restart takes the same path: what is left undone is seen and done', async () => {
    const { sim } = await standing();
    sim.kill(false);
    await breakIt(sim, kill('records-2'));
    await sim.run(5_000);
    sim.boot();
    await sim.run(20_000);
    sim.checkers.final();
    assert.deepEqual(sim.checkers.violations, []);
    assert.equal(typeof createLoop, 'function');
  });

  it('LP2: looks go on while runs are at work, one run a target', async () => {
    const { sim, loop } = await standing();
    await breakIt(sim, kill('billing-1'));
    await breakIt(sim, kill('scheduling-1'));
    assert.ok(await sim.until(() => loop.state.live.size >= 2, 2_000, 5));
    const targets = [...loop.state.live.values()].map((run) => run.target);
    assert.equal(new Set(targets).size, targets.length);
  });

  it('LP3: a stale epoch ends the loop', async () => {
    const { sim, loop } = await standing();
    sim.disk.lease = { owner: 'another', epoch: 99, untilMs: 2 ** 50 };
    await breakIt(sim, kill('billing-1'));
    await sim.run(5_000);
    assert.ok(loop.state.stop.signal.aborted);
  });

  it('LR1: a plan is at work from its decision on, before anything is written', async () => {
    const { sim, loop } = await standing({ diskMs: 100 });
    await breakIt(sim, kill('billing-1'));
    assert.ok(await sim.until(() => loop.state.live.size > 0, 2_000, 1));
    const [entry] = loop.state.live.values();
    assert.equal(entry?.current, undefined);
    assert.equal(sim.disk.openRuns.size, 0);
    await sim.run(20_000);
  });

  it('LR2, LR4: an open run is finished under its intent, also with a late ledger', async () => {
    let armed = true;
    const { sim } = await standing({
      crashAt: (name) => {
        const now = armed && name === 'do:1:written' && sim.nowMs > 20_000;
        if (now) armed = false;
        return now;
      },
    });
    await breakIt(sim, kill('billing-1'));
    assert.ok(await sim.until(() => !sim.isUp(), 5_000, 5));
    const [open] = sim.ledger.open.values();
    assert.ok(open !== undefined);
    // Away while it is resumed: its outcome must wait, and come.
    sim.surroundings.ledgerBackAtMs = sim.clock.monotonicMs() + 8_000;
    await sim.run(30_000);
    assert.equal(sim.ledger.open.size, 0);
    assert.equal(sim.disk.openRuns.size, 0);
    const runs = [...sim.disk.runs.values()].filter((r) => r.plan.playbook === 'replace');
    assert.deepEqual(
      runs.map((r) => r.state),
      ['done'],
    );
  });

  it('LR3: what failed counts as an attempt; what could not even begin does not', async () => {
    const { sim, loop } = await standing();
    sim.surroundings.driver = { startFails: 1, startPartial: 0, startSlow: 0, stopSlow: 0 };
    await breakIt(sim, kill('billing-1'));
    await sim.run(8_000);
    const [incident] = loop.state.incidents.values();
    assert.ok((incident?.attempts.length ?? 0) >= 2);
    assert.ok(incident?.attempts.every((a) => a.verdict === 'failed'));
    const other = await standing();
    other.sim.surroundings.ledgerBackAtMs = other.sim.clock.monotonicMs() + 6_000;
    await breakIt(other.sim, kill('billing-1'));
    await other.sim.run(5_000);
    const [waiting] = other.loop.state.incidents.values();
    assert.deepEqual(waiting?.attempts, []);
    await other.sim.run(10_000);
    assert.equal(other.loop.state.incidents.size, 0);
  });
});

describe('receipts and plans', () => {
  it('RC1, RC2: a receipt names its plan and cannot be copied', () => {
    const receipt = mintReceipt(planId('p'), 'digest', 3, 'leaf');
    assert.deepEqual([receipt.plan, receipt.planDigest, receipt.index], ['p', 'digest', 3]);
    assert.ok(Object.isFrozen(receipt));
  });

  it('PL1, PL2: the digest covers what acting depends on, and nothing for people alone', () => {
    const one = plan('p', [plain(setScale(2))]);
    const text = (p: Plan): string => JSON.stringify(planEssence(p));
    assert.equal(text(one), text({ ...one, summary: 'other words' }));
    const changes: readonly Partial<Plan>[] = [
      { steps: [plain(setScale(3))] },
      { playbook: 'x' },
      { deadlineMs: 1 },
      { disrupts: 1 },
      { target: target('x', 'y') },
      { approval: { kind: 'needed', why: '', deadlineMs: 1 } },
    ];
    for (const change of changes) assert.notEqual(text({ ...one, ...change }), text(one));
  });
});
