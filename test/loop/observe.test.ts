// Is what is seen kept truly, and is what is done judged and written down? Observe, verify, record.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { emptyCanvas, fold, newView, push, track } from '../../src/loop/observe/fold.ts';
import { frame } from '../../src/loop/observe/frame.ts';
import { createInbox } from '../../src/loop/observe/inbox.ts';
import { startWatch } from '../../src/loop/observe/watch.ts';
import { createRecorder } from '../../src/loop/record/record.ts';
import type { Fact } from '../../src/loop/record/record.ts';
import { assess, measure } from '../../src/loop/verify/assess.ts';
import type { Trial } from '../../src/loop/verify/assess.ts';
import { asReplicaId } from '../../src/model/ids.ts';
import { LIMITS, NO_PROBE } from '../../src/model/picture.ts';
import type { Signal } from '../../src/model/signal.ts';
import { memoryDisk, memoryStore } from '../../src/store/memory.ts';
import { ledgerDisk, openSimLedger } from '../../src/world/sim/ledger.ts';
import { breakIt } from '../sim/faults.ts';
import { kill } from '../scenarios/language.ts';
import { Simulation } from '../sim/simulation.ts';
import { POSTGRES, TENANTS } from '../sim/setting.ts';
import {
  BILLING,
  MANIFEST,
  NOW,
  R1,
  RECORDS,
  canvasWith,
  fleetOf,
  found,
  onReplica,
  records,
  replica,
  traffic,
} from './kit.ts';

const R = asReplicaId('records-1');
const exitOf = (atMs: number): Signal => ({
  kind: 'exited',
  atMs,
  replica: R,
  exit: { kind: 'code', code: 1 },
});

describe('fold', () => {
  it('O1: the time is the signal’s own, whatever order and moment it is folded in', () => {
    const canvas = canvasWith(records({}));
    fold(canvas, exitOf(NOW - 777));
    fold(canvas, exitOf(NOW));
    assert.equal(canvas.replicas.get(R)?.exited?.atMs, NOW - 777);
    assert.equal(canvas.services.get(RECORDS)?.exits.length, 1);
  });

  it('O2: what is in nobody’s book is dropped', () => {
    const canvas = emptyCanvas(0);
    fold(canvas, exitOf(NOW));
    const event = { kind: 'died-serving', replica: R, suspects: [] } as const;
    fold(canvas, { kind: 'gateway', atMs: NOW, event });
    fold(canvas, {
      kind: 'dependency',
      atMs: NOW,
      dependency: POSTGRES,
      result: { kind: 'ok', tookMs: 1 },
    });
    assert.deepEqual(
      [canvas.replicas.size, canvas.services.size, canvas.dependencies.size],
      [0, 0, 0],
    );
  });

  it('O3, PIC1: lists stay within their limits, the oldest goes first', () => {
    assert.deepEqual(push([1, 2, 3], 4, 3), [2, 3, 4]);
    const canvas = canvasWith(records({}));
    for (let i = 0; i < LIMITS.memorySamples + 50; i += 1) {
      fold(canvas, { kind: 'usage', atMs: i, replica: R, rssBytes: i, cpuMs: 0 });
    }
    const memory = canvas.replicas.get(R)?.memory ?? [];
    assert.equal(memory.length, LIMITS.memorySamples);
    assert.equal(memory[0]?.atMs, 50);
  });

  it('an exit is wanted when it was said that we end it, or when it was drained', () => {
    const wanted = (phase: 'ready' | 'draining', ending: boolean): boolean | undefined => {
      const canvas = canvasWith(records({ phase }));
      if (ending) canvas.ending.add(R);
      fold(canvas, exitOf(NOW));
      return canvas.services.get(RECORDS)?.exits[0]?.wanted;
    };
    assert.deepEqual(
      [wanted('ready', false), wanted('ready', true), wanted('draining', false)],
      [false, true, true],
    );
  });

  it('a probe counts failures in a row, and remembers when it came back', () => {
    const down = track(
      track(NO_PROBE, { kind: 'timeout', afterMs: 1 }, 5),
      { kind: 'timeout', afterMs: 1 },
      9,
    );
    assert.deepEqual([down.failures, down.failingSinceMs], [2, 5]);
    const up = track(down, { kind: 'ok', tookMs: 1 }, 12);
    assert.deepEqual(
      [up.failures, up.failingSinceMs, up.recoveredAtMs, up.okAtMs],
      [0, undefined, 12, 12],
    );
    assert.equal(track(up, { kind: 'ok', tookMs: 1 }, 20).recoveredAtMs, 12);
  });
});

