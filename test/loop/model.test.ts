// Do the nouns keep their own rules? Budget, comparison of releases, ids, and the tables of states.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { askBudget } from '../../src/model/budget.ts';
import { compare } from '../../src/model/compare.ts';
import { nextIds } from '../../src/model/fleet.ts';
import { isName, ordinalOf, replicaId, runId, serviceName, tenantId } from '../../src/model/ids.ts';
import { INCIDENT_TABLE, incidentMayBecome } from '../../src/model/incident.ts';
import {
  backAtMs,
  firstBadMs,
  isAvailable,
  quantileMs,
  sumWindows,
} from '../../src/model/picture.ts';
import { assertReceipt, mintReceipt } from '../../src/model/receipt.ts';
import { PHASE_TABLE, exitText, mayBecome } from '../../src/model/replica.ts';
import { OPEN_STATES, RUN_TABLE } from '../../src/model/run.ts';
import { POSTGRES } from '../sim/setting.ts';
import {
  NOW,
  R1,
  RECORDS,
  canvasWith,
  failing,
  ids,
  okAt,
  records,
  replica,
  traffic,
} from './kit.ts';

const budget = { maxUnavailable: 1, maxConcurrent: 2, maxPerHour: 30 };

describe('budget', () => {
  const dead = { exited: { atMs: NOW, exit: { kind: 'memory' } } } as const;
  const ejected = { ejected: { atMs: NOW, reason: 'hung', detail: '' } } as const;
  const unready = { ready: failing('refused', 2) };
  const ask = (views: ReturnType<typeof records>, ...gone: string[]) =>
    askBudget(canvasWith(views), RECORDS, ids(...gone), budget);

  it('B1, B3: who serves nobody costs nothing to remove, and is never forbidden', () => {
    for (const sick of [dead, ejected, unready, { weight: 0 }]) {
      assert.equal(ask(records(sick, dead, dead), 'records-1').kind, 'granted');
    }
  });

  it('B2: after the act at least the floor is available, whoever took the others', () => {
    assert.equal(ask(records({}, {}, {}), 'records-1').kind, 'granted');
    assert.equal(ask(records({}, {}, dead), 'records-1').kind, 'denied');
    assert.equal(ask(records({}, {}, {}), 'records-1', 'records-2').kind, 'denied');
    assert.deepEqual(ask(records({}, {}, {}), 'records-1'), {
      kind: 'granted',
      availableAfter: 2,
      floor: 2,
    });
  });

  it('B2: for two to five replicas and any that are out, the count is exact', () => {
    fc.assert(
      fc.property(
        fc.array(fc.boolean(), { minLength: 2, maxLength: 5 }),
        fc.nat(4),
        fc.nat(5),
        (up, which, maxUnavailable) => {
          const views = records(...up.map((isUp) => (isUp ? {} : dead)));
          const canvas = canvasWith(views, { records: { replicas: up.length } });
          const at = which % up.length;
          const answer = askBudget(canvas, RECORDS, ids(`records-${at + 1}`), {
            ...budget,
            maxUnavailable,
          });
          const left = up.filter((isUp, i) => isUp && i !== at).length;
          const floor = Math.max(1, up.length - maxUnavailable);
          const granted = up[at] === false || left >= floor;
          assert.equal(answer.kind, granted ? 'granted' : 'denied');
        },
      ),
    );
  });
});

describe('comparison of releases', () => {
  it('CM1: one bad answer condemns nobody; enough of them do', () => {
    assert.equal(compare(traffic(0, 10, { errors: 1 }), traffic(0, 100), 5).kind, 'as-good');
    assert.equal(compare(traffic(0, 10, { errors: 3 }), traffic(0, 100), 5).kind, 'worse');
    assert.equal(compare(traffic(0, 100, { errors: 4 }), undefined, 5).kind, 'as-good');
  });

  it('CM3: two errors in few requests never pass as good; most of them condemn at once', () => {
    const few = compare(traffic(0, 10, { errors: 2 }), traffic(0, 100), 0);
    assert.ok(few.kind === 'unsure' && !few.clean);
    assert.equal(compare(traffic(0, 2, { errors: 2 }), traffic(0, 100), 0).kind, 'worse');
    // With nothing to compare it with, two bad answers are too few to condemn.
    const alone = compare(traffic(0, 2, { errors: 2 }), undefined, 0);
    assert.ok(alone.kind === 'unsure' && !alone.clean);
  });

  it('CM2: what the baseline suffers as well is not held against the candidate', () => {
    const both = { errors: 30 };
    assert.equal(compare(traffic(0, 100, both), traffic(0, 100, both), 5).kind, 'as-good');
    const slow = traffic(0, 50, {}, 11);
    assert.equal(compare(slow, traffic(0, 50), 5).kind, 'worse');
    assert.equal(compare(slow, slow, 5).kind, 'as-good');
  });

  it('CM3: too little traffic neither condemns nor proves', () => {
    assert.equal(compare(traffic(0, 3), traffic(0, 100), 20).kind, 'unsure');
    const two = compare(traffic(0, 10, { errors: 2 }), traffic(0, 100), 5);
    assert.ok(two.kind === 'unsure' && !two.clean, 'two errors are not clean');
    assert.equal(compare(traffic(0, 3, { errors: 2 }), traffic(0, 100), 5).kind, 'worse');
  });
});

