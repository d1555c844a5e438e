import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Features, STREAMS } from '../../../src/loop/detect/series/features.ts';
import { SeriesWatch, WATCH_LIMITS } from '../../../src/loop/detect/series/watch.ts';
import type { Anomaly } from '../../../src/loop/detect/series/watch.ts';
import { Recent, Window } from '../../../src/loop/detect/series/window.ts';
import { dice } from '../localise/ripple.ts';

const STEP_MS = 300_000;
const DAY = 288;

/** A day and night curve with noise, five minutes apart; `change` may bend it. */
function daily(seed: number, days: number, change: (i: number, value: number) => number): number[] {
  const roll = dice(seed);
  return Array.from({ length: days * DAY }, (_, i) => {
    const value = 100 + 40 * Math.sin((2 * Math.PI * i) / DAY) + 4 * (roll() + roll() - 1);
    return change(i, value);
  });
}

interface Alert extends Anomaly {
  readonly at: number;
}

function alerts(values: readonly number[], watch = new SeriesWatch()): Alert[] {
  return values.flatMap((value, at) => {
    const found = watch.step(at * STEP_MS, value);
    return found === undefined ? [] : [{ ...found, at }];
  });
}

describe('a window of the past', () => {
  test('WI2. extremes are exact, quantiles close, over a sliding window of thousands', () => {
    const roll = dice(3);
    const window = new Window(2_048);
    const all: number[] = [];
    for (let i = 0; i < 9_000; i += 1) {
      const value = Math.fround(roll() ** 3 * 100);
      all.push(value);
      window.push(value);
    }
    const last = all.slice(-window.count).toSorted((a, b) => a - b);
    assert.equal(window.highest(0), last.at(-1));
    assert.equal(window.highest(3), last.at(-4));
    assert.equal(window.lowest(2), last[2]);
    for (const q of [0.05, 0.5, 0.95]) {
      const exact = last[Math.round(q * (last.length - 1))] ?? 0;
      assert.ok(Math.abs(window.quantile(q) - exact) < 0.05 * exact + 1, `${q}`);
    }
  });

  test('WI1. what is older than its length is forgotten', () => {
    const window = new Window(512);
    window.push(1_000);
    for (let i = 0; i < 2_000; i += 1) window.push(i % 10);
    assert.equal(window.highest(0), 9);
    assert.ok(window.count <= 512 + 256);
  });

  test('the last values: quantiles, means and single ones agree with a plain list', () => {
    const roll = dice(5);
    const recent = new Recent(30);
    const all: number[] = [];
    for (let i = 0; i < 200; i += 1) {
      const value = Math.fround(Math.floor(roll() * 20));
      all.push(value);
      recent.push(value);
      const last = all.slice(-30).toSorted((a, b) => a - b);
      assert.equal(recent.quantile(0), last[0]);
      assert.equal(recent.quantile(1), last.at(-1));
      assert.equal(recent.ago(0), value);
    }
    assert.equal(recent.mean(5), all.slice(-5).reduce((sum, v) => sum + v, 0) / 5);
  });
});

describe('anomalies of one series', () => {
  test('a spike, a drop and a new level are each told, at once', () => {
    const shapes: ((i: number, value: number) => number)[] = [
      (i, value) => (i === 3_000 ? value + 150 : value),
      (i, value) => (i >= 3_000 && i < 3_012 ? 0 : value),
      (i, value) => (i >= 3_000 ? value + 90 : value),
    ];
    for (const shape of shapes) {
      const told = alerts(daily(7, 14, shape)).filter(({ at }) => at >= 3_000 && at < 3_012);
      assert.equal(told.length > 0, true);
      assert.ok((told[0]?.strength ?? 0) >= 0.5);
      assert.ok(STREAMS.includes(told[0]?.stream ?? 'value'), 'SW4. it says which stream');
    }
  });

  test('SW1. an ordinary fortnight is nearly silent, at any height and pace', () => {
    let told = 0;
    for (let seed = 1; seed <= 6; seed += 1) {
      const scale = 10 ** (seed - 3);
      told += alerts(daily(seed, 14, (_, value) => value * scale)).length;
    }
    // What the corpora allow: 0.12 a series-day.
    assert.ok(told <= 10, `${told} alerts in 84 days`);
  });

  test('one trouble is one alert, however long it lasts', () => {
    const told = alerts(daily(9, 14, (i, value) => (i >= 3_000 ? value + 200 : value)));
    const near = told.filter(({ at }) => at >= 3_000 && at < 3_140);
    assert.ok(near.length >= 1 && near.length <= 3, `${near.length}`);
  });

  test('SW2. nothing is told before the series is known', () => {
    const values = Array.from({ length: 60 }, (_, i) => (i % 2 === 0 ? 0 : 1e6));
    assert.deepEqual(alerts(values), []);
    const later = new SeriesWatch(WATCH_LIMITS, 4_000);
    assert.deepEqual(
      alerts(
        daily(7, 13, (i, v) => (i === 3_000 ? 900 : v)),
        later,
      ),
      [],
    );
  });

  test('SW3. NaN, infinity and samples of the past change nothing', () => {
    const values = daily(7, 14, (i, value) => (i === 3_000 ? value + 150 : value));
    const clean = alerts(values);
    const watch = new SeriesWatch();
    const dirty = values.flatMap((value, at) => {
      assert.equal(watch.step(at * STEP_MS, Number.NaN), undefined);
      assert.equal(watch.step(at * STEP_MS, Number.POSITIVE_INFINITY), undefined);
      if (at > 0) assert.equal(watch.step(at * STEP_MS - 1e7, 1e9), undefined);
      const found = watch.step(at * STEP_MS, value);
      return found === undefined ? [] : [{ ...found, at }];
    });
    assert.deepEqual(dirty, clean);
  });

  test('FE2. a constant series, and one with two values, divide by nothing too small', () => {
    const constant = alerts(Array.from({ length: 3_000 }, () => 5));
    assert.deepEqual(constant, []);
    const two = alerts(Array.from({ length: 3_000 }, (_, i) => (i % 7 === 0 ? 6 : 5)));
    assert.ok(two.length <= 1);
  });

  test('FE1. a series needs at most 32 KB, and no more however long it is fed', () => {
    const before = process.memoryUsage().arrayBuffers;
    const watched = Array.from({ length: 200 }, () => new SeriesWatch());
    const fresh = (process.memoryUsage().arrayBuffers - before) / watched.length;
    // What is not in arrays is a few objects: 4 KB are left for them.
    assert.ok(fresh > 8_192 && fresh <= 28_672, `${Math.round(fresh)} bytes`);
    for (const watch of watched.slice(0, 20)) {
      for (let i = 0; i < 6_000; i += 1) watch.step(i * 60_000, Math.sin(i) * (i % 97));
    }
    const grown = process.memoryUsage().arrayBuffers - before;
    assert.ok(grown <= fresh * watched.length * 1.05, `${grown} bytes`);
  });

  test('the scores are those of the last sample, one for each stream', () => {
    const features = new Features();
    for (let i = 0; i < 500; i += 1) features.step(i * STEP_MS, i % 5);
    assert.equal(features.scores.length, STREAMS.length);
    assert.ok(features.scores.every((score) => Number.isFinite(score) && score >= 0));
  });
});
