// What nobody refers to goes; what somebody is served, or what is held, stays.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryFiles } from '../../src/index.ts';
import type { EvidenceLog } from '../../src/index.ts';
import { collectOrphansOf } from '../../src/evidence/upkeep.ts';
import { refusal } from '../support.ts';
import { fill, openInMemory } from './memory.ts';

const HOUR_MS = 3_600_000;
const BASIS = { code: 'retention-schedule', ref: 'one-year' } as const;
const ann = { subject: 'patient:p-17', fields: { name: 'Ann Example' } };
const bob = { subject: 'patient:p-18', fields: { name: 'Bob Example' } };

async function append(log: EvidenceLog, tenant: string, person = ann): Promise<number> {
  const scope = { tenant, private: [person] };
  const done = await log.record('service.audit', {}, { scope });
  return done.kind === 'durable' ? done.index : -1;
}

async function shown(log: EvidenceLog, index: number): Promise<readonly string[]> {
  const { bytes } = await log.core.read(index);
  return (await log.privacy.reveal(bytes)).map(({ kind }) => kind);
}

async function diskHas(files: MemoryFiles, name: string): Promise<boolean> {
  const needle = Buffer.from(name);
  for (const file of await files.list('log/payload')) {
    const bytes = Buffer.from((await files.readWhole(`log/payload/${file}`, 1e9)) ?? []);
    if (bytes.includes(needle)) return true;
  }
  return false;
}

test('UP1: a payload without an entry goes after the grace time, others stay', async () => {
  const files = new MemoryFiles();
  const { log, clock } = await openInMemory(files);
  const kept = [await append(log, 'north'), await append(log, 'south', bob)];
  await log.privacy.seal('north', [ann]);
  await log.privacy.seal('east', [bob]);
  assert.deepEqual(await collectOrphansOf(log), { removed: 0, files: 0 });
  await clock.advance(HOUR_MS + 1);
  const young = await log.privacy.seal('north', [bob]);
  assert.equal(young.length, 1);
  const report = await collectOrphansOf(log, { removedShareMin: 0.1 });
  assert.deepEqual(report, { removed: 2, files: 1 });
  for (const index of kept) assert.deepEqual(await shown(log, index), ['shown']);
  assert.deepEqual(await collectOrphansOf(log), { removed: 0, files: 0 });
  await log.close();
  const again = await openInMemory(files);
  for (const index of kept) assert.deepEqual(await shown(again.log, index), ['shown']);
  await again.log.close();
});

test('UP1, private T6: what is held stays though retention hides its entry', async () => {
  const files = new MemoryFiles();
  const { log, clock } = await openInMemory(files);
  const held = await append(log, 'north');
  const free = await append(log, 'north', bob);
  await fill(log, 10, 'north');
  const basis = { code: 'litigation', ref: 'case-1' } as const;
  const { hold } = await log.privacy.placeHold({ tenant: 'north', subject: ann.subject, basis });
  await log.retain('north', log.core.size, BASIS);
  assert.deepEqual(await shown(log, free), ['redacted']);
  const live = (): number => log.privacy.marks().holds.length;
  assert.equal(live(), 1);
  await clock.advance(2 * HOUR_MS);
  assert.equal((await collectOrphansOf(log)).removed, 0);
  await log.privacy.releaseHold(hold, 'case-1-closed');
  assert.equal((await collectOrphansOf(log)).removed, 1);
  assert.deepEqual(await shown(log, held), ['redacted']);
  await log.close();
});

test('retention overwrites fields, then hides entries, then takes them away', async () => {
  const files = new MemoryFiles();
  const { log, clock } = await openInMemory(files);
  for (let at = 0; at < 40; at++) await append(log, 'north', at % 2 === 0 ? ann : bob);
  await fill(log, 400, 'north');
  const last = await append(log, 'north');
  const before = log.privacy.stats().payloads;
  assert.equal(before, 41);
  // Nothing leaves the disk while a tenant is served it, or a retention may need to read it.
  assert.equal(log.tenants.prunableBelow() <= 2, true);
  await log.retain('north', 350, BASIS);
  await log.core.publish();
  const bound = log.tenants.prunableBelow();
  assert.ok(bound > 300, `${bound}`);
  assert.equal((await log.core.prune({ first: bound, basis: 'one year' })).kind, 'pruned');
  await clock.advance(2 * HOUR_MS);
  // The fields below are retired already: no orphan is left for the collection to find.
  assert.equal((await collectOrphansOf(log)).removed, 0);
  assert.deepEqual(await shown(log, last), ['shown']);
  await log.close();
  const again = await openInMemory(files);
  assert.deepEqual(await shown(again.log, last), ['shown']);
  assert.equal((await collectOrphansOf(again.log)).removed, 0);
  await again.log.close();
  assert.equal(await diskHas(files, 'Ann Example'), false);
});

test('a retention that a crash cut off is finished before anything is hidden', async () => {
  let isDead = false;
  let overwrites = 0;
  const files = new MemoryFiles({
    before: (operation, path) => {
      if (operation === 'write' && path.includes('/payload/')) overwrites += 1;
      if (isDead && overwrites > 0) throw Object.assign(new Error('no power'), { code: 'EIO' });
    },
  });
  const { log } = await openInMemory(files);
  const index = await append(log, 'north');
  await fill(log, 400, 'north');
  await log.core.publish();
  overwrites = 0;
  isDead = true;
  await assert.rejects(log.retain('north', 300, BASIS));
  files.crash();
  isDead = false;
  const again = await openInMemory(files);
  // The start has finished it; until the minimum is in the log, the entry is served and proved.
  assert.deepEqual(await shown(again.log, index), ['redacted']);
  assert.deepEqual(again.log.core.openIntents(), []);
  assert.ok(again.log.tenants.prunableBelow() <= index);
  assert.ok((await again.log.retain('north', 300, BASIS)) > 200);
  await again.log.core.publish();
  assert.ok(again.log.tenants.prunableBelow() > 200);
  await again.log.close();
});

test('UP1: a grace time that an entry could still be on its way in is refused', async () => {
  const { log } = await openInMemory();
  const refused = await refusal(collectOrphansOf(log, { graceMs: 1_000 }));
  assert.equal(refused.code, 'KIN_LEDGER_OPTION_INVALID');
  await log.close();
});
