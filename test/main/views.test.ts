// What a reader is shown: never a score without its population and its age.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { controlViews } from '../../src/main/views.ts';
import type { Controller } from '../../src/main/parts.ts';
import { checkId } from '../../src/model/ids.ts';
import type { CheckResult } from '../../src/model/signal.ts';

const id = checkId('rls-enforced');
const SATISFIED: CheckResult = { kind: 'satisfied', population: 6, detail: 'all' };

function shown(result: CheckResult | undefined, measuredAtMs: number, nowMs: number): unknown {
  const controller = {
    settings: { manifest: { compliance: { checks: [{ id, intervalMs: 5_000 }] } } },
    loop: { state: { canvas: { controls: new Map([[id, { result, atMs: measuredAtMs }]]) } } },
  } as unknown as Controller;
  const times = { nowMs, wallMs: nowMs, wall: (ms: number) => ms };
  const [view] = controlViews(controller, times);
  return [view?.verdict, view?.measuredAtMs];
}

test('C2 of contract.ts: a control is green only with a population and a fresh measurement', () => {
  assert.deepEqual(shown(SATISFIED, 1_000, 2_000), ['satisfied', 1_000]);
  assert.deepEqual(shown(undefined, 0, 2_000), ['not-evaluated', undefined]);
  assert.deepEqual(shown({ ...SATISFIED, population: 0 }, 1_000, 2_000), ['not-evaluated', 1_000]);
  assert.deepEqual(shown(SATISFIED, 1_000, 90_000), ['stale', 1_000]);
  const broken: CheckResult = { kind: 'error', reason: 'x' };
  assert.deepEqual(shown(broken, 1_000, 2_000), ['error', 1_000]);
});
