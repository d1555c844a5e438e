// Queued, durable, published, witnessed, anchored: is a caller told at the level that it asked for,
// and at no other?
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryFiles } from '../src/index.ts';
import type { PublishLevel, PublishPort } from '../src/index.ts';
import { open, refusal, settle } from './support.ts';

/** A publisher that reaches a level when the test says so. */
class FakePublisher implements PublishPort {
  grownTimes = 0;
  published = 0;
  readonly waits: { level: PublishLevel; index: number; reach: (error?: Error) => void }[] = [];

  grown(): void {
    this.grownTimes += 1;
  }

  async publish(): Promise<void> {
    await Promise.resolve();
    this.published += 1;
  }

  waitFor(index: number, level: PublishLevel): Promise<void> {
    return new Promise((resolve, reject) => {
      const reach = (error?: Error): void => (error === undefined ? resolve() : reject(error));
      this.waits.push({ level, index, reach });
    });
  }
}

async function checkpointSize(files: MemoryFiles): Promise<number> {
  const bytes = (await files.readWhole('ledger/checkpoint', 1e6)) ?? new Uint8Array(0);
  return Number(Buffer.from(bytes).toString().split('\n')[1]);
}

test('levels LV1: without a publisher, published is reached and more is refused', async () => {
  const files = new MemoryFiles();
  const ledger = await open(files);
  await ledger.record('a', 1);
  assert.equal(await checkpointSize(files), 1);
  await ledger.record('a', 2, { wait: 'published' });
  assert.equal(await checkpointSize(files), 3);
  for (const wait of ['witnessed', 'anchored'] as const) {
    const error = await refusal(ledger.record('b', 1, { wait }));
    assert.equal(error.code, 'KIN_LEDGER_OPTION_INVALID');
    const intent = ledger.intent({ kind: 'a.b', subject: 's', detail: null, wait });
    assert.equal((await refusal(intent)).code, 'KIN_LEDGER_OPTION_INVALID');
  }
  assert.equal(ledger.size, 3);
  await ledger.close();
});

test('a receipt waits for the witnesses; when they miss it, nobody gets one', async () => {
  const files = new MemoryFiles();
  const ledger = await open(files);
  const publisher = new FakePublisher();
  ledger.publishThrough(publisher);
  let issued = false;
  const input = { kind: 'quarantine', subject: 't', detail: null, wait: 'witnessed' } as const;
  const pending = ledger.intent(input).then((intent) => {
    issued = true;
    return intent;
  });
  await settle();
  assert.deepEqual([issued, ledger.size, publisher.waits[0]?.level], [false, 2, 'witnessed']);
  publisher.waits[0]?.reach();
  const { index } = await pending;
  assert.equal(index, 1);
  const missed = ledger.intent(input);
  await settle();
  publisher.waits[1]?.reach(new Error('only one of three witnesses'));
  await assert.rejects(missed, /one of three/);
  await settle();
  assert.deepEqual(
    ledger.openIntents().map((open) => open.index),
    [1],
  );
  await ledger.close();
});

test('levels LV2: a publisher takes over the file, the place is still looked after', async () => {
  const files = new MemoryFiles();
  const ledger = await open(files);
  const publisher = new FakePublisher();
  ledger.publishThrough(publisher);
  await ledger.record('a', 1);
  await ledger.publish();
  assert.deepEqual([publisher.grownTimes, publisher.published], [1, 1]);
  assert.equal(await checkpointSize(files), 1);
  for (const name of await files.list('ledger/seg')) await files.remove(`ledger/seg/${name}`);
  assert.equal((await refusal(ledger.publish())).code, 'KIN_LEDGER_SEGMENT_LOST');
  assert.equal((await refusal(ledger.record('b', 2))).code, 'KIN_LEDGER_SEGMENT_LOST');
  assert.equal(publisher.published, 1);
  await ledger.close();
});

test('opening leaves a checkpoint of the same size alone: it may carry cosignatures', async () => {
  const files = new MemoryFiles();
  const ledger = await open(files);
  await ledger.record('a', 1);
  await ledger.close();
  const file = await files.open('ledger/checkpoint', 'write');
  const line = `\u2014 witness.example ${Buffer.alloc(76, 7).toString('base64')}\n`;
  await file.write(Buffer.from(line), await file.size());
  const before = Buffer.from((await files.readWhole('ledger/checkpoint', 1e6)) ?? []).toString();
  const again = await open(files);
  const after = Buffer.from((await files.readWhole('ledger/checkpoint', 1e6)) ?? []).toString();
  assert.ok(before.includes('witness.example'));
  assert.equal(after, before);
  await again.close();
});

test('levels LV3: a checkpoint of the same size keeps the signatures of others', async () => {
  const files = new MemoryFiles();
  const ledger = await open(files);
  await ledger.record('a', 1);
  await ledger.publish();
  const path = 'ledger/checkpoint';
  const own = Buffer.from((await files.readWhole(path, 1e6)) ?? []).toString();
  const cosigned = `${own}\u2014 witness.test/w1 AAAAAAAAAAAA\n`;
  await files.remove(path);
  const file = await files.open(path, 'create');
  await file.write(Buffer.from(cosigned), 0);
  await file.datasync();
  await file.close();
  await ledger.close();
  assert.equal(Buffer.from((await files.readWhole(path, 1e6)) ?? []).toString(), cosigned);
});
