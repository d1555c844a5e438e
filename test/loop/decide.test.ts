// Is what is decided safe, least disruptive, and explained? Guards, playbooks, convergence and the
// changes that people ask for.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { planChange } from '../../src/loop/decide/change.ts';
import type { ChangeRequest } from '../../src/loop/decide/change.ts';
import type { DecideContext, LiveRun } from '../../src/loop/decide/context.ts';
import { converge } from '../../src/loop/decide/converge.ts';
import { sharedTrouble, unconfirmedNeed } from '../../src/loop/decide/correlate.ts';
import { decide } from '../../src/loop/decide/decide.ts';
import { backoffMs } from '../../src/loop/decide/guards.ts';
import { rollbackEligibility } from '../../src/loop/decide/playbooks/release.ts';
import type { Finding, Subject } from '../../src/model/finding.ts';
import { fingerprint, planId, runId, target } from '../../src/model/ids.ts';
import type { Attempt, Incident } from '../../src/model/incident.ts';
import type { HealingSpec } from '../../src/model/manifest.ts';
import type { Plan } from '../../src/model/plan.ts';
import { POSTGRES, RLS, TENANTS } from '../sim/setting.ts';
import {
  MANIFEST,
  NOW,
  R1,
  R2,
  RECORDS,
  canvasWith,
  contextWith,
  failing,
  fleetOf,
  found,
  ids,
  incident,
  okAt,
  onReplica,
  records,
  release,
  replica,
  traffic,
} from './kit.ts';

const dead = { exited: { atMs: NOW - 10, exit: { kind: 'code', code: 1 } } } as const;
const spare = replica('records-9', { role: 'spare', weight: 0 });
const exited = found('replica-exited', onReplica('records-2'), NOW - 10);
const hung = found('replica-hung', onReplica('records-2'));
const erroring = found('replica-erroring', onReplica('records-2'), NOW - 3_000);
const slow = found('replica-slow', onReplica('records-2'));
const unready = found('replica-unready', onReplica('records-2'));

function answer(one: Incident, context: DecideContext): string {
  const decision = decide(one, context);
  if (decision.kind === 'plan') return `plan ${decision.plan.playbook}`;
  return `${decision.refusal.reason}${decision.refusal.escalate ? '!' : ''}`;
}

function planOf(one: Incident, context: DecideContext): Plan {
  const decision = decide(one, context);
  assert.ok(decision.kind === 'plan', JSON.stringify(decision));
  return decision.plan;
}

const words = (plan: Plan): string[] =>
  plan.steps.map(({ step }) => ('replica' in step ? `${step.kind} ${step.replica}` : step.kind));
const healing = (change: Partial<HealingSpec>): typeof MANIFEST => ({
  ...MANIFEST,
  healing: { ...MANIFEST.healing, ...change },
});
const attempt = (agoMs: number, verdict: Attempt['verdict']): Attempt => ({
  plan: planId('p'),
  playbook: 'replace',
  endedAtMs: NOW - agoMs,
  verdict,
});
const live = (change: Partial<LiveRun>): LiveRun => ({
  run: runId('run_1'),
  target: target('replica', 'x'),
  service: RECORDS,
  disrupts: 0,
  incident: undefined,
  playbook: 'replace',
  brings: [],
  ...change,
});
const on = (subject: Subject, ...findings: Finding[]): Incident =>
  incident(findings, {
    diagnosis: { hypotheses: [{ subject, confidence: 0.9, why: 'seen' }] },
  });

