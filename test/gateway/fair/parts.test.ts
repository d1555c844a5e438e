// The small judges of isolation: rules of tenants, shards, breakers, deadlines.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Breaker, Breakers } from '../../../src/gateway/fair/breaker.ts';
import { leftMs, totalMs } from '../../../src/gateway/fair/deadline.ts';
import { NO_RULES, compileRules, ruleVerdict } from '../../../src/gateway/fair/rules.ts';
import type { TenantRules } from '../../../src/gateway/fair/rules.ts';
import {
  asReplicaId,
  dependencyName,
  replicaId,
  serviceName,
  tenantId,
} from '../../../src/model/ids.ts';
import type { TenantRule } from '../../../src/model/routing.ts';
import { blastRadius, blastText, shardOf } from '../../../src/model/shards.ts';
import type { Sharded } from '../../../src/model/shards.ts';

const ACME = tenantId('acme');
const rule = (change: Partial<TenantRule>): TenantRule => ({
  tenant: ACME,
  mode: 'deny',
  reason: 'a test',
  ...change,
});
const only = (rules: TenantRules): NonNullable<ReturnType<TenantRules['byTenant']['get']>> => {
  const found = rules.byTenant.get(ACME);
  assert.ok(found !== undefined);
  return found;
};

describe('rules of tenants', () => {
  test('each mode refuses what it says and nothing else', () => {
    const verdict = (change: Partial<TenantRule>, method: string): unknown => {
      const answer = ruleVerdict(only(compileRules([rule(change)], NO_RULES, 1)), method, 5);
      return answer === 'pass' ? answer : answer.kind;
    };
    assert.equal(verdict({}, 'GET'), 'denied');
    assert.equal(verdict({ mode: 'read-only' }, 'GET'), 'pass');
    assert.equal(verdict({ mode: 'read-only' }, 'OPTIONS'), 'pass');
    assert.equal(verdict({ mode: 'read-only' }, 'POST'), 'read-only');
    assert.equal(verdict({ mode: 'read-only' }, 'get'), 'read-only');
    const pin = { mode: 'pin', replicas: [asReplicaId('records-3')] } as const;
    assert.equal(verdict(pin, 'DELETE'), 'pass');
    assert.equal(compileRules([], NO_RULES, 1), NO_RULES);
    assert.equal(compileRules(undefined, NO_RULES, 1), NO_RULES);
  });

  test('TR1: the last rule of a tenant counts, and one without sense denies', () => {
    const rules = compileRules([rule({}), rule({ mode: 'read-only' })], NO_RULES, 1);
    assert.equal(only(rules).mode, 'read-only');
    assert.equal(only(compileRules([rule({ mode: 'throttle' })], NO_RULES, 1)).mode, 'deny');
    const none = compileRules([rule({ mode: 'pin', replicas: [] })], NO_RULES, 1);
    assert.equal(only(none).mode, 'deny');
    assert.equal(none.reserved.size, 0);
  });

  test('TR2: the replicas of a pin are kept for it', () => {
    const three = asReplicaId('records-3');
    const rules = compileRules([rule({ mode: 'pin', replicas: [three] })], NO_RULES, 1);
    assert.deepEqual([...rules.reserved], [three]);
  });

  test('TR3: a throttle keeps its pace, its share of a worker, and its fill over tables', () => {
    const slow = rule({ mode: 'throttle', ratePerSecond: 10 });
    const first = compileRules([slow], NO_RULES, 2);
    let passed = 0;
    for (let ms = 0; ms < 10_000; ms += 5) {
      if (ruleVerdict(only(first), 'GET', ms) === 'pass') passed += 1;
    }
    assert.ok(passed >= 49 && passed <= 51, `${passed}`);
    const again = compileRules([slow], first, 2);
    const answer = ruleVerdict(only(again), 'GET', 9_900);
    assert.equal(answer !== 'pass' && answer.kind, 'throttled');
    assert.ok(answer !== 'pass' && answer.kind === 'throttled' && answer.retryAfterMs <= 200);
  });
});

