// What must every store do? The contract of src/world/store.ts as a suite: the SQL store on the
// embedded database and on a server, and the simulator's store in memory, all pass the same.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { StoryEvent } from '../../src/model/entry.ts';
import type { ServiceBook } from '../../src/model/fleet.ts';
import { OPEN_STATES, RUN_TABLE } from '../../src/model/run.ts';
import type { RunState } from '../../src/model/run.ts';
import type { Store } from '../../src/world/store.ts';
import * as make from './store-values.ts';

export interface StoreRig {
  /** The same store again, as after a restart of the process; the handle before it is closed. */
  reopen(): Promise<Store>;
  /** A second handle on the same data; undefined where only one can exist. */
  second(): Promise<Store> | undefined;
  end(): Promise<void>;
}

const FAR_MS = 1e12;
const isCode = (code: string) => (error: unknown) =>
  error instanceof Error && 'code' in error && error.code === code;

/** `start` answers a rig with an empty store; it is called once a suite. */
export function storeContract(name: string, start: () => Promise<StoreRig>): void {
  describe(`contract of the store: ${name}`, () => {
    let rig: StoreRig;
    let store: Store;
    let epoch = 0;

    before(async () => {
      rig = await start();
      store = await rig.reopen();
      await assert.rejects(
        store.putSetting('early', 1, 0),
        isCode('KIN_STORE_FENCED'),
        'before the first lease nobody may write',
      );
      epoch = held(await store.lease('first', 0, FAR_MS));
    });
    after(() => rig.end());

    test('a second owner is told who holds the lease, and until when', async () => {
      const answer = await store.lease('other', 1, 10);
      assert.deepEqual(answer, { kind: 'taken', owner: 'first', untilMs: FAR_MS });
      assert.equal(held(await store.lease('first', 1, FAR_MS)), epoch, 'a renewal keeps the epoch');
    });

    test('SC1: a run comes back equal, undefined fields, key order and all', async () => {
      const run = {
        ...make.run('roundtrip'),
        failure: 'half \u0000 a "line"\n; drop table run; --',
      };
      assert.deepEqual(await store.beginRun(run, epoch), { kind: 'begun' });
      const found = await store.run(run.id);
      assert.deepEqual(found, run);
      assert.equal(
        JSON.stringify(found?.plan),
        JSON.stringify(run.plan),
        'the digest depends on it',
      );
      assert.equal(await store.run(make.run('nobody').id), undefined);
    });

    test('ST1: what was acknowledged is there after a restart', async () => {
      const run = make.run('durable');
      await store.beginRun(run, epoch);
      await store.putStep(run.id, make.step('do:0', 'intended'), epoch);
      await store.putStep(run.id, make.step('do:1', 'done'), epoch);
      await store.putStep(run.id, make.step('do:0', 'failed'), epoch);
      const change = {
        state: 'undoing',
        failure: 'no',
        intentIndex: 7,
        endedAtWallMs: 12.5,
      } as const;
      await store.setRun(run.id, change, epoch);
      store = await rig.reopen();
      const steps = [make.step('do:0', 'failed'), make.step('do:1', 'done')];
      assert.deepEqual(await store.run(run.id), { ...run, ...change, steps });
    });

    test('ST2: a stale epoch is refused by every write and changes nothing', async () => {
      const run = make.run('fenced');
      await store.beginRun(run, epoch);
      const facts = async (): Promise<unknown> => [
        await store.run(run.id),
        await store.fleet(),
        await store.incidents({ limit: 1000 }),
        await store.approvals({ limit: 1000, pendingOnly: false }),
        await store.keys(),
        await store.story({ after: 0, limit: 1000 }),
        await store.setting('stale'),
      ];
      const before = await facts();
      for (const stale of [epoch - 1, epoch + 1]) {
        const writes: readonly Promise<unknown>[] = [
          store.beginRun(make.run('fenced-2'), stale),
          store.putStep(run.id, make.step('do:9', 'done'), stale),
          store.setRun(run.id, { state: 'done' }, stale),
          store.putIncident(make.incident('stale'), stale),
          store.changeFleet({ services: [make.book('stale')] }, stale),
          store.changeFleet({ dropServices: ['records'], unquarantine: ['x:y'] }, stale),
          store.changeFleet({}, stale),
          store.putApproval(make.approval('stale'), stale),
          store.tell(make.event('stale'), stale),
          store.putKey(make.key('stale'), stale),
          store.dropKey('none', stale),
          store.putSetting('stale', 1, stale),
          store.tidy(0, stale),
        ];
        for (const answer of await Promise.allSettled(writes)) {
          assert.equal(answer.status, 'rejected');
          assert.ok(isCode('KIN_STORE_FENCED')(answer.reason), String(answer.reason));
        }
      }
      assert.deepEqual(await facts(), before);
    });

    test('ST3: of many runs on one target at once exactly one begins', async () => {
      const runs = Array.from({ length: 8 }, (_, i) => make.run(`race-${i}`, 'replica:race-1'));
      const answers = await Promise.all(runs.map((run) => store.beginRun(run, epoch)));
      const begun = runs.filter((_, i) => answers[i]?.kind === 'begun');
      const [winner] = begun;
      assert.equal(begun.length, 1);
      assert.ok(winner !== undefined);
      for (const answer of answers) {
        if (answer.kind === 'begun') continue;
        assert.deepEqual(answer, { kind: 'busy', run: winner.id, target: 'replica:race-1' });
      }
      assert.deepEqual(
        await store.beginRun(winner, epoch),
        { kind: 'begun' },
        'repeating an answer that got lost is no second run',
      );
      await store.setRun(winner.id, { state: 'done', endedAtWallMs: 5 }, epoch);
      await assert.rejects(store.beginRun(winner, epoch), 'an ended run never begins again');
      const next = make.run('race-next', 'replica:race-1');
      assert.deepEqual(await store.beginRun(next, epoch), { kind: 'begun' });
      assert.equal((await store.run(winner.id))?.state, 'done');
    });

    test('ST3: a waiting and an undoing run hold their target too', async () => {
      for (const state of OPEN_STATES) {
        const target = `service:hold-${state}`;
        const first = { ...make.run(`hold-${state}`, target), state };
        await store.beginRun(first, epoch);
        const answer = await store.beginRun(make.run(`hold-${state}-2`, target), epoch);
        assert.deepEqual(answer, { kind: 'busy', run: first.id, target });
      }
    });

    test('RUN1: only the pairs of the table happen; a repeat is no change', async () => {
      const states = Object.keys(RUN_TABLE) as RunState[];
      for (const from of ['running', 'waiting'] as const) {
        for (const to of states) {
          const run = { ...make.run(`table-${from}-${to}`), state: from };
          await store.beginRun(run, epoch);
          const lawful = from === to || RUN_TABLE[from].includes(to);
          const answer = store.setRun(run.id, { state: to }, epoch);
          if (lawful) await answer;
          else await assert.rejects(answer, /may not become/u);
          assert.equal((await store.run(run.id))?.state, lawful ? to : from);
        }
      }
      const unknown = make.run('never-begun').id;
      await assert.rejects(store.setRun(unknown, { state: 'done' }, epoch));
      await assert.rejects(store.putStep(unknown, make.step('do:0', 'done'), epoch));
    });

    test('runs: the open ones oldest first, the last ones newest first, by incident', async () => {
      const incident = make.incident('of-runs').id;
      const ids = ['a', 'b', 'c'].map((tag) => ({ ...make.run(`list-${tag}`), incident }));
      for (const run of ids) await store.beginRun(run, epoch);
      const [first, , last] = ids;
      assert.ok(first !== undefined && last !== undefined);
      const mine = (await store.openRuns()).filter((run) => run.incident === incident);
      assert.deepEqual(
        mine.map((run) => run.id),
        ids.map((run) => run.id),
      );
      await store.setRun(first.id, { state: 'done' }, epoch);
      const open = (await store.openRuns()).filter((run) => run.incident === incident);
      assert.deepEqual(
        open.map((run) => run.id),
        ids.slice(1).map((run) => run.id),
      );
      const found = await store.runs({ limit: 10, incident });
      assert.deepEqual(
        found.map((run) => run.id),
        ids.map((run) => run.id).toReversed(),
      );
      assert.equal((await store.runs({ limit: 1 }))[0]?.id, last.id);
      assert.equal((await store.runs({ limit: 2, incident })).length, 2);
    });

    test('incidents: open until healed, replaced as a whole, newest first', async () => {
      const [one, two] = [make.incident('one'), make.incident('two')];
      for (const incident of [one, two]) await store.putIncident(incident, epoch);
      const healed = { ...one, state: { kind: 'healed', atMs: 5, by: 'itself' } } as const;
      const openIds = async (): Promise<string[]> =>
        (await store.openIncidents()).map(({ id }) => id).filter((id) => /_(?:one|two)$/u.test(id));
      assert.deepEqual(await openIds(), [one.id, two.id]);
      await store.putIncident(healed, epoch);
      assert.deepEqual(await openIds(), [two.id]);
      assert.deepEqual(await store.incident(one.id), healed);
      assert.deepEqual(
        (await store.incidents({ limit: 2 })).map(({ id }) => id),
        [two.id, one.id],
      );
    });

    test('approvals: pending ones and all', async () => {
      const pending = make.approval('pending');
      const state = { kind: 'approved', by: 'ana', atMs: 3 } as const;
      const approved = { ...make.approval('approved'), state };
      for (const approval of [pending, approved]) await store.putApproval(approval, epoch);
      assert.deepEqual(await store.approval(approved.id), approved);
      assert.deepEqual(await store.approvals({ limit: 5, pendingOnly: true }), [pending]);
      const all = await store.approvals({ limit: 5, pendingOnly: false });
      assert.deepEqual(all, [approved, pending]);
    });

    test('the fleet is what was put, part by part, and one change is whole', async () => {
      const records = make.book('records');
      const rule = make.rule('one');
      await store.changeFleet(
        {
          services: [{ ...records, replicas: 9 }, make.book('billing'), records],
          replicas: [make.replica('records', 1), make.replica('records', 2)],
          releases: [make.release('r1')],
          quarantine: [rule],
          hold: [make.hold('acme'), make.hold('globex')],
        },
        epoch,
      );
      let fleet = await store.fleet();
      assert.deepEqual(fleet.services.get(records.name), records, 'the last one counts');
      assert.deepEqual([...fleet.replicas.keys()], ['records-1', 'records-2']);
      assert.deepEqual(
        fleet.replicas.get(make.replica('records', 1).id),
        make.replica('records', 1),
      );
      assert.deepEqual([...fleet.releases.values()], [make.release('r1')]);
      assert.deepEqual([...fleet.quarantines.values()], [rule]);
      assert.deepEqual([...fleet.holds.values()], [make.hold('acme'), make.hold('globex')]);
      const gone = { ...make.replica('records', 1), phase: 'gone', weight: 0 } as const;
      await store.changeFleet(
        {
          replicas: [gone],
          unquarantine: [rule.id, make.rule('two').id],
          quarantine: [make.rule('two')],
          unhold: [make.hold('acme').id],
          dropServices: ['billing'],
        },
        epoch,
      );
      store = await rig.reopen();
      fleet = await store.fleet();
      assert.deepEqual(fleet.replicas.get(gone.id), gone);
      assert.deepEqual([...fleet.quarantines.values()], [make.rule('two')], 'drops come first');
      assert.deepEqual([...fleet.holds.values()], [make.hold('globex')]);
      assert.deepEqual([...fleet.services.keys()], ['records']);
    });

    test('the numbers of the story only grow, also when told at once', async () => {
      const told = await Promise.all(
        Array.from({ length: 20 }, (_, i) => store.tell(make.event(`tale-${i}`), epoch)),
      );
      assert.equal(new Set(told).size, 20);
      const first = Math.min(...told);
      const story = await store.story({ after: first - 1, limit: 1000 });
      const seqs = story.map(({ seq }) => seq);
      assert.deepEqual(
        seqs,
        told.toSorted((a, b) => a - b),
      );
      const more = await store.tell(make.event('tale-more'), epoch);
      assert.ok(more > Math.max(...told));
      assert.deepEqual(await store.story({ after: more, limit: 10 }), []);
    });

    test('SC1: story data keeps null and undefined apart; the filter is by incident', async () => {
      const after = await store.tell(make.event('before'), epoch);
      const data: readonly unknown[] = [
        undefined,
        null,
        { a: null, b: [1, null, '\u0000é😀'] },
        'x',
      ];
      const events: Omit<StoryEvent, 'seq'>[] = data.map((value) => ({
        ...make.event('data'),
        incident: 'inc_data',
        data: value,
      }));
      for (const event of events) {
        await store.tell(event, epoch);
        await store.tell(make.event('noise'), epoch);
      }
      const found = await store.story({ after, limit: 1000, incident: 'inc_data' });
      assert.deepEqual(
        found.map(({ seq: _, ...rest }) => rest),
        events,
      );
      assert.equal((await store.story({ after, limit: 3, incident: 'inc_data' })).length, 3);
    });

    test('ST4: no page is longer than 1000', async () => {
      const after = await store.tell(make.event('page'), epoch);
      for (let i = 0; i < 11; i += 1) {
        await Promise.all(Array.from({ length: 100 }, () => store.tell(make.event('page'), epoch)));
      }
      const first = await store.story({ after, limit: 1_000_000 });
      assert.equal(first.length, 1000);
      const rest = await store.story({ after: first.at(-1)?.seq ?? 0, limit: 1000 });
      assert.equal(rest.length, 100);
      assert.equal((await store.story({ after, limit: -3 })).length, 0);
    });

    test('keys and settings', async () => {
      for (const tag of ['a', 'b']) await store.putKey(make.key(tag), epoch);
      await store.putKey({ ...make.key('a'), expiresAtMs: 9 }, epoch);
      await store.dropKey('b', epoch);
      await store.dropKey('b', epoch);
      assert.deepEqual(await store.keys(), [{ ...make.key('a'), expiresAtMs: 9 }]);
      const value = { deep: [1, null, { z: 1, a: 2 }], text: "it's \u0000" };
      await store.putSetting("na'me", value, epoch);
      assert.deepEqual(await store.setting("na'me"), value);
      await store.putSetting("na'me", null, epoch);
      assert.equal(await store.setting("na'me"), null);
      await store.putSetting("na'me", undefined, epoch);
      assert.equal(await store.setting("na'me"), undefined);
      assert.equal(await store.setting('unset'), undefined);
    });

    test('TD1: tidy drops the oldest that are over, and nothing that is open', async () => {
      await store.tidy(0, epoch);
      const story = await store.story({ after: 0, limit: 1000 });
      assert.equal(story.length, make.KEEP_SOME.story);
      const runs = await store.runs({ limit: 1000 });
      const ended = runs.filter(({ state }) => !OPEN_STATES.includes(state));
      assert.equal(ended.length, make.KEEP_SOME.endedRuns);
      assert.ok((await store.openRuns()).length > make.KEEP_SOME.endedRuns);
      const many = Array.from({ length: 9 }, (_, i) => make.replica('records', i + 3));
      const gone = many.map((replica) => ({ ...replica, phase: 'gone' as const }));
      await store.changeFleet({ replicas: gone }, epoch);
      await store.tidy(0, epoch);
      const left = [...(await store.fleet()).replicas.values()];
      const ids = left.filter(({ phase }) => phase === 'gone').map(({ id }) => id);
      assert.deepEqual(ids, ['records-9', 'records-10', 'records-11'], 'the last ordinals stay');
      assert.equal(left.filter(({ phase }) => phase !== 'gone').length, 1);
    });

    test('LE1: the epoch grows with each owner; the one before is fenced', async () => {
      const second = held(await store.lease('second', FAR_MS + 10, FAR_MS));
      assert.ok(second > epoch, 'the lease of `first` had run out');
      await assert.rejects(store.putSetting('late', 1, epoch), isCode('KIN_STORE_FENCED'));
      await store.putSetting('late', 2, second);
      await store.release('first');
      await store.putSetting('late', 3, second);
      await store.release('second');
      await assert.rejects(
        store.putSetting('late', 4, second),
        isCode('KIN_STORE_FENCED'),
        'who gave the lease back leads no more',
      );
      const third = held(await store.lease('third', 0, FAR_MS));
      assert.ok(third > second, 'a successor need not wait');
      assert.equal(await store.setting('late'), 3);
      epoch = third;
    });

    test('ST2: a take-over through another handle fences writes that are under way', async (t) => {
      const other = await rig.second();
      if (other === undefined) {
        t.skip('this store has one handle at a time');
        return;
      }
      const old = epoch;
      const writes = Array.from({ length: 30 }, (_, i) =>
        store.putSetting('contended', { by: 'old', i }, old),
      );
      const lease = other.lease('fourth', FAR_MS * 3, FAR_MS);
      const results = await Promise.allSettled(writes);
      epoch = held(await lease);
      await other.putSetting('contended', { by: 'new' }, epoch);
      await assert.rejects(store.putSetting('contended', 1, old), isCode('KIN_STORE_FENCED'));
      for (const result of results) {
        if (result.status === 'rejected') assert.ok(isCode('KIN_STORE_FENCED')(result.reason));
      }
      assert.deepEqual(await store.setting('contended'), { by: 'new' });
      await other.close();
    });

    test('a closed store says so', async () => {
      const last = store;
      await last.close();
      await last.close();
      await assert.rejects(last.fleet(), isCode('KIN_STORE_CLOSED'));
      await assert.rejects(last.putSetting('x', 1, epoch), isCode('KIN_STORE_CLOSED'));
      store = await rig.reopen();
      const books: readonly ServiceBook[] = [...(await store.fleet()).services.values()];
      assert.equal(books.length, 1);
    });
  });
}

function held(answer: Awaited<ReturnType<Store['lease']>>): number {
  assert.ok(answer.kind === 'held', JSON.stringify(answer));
  return answer.epoch;
}