describe('decide', () => {
  it('DC1: pure: the same incident and context give the same one answer', () => {
    const context = contextWith(canvasWith(records({}, dead, {})));
    assert.deepEqual(decide(incident([exited]), context), decide(incident([exited]), context));
  });

  it('DC2: a target that a run is at work on is not planned for again', () => {
    const busy = live({ target: target('replica', 'records-2') });
    const context = contextWith(canvasWith(records({}, dead, {})), { liveRuns: [busy] });
    assert.equal(answer(incident([exited]), context), 'target-busy');
  });

  it('DC3: every subject has an answer, `no-playbook` is one', () => {
    const context = contextWith(canvasWith(records({}, {}, {})));
    const head = found('gateway-missing', { kind: 'node' });
    const of = (subject: Subject): string => answer(on(subject, head), context);
    assert.equal(of({ kind: 'node' }), 'no-playbook!');
    assert.equal(of({ kind: 'service', service: RECORDS }), 'parked!');
    assert.equal(of({ kind: 'probe', service: RECORDS }), 'probe-suspected!');
    assert.equal(of({ kind: 'unknown', service: RECORDS }), 'shared-cause!');
    assert.equal(of({ kind: 'release', service: RECORDS, release: R1 }), 'rollback-ineligible!');
    assert.equal(of({ kind: 'control', check: RLS }), 'no-playbook');
    assert.equal(of(onReplica('records-77')), 'no-playbook');
    assert.match(of({ kind: 'dependency', dependency: POSTGRES }), /^plan restart-dependency/u);
  });
});

describe('guards', () => {
  const canvas = canvasWith(records({}, dead, {}));
  it('GU1: just started, facts may be acted on and judgements wait', () => {
    const cold = contextWith(canvas, { warm: false });
    assert.equal(answer(incident([exited]), cold), 'plan replace');
    assert.equal(answer(incident([hung]), cold), 'observing-only');
  });

  it('a pause, a freeze, a switched-off mode and a switched-off playbook each say so', () => {
    const at = (change: Partial<DecideContext>): string =>
      answer(incident([exited]), contextWith(canvas, change));
    assert.equal(at({ halted: true }), 'paused');
    assert.equal(at({ fleet: fleetOf(canvas, { records: { paused: true } }) }), 'paused');
    assert.equal(at({ manifest: healing({ mode: 'off' }) }), 'healing-off!');
    const window = (fromMs: number, toMs: number) =>
      healing({ freezeWindows: [{ reason: 'audit', fromMs, toMs }] });
    assert.equal(at({ wallMs: 50, manifest: window(0, 100) }), 'frozen!');
    assert.equal(at({ wallMs: 100, manifest: window(0, 100) }), 'plan replace');
    assert.equal(
      at({ manifest: healing({ playbooks: new Map([['replace', 'off']]) }) }),
      'playbook-off!',
    );
    const asks = planOf(
      incident([exited]),
      contextWith(canvas, {
        manifest: healing({ mode: 'suggest' }),
      }),
    );
    assert.equal(asks.approval.kind, 'needed');
  });

  it('GU2: backoff doubles from 1 s to 30 s, and ends early when a dependency came back', () => {
    const waits = [1, 2, 3, 9].map((n) =>
      backoffMs(
        Array.from({ length: n }, () => attempt(0, 'failed')),
        'inc_1',
      ),
    );
    for (const [i, base] of [1_000, 2_000, 4_000, 30_000].entries()) {
      const wait = waits[i] ?? 0;
      assert.ok(wait >= base && wait <= base * 1.2, `${wait}`);
    }
    const tried = incident([exited], { attempts: [attempt(500, 'ineffective')] });
    assert.equal(answer(tried, contextWith(canvas)), 'backing-off');
    const woken = canvasWith(records({}, dead, {}));
    const view = woken.dependencies.get(POSTGRES);
    assert.ok(view !== undefined);
    woken.dependencies.set(POSTGRES, { ...view, track: { ...okAt(NOW), recoveredAtMs: NOW - 9 } });
    assert.equal(answer(tried, contextWith(woken)), 'plan replace');
  });

  it('GU3: after enough attempts a person is asked, and a trial stays allowed every minute', () => {
    const attempts = [9, 5, 2].map((s) => attempt(s * 1_000, 'ineffective'));
    const often = (list: readonly Attempt[]): string =>
      answer(incident([exited], { attempts: list }), contextWith(canvas));
    assert.equal(often(attempts), 'ineffective-too-often!');
    assert.equal(often(attempts.map((a) => ({ ...a, endedAtMs: NOW - 61_000 }))), 'plan replace');
    const died = [...attempts.slice(1), attempt(2_000, 'inconclusive')];
    assert.notEqual(often(died), 'ineffective-too-often!');
  });

  it('the budget of runs is spent: at one time, and in an hour', () => {
    const sick = canvasWith(records({}, {}, {}));
    const busy = [1, 2].map((n) => live({ target: target('x', `${n}`), disrupts: 1 }));
    assert.equal(answer(incident([slow]), contextWith(sick, { liveRuns: busy })), 'budget-spent');
    const disruptions = Array.from({ length: 30 }, () => ({ service: RECORDS, atMs: NOW - 1 }));
    assert.equal(answer(incident([slow]), contextWith(sick, { disruptions })), 'budget-spent!');
  });
});