describe('picture', () => {
  it('windows are summed by age, errors have a beginning, quantiles an upper bound', () => {
    const windows = [
      traffic(NOW - 9_000, 5, { errors: 5 }),
      traffic(NOW - 3_000, 2, { errors: 1 }),
      traffic(NOW - 100, 4, { broken: 1 }),
    ];
    assert.equal(sumWindows(windows, NOW, 5_000).requests, 6);
    assert.equal(firstBadMs(windows, NOW, 5_000), NOW - 3_000);
    assert.equal(firstBadMs([traffic(NOW, 5)], NOW, 5_000), undefined);
    assert.equal(quantileMs(traffic(0, 9, {}, 4).latency, 0.5), 16);
    assert.equal(quantileMs([], 0.5), 0);
    assert.ok(isAvailable(replica('records-1')));
  });

  it('a dependency is back with its probe or with its new process, whichever is later', () => {
    const canvas = canvasWith([]);
    const view = canvas.dependencies.get(POSTGRES);
    assert.ok(view !== undefined);
    assert.equal(backAtMs(view, canvas), NOW - 600_000);
    const track = { ...okAt(NOW), recoveredAtMs: NOW - 5 };
    assert.equal(backAtMs({ ...view, track }, canvas), NOW - 5);
  });
});

describe('ids and books', () => {
  it('I1: an id is made only from what matches its grammar', () => {
    for (const bad of ['', 'A', '1a', 'a_b', 'a-', '../x', 'a'.repeat(41)]) {
      assert.ok(!isName(bad), bad);
      assert.throws(() => serviceName(bad), { code: 'KIN_NAME_INVALID' });
      assert.throws(() => tenantId(bad), { code: 'KIN_NAME_INVALID' });
    }
    assert.throws(() => runId('a b'), { code: 'KIN_NAME_INVALID' });
    assert.equal(ordinalOf(replicaId(RECORDS, 12)), 12);
    assert.equal(ordinalOf('x' as never), 0);
  });

  it('F1: the next ids start where the book says, and only grow', () => {
    const book = {
      name: RECORDS,
      replicas: 1,
      release: R1,
      previous: undefined,
      releasedAtMs: undefined,
      nextOrdinal: 7,
      paused: false,
    };
    assert.deepEqual(nextIds(book, 2), ids('records-7', 'records-8'));
  });
});

describe('tables of states', () => {
  it('R1, R2: phases', () => {
    assert.deepEqual(PHASE_TABLE.gone, []);
    assert.ok(mayBecome('starting', 'ready') && mayBecome('draining', 'ready'));
    assert.ok(!mayBecome('gone', 'ready') && !mayBecome('starting', 'draining'));
    assert.ok(!isAvailable(replica('records-1', { weight: 0 })));
    assert.ok(!isAvailable(replica('records-1', { phase: 'draining' })));
    assert.equal(exitText({ kind: 'unknown' }), 'ended (status not seen)');
  });

  it('INC1: healed is final, and every other state can become healed or be acted on', () => {
    assert.deepEqual(INCIDENT_TABLE.healed, []);
    assert.ok(incidentMayBecome('escalated', 'acting') && !incidentMayBecome('acting', 'healed'));
    for (const [from, to] of Object.entries(INCIDENT_TABLE)) {
      for (const state of to) assert.ok(state in INCIDENT_TABLE, `${from} → ${state}`);
    }
  });

  it('RUN1: open states lead somewhere, final ones nowhere', () => {
    for (const [state, next] of Object.entries(RUN_TABLE)) {
      assert.equal(
        next.length > 0,
        OPEN_STATES.some((open) => open === state),
        state,
      );
    }
  });

  it('RC1: a copied receipt permits nothing', () => {
    const receipt = mintReceipt('p' as never, 'd', 1, 'leaf');
    assertReceipt(receipt);
    assert.throws(() => assertReceipt({ ...receipt }), /without a ledger receipt/u);
  });
});
