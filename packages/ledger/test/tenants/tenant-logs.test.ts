import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../src/bytes.ts';
import { isLedgerError } from '../../src/errors.ts';
import { checkConsistency, checkInclusion, leafHash } from '../../src/merkle.ts';
import { LogBeginnings } from '../../src/tenants/log-beginnings.ts';
import { findInMap, mapRoot } from '../../src/tenants/sparse-map.ts';
import { epochEntry, minimumEntry, readMapKey } from '../../src/tenants/tenant-entries.ts';
import type { TenantLogs } from '../../src/tenants/tenant-logs.ts';
import { refusal } from '../support.ts';
import { AT, MAP_KEY, Model, hmac, saltAt, tenantEntry } from './model.ts';

const IDS = ['acme', 'b', 'clinic-7'];

/** Steps: a tenant's entry, one of the system, or an epoch with entries that slip in between. */
const steps = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...IDS) },
    { weight: 2, arbitrary: fc.constant('system') },
    { weight: 1, arbitrary: fc.constant('epoch') },
  ),
  { maxLength: 150 },
);

function play(model: Model, list: readonly string[]): void {
  for (const step of list) {
    if (step === 'system') model.system();
    else if (step === 'epoch') model.epoch(() => model.add('acme'));
    else model.add(step);
  }
}

async function agrees(model: Model, logs: TenantLogs): Promise<void> {
  assert.equal(logs.size, model.entries.length);
  assert.deepEqual([...logs.list(10)].sort(), model.ids().sort());
  for (const id of model.ids()) {
    const indexes = model.indexes(id);
    const minimum = logs.minimum(id);
    const { size, root } = logs.head(id) ?? assert.fail(id);
    assert.equal(size, indexes.length);
    assert.equal(toHex(root), toHex(model.rootOf(id)));
    assert.deepEqual(logs.positions(id, minimum, 1000), indexes.slice(minimum));
    const leaves = model.entriesOf(id).map((entry) => leafHash(entry));
    const served = await logs.leafHashes(id, minimum, 1000);
    assert.deepEqual(served.map(toHex), leaves.slice(minimum).map(toHex));
    for (const index of [0, minimum, Math.floor((minimum + size) / 2), size - 1]) {
      if (index >= size || (index > 0 && index < minimum)) continue;
      const proof = await logs.inclusion(id, index, size);
      const leaf = leaves[index] ?? root;
      const claim = { index: BigInt(index), size: BigInt(size), leaf, root, proof };
      assert.deepEqual(checkInclusion(claim), { kind: 'valid' });
    }
    for (const before of [minimum, Math.ceil((minimum + size) / 2), size]) {
      if (before === 0) continue;
      const verdict = checkConsistency({
        size1: BigInt(before),
        size2: BigInt(size),
        root1: await logs.rootAt(id, before),
        root2: root,
        proof: await logs.consistency(id, before, size),
      });
      assert.deepEqual(verdict, { kind: 'valid' });
    }
  }
}

test('TN1: any interleaving gives each tenant the log that it would have had alone', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (list) => {
      const model = new Model();
      play(model, list);
      await agrees(model, model.tenants);
    }),
    { numRuns: 60 },
  );
});

test('SN1, TL2: a snapshot, pruned or not, comes back whole and goes on alike', async () => {
  await fc.assert(
    fc.asyncProperty(steps, steps, fc.nat(200), async (before, after, bound) => {
      const model = new Model();
      model.sayKey();
      play(model, before);
      const cut = Math.min(bound, model.entries.length);
      const plain = model.newLogs();
      plain.restore(model.tenants.snapshot());
      assert.deepEqual(plain.snapshot(), model.tenants.snapshot());
      await model.tenants.forgetBelow(cut);
      const forgetful = model.newLogs();
      forgetful.restore(model.tenants.snapshot());
      assert.deepEqual(forgetful.snapshot(), model.tenants.snapshot());
      model.first = cut;
      model.followers.push(plain, forgetful);
      play(model, after);
      await agrees(model, model.tenants);
      await agrees(model, forgetful);
      assert.equal(forgetful.keyState, 'agreed');
      for (const id of model.ids()) assert.deepEqual(plain.head(id), forgetful.head(id));
      assert.deepEqual(forgetful.draftEpoch(), model.tenants.draftEpoch());
      assert.deepEqual(plain.newestEpoch, forgetful.newestEpoch);
      await forgetful.forgetBelow(model.entries.length);
      const again = model.newLogs();
      again.restore(forgetful.snapshot());
      model.first = model.entries.length;
      model.followers.push(again);
      play(
        model,
        IDS.flatMap((id) => Array.from({ length: 20 }, () => id)),
      );
      await agrees(model, again);
    }),
    { numRuns: 40 },
  );
});