describe('replica playbooks', () => {
  it('RP1: the replacement is ready before anything that serves is taken away', () => {
    const plan = planOf(incident([slow]), contextWith(canvasWith(records({}, {}, {}))));
    assert.deepEqual(words(plan), [
      'start records-10',
      'await-ready records-10',
      'route',
      'drain records-2',
      'stop records-2',
    ]);
    const gone = planOf(incident([exited]), contextWith(canvasWith(records({}, dead, {}))));
    assert.deepEqual(words(gone).slice(-2), ['route', 'stop records-2']);
    const quick = planOf(
      incident([exited]),
      contextWith(canvasWith([...records({}, dead, {}), spare])),
    );
    assert.equal(quick.playbook, 'promote');
    assert.deepEqual(words(quick), ['route', 'stop records-2']);
  });

  it('RP2: a slow replica gets time, and is drained instead of killed', () => {
    const fresh = found('replica-slow', onReplica('records-2'), NOW - 500);
    const context = contextWith(canvasWith(records({}, {}, {})));
    assert.equal(answer(incident([fresh]), context), 'evidence-too-thin');
    const { steps } = planOf(incident([slow]), context);
    const last = steps.at(-1)?.step;
    assert.ok(last?.kind === 'stop' && last.termMs > 0);
    const killed = planOf(incident([hung]), context).steps.at(-1)?.step;
    assert.ok(killed?.kind === 'stop' && killed.termMs === 0);
  });

  it('RP3: what a replica may share, or serves well through, is no reason to replace it', () => {
    const out = { ready: failing('refused', 3), live: failing('timeout', 2) };
    const all = contextWith(canvasWith(records(out, out, out)));
    assert.equal(answer(incident([hung]), all), 'shared-cause');
    const serving = { ...out, windows: [traffic(NOW - 100, 9)] };
    const one = contextWith(canvasWith(records({}, serving, {})));
    assert.equal(answer(incident([unready]), one), 'still-serving!');
    assert.equal(
      answer(incident([unready]), contextWith(canvasWith(records({}, out, {})))),
      'plan recycle',
    );
    const missing = canvasWith(records({}, {}, {}));
    const view = missing.dependencies.get(POSTGRES);
    assert.ok(view !== undefined);
    missing.dependencies.set(POSTGRES, { ...view, track: okAt(NOW - 9_000) });
    assert.equal(answer(incident([erroring]), contextWith(missing)), 'evidence-too-thin');
  });

  it('a sick spare is only stopped; during a rollout nothing is swapped', () => {
    const head = found('replica-hung', onReplica('records-9'));
    const context = contextWith(canvasWith([...records({}, {}, {}), spare]));
    assert.deepEqual(words(planOf(incident([head]), context)), ['stop records-9']);
    const rolling = canvasWith(records({}, dead, {}), { records: { rollingOut: true } });
    assert.equal(answer(incident([exited]), contextWith(rolling)), 'target-busy');
  });
});

