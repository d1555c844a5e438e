import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Forecast, Trend, TREND_LIMITS } from '../../../src/loop/detect/trend/exhaustion.ts';
import { type LevelKind, levelCase, SAMPLE_MS } from './levels.ts';

const AGREE = 3;
const MINUTE_MS = 60_000;

interface Alarm {
  readonly at: number;
  readonly forecast: Extract<Forecast, { readonly kind: 'exhausts' }>;
}

/** First time that three forecasts in a row, five minutes apart, say that it runs out. */
function firstAlarm(values: readonly number[], limit: number): Alarm | undefined {
  const trend = new Trend();
  let inRow = 0;
  for (const [at, value] of values.entries()) {
    trend.note(at * SAMPLE_MS, value);
    if (at % 5 !== 0) continue;
    const forecast = trend.forecast(limit);
    inRow = forecast.kind === 'exhausts' ? inRow + 1 : 0;
    if (forecast.kind === 'exhausts' && inRow >= AGREE) return { at, forecast };
  }
  return undefined;
}

function fill(trend: Trend, minutes: number, of: (minute: number) => number, from = 0): void {
  for (let i = from; i < from + minutes; i += 1) trend.note(i * MINUTE_MS, of(i));
}

describe('time to exhaustion', () => {
  test('leaks are told hours before they end, and when they end about right', () => {
    const leads: number[] = [];
    const errors: number[] = [];
    for (let seed = 1; seed <= 20; seed += 1) {
      const { values, limit, exhaustedAt } = levelCase('leak', seed);
      const alarm = firstAlarm(values, limit);
      assert.ok(alarm !== undefined && exhaustedAt > 0, `seed ${seed}`);
      const left = exhaustedAt - alarm.at;
      leads.push(left);
      errors.push(Math.abs(alarm.forecast.inMs / MINUTE_MS - left) / left);
      const { soonestMs, inMs, latestMs } = alarm.forecast;
      assert.ok(soonestMs <= inMs + TREND_LIMITS.binMs && latestMs > soonestMs);
    }
    leads.sort((a, b) => a - b);
    errors.sort((a, b) => a - b);
    assert.ok((leads[2] ?? 0) >= 120, `p10 of the lead: ${leads[2]} min`);
    assert.ok((errors[10] ?? 1) <= 0.2, `median error ${errors[10]}`);
  });

  for (const kind of ['daily', 'cache', 'step', 'saw'] satisfies LevelKind[]) {
    test(`a level that only looks so (${kind}) raises next to no alarm`, () => {
      let alarms = 0;
      for (let seed = 1; seed <= 8; seed += 1) {
        const { values, limit } = levelCase(kind, seed);
        if (firstAlarm(values, limit) !== undefined) alarms += 1;
      }
      assert.ok(alarms <= 1, `${alarms} of 8`);
    });
  }

  test('EX3. a restart in the middle of a leak begins anew', () => {
    const trend = new Trend();
    fill(trend, 400, (i) => 300 + 1.6 * i);
    assert.equal(trend.forecast(1_000).kind, 'exhausts');
    fill(trend, 60, () => 200, 400);
    assert.deepEqual(trend.forecast(1_000), { kind: 'unknown', reason: 'too-short' });
  });

  test('EX3. what cannot be true changes nothing', () => {
    const clean = new Trend();
    const dirty = new Trend();
    fill(clean, 400, (i) => 300 + 1.6 * i);
    fill(dirty, 400, (i) => {
      dirty.note(i * MINUTE_MS - 5_000, Number.NaN);
      dirty.note((i - 3) * MINUTE_MS, 999);
      dirty.note(Number.NaN, 1);
      dirty.note(i * MINUTE_MS - 1, -4);
      return 300 + 1.6 * i;
    });
    assert.deepEqual(dirty.forecast(1_000), clean.forecast(1_000));
  });

  test('EX1. a week of samples keeps one day of bins', () => {
    const trend = new Trend();
    fill(trend, 7 * 1_440, (i) => 500 + (i % 7));
    assert.ok(JSON.stringify(structuredClone(trend.bins)).length < 16_384);
    assert.equal(trend.bins.length, 96 + TREND_LIMITS.bins + 1);
  });

  test('EX2. the same samples give the same forecast; without a limit there is none', () => {
    const one = new Trend();
    const other = new Trend();
    for (const trend of [one, other]) fill(trend, 400, (i) => 300 + 1.6 * i + 9 * Math.sin(i));
    assert.deepEqual(one.forecast(1_000), other.forecast(1_000));
    assert.deepEqual(one.forecast(0), { kind: 'unknown', reason: 'no-limit' });
    assert.deepEqual(one.forecast(Number.NaN), { kind: 'unknown', reason: 'no-limit' });
  });

  test('EX4. the forecast holds the time that a plain climb needs', () => {
    const trend = new Trend();
    fill(trend, 451, (i) => 300 + i);
    const told = trend.forecast(900);
    assert.equal(told.kind, 'exhausts');
    if (told.kind !== 'exhausts') return;
    // 750 at minute 450: 150 minutes are left.
    assert.ok(Math.abs(told.inMs / MINUTE_MS - 150) < 15, `${told.inMs / MINUTE_MS}`);
    assert.ok(Math.abs(told.perHour - 60) < 1);
  });
});
