// Does one request enter and leave as it should, whatever becomes of it?
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Breaker } from '../../../src/gateway/fair/breaker.ts';
import { Gate } from '../../../src/gateway/fair/gate.ts';
import { ruleProblem } from '../../../src/gateway/fair/problems.ts';
import { Stay } from '../../../src/gateway/fair/stay.ts';
import type { StayTerms } from '../../../src/gateway/fair/stay.ts';
import type { Problem } from '../../../src/gateway/problem.ts';
import { dependencyName } from '../../../src/model/ids.ts';

const DB = dependencyName('postgres');
const still = (): (() => void) => () => undefined;

function terms(ceiling: number, breaker?: Breaker): StayTerms & { readonly gate: Gate } {
  const gate = new Gate({ ceiling, nowMs: () => 0, later: still });
  const needs = breaker === undefined ? [] : [{ name: DB, breaker }];
  return { tenant: 'acme', weight: 6, gate, needs };
}

function openBreaker(): Breaker {
  const breaker = new Breaker(() => 0.5);
  for (let i = 0; i < 10; i += 1) breaker.note(true, false, 0);
  return breaker;
}

const kindOf = (breaker: Breaker): string => breaker.state.kind;
const reasonOf = (answer: 'in' | Problem): string => (answer === 'in' ? 'in' : answer.reason);

describe('a stay', () => {
  test('SY1: it leaves with the head of the answer, or with its end, and once', () => {
    const t = terms(4);
    const answered = new Stay(t);
    assert.equal(answered.enter(0), 'in');
    const failed = new Stay({ ...t, tenant: 'globex' });
    assert.equal(failed.enter(0), 'in');
    assert.equal(t.gate.inside, 2);
    answered.headCame(200, undefined, 5, 5);
    assert.equal(t.gate.inside, 1);
    answered.end(9);
    answered.end(9);
    assert.equal(t.gate.inside, 1);
    failed.end(9);
    failed.headCame(200, undefined, 5, 9);
    assert.equal(t.gate.inside, 0);
    assert.deepEqual(new Stay({ ...t, gate: undefined }).enter(0), 'in');
  });

  test('SY2: gone while it waits, it is never in; let in and gone at once, it leaves', async () => {
    const t = terms(1);
    const first = new Stay(t);
    assert.equal(first.enter(0), 'in');
    const gone = new Stay(t);
    const late = new Stay(t);
    const answers = [gone.enter(0), late.enter(0)];
    gone.end(1);
    assert.equal(t.gate.waiting, 1);
    first.end(2);
    // The gate has let it in; before it hears of that its client leaves.
    assert.equal(t.gate.inside, 1);
    late.end(2);
    assert.equal(t.gate.inside, 0);
    for (const answer of answers) {
      assert.ok(answer instanceof Promise);
      assert.equal(reasonOf(await answer), 'overloaded');
    }
    assert.equal(t.gate.inside, 0);
  });

  test('SY2: one that waits in patience is let in', async () => {
    const t = terms(1);
    const first = new Stay(t);
    assert.equal(first.enter(0), 'in');
    const second = new Stay(t);
    const answer = second.enter(0);
    first.headCame(200, undefined, 3, 3);
    assert.equal(await answer, 'in');
    second.end(5);
    assert.equal(t.gate.inside, 0);
  });

  test('SY3: a trial ends with its answer, its shedding or its client', () => {
    const breaker = openBreaker();
    const t = terms(4, breaker);
    const refused = new Stay(t).enter(1);
    assert.ok(typeof refused === 'object' && !(refused instanceof Promise));
    assert.equal(refused.reason, 'dependency-unavailable');
    assert.equal(t.gate.inside, 0);
    const left = new Stay(t);
    assert.equal(left.enter(2_000), 'in');
    assert.equal(kindOf(breaker), 'half-open');
    left.end(2_001);
    const bad = new Stay(t);
    assert.equal(bad.enter(2_002), 'in');
    bad.headCame(500, 'postgres', 2, 2_003);
    assert.equal(kindOf(breaker), 'open');
    const good = new Stay(t);
    assert.equal(good.enter(9_000), 'in');
    good.headCame(500, 'redis', 2, 9_001);
    assert.equal(kindOf(breaker), 'closed');
    assert.equal(t.gate.inside, 0);
  });

  test('a client is told what it may know, never what the operator wrote', () => {
    const reason = 'suspected of fraud';
    for (const verdict of [
      { kind: 'denied', reason },
      { kind: 'read-only', reason },
      { kind: 'throttled', reason, retryAfterMs: 5 },
    ] as const) {
      const problem = ruleProblem(verdict);
      assert.ok(!JSON.stringify(problem).includes('fraud'));
      assert.equal(problem.status, verdict.kind === 'throttled' ? 429 : 403);
    }
  });
});