describe('correlation', () => {
  const service = canvasWith([]).services.get(RECORDS);
  assert.ok(service !== undefined);
  const out = { ready: failing('timeout', 1) };
  const back = { ready: { ...okAt(NOW), recoveredAtMs: NOW - 500 } };

  it('CR1: siblings that fail too, or did just now, share the trouble', () => {
    const ask = (...changes: Parameters<typeof records>): string | undefined => {
      const views = records(...changes);
      const [first] = views;
      assert.ok(first !== undefined);
      return sharedTrouble(first, service, canvasWith(views), NOW);
    };
    assert.match(ask(out, out, back) ?? '', /siblings fail too/u);
    assert.equal(ask(out, out, {}), undefined);
    assert.match(ask(out) ?? '', /no sibling is left/u);
    assert.match(ask(out, { readyAtMs: NOW - 100 }) ?? '', /they are new/u);
  });

  it('CR2: errors count only once every need has answered since, and was there', () => {
    const ask = (track: ReturnType<typeof okAt>): string | undefined => {
      const canvas = canvasWith([]);
      const view = canvas.dependencies.get(POSTGRES);
      assert.ok(view !== undefined);
      canvas.dependencies.set(POSTGRES, { ...view, track });
      return unconfirmedNeed(service, canvas, NOW - 1_000, NOW);
    };
    assert.equal(ask(okAt(NOW - 10)), undefined);
    assert.equal(ask(okAt(NOW - 2_000)), 'postgres');
    assert.equal(ask(failing('timeout', 1)), 'postgres');
    assert.equal(ask({ ...okAt(NOW), recoveredAtMs: NOW - 500 }), 'postgres');
    assert.equal(ask({ ...okAt(NOW), recoveredAtMs: NOW - 60_000 }), undefined);
  });
});