describe('frame', () => {
  it('FR1: framing the same book twice changes nothing, and what is gone leaves', () => {
    const canvas = canvasWith(records({}, {}));
    const framed = {
      manifest: MANIFEST,
      fleet: fleetOf(canvas),
      rollingOut: new Set<typeof RECORDS>(),
      wallOffsetMs: 0,
    };
    frame(canvas, framed, NOW);
    const once = structuredClone(canvas);
    frame(canvas, framed, NOW + 5);
    assert.deepEqual(structuredClone(canvas), once);
    canvas.ending.add(R);
    frame(canvas, { ...framed, fleet: { ...framed.fleet, replicas: new Map() } }, NOW);
    assert.equal(canvas.replicas.size + canvas.ending.size, 0);
    assert.equal(
      newView(
        {
          id: R,
          service: RECORDS,
          release: R1,
          role: 'active',
          phase: 'ready',
          weight: 0,
        },
        NOW,
      ).readyAtMs,
      NOW,
    );
  });
});

describe('inbox', () => {
  it('IN1: past the limit samples are dropped and counted, facts never are', async () => {
    const sim = new Simulation({ seed: 1 });
    const inbox = createInbox(sim.clock, 3);
    for (let i = 0; i < 10; i += 1) {
      inbox.put({ kind: 'usage', atMs: i, replica: R, rssBytes: 1, cpuMs: 0 });
    }
    inbox.put(exitOf(1));
    assert.equal(inbox.dropped, 7);
    assert.deepEqual(
      inbox.take().map((s) => s.kind),
      ['usage', 'usage', 'usage', 'exited'],
    );
    assert.deepEqual(inbox.take(), []);
    let woken = false;
    void inbox.wait(60_000, new AbortController().signal).then(() => {
      woken = true;
    });
    await sim.run(10);
    assert.equal(woken, false);
    inbox.nudge();
    await sim.run(1);
    assert.equal(woken, true);
  });
});

describe('watch', () => {
  function watching(probe: () => Promise<{ kind: 'ok'; tookMs: number }>) {
    const sim = new Simulation({ seed: 1 });
    const canvas = canvasWith(records({}, {}));
    const signals: Signal[] = [];
    const asked: string[] = [];
    const none = () => () => undefined;
    const watch = startWatch({
      world: {
        clock: sim.clock,
        log: { warn() {} } as never,
        runtime: { onEvent: none, usage: () => undefined } as never,
        gateways: { onSignal: none } as never,
        probes: {
          probe: (_endpoint, spec) => {
            asked.push(spec.path);
            return probe();
          },
          dependency: async () => ({ kind: 'ok', tookMs: 1 }),
        },
        controls: { measure: async () => ({ kind: 'error', reason: '' }) } as never,
        ledger: { troubles: () => [] } as never,
      },
      manifest: () => MANIFEST,
      fleet: () => fleetOf(canvas),
      put: (s) => signals.push(s),
      onReady: () => undefined,
      onAudit: () => undefined,
    });
    return { sim, watch, asked, signals };
  }

  async function lookFor(sim: Simulation, watch: { look(): void }, ms: number): Promise<void> {
    for (let t = 0; t < ms; t += 10) {
      watch.look();
      await sim.run(10);
    }
  }

  it('W1: one look at a time a thing, however slow it is', async () => {
    const { sim, watch, asked } = watching(() => new Promise(() => undefined));
    await lookFor(sim, watch, 5_000);
    // Two replicas and the database, asked once each.
    assert.ok(asked.length <= 6, `${asked.length}`);
    const before = asked.length;
    await lookFor(sim, watch, 2_000);
    assert.equal(asked.length, before);
    watch.close();
  });

  it('W2: looks of many replicas are spread, and each comes once an interval', async () => {
    const { sim, watch, signals } = watching(async () => ({ kind: 'ok', tookMs: 1 }));
    await lookFor(sim, watch, 4_000);
    const times = signals.flatMap((s) =>
      s.kind === 'probe' && s.probe === 'ready' && s.replica === R ? [s.atMs] : [],
    );
    assert.ok(times.length >= 6 && times.length <= 9, `${times.length}`);
    const others = signals.flatMap((s) =>
      s.kind === 'probe' && s.replica === 'records-2' ? [s.atMs] : [],
    );
    assert.notEqual(times[0], others[0]);
    watch.close();
  });

  it('W3: liveness is asked only of a replica that does not answer ready', async () => {
    const { sim, watch, asked, signals } = watching(async () => ({ kind: 'ok', tookMs: 1 }));
    await lookFor(sim, watch, 3_000);
    assert.ok(asked.length > 0 && !asked.includes('/healthz'));
    assert.ok(signals.some((s) => s.kind === 'probe' && s.probe === 'live'));
    watch.close();
  });
});

