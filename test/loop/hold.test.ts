// May a person hold a whole tenant to less, and what is planned then?
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { planChange } from '../../src/loop/decide/change.ts';
import type { ChangeRequest } from '../../src/loop/decide/change.ts';
import type { DecideContext } from '../../src/loop/decide/context.ts';
import { expiredHolds } from '../../src/loop/decide/hold.ts';
import { holdId, holdText, pinnedReplica } from '../../src/model/hold.ts';
import type { HoldMode, TenantHold } from '../../src/model/hold.ts';
import { asReplicaId, target, tenantId } from '../../src/model/ids.ts';
import type { Plan } from '../../src/model/plan.ts';
import { MANIFEST, RECORDS, WALL, canvasWith, contextWith, fleetOf, records } from './kit.ts';

const [TENANT, OTHER] = [...MANIFEST.tenants.keys()];
assert.ok(TENANT !== undefined && OTHER !== undefined);
const canvas = canvasWith(records({}, {}, {}));

function holdOf(mode: HoldMode, change: Partial<TenantHold> = {}): TenantHold {
  const tenant = change.tenant ?? TENANT ?? tenantId('x');
  const base = { reason: 'r', actor: 'ann', sinceMs: WALL, untilMs: undefined };
  return { id: holdId(tenant), tenant, mode, ...base, ...change };
}

function withHolds(...holds: readonly TenantHold[]): Partial<DecideContext> {
  return { fleet: { ...fleetOf(canvas), holds: new Map(holds.map((h) => [h.id, h])) } };
}

function ask(mode: HoldMode, change: Partial<DecideContext> = {}, tenant = TENANT): string | Plan {
  const request: ChangeRequest = {
    kind: 'hold-tenant',
    tenant: tenant ?? tenantId('x'),
    mode,
    reason: 'it crawls us',
    forMs: 60_000,
  };
  const made = planChange(request, 'ann', 'chg_1', contextWith(canvas, change));
  return made.kind === 'refuse' ? made.code : made.plan;
}

const pinTo = (n: number): HoldMode => ({
  kind: 'pin',
  service: RECORDS,
  replica: asReplicaId(`records-${n}`),
});

describe('tenants held to less', () => {
  test('a hold is one step with its end, by its actor, and disrupts no replica', () => {
    const plan = ask({ kind: 'throttle', ratePerSecond: 5 });
    assert.ok(typeof plan === 'object');
    assert.deepEqual(plan.origin, { kind: 'operator', actor: 'ann' });
    assert.equal(plan.summary, `${TENANT}: throttled to 5/s: it crawls us`);
    assert.equal(plan.disrupts, 0);
    const [{ step }] = plan.steps;
    assert.ok(step.kind === 'hold-tenant');
    assert.equal(step.hold.untilMs, WALL + 60_000);
    assert.equal(ask({ kind: 'throttle', ratePerSecond: 0 }), 'KIN_HOLD_RATE');
    assert.equal(ask({ kind: 'deny' }, {}, tenantId('nobody')), 'KIN_TENANT_UNKNOWN');
  });

  test('HO1: a pin leaves a replica for the others, and takes none that is taken', () => {
    assert.equal(typeof ask(pinTo(3)), 'object');
    assert.equal(ask(pinTo(9)), 'KIN_HOLD_PIN');
    const theirs = holdOf(pinTo(3), { tenant: OTHER });
    assert.equal(ask(pinTo(3), withHolds(theirs)), 'KIN_HOLD_PIN');
    assert.equal(typeof ask(pinTo(2), withHolds(theirs)), 'object');
    const two = canvasWith(records({}, {}));
    const fleet = { ...fleetOf(two), holds: new Map([[theirs.id, holdOf(pinTo(1), theirs)]]) };
    assert.equal(ask(pinTo(2), { fleet: { ...fleet, holds: new Map() } }) !== '', true);
    const only = { ...fleetOf(canvasWith(records({}))), holds: new Map() };
    assert.equal(ask(pinTo(1), { fleet: only }), 'KIN_HOLD_PIN');
    const other = holdOf(pinTo(1), { tenant: OTHER });
    const left = { ...fleetOf(two), holds: new Map([[other.id, other]]) };
    assert.equal(ask(pinTo(2), { fleet: left }), 'KIN_HOLD_PIN');
  });

  test('HO2: the next hold takes the place of the one before; its undo brings that back', () => {
    const before = holdOf({ kind: 'read-only' });
    const plan = ask({ kind: 'deny' }, withHolds(before));
    assert.ok(typeof plan === 'object');
    assert.deepEqual(plan.steps[0].undo, [{ kind: 'hold-tenant', hold: before }]);
    const first = ask({ kind: 'deny' });
    assert.ok(typeof first === 'object');
    assert.deepEqual(first.steps[0].undo, [{ kind: 'release-tenant', id: before.id }]);
    const busy = contextWith(canvas).liveRuns;
    const run = { target: target('hold', before.tenant) } as (typeof busy)[number];
    assert.equal(ask({ kind: 'deny' }, { liveRuns: [run] }), 'KIN_TARGET_BUSY');
  });

  test('HO3: what has an end is found once it has passed; what has none, never', () => {
    const ends = holdOf({ kind: 'deny' }, { untilMs: WALL + 1_000 });
    const lasts = holdOf({ kind: 'deny' }, { tenant: OTHER, id: holdId(OTHER) });
    const at = (wallMs: number): readonly TenantHold[] =>
      expiredHolds(contextWith(canvas, { ...withHolds(ends, lasts), wallMs }));
    assert.deepEqual(at(WALL + 999), []);
    assert.deepEqual(at(WALL + 1_000), [ends]);
    const lift = { kind: 'release-tenant', tenant: ends.tenant } as const;
    const made = planChange(lift, 'its-end', 'chg_2', contextWith(canvas, withHolds(ends)));
    assert.ok(made.kind === 'plan');
    assert.deepEqual(made.plan.steps[0].undo, [{ kind: 'hold-tenant', hold: ends }]);
    const none = planChange(lift, 'ann', 'chg_3', contextWith(canvas));
    assert.equal(none.kind === 'refuse' && none.code, 'KIN_HOLD_UNKNOWN');
  });

  test('a pin follows its replica to the oldest of those that came after it', () => {
    const live = [2, 5, 7].map((n) => asReplicaId(`records-${n}`));
    const now = (n: number): string | undefined => pinnedReplica(asReplicaId(`records-${n}`), live);
    assert.deepEqual(
      [now(5), now(3), now(7), now(8)],
      ['records-5', 'records-5', 'records-7', undefined],
    );
    assert.equal(holdText(holdOf(pinTo(3))), 'pinned to records-3');
  });
});
