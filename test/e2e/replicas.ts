// Real processes, one replica at a time in trouble: the scenarios of the issue, played as written.
// The bar for clients: not one idempotent request fails.
// Run by `heal.test.ts`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { replicaKilled } from '../scenarios/01-replica-killed.ts';
import { replicaBusy, replicaHung } from '../scenarios/02-replica-hung.ts';
import { replicaErroring } from '../scenarios/03-replica-erroring.ts';
import { replicaSlow } from '../scenarios/04-replica-slow.ts';
import { memoryLeak } from '../scenarios/07-memory-leak.ts';
import { nothingWrong } from '../scenarios/13-nothing-wrong.ts';
import { assertNoneFailed, assertNoneForced } from './harness.ts';
import type { Played } from './harness.ts';
import { theatre } from './house.ts';

test('13: nothing is wrong, and nothing is done', async () => {
  const played = await theatre().perform(nothingWrong);
  assertNoneFailed(played);
  assert.deepEqual(played.incidents, []);
  assert.deepEqual(played.runs, []);
});

test('1: a replica is killed; no request fails, and another takes its place', async () => {
  const played = await theatre().perform(replicaKilled);
  assertNoneFailed(played);
  assertOneIncident(played, 'records');
});

test('2a: a replica is stopped by SIGSTOP; it gets nothing new and is replaced', async () => {
  const played = await theatre().perform(replicaHung);
  assertNoneFailed(played);
  assertOneIncident(played, 'records');
});

test('2b: a replica is lost in a busy loop; it is ejected and replaced', async () => {
  const played = await theatre().perform(replicaBusy);
  assertNoneFailed(played);
  assertOneIncident(played, 'billing');
});

test('3: a replica answers 500s; clients do not see them, it is drained and replaced', async () => {
  const played = await theatre().perform(replicaErroring);
  assertNoneFailed(played);
  assertNoneForced(played);
  assertOneIncident(played, 'records');
});

test('4: a slow replica is shed and drained, and never killed while it serves', async () => {
  const played = await theatre().perform(replicaSlow);
  assertNoneFailed(played);
  assertNoneForced(played);
  assertOneIncident(played, 'records');
});

test('7: a replica that leaks is recycled before it dies of it', async () => {
  const played = await theatre().perform(memoryLeak);
  assertNoneFailed(played);
  assertNoneForced(played);
  const died = played.events.filter(({ kind }) => kind === 'replica.exited');
  assert.deepEqual(died, [], played.text);
});

/** One fault is one incident, and what is not concerned is left alone. */
function assertOneIncident({ incidents, after, before, text }: Played, service: string): void {
  assert.equal(incidents.length, 1, text);
  for (const old of before.services.filter(({ name }) => name !== service)) {
    const now = after.services.find(({ name }) => name === old.name)?.replicas ?? [];
    const pids = (all: typeof now): readonly unknown[] => all.map(({ id, pid }) => [id, pid]);
    assert.deepEqual(pids(now), pids(old.replicas), text);
  }
}