describe('verify', () => {
  const symptom = found('replica-slow', onReplica('records-1'));
  const bad = { windows: [traffic(NOW - 100, 40, { failed: 30 })] };
  const quiet = canvasWith([...records({}, {}), replica('billing-1')]);
  const sick = canvasWith([...records({}, {}), replica('billing-1', bad)]);
  const trial = (change: Partial<Trial> = {}): Trial => ({
    verification: { symptoms: [symptom.fingerprint], stableMs: 1_000, deadlineMs: 10_000 },
    actedAtMs: NOW - 500,
    goneSinceMs: undefined,
    before: measure(quiet, NOW),
    own: { services: new Set([RECORDS]), tenant: undefined },
    ...change,
  });

  it('VE1: healed only when the symptom is gone and stays gone; pure', () => {
    assert.equal(assess(trial(), [symptom], quiet, NOW).kind, 'pending');
    const first = assess(trial(), [], quiet, NOW);
    assert.ok(first.kind === 'pending' && first.trial.goneSinceMs === NOW);
    assert.equal(assess(trial({ goneSinceMs: NOW - 900 }), [], quiet, NOW).kind, 'pending');
    assert.equal(assess(trial({ goneSinceMs: NOW - 1_000 }), [], quiet, NOW).kind, 'healed');
    const back = assess(trial({ goneSinceMs: NOW - 900 }), [symptom], quiet, NOW);
    assert.ok(back.kind === 'pending' && back.trial.goneSinceMs === undefined);
  });

  it('VE2: worse anywhere else is harmful, unless another incident explains it', () => {
    assert.equal(assess(trial(), [], sick, NOW).kind, 'harmful');
    const own = { services: new Set([BILLING]), tenant: undefined };
    assert.equal(assess(trial({ own }), [], sick, NOW).kind, 'pending');
    assert.equal(assess(trial(), [], sick, NOW, new Set([BILLING])).kind, 'pending');
    const [tenant, other] = TENANTS;
    assert.ok(tenant !== undefined && other !== undefined);
    const hurt = canvasWith([]);
    const view = hurt.tenants.get(other);
    assert.ok(view !== undefined);
    hurt.tenants.set(other, { ...view, ...bad });
    const mine = { services: new Set([RECORDS]), tenant };
    assert.equal(assess(trial({ own: mine }), [], hurt, NOW).kind, 'harmful');
  });

  it('VE3: past the deadline with the symptom still there it is ineffective', () => {
    const late = trial({ actedAtMs: NOW - 10_000 });
    assert.equal(assess(late, [symptom], quiet, NOW).kind, 'ineffective');
  });
});

const TERMS = { deadlineMs: 1_000, level: 'durable', tenant: undefined } as const;

