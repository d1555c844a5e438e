// Real processes, trouble whose cause is no replica: a release, the database, a tenant's request, a
// probe, a control, the control plane itself. The scenarios of the issue, played as written.
// Run by `heal.test.ts`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StoryEvent } from '../../src/api/contract.ts';
import { crashAtStart } from '../scenarios/05-crash-at-start.ts';
import { errorsUnderTraffic } from '../scenarios/06-errors-under-traffic.ts';
import { databaseStopped } from '../scenarios/08-database-stopped.ts';
import { poisonRequest } from '../scenarios/09-poison-request.ts';
import { probeWrong } from '../scenarios/10-probe-wrong.ts';
import { rlsSwitchedOff } from '../scenarios/11-rls-off.ts';
import { controllerKilled } from '../scenarios/12-controller-killed.ts';
import { assertRecorded } from './evidence.ts';
import { asOwner, switchOn } from './faults.ts';
import { assertNoneFailed } from './harness.ts';
import type { Played } from './harness.ts';
import { theatre } from './house.ts';
import { shotsText } from './load.ts';
import { pidsOf, replicasOf } from './system.ts';

test('5: a release that crashes at its start is rolled back; the old one serves on', async () => {
  const played = await theatre().perform(crashAtStart);
  assertNoneFailed(played);
  assertRefused(played, 'billing');
});

test('6: a release that fails under traffic alone is rolled back, few errors seen', async () => {
  const played = await theatre().perform(errorsUnderTraffic);
  const { failed, shots } = played;
  assert.ok(failed.length <= shots.length / 100, `${failed.length} of ${shots.length} failed`);
  assertRefused(played, 'records');
});

test('8: PostgreSQL is stopped; it is named and restarted, and no replica is', async () => {
  const played = await theatre().perform(databaseStopped);
  const asked = played.events.filter(
    ({ kind, text }) => kind === 'decision.refused' && text.startsWith('a person is asked'),
  );
  assert.deepEqual(asked, [], `nobody need be asked:\n${played.text}`);
  for (const service of ['records', 'billing', 'scheduling']) {
    assert.deepEqual(pids(played.after, service), pids(played.before, service), played.text);
  }
  assert.notDeepEqual(pids(played.after, 'database'), pids(played.before, 'database'));
});

test('9: a poison request: its route is held back, other tenants are unharmed', async () => {
  const played = await theatre().perform(poisonRequest);
  assertNoneFailed(played);
  const { system } = theatre();
  const headers = { authorization: `Bearer ${system.keys.get('lakeview') ?? ''}` };
  const other = await fetch(`${system.gatewayUrl}/records/patients`, { headers });
  await other.body?.cancel();
  assert.equal(other.status, 200, 'other routes of that tenant are served');
  const held = await fetch(`${system.gatewayUrl}/records/import`, { method: 'POST', headers });
  const problem = await held.text();
  assert.ok(held.status === 503 && problem.includes('"quarantined"'), problem);
});

test('10: every probe is wrong; nothing is killed, a person is asked', async () => {
  const played = await theatre().perform(probeWrong);
  assertNoneFailed(played);
  assert.deepEqual(pidsOf(played.after), pidsOf(played.before), played.text);
  assert.deepEqual(played.runs, [], played.text);
});

test('11: row-level security is switched off: found, enabled, forced, proved again', async () => {
  const played = await theatre().perform(rlsSwitchedOff);
  assertNoneFailed(played);
  const rows = await asOwner(
    theatre().system,
    `select relname, relrowsecurity, relforcerowsecurity from pg_class
     where relname in ('patients', 'notes', 'invoices', 'payments', 'appointments')`,
  );
  assert.equal(rows.length, 5);
  for (const row of rows)
    assert.ok(row['relrowsecurity'] && row['relforcerowsecurity'], JSON.stringify(row));
});

test('12: the control plane is killed during heals: it adopts what runs and goes on', async () => {
  const played = await theatre().perform(controllerKilled);
  assertNoneFailed(played);
  assertSameGateways(played);
});

test('12: killed in the middle of a drain: the same run ends, nothing is done twice', async () => {
  const { system, load } = theatre();
  const { story } = system;
  const before = await theatre().calm();
  const { seq } = story;
  const atMs = Date.now();
  const [victim] = replicasOf(before, 'billing');
  // Its drain takes seconds: whoever is killed meanwhile is killed in the middle of the run.
  await switchOn(victim?.port ?? 0, 'slow?ms=4000');
  const begun = await story.wait(
    'a heal',
    seq,
    ({ kind, text }) => kind === 'run.begun' && text.includes(victim?.id ?? '?'),
  );
  const ofRun = (kind: string, word: string) => (event: StoryEvent) =>
    event.run === begun.run && event.kind === kind && event.text.startsWith(word);
  await story.wait('the swap', begun.seq, ofRun('run.step', 'route: '));
  process.kill(before.instance.pid, 'SIGKILL');
  await story.wait('the same run', begun.seq, ofRun('run.resumed', ''));
  await story.wait('its end', begun.seq, ofRun('run.done', ''));
  const after = await theatre().calm();
  const text = story.text(seq);
  const { steps } = await system.client.run(begun.run ?? '');
  const newcomer = /pid (\d+)/u.exec(steps[0]?.record?.detail ?? '')?.[1];
  const now = replicasOf(after, 'billing').map(({ pid }) => pid);
  const stayed = replicasOf(before, 'billing').filter(({ id }) => id !== victim?.id);
  const wanted = [...stayed.map(({ pid }) => pid), Number(newcomer)];
  assert.deepEqual(new Set(now), new Set(wanted), text);
  const stop = steps.find((step) => step.text.startsWith('stop '));
  assert.ok(stop?.record?.detail.includes('forced') === false, text);
  assert.equal(load.failed(atMs).length, 0, `${shotsText(load.failed(atMs))}\n${text}`);
  assertSameGateways({ before, after, text });
  assert.notEqual(after.instance.pid, before.instance.pid);
  await assertRecorded(system, atMs, before.ledger.size);
});

/** `deploy` said no by its exit status, and what ran before still runs with the same processes. */
function assertRefused({ answers, before, after, text }: Played, service: string): void {
  const [deploy] = answers;
  assert.equal(deploy?.code, 1, `${deploy?.out}${deploy?.err}\n${text}`);
  assert.deepEqual(pids(after, service), pids(before, service), text);
}

function assertSameGateways({
  before,
  after,
  text,
}: Pick<Played, 'before' | 'after' | 'text'>): void {
  const workers = (status: typeof before): ReadonlySet<unknown> =>
    new Set(status.gateway.workers.map(({ pid }) => pid));
  assert.deepEqual(workers(after), workers(before), text);
}

function pids(status: Played['before'], service: string): readonly unknown[] {
  return replicasOf(status, service).map(({ id, pid }) => [id, pid]);
}
