// An erasure or a hold that cannot begin: is the person as before, and is nothing of theirs written
// down for ever?
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LedgerError, MemoryFiles } from '../../src/index.ts';
import type { PrivacyLedger } from '../../src/private/port.ts';
import { refusal } from '../support.ts';
import { ALICE, BASIS, TENANT, bench, openFields, record, statesAt } from './support.ts';

const ERASE = { tenant: TENANT, subject: ALICE.subject, basis: BASIS };
const HOLD = { code: 'litigation', ref: 'CASE-77' } as const;
const RESTRICT = { code: 'gdpr-18-1-a', ref: 'DSR-9' } as const;

const isShown = (states: readonly string[]): boolean =>
  states.every((state) => state.includes('='));

test('erase Z4: on a full disk the person stays as before, with a code that says so', async () => {
  const files = new MemoryFiles();
  const one = await bench(files);
  const index = await record(one, [ALICE]);
  files.setCapacity(files.usedBytes());
  const error = await refusal(one.fields.erase(ERASE));
  assert.equal(error.code, 'KIN_LEDGER_FULL');
  assert.ok(isShown(await statesAt(one, index)));
  assert.deepEqual(one.fields.marks().erasing, []);
  assert.equal(
    (await refusal(one.fields.placeHold({ tenant: TENANT, basis: HOLD }))).code,
    error.code,
  );
  files.setCapacity(Number.MAX_SAFE_INTEGER);
  await record(one, [ALICE]);
  assert.equal((await one.fields.erase(ERASE)).kind, 'erased');
  await one.close();
});

test('erase Z4: an intent that the disk refused leaves the person as before', async () => {
  const files = new MemoryFiles();
  const one = await bench(files);
  const index = await record(one, [ALICE]);
  const full = Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' });
  const intent: PrivacyLedger['intent'] = () => {
    // From here on the mark cannot be taken back either.
    files.setCapacity(files.usedBytes());
    return Promise.reject(full);
  };
  await one.fields.start({ ...one.port, intent });
  assert.equal((await refusal(one.fields.erase(ERASE))).code, 'KIN_LEDGER_FULL');
  assert.ok(isShown(await statesAt(one, index)));
  files.setCapacity(Number.MAX_SAFE_INTEGER);
  const copy = files.copy();
  // The mark that stayed on the disk has no intent: the next change forgets it, or a start.
  await one.fields.start(one.port);
  const hold = { tenant: TENANT, subject: ALICE.subject, basis: HOLD };
  await one.fields.releaseHold((await one.fields.placeHold(hold)).hold, 'CASE-77/end');
  assert.deepEqual(one.fields.marks().erasing, []);
  await one.close();
  const two = await bench(copy);
  assert.deepEqual(two.fields.marks().erasing, []);
  assert.ok(isShown(await statesAt(two, index)));
  assert.equal((await two.fields.erase(ERASE)).kind, 'erased');
  await two.close();
});

test('hold H1: one whose entry has an unknown fate is kept until it is released', async () => {
  const one = await bench();
  await record(one, [ALICE]);
  const late = new LedgerError('KIN_LEDGER_DEADLINE', 'too late', { inLog: 'unknown' });
  await one.fields.start({ ...one.port, record: () => Promise.reject(late) });
  await refusal(one.fields.placeHold({ tenant: TENANT, subject: ALICE.subject, basis: HOLD }));
  const restrict = { tenant: TENANT, subject: ALICE.subject, basis: RESTRICT };
  await refusal(one.fields.restrict(restrict));
  const { holds, restrictions } = one.fields.marks();
  assert.deepEqual([holds.length, restrictions.length], [1, 1]);
  await one.fields.start(one.port);
  assert.equal((await refusal(one.fields.erase(ERASE))).code, 'KIN_LEDGER_HELD');
  await one.fields.releaseHold(holds[0]?.hold ?? '', 'CASE-77/end');
  assert.equal((await one.fields.erase(ERASE)).kind, 'erased');
  await one.close();
});

test('restriction: refused while the person is being erased', async () => {
  const one = await bench();
  await record(one, [ALICE]);
  let answer = (): void => undefined;
  const asked = new Promise<void>((resolve) => {
    void one.fields.start({
      ...one.port,
      intent: async (input) => {
        resolve();
        await new Promise<void>((go) => (answer = go));
        return one.port.intent(input);
      },
    });
  });
  const erasing = one.fields.erase(ERASE);
  await asked;
  const restrict = { tenant: TENANT, subject: ALICE.subject, basis: RESTRICT };
  assert.equal((await refusal(one.fields.restrict(restrict))).code, 'KIN_LEDGER_ERASING');
  answer();
  assert.equal((await erasing).kind, 'erased');
  await one.close();
});

test('CK1: a reference that contains the person, or no digit, is never written', async () => {
  const one = await bench();
  const size = one.ledger.size;
  const refused = [
    ['user:ann.smith', 'DSR-ann.smith-1'],
    ['user:Ann.Smith', 'dsr/ANN.SMITH/2026'],
    ['user:ann', 'user:ann#1'],
    ['ann.smith@example.com', 'DSR-1-ann.smith'],
    ['4711', 'DSR-4711'],
    ['user:zoe', 'no-digit'],
  ] as const;
  for (const [subject, ref] of refused) {
    const source = { locate: fail, entry: fail, prove: fail };
    const asks = [
      one.fields.erase({ tenant: TENANT, subject, basis: { code: 'gdpr-17-1-a', ref } }),
      one.fields.placeHold({ tenant: TENANT, subject, basis: { code: 'litigation', ref } }),
      one.fields.restrict({ tenant: TENANT, subject, basis: { code: 'gdpr-18-1-a', ref } }),
      one.fields.exportSubject({ tenant: TENANT, subject, ref, source }).next(),
    ];
    for (const ask of asks) {
      const error = await refusal(ask);
      assert.equal(error.code, 'KIN_LEDGER_OPTION_INVALID');
      assert.ok(!/ann|4711|zoe/i.test(error.message), error.message);
    }
  }
  assert.equal(one.ledger.size, size);
  // Two letters stand in a case number by chance.
  const basis = { code: 'gdpr-17-1-a', ref: 'DSR-1' } as const;
  assert.equal(
    (await one.fields.erase({ tenant: TENANT, subject: 'user:sr', basis })).kind,
    'nothing-held',
  );
  await one.close();
});

function fail(): never {
  throw new Error('not asked for');
}

test('T1: the marks are on the disk before anything can be sealed', async () => {
  const files = new MemoryFiles();
  const fields = await openFields(files);
  files.crash();
  assert.ok((await files.list('ledger/keys')).includes('marks.json'));
  await fields.close().catch(() => undefined);
  const again = await openFields(files);
  assert.deepEqual(again.marks().holds, []);
  await again.close();
});
