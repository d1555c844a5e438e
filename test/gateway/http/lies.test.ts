// Lying replicas: see lies.ts; scripts/gateway/lies.ts runs a million.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runLies } from './lies.ts';

test('UC1 20 000 requests of four tenants over lying replicas: no leak, no desync', async () => {
  const plan = { requests: 20_000, seed: 1, clients: 16, partitioned: false };
  const report = await runLies(plan);
  assert.deepEqual([report.leaks, report.desyncs], [[], []]);
  assert.ok(report.requests >= plan.requests);
  assert.ok(
    report.right > 5_000 && report.refused > 2_000 && report.cut > 300,
    JSON.stringify(report),
  );
});