const records = serviceName('records');
const fleet = (n: number): Sharded[] =>
  Array.from({ length: n }, (_, i) => ({ id: replicaId(records, i + 1), weight: 100 }));
const tenants = Array.from({ length: 3_000 }, (_, i) => tenantId(`tenant-${i}`));

describe('shards', () => {
  test('SH1: the same in whatever order they are listed, k of them, none twice', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 5 }),
        fc.constantFrom(...tenants),
        (n, k, tenant) => {
          const shard = shardOf(tenant, fleet(n), k);
          assert.equal(new Set(shard).size, Math.min(n, k));
          const ids = (s: readonly Sharded[]): string[] => s.map((r) => r.id);
          assert.deepEqual(ids(shardOf(tenant, fleet(n).toReversed(), k)), ids(shard));
        },
      ),
    );
  });

  test('SH2: only the tenants of a lost replica move, by one; a new one takes only its own', () => {
    const before = fleet(8);
    const [lost, ...left] = before;
    let moved = 0;
    for (const tenant of tenants) {
      const was = shardOf(tenant, before, 3).map((r) => r.id);
      const is = shardOf(tenant, left, 3).map((r) => r.id);
      const kept = was.filter((id) => is.includes(id)).length;
      const had = lost !== undefined && was.includes(lost.id);
      assert.equal(kept, had ? 2 : 3);
      if (had) moved += 1;
    }
    // 3 of 8 tenants had it, more or less.
    assert.ok(Math.abs(moved / tenants.length - 3 / 8) < 0.03, `${moved}`);
  });

  test('SH3: shares follow the weights: few live on a canary, none on a drained one', () => {
    const replicas = fleet(4).map((r, i) => ({ ...r, weight: [100, 100, 10, 0][i] ?? 0 }));
    const counts = new Map<string, number>();
    for (const tenant of tenants) {
      const [one] = shardOf(tenant, replicas, 1);
      counts.set(one?.id ?? '', (counts.get(one?.id ?? '') ?? 0) + 1);
    }
    const canary = (counts.get('records-3') ?? 0) / tenants.length;
    assert.ok(canary > 0.03 && canary < 0.07, `${canary}`);
    assert.equal(counts.get('records-4'), undefined);
  });

  test('the blast radius that is printed is the one that is measured', () => {
    const radius = blastRadius(8, 2);
    assert.equal(radius.shards, 28);
    const replicas = fleet(8);
    const victims = new Set(shardOf(ACME, replicas, 2).map((r) => r.id));
    let all = 0;
    let any = 0;
    for (const tenant of tenants) {
      const lost = shardOf(tenant, replicas, 2).filter((r) => victims.has(r.id)).length;
      if (lost === 2) all += 1;
      if (lost > 0) any += 1;
    }
    assert.ok(Math.abs(all / tenants.length - radius.sharesAll) < 0.01, `${all}`);
    assert.ok(Math.abs(any / tenants.length - radius.sharesAny) < 0.03, `${any}`);
    assert.equal(
      blastText(radius),
      'each tenant on 2 of 8: if one breaks its 2, 3.6 % of the others lose all of theirs, ' +
        '46 % lose one or more',
    );
    assert.match(blastText(blastRadius(3, undefined)), /on all 3/u);
    assert.deepEqual(blastRadius(3, 5).sharesAll, 1);
    assert.equal(blastRadius(100, 5).shards, 75_287_520);
  });
});

