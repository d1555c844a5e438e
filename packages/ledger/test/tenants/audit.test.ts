import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { utf8 } from '../../src/bytes.ts';
import { leafHash } from '../../src/merkle.ts';
import { TenantAudit } from '../../src/tenants/audit.ts';
import type { TenantFault } from '../../src/tenants/audit.ts';
import { mapLeaf, mapRoot, updateMap } from '../../src/tenants/sparse-map.ts';
import { epochEntry } from '../../src/tenants/tenant-entries.ts';
import { AT, MAP_KEY, Model, hmac, naiveRoot, tenantEntry } from './model.ts';

function faults(model: Model, mapKey?: Uint8Array): readonly TenantFault[] {
  const audit = new TenantAudit(mapKey === undefined ? {} : { mapKey });
  for (const [at, entry] of model.entries.entries()) audit.follow(at, entry, leafHash(entry));
  return audit.report().faults;
}

function kinds(model: Model, mapKey?: Uint8Array): string[] {
  return faults(model, mapKey).map(({ index, kind }) => `${index} ${kind}`);
}

/** Two tenants with an epoch; then `acme` goes on. */
function honest(): Model {
  const model = new Model();
  model.sayKey();
  for (let at = 0; at < 20; at++) model.add(at % 3 === 0 ? 'b' : 'acme', `${at}`);
  model.epoch(() => model.add('acme'));
  for (let at = 0; at < 3; at++) model.add('acme');
  return model;
}

/** An epoch whose heads are those of `sizes`, whatever is true. */
function lie(
  model: Model,
  heads: readonly { id: string; entries: readonly Uint8Array[] }[],
): number {
  const leaves = heads.map(({ id, entries }) =>
    mapLeaf(hmac(MAP_KEY, id), entries.length, naiveRoot(entries.map((bytes) => leafHash(bytes)))),
  );
  const map = mapRoot(updateMap(undefined, leaves));
  return model.append(epochEntry(AT, { logs: heads.length, map, size: model.entries.length }));
}

test('TA1: every honest log passes, with and without the map key', () => {
  const steps = fc.array(fc.constantFrom('acme', 'b', 'c', 'system', 'epoch'), { maxLength: 120 });
  fc.assert(
    fc.property(steps, (list) => {
      const model = new Model();
      model.sayKey();
      let epochs = 0;
      for (const step of list) {
        if (step === 'system') model.system();
        else if (step === 'epoch')
          epochs += model.epoch(() => model.add('acme')) === undefined ? 0 : 1;
        else model.add(step);
      }
      assert.deepEqual(faults(model), []);
      assert.deepEqual(faults(model, MAP_KEY), []);
      const audit = new TenantAudit();
      for (const [at, entry] of model.entries.entries()) audit.follow(at, entry, leafHash(entry));
      assert.equal(audit.report().epochs, epochs);
      assert.equal(audit.report().tenants, model.ids().length);
    }),
    { numRuns: 100 },
  );
});

test('TA3: an entry left out is found at that epoch, and the next one is judged anew', () => {
  const model = honest();
  const entries = model.entriesOf('acme');
  const index = lie(model, [
    { id: 'acme', entries: [...entries.slice(0, 4), ...entries.slice(5)] },
    { id: 'b', entries: model.entriesOf('b') },
  ]);
  assert.deepEqual(kinds(model), [`${index} map-root-wrong`]);
  model.add('b');
  model.epoch();
  assert.deepEqual(kinds(model, MAP_KEY), [`${index} map-root-wrong`]);
});

test('the newest entry left out, an older head shown and a tenant left out are all found', () => {
  for (const pick of [
    (entries: readonly Uint8Array[]) => entries.slice(0, -1),
    (entries: readonly Uint8Array[]) => entries.slice(0, 10),
    (entries: readonly Uint8Array[]) => entries.with(3, utf8('other')),
  ]) {
    const model = honest();
    const heads = [
      { id: 'acme', entries: pick(model.entriesOf('acme')) },
      { id: 'b', entries: model.entriesOf('b') },
    ];
    const index = lie(model, heads);
    assert.deepEqual(kinds(model), [`${index} map-root-wrong`]);
  }
  const model = honest();
  const index = lie(model, [{ id: 'acme', entries: model.entriesOf('acme') }]);
  assert.deepEqual(kinds(model), [`${index} log-count-wrong`, `${index} map-root-wrong`]);
});

test('TA2: two heads for one tenant are found by the second position, even without the key', () => {
  const model = honest();
  const index = model.entries.length;
  model.begin('acme', new Uint8Array(32).fill(1));
  assert.deepEqual(kinds(model), [`${index} second-position`]);
  assert.deepEqual(kinds(model, MAP_KEY), [`${index} second-position`]);
  // A second head without a first leaf of its own is a head too many.
  const other = honest();
  const heads = ['acme', 'b'].map((id) =>
    mapLeaf(hmac(MAP_KEY, id), other.entriesOf(id).length, other.rootOf(id)),
  );
  const second = mapLeaf(new Uint8Array(32).fill(1), 2, other.rootOf('b'));
  const map = mapRoot(updateMap(undefined, [...heads, second]));
  const size = other.entries.length;
  const at = other.append(epochEntry(AT, { logs: 2, map, size }));
  assert.deepEqual(kinds(other), [`${at} map-root-wrong`]);
});

test('TA2: a position that is not of the key, or is shared, is found at the first leaf', () => {
  const model = honest();
  const index = model.entries.length;
  model.begin('c', new Uint8Array(32).fill(1));
  assert.deepEqual(kinds(model), []);
  assert.deepEqual(kinds(model, MAP_KEY), [`${index} position-wrong`]);
  model.begin('d', hmac(MAP_KEY, 'acme'));
  assert.deepEqual(kinds(model), [`${index + 1} position-shared`]);
  const shared = kinds(model, MAP_KEY);
  assert.deepEqual(shared, [`${index} position-wrong`, `${index + 1} position-wrong`]);
});

test('epochs that go back or ahead are found', () => {
  const model = honest();
  const detail = model.tenants.newestEpoch ?? assert.fail('no epoch');
  const back = model.append(epochEntry(AT, { ...detail, size: detail.size - 1 }));
  const ahead = model.append(epochEntry(AT, { ...detail, size: model.entries.length + 1 }));
  const again = model.append(epochEntry(AT, detail));
  assert.deepEqual(kinds(model), [`${back} epoch-went-back`, `${ahead} epoch-too-new`]);
  assert.equal(again, model.entries.length - 1);
});

test('a log without its beginning, an entry without salt and wrong map keys are found', () => {
  const model = honest();
  const index = model.append(tenantEntry('c', 'x', 1));
  const bare = model.append(utf8(`{"at":"${AT}","kind":"x","tenant":"acme","v":1}`));
  const wanted = [`${index} log-not-begun`, `${bare} entry-unsalted`];
  assert.deepEqual(kinds(model), wanted);
  model.sayKey(new Uint8Array(32).fill(4));
  assert.deepEqual(kinds(model), [...wanted, `${bare + 1} map-key-changed`]);
  const other = honest();
  const found = kinds(other, new Uint8Array(32).fill(4));
  assert.equal(found[0], '0 map-key-wrong');
  assert.equal(found[1], '1 position-wrong');
});
