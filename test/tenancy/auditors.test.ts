import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openAuditors } from '../../src/tenancy/auditors.ts';
import type { AuditorPorts } from '../../src/tenancy/auditors.ts';

const DAY_MS = 86_400_000;

function ports(): AuditorPorts & { value: unknown; atMs: number; fail: boolean } {
  const made = {
    value: undefined as unknown,
    atMs: 1_000,
    fail: false,
    read: async () => structuredClone(made.value),
    write: async (_name: string, value: unknown) => {
      if (made.fail) throw new Error('the store is away');
      made.value = structuredClone(value);
    },
    nowMs: () => made.atMs,
  };
  return made;
}

test('AU1. a token works, is shown once, and is nowhere in what is kept', async () => {
  const at = ports();
  const book = await openAuditors(at);
  const { token, name } = await book.add('anna', DAY_MS);
  assert.match(token, /^kin_au_[A-Za-z0-9_-]{43}$/u);
  assert.equal(book.nameOf(token), name);
  assert.ok(!JSON.stringify(at.value).includes(token.slice(7)));
  assert.ok(!JSON.stringify(book.list()).includes('hash'));
  const again = await openAuditors(at);
  assert.equal(again.nameOf(token), 'anna');
  await book.add('berta', DAY_MS);
  await assert.rejects(book.add('anna', DAY_MS), { code: 'KIN_AUDITOR_EXISTS' });
});

test('AU2. AU3. an expired, removed, changed or foreign token is nobody', async () => {
  const at = ports();
  const book = await openAuditors(at);
  const { token } = await book.add('anna', DAY_MS);
  const wrong = ['', 'kin_au_', `${token}x`, token.slice(0, -1), token.toLowerCase(), 'kin_op_x'];
  for (const text of wrong) assert.equal(book.nameOf(text), undefined, text);
  at.atMs += DAY_MS - 1;
  assert.equal(book.nameOf(token), 'anna');
  at.atMs += 1;
  assert.equal(book.nameOf(token), undefined);
  const renewed = await book.add('anna', DAY_MS);
  assert.equal(book.nameOf(token), undefined);
  await book.remove('anna');
  assert.equal(book.nameOf(renewed.token), undefined);
  await assert.rejects(book.remove('anna'), { code: 'KIN_AUDITOR_UNKNOWN' });
});

test('an auditor that the store did not take does not exist; bad names are refused', async () => {
  const at = ports();
  const book = await openAuditors(at);
  at.fail = true;
  await assert.rejects(book.add('anna', DAY_MS), /store is away/u);
  assert.deepEqual(book.list(), []);
  at.fail = false;
  for (const [name, life] of [
    ['Anna', 1],
    ['', 1],
    ['a b', 1],
    ['a', 0],
    ['a', 1e12],
  ] as const) {
    await assert.rejects(book.add(name, life), { code: 'KIN_AUDITOR_INVALID' });
  }
  for (let i = 0; i < 100; i += 1) await book.add(`a${i}`, DAY_MS);
  await assert.rejects(book.add('more', DAY_MS), { code: 'KIN_AUDITORS_FULL' });
  at.value = { v: 1, auditors: [{ name: 'x' }] };
  await assert.rejects(openAuditors(at), { code: 'KIN_STORE_CORRUPT' });
});