test('SN1, SB1: no flipped, missing or added byte of a snapshot is accepted', () => {
  const model = new Model();
  play(
    model,
    Array.from({ length: 60 }, (_, at) => IDS[at % 3] ?? 'acme'),
  );
  model.epoch();
  model.add('acme');
  const bytes = model.tenants.snapshot();
  const isRefused = (changed: Uint8Array): void => {
    const logs = model.newLogs();
    assert.throws(
      () => logs.restore(changed),
      (cause) => isLedgerError(cause) && cause.code === 'KIN_LEDGER_CORRUPT',
    );
    assert.equal(logs.count, 0);
  };
  for (let at = 0; at < bytes.length; at++) {
    const changed = Uint8Array.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
    isRefused(changed);
  }
  for (const length of [0, 1, 31, 32, 40, bytes.length - 1]) isRefused(bytes.subarray(0, length));
  isRefused(Buffer.concat([bytes, Buffer.alloc(1)]));
  const other = model.newLogs({ mapKey: new Uint8Array(32).fill(4) });
  assert.throws(() => other.restore(bytes), /another map key/);
});

test('SN1: a snapshot with a right digest and wrong contents is still refused', async () => {
  const { sha256 } = await import('../../src/crypto.ts');
  const model = new Model();
  for (let at = 0; at < 40; at++) model.add('acme', `${at}`);
  model.epoch();
  model.add('b');
  const bytes = model.tenants.snapshot().slice(0, -32);
  let refused = 0;
  for (let at = 0; at < bytes.length; at++) {
    const changed = Uint8Array.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ 0x11;
    try {
      model.newLogs().restore(Buffer.concat([changed, sha256(changed)]));
    } catch (cause) {
      assert.ok(isLedgerError(cause) && cause.code === 'KIN_LEDGER_CORRUPT', String(cause));
      refused += 1;
    }
  }
  // What can be changed unseen is not derived from anything here: salts, times, spans, log heads.
  assert.ok(refused > bytes.length / 2, `${refused} of ${bytes.length}`);
});

test('TN2: beyond the limit a tenant is refused before a write, and nothing is lost', async () => {
  const model = new Model({ tenantsMax: 2 });
  const salt = (): string => saltAt(model.entries.length);
  const append = async (entry: Uint8Array): Promise<number> => model.append(entry);
  const options = { tenants: model.tenants, append, now: () => AT, salt };
  const beginnings = new LogBeginnings(options);
  await beginnings.ensure('acme');
  const racing = [beginnings.ensure('b'), beginnings.ensure('b')];
  assert.equal(racing[0], racing[1]);
  assert.throws(
    () => beginnings.ensure('c'),
    (cause) => isLedgerError(cause) && cause.code === 'KIN_LEDGER_TENANTS_FULL',
  );
  await racing[0];
  assert.equal(beginnings.ensure('acme'), undefined);
  // What is in the log all the same, written under a higher limit, is followed.
  model.append(tenantEntry('c', 'x', 1));
  assert.equal(model.tenants.head('c')?.size, 1);
  assert.equal(model.entries.length, 4);
  assert.deepEqual(readMapKey(model.entries[0] ?? new Uint8Array(0)), model.tenants.keyDigest);
});

test('LB1, LB2: one beginning for writers that race, a retry, no lost key', async () => {
  const model = new Model();
  let fails = 1;
  const append = async (entry: Uint8Array): Promise<void> => {
    await Promise.resolve();
    if (fails-- > 0) throw new Error('disk');
    model.append(entry);
  };
  const options = { tenants: model.tenants, append, now: () => AT, salt: () => saltAt(1) };
  const beginnings = new LogBeginnings(options);
  await assert.rejects(beginnings.ensure('acme') ?? Promise.resolve(), /disk/);
  const all = ['acme', 'acme', 'b', 'c'].map((id) => beginnings.ensure(id));
  for (const began of all) await began;
  assert.equal(model.entries.length, 4);
  assert.equal(model.tenants.keyState, 'agreed');
  const lost = new Model({ mapKey: new Uint8Array(32).fill(4) });
  lost.sayKey();
  assert.equal(lost.tenants.keyState, 'lost');
  const late = new LogBeginnings({ ...options, tenants: lost.tenants });
  const error = await refusal(late.ensure('acme') ?? Promise.resolve());
  assert.equal(error.code, 'KIN_LEDGER_WRONG_KEY');
});

