// One flipped bit anywhere: is it found, and is the place right? scripts/ledger/flips.ts flips all
// bits of a small log; here every kind of place, with a sample where there are many.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flipBits, flipLog } from './flip-runs.ts';
import type { Region } from './flip-runs.ts';
import { seededChoice } from './seeded-choice.ts';

test('a flipped bit of any file of a pruned log is found and located (file, index)', async () => {
  const log = await flipLog(20, 18);
  assert.ok(log.first > 0);
  const every: Readonly<Record<Region, number>> = {
    'record header': 23,
    'record body': 83,
    'record trailer': 131,
    'record padding': 2403,
    'unused tail': 4007,
    checkpoint: 29,
    'log.json': 23,
    'base.bin': 61,
  };
  const tally = await flipBits(log, { take: (region, nth) => nth % every[region] === 0 });
  assert.equal(tally.size, Object.keys(every).length);
  for (const [region, { flips, located, as }] of tally) {
    assert.ok(flips > 10, `${region}: ${flips}`);
    assert.equal(located, flips, `${region}: ${JSON.stringify([...as])}`);
  }
});

test('a flipped bit in a large log is found and located (seeded sample)', async () => {
  const log = await flipLog(80, 0);
  const choice = seededChoice(1, 0.0002);
  const wanted = new Set<Region>(['record header', 'record body', 'record trailer']);
  const isWanted = seededChoice(2, 0.0015);
  const tally = await flipBits(log, {
    take: (region) => (wanted.has(region) ? isWanted() : choice()),
  });
  for (const [region, { flips, located, as }] of tally) {
    assert.ok(flips > 5, `${region}: ${flips} flips`);
    assert.equal(located, flips, JSON.stringify([...as]));
  }
  for (const region of wanted) assert.ok(tally.has(region), region);
  assert.ok(tally.has('record padding') && tally.has('unused tail'));
});