describe('other playbooks', () => {
  const down = found('dependency-down', { kind: 'dependency', dependency: POSTGRES }, NOW - 9_000);
  const dependency = on({ kind: 'dependency', dependency: POSTGRES }, down);

  it('OT1: a dependency that is down is restarted itself, none of its users is touched', () => {
    const plan = planOf(dependency, contextWith(canvasWith(records({}, {}, {}))));
    assert.equal(plan.playbook, 'restart-dependency');
    assert.deepEqual(words(plan), [
      'stop database-1',
      'start database-10',
      'await-ready database-10',
      'route',
      'await-dependency',
    ]);
    const foreign = canvasWith([]);
    const view = foreign.dependencies.get(POSTGRES);
    assert.ok(view !== undefined);
    foreign.dependencies.set(POSTGRES, { ...view, spec: { ...view.spec, service: undefined } });
    assert.equal(answer(dependency, contextWith(foreign)), 'no-playbook!');
  });

  it('OT1: its new process is not judged by what was seen before it was ready', () => {
    const canvas = canvasWith([]);
    const process = [...canvas.replicas.values()].find((r) => r.id === 'database-1');
    assert.ok(process !== undefined);
    canvas.replicas.set(process.id, { ...process, readyAtMs: NOW - 500 });
    assert.equal(answer(dependency, contextWith(canvas)), 'evidence-too-thin');
    canvas.replicas.set(process.id, { ...process, phase: 'starting' });
    assert.equal(answer(dependency, contextWith(canvas)), 'target-busy');
  });

  it('OT5: a dependency whose users are served is not restarted for a slow probe', () => {
    const windows = [traffic(NOW - 500, 20, { errors: 1 })];
    const served = contextWith(canvasWith(records({ windows })));
    assert.equal(answer(dependency, served), 'still-serving');
    const failing = [traffic(NOW - 500, 20, { errors: 15 })];
    const plan = planOf(dependency, contextWith(canvasWith(records({ windows: failing }))));
    assert.equal(plan.playbook, 'restart-dependency');
  });

  it("OT2: a quarantine holds back one tenant's one route", () => {
    const [tenant] = TENANTS;
    assert.ok(tenant !== undefined);
    const subject = {
      kind: 'tenant-route',
      tenant,
      service: RECORDS,
      method: 'POST',
      route: '/import',
    } as const;
    const plan = planOf(on(subject, found('poison-request', subject)), contextWith(canvasWith([])));
    const [first] = plan.steps;
    assert.ok(first.step.kind === 'quarantine');
    const { rule } = first.step;
    assert.deepEqual(
      [rule.tenant, rule.service, rule.method, rule.route],
      [tenant, RECORDS, 'POST', '/import'],
    );
    assert.deepEqual(first.undo, [{ kind: 'lift-quarantine', id: rule.id }]);
  });

  it('OT3: a control is enforced for the violations that were found, then proved', () => {
    const canvas = canvasWith([]);
    const control = canvas.controls.get(RLS);
    assert.ok(control !== undefined);
    const violations = [{ subject: 'notes', detail: 'off' }];
    canvas.controls.set(RLS, {
      ...control,
      result: { kind: 'not-satisfied', population: 4, violations },
    });
    const broken = on(
      { kind: 'control', check: RLS },
      found('control-violated', { kind: 'control', check: RLS }),
    );
    const plan = planOf(broken, contextWith(canvas));
    assert.deepEqual(
      plan.steps.map(({ step }) => step.kind),
      ['enforce-control', 'prove-control'],
    );
    const [first] = plan.steps;
    assert.deepEqual(first.step.kind === 'enforce-control' && first.step.subjects, ['notes']);
    const view = canvas.dependencies.get(POSTGRES);
    assert.ok(view !== undefined);
    canvas.dependencies.set(POSTGRES, { ...view, track: failing('timeout', 1) });
    assert.equal(answer(broken, contextWith(canvas)), 'dependency-down');
  });

  it('OT4: every probe fails, clients are served: nothing is done; silent: a trial', () => {
    const head = (served: number, failed: number): Finding =>
      found('probes-failing-together', { kind: 'probe', service: RECORDS }, NOW - 9_000, {
        served,
        failed,
      });
    const context = contextWith(canvasWith(records({}, {}, {})));
    assert.equal(
      answer(on({ kind: 'probe', service: RECORDS }, head(9, 0)), context),
      'probe-suspected!',
    );
    const unknown = { kind: 'unknown', service: RECORDS } as const;
    const silent = planOf(on(unknown, head(0, 30)), context);
    assert.deepEqual(words(silent), ['start records-10', 'await-ready records-10', 'route']);
    assert.equal(silent.disrupts, 0);
    const trying = contextWith(canvasWith(records({}, {}, {})), { liveRuns: [live({})] });
    assert.equal(answer(on(unknown, head(0, 30)), trying), 'shared-cause!');
  });
});

const failing3 = { windows: [traffic(NOW, 20, { errors: 9 })] };

