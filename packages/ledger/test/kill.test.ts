// The short version of scripts/ledger/kill.ts, and the proof that it would notice.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runMany } from './kill-runs.ts';

test('killed, torn, failing and pruned logs: nothing acknowledged is lost, no fork', async () => {
  const tally = await runMany({ runs: 190, kills: 10, seed: 20 });
  const { lost, forks, refused, firstFailures } = tally;
  assert.deepEqual({ lost, forks, refused, firstFailures }, noFailure);
  assert.deepEqual(tally.runs, { kill: 10, torn: 60, fault: 60, prune: 60 });
  assert.ok(tally.acknowledged > 2000 && tally.faults > 50, JSON.stringify(tally));
});

const noFailure = { lost: 0, forks: 0, refused: 0, firstFailures: [] };

test('the runs have teeth: a disk that only pretends to sync is found out', async () => {
  const tally = await runMany({ runs: 30, kills: 0, seed: 3, lyingDisk: true });
  assert.ok(tally.lost + tally.refused > 0, JSON.stringify(tally));
});