test('TL2: a log that grows while leaves are read is proved and pruned all the same', async () => {
  for (const size of [14, 15, 16, 30, 31, 47]) {
    const model = new Model();
    let grows = 0;
    const readLeaf = (index: number): Promise<Uint8Array> => {
      if (grows-- > 0) for (let at = 0; at < 9; at++) model.add('acme');
      return model.readLeaf(index);
    };
    const logs = model.newLogs({ readLeaf });
    model.followers.push(logs);
    for (let at = 0; at < size; at++) model.add('acme', `${at}`);
    grows = 4;
    for (let index = 0; index < size; index += 5) {
      const proof = await logs.inclusion('acme', index, size);
      const leaf = leafHash(model.entriesOf('acme')[index] ?? new Uint8Array(0));
      const root = await logs.rootAt('acme', size);
      const claim = { index: BigInt(index), size: BigInt(size), leaf, root, proof };
      assert.deepEqual(checkInclusion(claim), { kind: 'valid' });
    }
    const bound = model.indexes('acme')[size - 1] ?? 0;
    grows = 4;
    await logs.forgetBelow(bound);
    model.first = bound;
    for (let at = 0; at < 20; at++) model.add('acme');
    await agrees(model, logs);
  }
});

test('TN3: below the minimum nothing is served, but the tree and the beginning go on', async () => {
  const model = new Model();
  for (let at = 0; at < 50; at++) model.add('acme', `${at}`);
  model.append(minimumEntry({ at: AT, salt: saltAt(7), tenant: 'acme', index: 20 }));
  const { tenants } = model;
  assert.equal(tenants.minimum('acme'), 20);
  tenants.raiseMinimum('acme', 5);
  assert.equal(tenants.minimum('acme'), 20);
  const codes = [
    await refusal(tenants.inclusion('acme', 19, 52)),
    await refusal(tenants.leafHashes('acme', 3, 10)),
    await refusal((async () => tenants.positions('acme', 19, 10))()),
  ].map(({ code }) => code);
  assert.deepEqual(
    codes,
    Array.from({ length: 3 }, () => 'KIN_LEDGER_PRUNED'),
  );
  assert.equal((await tenants.inclusion('acme', 20, 52)).length, 6);
  assert.ok((await tenants.inclusion('acme', 0, 52)).length > 0);
  // A minimum beyond the log, or of another, is no minimum.
  model.append(minimumEntry({ at: AT, salt: saltAt(7), tenant: 'acme', index: 999 }));
  assert.equal(tenants.minimum('acme'), 20);
});

test('TN3: retention reaches up to the first entry that a tenant is served, or the epoch', () => {
  const model = new Model();
  model.sayKey();
  assert.equal(model.tenants.prunableBelow(), 1);
  for (let at = 0; at < 10; at++) model.add(at % 2 === 0 ? 'acme' : 'b');
  assert.equal(model.tenants.prunableBelow(), 1);
  model.tenants.raiseMinimum('acme', 3);
  model.tenants.raiseMinimum('b', 4);
  assert.equal(model.tenants.prunableBelow(), model.indexes('acme')[3]);
  for (const id of ['acme', 'b']) model.tenants.raiseMinimum(id, 6);
  assert.equal(model.tenants.prunableBelow(), model.entries.length);
  const index = model.epoch();
  model.system();
  assert.equal(model.tenants.prunableBelow(), index);
});

test('TN4: a second map key in the log, even after the right one, is the end of trust', () => {
  const model = new Model();
  assert.equal(model.tenants.keyState, 'unsaid');
  model.sayKey();
  assert.equal(model.tenants.keyState, 'agreed');
  model.sayKey(new Uint8Array(32).fill(4));
  model.sayKey();
  assert.equal(model.tenants.keyState, 'lost');
});

test('ranges and tenants that do not exist are typed errors', async () => {
  const model = new Model();
  model.add('acme');
  const { tenants } = model;
  for (const [work, code] of [
    [tenants.rootAt('acme', 3), 'KIN_LEDGER_RANGE'],
    [tenants.rootAt('acme', -1), 'KIN_LEDGER_RANGE'],
    [tenants.rootAt('acme', 0.5), 'KIN_LEDGER_RANGE'],
    [tenants.inclusion('acme', 2, 2), 'KIN_LEDGER_RANGE'],
    [tenants.inclusion('acme', 0, 0), 'KIN_LEDGER_RANGE'],
    [tenants.consistency('acme', 0, 2), 'KIN_LEDGER_RANGE'],
    [tenants.consistency('acme', 2, 1), 'KIN_LEDGER_RANGE'],
    [tenants.rootAt('nobody', 0), 'KIN_LEDGER_TENANT_UNKNOWN'],
    [tenants.rootAt('NO ID', 0), 'KIN_LEDGER_ENTRY_INVALID'],
  ] as const) {
    assert.equal((await refusal(work)).code, code);
  }
  assert.equal(tenants.head('nobody'), undefined);
});

