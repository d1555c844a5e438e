// The segment is removed or swapped while nobody writes: is it noticed before the next append?
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryFiles } from '../../src/index.ts';
import type { LedgerError } from '../../src/index.ts';
import { watchPlace } from '../../src/publish/watch.ts';
import { FakeClock, refusal, settle } from '../support.ts';
import { fill, openInMemory } from './memory.ts';

async function segmentOf(files: MemoryFiles): Promise<string> {
  const names = (await files.list('log/seg')).filter((name) => /^\d/.test(name));
  return `log/seg/${names.at(-1)}`;
}

test('PB5, PL1: a segment removed while the log is idle is noticed, and ends writing', async () => {
  const told: LedgerError[] = [];
  const { files, clock, log } = await openInMemory(new MemoryFiles(), {
    onFatal: (error) => told.push(error),
  });
  await fill(log, 5, 'north');
  await clock.advance(1_000);
  await clock.advance(1_000);
  assert.deepEqual(told, []);
  await files.remove(await segmentOf(files));
  await clock.advance(1_000);
  await settle();
  assert.deepEqual(
    told.map(({ code }) => code),
    ['KIN_LEDGER_SEGMENT_LOST'],
  );
  assert.equal(log.core.stats().state.kind, 'failed');
  assert.equal(log.publisher.state().health.kind, 'stopped');
  const refused = await refusal(log.core.record('test.entry', {}));
  assert.equal(refused.code, 'KIN_LEDGER_SEGMENT_LOST');
  await clock.advance(5_000);
  assert.equal(told.length, 1);
  await log.close();
});

test('PB5, PL1: a copy in the place of the segment is not the segment', async () => {
  const told: LedgerError[] = [];
  const { files, clock, log } = await openInMemory(new MemoryFiles(), {
    onFatal: (error) => told.push(error),
  });
  await fill(log, 5);
  const path = await segmentOf(files);
  const bytes = await files.readWhole(path, 1e9);
  await files.remove(path);
  const copy = await files.open(path, 'create');
  await copy.write(bytes ?? new Uint8Array(0), 0);
  await clock.advance(1_000);
  await settle();
  assert.equal(told[0]?.code, 'KIN_LEDGER_SEGMENT_LOST');
  await log.close();
});

test('PL1: a look that failed is told and repeated, and closing ends the watch', async () => {
  const clock = new FakeClock();
  const failures: string[] = [];
  const closed = new AbortController();
  let looks = 0;
  const done = watchPlace(
    {
      clock,
      checkPlace: () => {
        looks += 1;
        return looks === 1 ? Promise.reject(new Error('bad disk')) : Promise.resolve();
      },
    },
    closed.signal,
    {
      lost: () => assert.fail('it is not lost'),
      failing: ({ code }) => failures.push(code),
    },
  );
  for (let round = 0; round < 3; round++) await clock.advance(1_000);
  assert.deepEqual([looks, failures], [3, ['KIN_LEDGER_IO']]);
  closed.abort();
  await done;
  await clock.advance(5_000);
  assert.equal(looks, 3);
  assert.equal(clock.sleepers, 0);
});