describe('releases', () => {
  const canvas = canvasWith(records(failing3, failing3, failing3), {
    records: { release: R1, previous: R2 },
  });
  const bad = on(
    { kind: 'release', release: R1, service: RECORDS },
    found('release-erroring', { kind: 'release', release: R1, service: RECORDS }, NOW - 3_000),
  );
  const fleet = (previous: typeof R2 | undefined, ...releases: ReturnType<typeof release>[]) =>
    fleetOf(canvas, { records: { previous } }, [release(R1), ...releases]);

  it('RL1: back only to a release that is known, not bad, and whose schema fits', () => {
    const of = (f: ReturnType<typeof fleet>): string => {
      const e = rollbackEligibility(f, RECORDS);
      return e.kind === 'eligible' ? e.release : e.reason;
    };
    assert.equal(of(fleet(R2, release(R2))), R2);
    assert.equal(of(fleet(undefined)), 'no-previous-release');
    assert.equal(of(fleet(R2)), 'artefact-missing');
    const marked = release(R2, { verdict: { kind: 'bad', atMs: 1, reason: 'x' } });
    assert.equal(of(fleet(R2, marked)), 'previous-release-was-bad');
    const needs = fleetOf(canvas, { records: { previous: R2 } }, [
      release(R1, { schema: { min: 5, max: 9 } }),
      release(R2, { schema: { min: 1, max: 4 } }),
    ]);
    assert.equal(of(needs), 'schema-out-of-range');
  });

  it('RL1: the old release stands in full before the bad one goes', () => {
    const plan = planOf(bad, contextWith(canvas, { fleet: fleet(R2, release(R2)) }));
    const list = words(plan);
    assert.equal(plan.playbook, 'rollback');
    assert.ok(list.indexOf('route') > list.lastIndexOf('await-ready records-12'));
    assert.ok(list.indexOf('drain records-1') > list.indexOf('set-release'));
  });

  it('RL3: errors that a short absence of a dependency left behind condemn no release', () => {
    const before = { windows: [traffic(NOW - 1_000, 20, { errors: 9 })] };
    const quiet = canvasWith(records(before, before, before), {
      records: { release: R1, previous: R2 },
    });
    const context = contextWith(quiet, { fleet: fleet(R2, release(R2)) });
    assert.equal(answer(bad, context), 'evidence-too-thin');
  });

  it('RL2: without one nothing is rolled back and a person is asked; the dead are replaced', () => {
    const context = contextWith(canvas, { fleet: fleet(undefined) });
    assert.equal(answer(bad, context), 'rollback-ineligible!');
    const ended = canvasWith(records({}, dead, {}));
    const crash = on({ kind: 'release', release: R1, service: RECORDS }, exited);
    assert.equal(answer(crash, contextWith(ended)), 'plan replace');
  });
});

describe('converge', () => {
  const few = found('under-capacity', { kind: 'service', service: RECORDS }, NOW);
  const many = found('over-capacity', { kind: 'service', service: RECORDS }, NOW);
  const none = found('spares-missing', { kind: 'service', service: RECORDS }, NOW);

  it('CV1: nothing is started just after a failed start, on hold, or beside another run', () => {
    const at = (troubles: { count: number; atMs: number }, change: Partial<DecideContext> = {}) =>
      converge(
        few,
        contextWith(
          canvasWith(records({}), {
            records: { troubles: { ...troubles, detail: '' } },
          }),
          change,
        ),
      ) !== undefined;
    assert.ok(at({ count: 0, atMs: 0 }));
    assert.ok(!at({ count: 1, atMs: NOW - 400 }));
    assert.ok(at({ count: 1, atMs: NOW - 600 }));
    assert.ok(!at({ count: 5, atMs: NOW - 59_000 }));
    assert.ok(at({ count: 5, atMs: NOW - 61_000 }));
    assert.ok(!at({ count: 0, atMs: 0 }, { halted: true }));
    assert.ok(!at({ count: 0, atMs: 0 }, { liveRuns: [live({ playbook: 'restart-dependency' })] }));
    const held = canvasWith(records({}));
    const view = held.dependencies.get(POSTGRES);
    assert.ok(view !== undefined);
    held.dependencies.set(POSTGRES, { ...view, track: failing('timeout', 2) });
    assert.equal(converge(few, contextWith(held)), undefined);
  });

  it('CV1: all that is missing starts at once, spares only beside a full service', () => {
    const plan = converge(few, contextWith(canvasWith(records({}))));
    assert.deepEqual(plan === undefined ? [] : words(plan), [
      'start records-10',
      'start records-11',
      'await-ready records-10',
      'route',
      'await-ready records-11',
      'route',
    ]);
    assert.equal(converge(none, contextWith(canvasWith(records({}, {})))), undefined);
    const refill = converge(none, contextWith(canvasWith(records({}, {}, {}))));
    assert.deepEqual(refill === undefined ? [] : words(refill), [
      'start records-10',
      'await-ready records-10',
    ]);
  });

  it('CV2: surplus goes: other releases first, then who serves nobody, then the newest', () => {
    const leaver = (...changes: Parameters<typeof records>): string => {
      const plan = converge(many, contextWith(canvasWith(records(...changes))));
      return plan === undefined ? 'nobody' : (words(plan).at(-1) ?? '');
    };
    const ejected = { atMs: NOW, reason: 'errors', detail: '' } as const;
    assert.equal(leaver({ release: R2 }, {}, { ejected }, {}), 'stop records-1');
    assert.equal(leaver({}, {}, { ejected }, {}), 'stop records-3');
    assert.equal(leaver({}, { startedAtMs: NOW - 5 }, {}, {}), 'stop records-2');
  });

  it('CV3: what stands ready without its share is routed before any is started', () => {
    const plan = converge(few, contextWith(canvasWith(records({}, {}, { weight: 20 }))));
    assert.deepEqual(
      plan?.steps.map(({ step }) => step),
      [{ kind: 'route', weights: [{ replica: ids('records-3')[0], weight: 100 }] }],
    );
  });
});

