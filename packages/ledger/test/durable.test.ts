// A process is killed between a write and its sync: the next one reads what is only in the cache,
// and tells others. May a power cut after that take it back? Every store, one after the other.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CheckpointsLog, readCheckpointsLog } from '../src/checkpoints-log.ts';
import type { Files } from '../src/files.ts';
import { MemoryFiles } from '../src/memory-files.ts';
import type { FilesOperation } from '../src/memory-files.ts';
import { FrameStore } from '../src/private/frame-store.ts';
import { encodeFrame } from '../src/private/frame.ts';
import { Marks } from '../src/private/marks.ts';
import { openWitnessStore } from '../src/witness/store.ts';
import type { WitnessRecord } from '../src/witness/store.ts';
import { FakeClock, settle } from './support.ts';

interface Stuck {
  readonly files: MemoryFiles;
  /** From now on such an operation never ends. */
  hang(operation: FilesOperation): void;
  /** From now on it fails. */
  fail(operation: FilesOperation): void;
  well(): void;
}

function stuckDisk(): Stuck {
  let hung: FilesOperation | undefined;
  let failing: FilesOperation | undefined;
  const files = new MemoryFiles({
    before: (operation) => {
      if (operation === failing) throw Object.assign(new Error('bad disk'), { code: 'EIO' });
      return operation === hung ? new Promise(() => undefined) : undefined;
    },
  });
  return {
    files,
    hang: (operation) => (hung = operation),
    fail: (operation) => (failing = operation),
    well: () => (hung = failing = undefined),
  };
}

/** Starts `work`, lets it run into the disk that hangs, kills it there; the machine goes on. */
async function killedAt(
  disk: Stuck,
  operation: FilesOperation,
  work: () => Promise<unknown>,
): Promise<void> {
  disk.hang(operation);
  work().catch(() => undefined);
  await settle();
  disk.files.kill();
  disk.well();
}

function frameStore(files: Files): FrameStore {
  return new FrameStore({
    files,
    dir: 'd',
    suffix: 'pay',
    clock: new FakeClock(),
    fileBytes: 64 * 1024,
    queueBytesMax: 1_000_000,
    groupBytesMax: 32 * 1024,
  });
}

async function framesIn(files: Files): Promise<string[]> {
  const names: string[] = [];
  await frameStore(files).recover((_file, { head, state }) => {
    names.push(`${head.toString()} ${state.kind}`);
  });
  return names;
}

test('frame R8: a frame that a start has read is not lost by a later power cut', async () => {
  const disk = stuckDisk();
  const store = frameStore(disk.files);
  await store.recover(() => undefined);
  const frame = (name: string): Buffer => encodeFrame(Buffer.from(name), Buffer.alloc(50, name));
  await store.append(frame('a'), 1000);
  await killedAt(disk, 'datasync', () => store.append(frame('b'), 1000));
  const read = await framesIn(disk.files);
  assert.deepEqual(read, ['a live', 'b live']);
  disk.files.crash();
  assert.deepEqual(await framesIn(disk.files), read);
});

test('frame R8: what a start has read as removed does not come back', async () => {
  const disk = stuckDisk();
  const store = frameStore(disk.files);
  await store.recover(() => undefined);
  const place = await store.append(encodeFrame(Buffer.from('a'), Buffer.alloc(50, 1)), 1000);
  await killedAt(disk, 'datasync', () => store.remove(() => [place], 'erased', 7));
  assert.deepEqual(await framesIn(disk.files), ['a removed']);
  disk.files.crash();
  assert.deepEqual(await framesIn(disk.files), ['a removed']);
});

test('private T5: a hold that a start has read outlives a power cut', async () => {
  const disk = stuckDisk();
  const marks = new Marks(disk.files, 'keys');
  await marks.recover();
  const basis = { code: 'litigation', text: 'litigation', ref: 'case-1' } as const;
  const hold = { hold: 'h1', tenant: 'north', tag: null, basis, index: 3 };
  const place = (): Promise<void> => marks.change((now) => ({ ...now, holds: [hold] }));
  await killedAt(disk, 'syncDir', place);
  const holds = async (): Promise<number> => {
    const again = new Marks(disk.files, 'keys');
    await again.recover();
    return again.content.holds.length;
  };
  assert.equal(await holds(), 1);
  disk.files.crash();
  assert.equal(await holds(), 1);
});

async function linesIn(files: Files): Promise<number[]> {
  const sizes: number[] = [];
  for await (const { size } of readCheckpointsLog(files, 'p')) sizes.push(size);
  return sizes;
}

const lineOf = (size: number) =>
  ({ kind: 'published', at: '2026-11-20T00:00:00.000Z', size, note: 'n' }) as const;

test('checkpoints CL4: a line that a start has built on outlives a power cut', async () => {
  const disk = stuckDisk();
  const first = await CheckpointsLog.open({ files: disk.files, dir: 'p' });
  await first.append(lineOf(1));
  await killedAt(disk, 'datasync', () => first.append(lineOf(2)));
  const second = await CheckpointsLog.open({ files: disk.files, dir: 'p' });
  assert.equal(second.tail.length, 2);
  disk.files.crash();
  assert.deepEqual(await linesIn(disk.files), [1, 2]);
});

test('checkpoints CL4: the name of a full file outlives a power cut', async () => {
  const disk = stuckDisk();
  const options = { files: disk.files, dir: 'p', fileBytes: 200 };
  const first = await CheckpointsLog.open(options);
  for (const size of [1, 2]) await first.append(lineOf(size));
  await killedAt(disk, 'syncDir', () => first.append(lineOf(3)));
  const second = await CheckpointsLog.open(options);
  assert.deepEqual(
    second.tail.map(({ size }) => size),
    [1, 2],
  );
  disk.files.crash();
  assert.deepEqual(await linesIn(disk.files), [1, 2]);
  const names = await disk.files.list('p');
  assert.deepEqual(names, ['checkpoints.00000001.log', 'checkpoints.log']);
});

const recordOf = (size: number): WitnessRecord => ({
  origin: 'log.example',
  size,
  root: new Uint8Array(32).fill(size),
  timestampS: 1_800_000_000 + size,
  checkpoint: `checkpoint ${size}`,
});

test('witness WS4: what a killed witness left behind is durable once read', async () => {
  const disk = stuckDisk();
  const first = await openWitnessStore(disk.files, 'w');
  await first.save(recordOf(1));
  await killedAt(disk, 'syncDir', () => first.save(recordOf(2)));
  const second = await openWitnessStore(disk.files, 'w');
  assert.equal((await second.load('log.example'))?.size, 2);
  disk.files.crash();
  const third = await openWitnessStore(disk.files, 'w');
  assert.equal((await third.load('log.example'))?.size, 2);
});

test('witness WS4: after a failed save, only what is durable is answered', async () => {
  for (const operation of ['syncDir', 'datasync', 'rename'] as const) {
    const disk = stuckDisk();
    const store = await openWitnessStore(disk.files, 'w');
    await store.save(recordOf(1));
    disk.fail(operation);
    await assert.rejects(store.save(recordOf(2)));
    // As long as the disk is bad, there is no answer at all.
    await assert.rejects(store.load('log.example'));
    disk.well();
    const shown = (await store.load('log.example'))?.size ?? 0;
    disk.files.crash();
    const again = await openWitnessStore(disk.files, 'w');
    assert.equal((await again.load('log.example'))?.size, shown, operation);
  }
});