describe('record', () => {
  const fact = (text: string, entry: Fact['entry'] = 'incident.opened'): Fact => ({
    entry,
    kind: 'test',
    text,
    data: {},
  });

  function recording(limit?: number) {
    const sim = new Simulation({ seed: 1 });
    const disk = memoryDisk();
    disk.lease = { owner: 'me', epoch: 1, untilMs: 2 ** 50 };
    const away = { now: false };
    const entries: string[] = [];
    const ledger = openSimLedger({
      disk: ledgerDisk(),
      life: { dead: false },
      onEntry: ({ kind }) => entries.push(kind),
      before: () => {
        if (away.now) throw new Error('away');
      },
    });
    const complaints: string[] = [];
    const log = {
      warn: (t: string) => complaints.push(t),
      error: (t: string) => complaints.push(t),
    };
    const recorder = createRecorder({
      world: { clock: sim.clock, ledger, store: memoryStore(disk), log: log as never },
      epoch: 1,
      ...(limit === undefined ? {} : { limit }),
    });
    return { sim, disk, recorder, ledger, away, entries, complaints };
  }
  const run = (intentIndex: number) =>
    ({
      id: 'run_1',
      plan: {
        target: 't',
        summary: '',
        id: 'p',
        approval: { kind: 'none' },
        deadlineMs: 1_000,
        steps: [],
      },
      planDigest: 'd',
      intentIndex,
      steps: [],
      state: 'done',
      failure: undefined,
    }) as never;

  it('RE1: facts are written behind and in order, and nobody waits for them', async () => {
    const { disk, recorder, entries } = recording();
    const heard: string[] = [];
    recorder.onStory((event) => heard.push(event.text));
    for (const text of ['a', 'b', 'c']) recorder.tell(fact(text));
    assert.equal(disk.story.length, 0);
    await recorder.settled();
    assert.deepEqual(
      disk.story.map((e) => e.text),
      ['a', 'b', 'c'],
    );
    assert.deepEqual(heard, ['a', 'b', 'c']);
    assert.equal(entries.length, 3);
  });

  it('RE1: what was told before an intent stands in front of it in the ledger', async () => {
    const { recorder, entries, sim } = recording();
    recorder.tell(fact('first'));
    recorder.tell(fact('second'));
    const intended = recorder.intend(run(0));
    await sim.run(100);
    await intended;
    await recorder.settled();
    assert.deepEqual(entries, ['incident.opened', 'incident.opened', 'plan.intent']);
  });

  it('RE2: past the limit the oldest are dropped, and it is said', async () => {
    const { disk, recorder, complaints } = recording(5);
    for (let i = 0; i < 50; i += 1) recorder.tell(fact(`${i}`, undefined));
    await recorder.settled();
    assert.ok(disk.story.length <= 6);
    assert.equal(disk.story.at(-1)?.text, '49');
    assert.ok(complaints.includes('facts dropped'));
  });

  it('RE3: without the ledger nothing is intended, and watching goes on', async () => {
    const { recorder, away, complaints } = recording();
    away.now = true;
    await assert.rejects(recorder.intend(run(0)), /away/u);
    recorder.tell(fact('x'));
    await recorder.settled();
    assert.deepEqual(complaints, ['a fact could not be written']);
  });

  it('RE4: an outcome that the ledger missed is written later, and once', async () => {
    const { sim, recorder, ledger, away, entries } = recording();
    const { index } = await ledger.intent('t', { run: 'run_1' }, TERMS);
    away.now = true;
    await recorder.conclude(run(index), 'succeeded');
    assert.equal(ledger.openIntents().length, 1);
    away.now = false;
    await sim.run(3_000);
    await recorder.conclude(run(index), 'succeeded');
    assert.deepEqual(entries, ['plan.intent', 'plan.outcome']);
  });

  it('RE4: an intent whose run never began, or had ended, is closed later', async () => {
    for (const point of ['begun', 'state:done']) {
      let armed = false;
      const sim: Simulation = new Simulation({
        seed: 21,
        tuning: { probeMs: 500 },
        crashAt: (name) => {
          const now = armed && name === point;
          if (now) armed = false;
          return now;
        },
      });
      sim.boot();
      await sim.run(20_000);
      armed = true;
      await breakIt(sim, kill('billing-1'));
      await sim.run(30_000);
      sim.ledger.open.set(77_777, { index: 77_777, subject: 'x', detail: { run: 'run_lost' } });
      sim.kill();
      await sim.run(10_000);
      assert.equal(sim.starts, 3, point);
      assert.equal(sim.ledger.open.size, 0, point);
    }
  });
});
