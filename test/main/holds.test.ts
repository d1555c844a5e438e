// What `src/main` does for tenants that are held to less, and for dependencies that are down.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { HoldOrder } from '../../src/api/hold-contract.ts';
import { downNow } from '../../src/main/dependencies.ts';
import { holdTenant, releaseTenant } from '../../src/main/holds.ts';
import type { Controller } from '../../src/main/parts.ts';
import { buildTable } from '../../src/main/table.ts';
import { EMPTY_FLEET } from '../../src/model/fleet.ts';
import { holdId } from '../../src/model/hold.ts';
import type { HoldMode, TenantHold } from '../../src/model/hold.ts';
import { asReplicaId, dependencyName, serviceName } from '../../src/model/ids.ts';
import type { DependencyView } from '../../src/model/picture.ts';
import { MANIFEST, canvasWith, fleetOf, records } from '../loop/kit.ts';

const [TENANT] = [...MANIFEST.tenants.keys()];
assert.ok(TENANT !== undefined);
const ann = { name: 'ann' } as Parameters<typeof releaseTenant>[2];
const RECORDS = serviceName('records');

const holdOf = (mode: HoldMode, tenant = TENANT): TenantHold => ({
  id: holdId(tenant),
  tenant,
  mode,
  reason: 'r',
  actor: 'ann',
  sinceMs: 1,
  untilMs: undefined,
});

interface Fake {
  readonly controller: Controller;
  readonly asked: unknown[];
  end(state: 'done' | 'undone'): void;
}

/** A controller whose runs end when the test says so. */
function fake(hold: TenantHold | undefined): Fake {
  const asked: unknown[] = [];
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const holds = new Map(hold === undefined ? [] : [[hold.id, hold]]);
  const loop = {
    change(request: unknown, actor: string) {
      asked.push([request, actor]);
      return { kind: 'plan', plan: { summary: 'a plan' }, ended: promise };
    },
    state: { book: { fleet: () => ({ ...EMPTY_FLEET, holds }) } },
  };
  return {
    controller: { loop } as unknown as Controller,
    asked,
    end: (state) => resolve({ id: 'run-1', state }),
  };
}

const order = (change: Partial<HoldOrder>): HoldOrder => ({
  mode: 'deny',
  ratePerSecond: undefined,
  service: undefined,
  replica: undefined,
  forMs: 5_000,
  reason: 'r',
  ...change,
});

describe('holding tenants', () => {
  test('HD1: the answer comes with the end of the run, and tells what is in force', async () => {
    const { controller, asked, end } = fake(holdOf({ kind: 'throttle', ratePerSecond: 5 }));
    const wanted = order({ mode: 'throttle', ratePerSecond: 5 });
    const answer = holdTenant(controller, TENANT, wanted, ann, serviceName);
    assert.equal(await Promise.race([answer, Promise.resolve('not yet')]), 'not yet');
    end('done');
    const { hold, run } = await answer;
    assert.deepEqual([hold?.text, run], ['throttled to 5/s', 'run-1']);
    const mode = { kind: 'throttle', ratePerSecond: 5 };
    assert.deepEqual(asked, [
      [{ kind: 'hold-tenant', tenant: TENANT, mode, reason: 'r', forMs: 5_000 }, 'ann'],
    ]);
  });

  test('HD1: a run that was undone is no success', async () => {
    const { controller, end } = fake(undefined);
    end('undone');
    await assert.rejects(releaseTenant(controller, TENANT, ann), { code: 'KIN_RUN_NOT_BEGUN' });
  });

  test('an order that lacks what its mode needs is refused, and nothing is planned', async () => {
    for (const mode of ['throttle', 'pin'] as const) {
      const { controller, asked } = fake(undefined);
      const answer = holdTenant(controller, TENANT, order({ mode }), ann, serviceName);
      await assert.rejects(answer, { code: 'KIN_HOLD_INCOMPLETE' });
      assert.deepEqual(asked, []);
    }
  });
});

describe('the routing table', () => {
  const inputs = { manifest: MANIFEST, keys: new Map(), jwt: [], assertionRoot: 'AAAA' };
  const fleet = fleetOf(canvasWith(records({}, {}, {})));
  const rulesOf = (...holds: readonly TenantHold[]): unknown =>
    buildTable({ ...fleet, holds: new Map(holds.map((h) => [h.id, h])) }, 1, inputs).tenantRules;

  test('holds stand in it as rules; a pin means the replica that is there now', () => {
    const tenant = TENANT;
    assert.equal(rulesOf(), undefined);
    assert.deepEqual(rulesOf(holdOf({ kind: 'read-only' })), [
      { tenant, mode: 'read-only', reason: 'r' },
    ]);
    assert.deepEqual(rulesOf(holdOf({ kind: 'throttle', ratePerSecond: 2 })), [
      { tenant, mode: 'throttle', ratePerSecond: 2, reason: 'r' },
    ]);
    const pin = (n: number): TenantHold =>
      holdOf({ kind: 'pin', service: RECORDS, replica: asReplicaId(`records-${n}`) });
    const rule = (n: number): unknown => [
      { tenant, mode: 'pin', replicas: [`records-${n}`], reason: 'r' },
    ];
    assert.deepEqual(rulesOf(pin(2)), rule(2));
    // Nobody is there any more: it waits, and is not let loose.
    assert.deepEqual(rulesOf(pin(9)), rule(9));
  });

  test('DW1: what is down and needed by a route stands in it, and nothing else', () => {
    const db = dependencyName('postgres');
    const view = (name: string, failures: number, okAtMs: number | undefined): DependencyView =>
      ({
        spec: { name, failures: 2 },
        track: { last: { kind: 'failed' }, failures, okAtMs },
      }) as unknown as DependencyView;
    const route = { prefix: '/', timeoutMs: 1, retry: true, dependencies: [db] };
    const spec = { routes: [route] };
    const manifest = { services: new Map([[RECORDS, spec]]) } as unknown as typeof MANIFEST;
    assert.deepEqual(downNow([view('postgres', 2, 5)], manifest), [db]);
    // Below its threshold; never seen up, it may be starting; needed by no route.
    const none = [view('postgres', 1, 5), view('postgres', 2, undefined), view('redis', 2, 5)];
    assert.deepEqual(downNow(none, manifest), []);
    const table = buildTable(fleet, 1, { ...inputs, down: [db] });
    assert.deepEqual(table.downDependencies, [db]);
    assert.equal('downDependencies' in buildTable(fleet, 1, inputs), false);
  });
});