test('CT2: leaves read back from a changed log are not turned into a proof', async () => {
  const model = new Model();
  for (let at = 0; at < 40; at++) model.add('acme', `${at}`);
  model.entries[4] = tenantEntry('acme', 'changed', 1);
  const error = await refusal(model.tenants.inclusion('acme', 7, 41));
  assert.equal(error.code, 'KIN_LEDGER_CORRUPT');
  assert.match(error.message, /entries 0 to 15 of acme/);
});

test('EP1: the heads of an epoch are those of its size, whatever slips in before its entry', () => {
  fc.assert(
    fc.property(steps, (list) => {
      const model = new Model();
      play(model, list);
      const size = model.entries.length;
      const index = model.epoch(() => {
        for (const id of IDS) for (let at = 0; at < 20; at++) model.add(id);
      });
      if (index === undefined) return;
      const epoch = model.tenants.provableEpoch(index + 1) ?? assert.fail('no epoch');
      assert.equal(epoch.size, size);
      assert.equal(toHex(mapRoot(epoch.heads)), toHex(epoch.map));
      for (const id of IDS) {
        const head = findInMap(epoch.heads, hmac(MAP_KEY, id));
        assert.equal(head?.size ?? 0, model.indexes(id, size).length);
        if (head !== undefined) assert.equal(toHex(head.root), toHex(model.rootOf(id, size)));
      }
    }),
    { numRuns: 60 },
  );
});

test('EP2: no epoch is due without a tenant or a change; a lost one is drafted again', () => {
  const model = new Model();
  model.system();
  assert.equal(model.epoch(), undefined);
  model.add('acme');
  const lost = model.tenants.draftEpoch();
  const again = model.tenants.draftEpoch();
  assert.deepEqual(again, lost);
  assert.notEqual(model.epoch(), undefined);
  model.system();
  assert.equal(model.epoch(), undefined);
  model.add('b');
  assert.notEqual(model.epoch(), undefined);
  assert.equal(model.tenants.newestEpoch?.logs, 2);
});

test('EP4: the newest epochs stay provable, and the ones that public checkpoints need', () => {
  const model = new Model();
  let needed: readonly number[] = [];
  model.tenants.proveTo(() => needed);
  const indexes: number[] = [];
  for (let at = 0; at < 12; at++) {
    model.add('acme');
    const index = model.epoch() ?? -1;
    indexes.push(index);
    // The third and the fifth epoch are the newest ones in these two checkpoints, for ever.
    if (at === 3) needed = [(indexes[2] ?? 0) + 1];
    if (at === 5) needed = [...needed, index];
  }
  const provable = indexes.map((index) => model.tenants.provableEpoch(index + 1)?.index);
  const kept = [2, 4, 9, 10, 11];
  const expected = indexes.map((_, at) => indexes[kept.findLast((one) => one <= at) ?? -1]);
  assert.deepEqual(provable, expected);
  needed = [];
  model.add('acme');
  const newest = model.epoch() ?? -1;
  assert.equal(model.tenants.provableEpoch(newest + 1)?.index, newest);
  assert.equal(model.tenants.provableEpoch((indexes[9] ?? 0) + 1), undefined);
});

test('EP3: after a restart the epoch is provable, a newer state is drafted, a lie found', () => {
  const model = new Model();
  for (let at = 0; at < 40; at++) model.add(IDS[at % 3] ?? 'acme');
  const index = model.epoch() ?? -1;
  model.system();
  const restart = (): TenantLogs => {
    const logs = model.newLogs();
    for (const [at, entry] of model.entries.entries()) logs.follow(at, entry, leafHash(entry));
    return logs;
  };
  const calm = restart();
  assert.equal(calm.provableEpoch(model.entries.length), undefined);
  assert.equal(calm.draftEpoch(), undefined);
  assert.equal(calm.provableEpoch(model.entries.length)?.index, index);
  model.add('acme');
  const busy = restart();
  assert.deepEqual(busy.draftEpoch(), model.tenants.draftEpoch());
  const { length } = model.entries;
  model.append(epochEntry(AT, { logs: 3, map: new Uint8Array(32).fill(9), size: length }));
  assert.throws(
    () => restart().draftEpoch(),
    (cause) => isLedgerError(cause) && cause.code === 'KIN_LEDGER_CORRUPT',
  );
});