describe('breakers', () => {
  const broken = (): Breaker => {
    const breaker = new Breaker(() => 0.5);
    for (let i = 0; i < 10; i += 1) breaker.note(true, false, i);
    return breaker;
  };

  test('DB1: it opens at half of the answers, and not on fewer than ten', () => {
    const few = new Breaker(() => 0.5);
    for (let i = 0; i < 9; i += 1) few.note(true, false, i);
    assert.equal(few.ask(20), 'pass');
    few.note(true, false, 20);
    assert.deepEqual(few.ask(21), { kind: 'refused', retryAfterMs: 999 });
    const half = new Breaker(() => 0.5);
    for (let i = 0; i < 100; i += 1) half.note(i % 5 > 2, false, i);
    assert.equal(half.ask(200), 'pass');
    // What is older than 10 s is forgotten.
    for (let i = 0; i < 8; i += 1) half.note(true, false, 12_000);
    assert.equal(half.ask(12_000), 'pass');
  });

  test('DB1: what fails for one tenant only does not open it for the others', () => {
    const own = new Breaker(() => 0.5);
    for (let i = 0; i < 30; i += 1) {
      own.note(false, false, i, `t${i % 3}`);
      own.note(true, false, i, 'greedy');
    }
    assert.equal(own.ask(40), 'pass');
    own.note(true, false, 41, 't1');
    assert.notEqual(own.ask(42), 'pass');
    const alone = new Breaker(() => 0.5);
    for (let i = 0; i < 10; i += 1) alone.note(true, false, i, 'only');
    assert.notEqual(alone.ask(20), 'pass');
  });

  test('DB2: half-open, one trial at a time; one that never ends counts as failed', () => {
    const breaker = broken();
    assert.equal(breaker.ask(1_010), 'trial');
    const second = breaker.ask(1_011);
    assert.equal(typeof second === 'object' && second.kind, 'refused');
    const late = breaker.ask(1_010 + 5_000);
    assert.deepEqual(late, { kind: 'refused', retryAfterMs: 2_000 });
    assert.equal(breaker.ask(8_100), 'trial');
    // Its client left: the next one may try.
    breaker.drop(8_200);
    assert.equal(breaker.ask(8_201), 'trial');
    breaker.note(false, true, 8_300);
    assert.equal(breaker.ask(8_301), 'pass');
  });

  test('DB3: the pause doubles with each failed trial, to 30 s, with jitter', () => {
    const pauses: number[] = [];
    for (const [jitter, share] of [
      [0, 0.8],
      [0.999_999, 1.2],
    ] as const) {
      const breaker = new Breaker(() => jitter);
      let nowMs = 0;
      for (let i = 0; i < 10; i += 1) breaker.note(true, false, nowMs);
      for (let i = 0; i < 8; i += 1) {
        const { state } = breaker;
        assert.ok(state.kind === 'open');
        if (jitter === 0) pauses.push(state.pauseMs);
        assert.ok(Math.abs(state.untilMs - nowMs - share * state.pauseMs) < 1);
        nowMs = state.untilMs;
        assert.equal(breaker.ask(nowMs), 'trial');
        breaker.note(true, true, nowMs);
      }
    }
    assert.deepEqual(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  });

  test('DB4: what is said to be down is refused at once, and tried at once when it is up', () => {
    const breakers = new Breakers(() => 0.5);
    const db = dependencyName('db');
    const breaker = breakers.of(records, db);
    breakers.use([db]);
    const said = breaker.ask(0);
    assert.equal(typeof said === 'object' && said.kind, 'refused');
    // A route of a later table finds it said, too.
    const other = breakers.of(serviceName('other'), db).ask(0);
    assert.equal(typeof other === 'object' && other.kind, 'refused');
    for (let i = 0; i < 10; i += 1) breaker.note(true, false, i);
    breakers.use([]);
    assert.equal(breaker.ask(20), 'trial');
    assert.equal(breakers.of(records, db), breaker);
  });
});

describe('deadlines', () => {
  test('DL1: a client shortens its time and never lengthens it; nonsense is ignored', () => {
    assert.equal(totalMs('250', 30_000), 250);
    assert.equal(totalMs('60000', 30_000), 30_000);
    for (const bad of ['', '0', '-1', '1.5', '1e3', ' 5', '0x10', '700000', '9999999', '٣']) {
      assert.equal(totalMs(bad, 30_000), 30_000, bad);
    }
    assert.equal(totalMs('600000', 3_600_000), 600_000);
    assert.equal(totalMs(undefined, 30_000), 30_000);
  });

  test('DL2: what is left shrinks with time and is never below 1', () => {
    assert.equal(leftMs(1_000, 10, 10), 1_000);
    assert.equal(leftMs(1_000, 10, 260.5), 749);
    assert.equal(leftMs(1_000, 10, 9_000), 1);
  });
});