describe('changes by people', () => {
  const canvas = canvasWith([...records({}, {}, {}), spare]);
  const ask = (request: ChangeRequest, change: Partial<DecideContext> = {}) =>
    planChange(request, 'ann', 'chg_1', contextWith(canvas, change));
  const deploy = { kind: 'deploy', service: RECORDS, release: R2 } as const;

  it('CH1: a deploy shifts traffic to what is ready and did well; the old stay', () => {
    const made = ask(deploy);
    assert.ok(made.kind === 'plan');
    const list = made.plan.steps.map(({ step }) => step.kind);
    assert.deepEqual(list.slice(0, 4), ['start', 'await-ready', 'route', 'watch']);
    const [, second] = list.flatMap((k, i) => (k === 'watch' ? [i] : []));
    assert.ok(second !== undefined && list.indexOf('set-release') === second + 1);
    assert.ok(list.indexOf('drain') > list.indexOf('set-release'));
    assert.equal(list.filter((k) => k === 'start').length, 3);
  });

  it('CH2: every step that changes something before the commit names its undo', () => {
    const made = ask(deploy);
    assert.ok(made.kind === 'plan');
    for (const { step, undo } of made.plan.steps) {
      if (step.kind === 'set-release') break;
      if (step.kind === 'start' || step.kind === 'route') assert.ok(undo.length > 0);
    }
  });

  it('what cannot be is refused with its code', () => {
    const code = (request: ChangeRequest, change: Partial<DecideContext> = {}): string => {
      const made = ask(request, change);
      return made.kind === 'refuse' ? made.code : 'plan';
    };
    const bad = fleetOf(canvas, {}, [
      release(R1),
      release(R2, { verdict: { kind: 'bad', atMs: 1, reason: 'x' } }),
    ]);
    assert.equal(code(deploy, { fleet: bad }), 'KIN_RELEASE_BAD');
    assert.equal(code({ ...deploy, release: R1 }), 'KIN_RELEASE_CURRENT');
    assert.equal(code(deploy, { fleet: fleetOf(canvas, {}, []) }), 'KIN_RELEASE_UNKNOWN');
    const busy = [live({ target: target('service', RECORDS), playbook: 'rollout' })];
    assert.equal(code(deploy, { liveRuns: busy }), 'KIN_TARGET_BUSY');
    assert.equal(code({ kind: 'rollback', service: RECORDS }), 'KIN_ROLLBACK_INELIGIBLE');
    assert.equal(code({ kind: 'scale', service: RECORDS, replicas: 99 }), 'KIN_SCALE_RANGE');
    assert.equal(code({ kind: 'scale', service: RECORDS, replicas: 4 }), 'plan');
    assert.equal(code({ kind: 'lift-quarantine', id: fingerprint('quarantine', 'x') }), 'plan');
  });
});
