// The files under payloads and keys: torn ends, damage, failing disks, slow disks, full disks.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { MemoryFiles, nodeFiles, systemClock } from '../../src/index.ts';
import type { Files, FilesOperation } from '../../src/index.ts';
import { Columns, DigestIndex } from '../../src/private/digest-index.ts';
import { scanFrames } from '../../src/private/frame-scan.ts';
import { FrameStore } from '../../src/private/frame-store.ts';
import type { FrameStoreOptions } from '../../src/private/frame-store.ts';
import type { FramePlace } from '../../src/private/frame-writer.ts';
import { encodeFrame, placeFrame, readFrame } from '../../src/private/frame.ts';
import { FakeClock, refusal, settle } from '../support.ts';
import { ALICE, BOB, bench, record, statesAt } from './support.ts';

const FILE_BYTES = 64 * 1024;

function makeStore(files: Files, more: Partial<FrameStoreOptions> = {}): FrameStore {
  return new FrameStore({
    files,
    dir: 'd',
    suffix: 'pay',
    clock: new FakeClock(),
    fileBytes: FILE_BYTES,
    queueBytesMax: 1_000_000,
    groupBytesMax: 32 * 1024,
    ...more,
  });
}

const frame = (name: string, bytes = 100): Buffer =>
  encodeFrame(Buffer.from(name), Buffer.alloc(bytes, name));

/** Names of the frames that a start finds, with what it says about the rest. */
async function reopen(files: Files): Promise<{
  readonly store: FrameStore;
  readonly names: readonly string[];
  readonly damaged: readonly string[];
  readonly torn: number;
}> {
  const names: string[] = [];
  const store = makeStore(files);
  const report = await store.recover((_file, { head, state, bodyIntact }) => {
    const mark = state.kind === 'live' ? (bodyIntact ? '' : '!') : `-${state.kind}`;
    names.push(`${head.toString()}${mark}`);
  });
  const damaged = report.damaged.map(({ file, from }) => `${file}@${from}`);
  return { store, names, damaged, torn: report.torn.length };
}

test('frame R1: removal keeps the head and its order, and takes the body', async () => {
  const files = new MemoryFiles();
  const store = makeStore(files);
  await store.recover(() => undefined);
  const place = await store.append(frame('one'), 1000);
  await store.append(frame('two'), 1000);
  await store.remove(() => [place], 'erased', 41);
  await store.remove(() => [place], 'erased', 42);
  const found = await store.read(() => place);
  assert.equal(found?.head.toString(), 'one');
  assert.deepEqual(found.state, { kind: 'removed', cause: 'erased', index: 42 });
  assert.ok(found.body.every((byte) => byte === 0));
  const again = await reopen(files);
  assert.deepEqual(again.names, ['one-removed', 'two']);
});

test('frame R2: any single changed bit of a frame is noticed', () => {
  const bytes = frame('head', 20);
  placeFrame(bytes, 4096);
  const used = bytes.readUInt32BE(4);
  for (let bit = 0; bit < used * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    const read = readFrame(flipped, 0);
    const isWhole =
      read.kind === 'frame' && read.frame.state.kind === 'live' && read.frame.bodyIntact;
    assert.ok(!isWhole, `bit ${bit}`);
  }
});

test('frame R3: a torn last group is dropped, damage before it is located and left', async () => {
  const files = new MemoryFiles();
  const store = makeStore(files);
  await store.recover(() => undefined);
  const places: FramePlace[] = [];
  for (const name of ['a', 'b', 'c']) places.push(await store.append(frame(name, 600), 1000));
  const path = 'd/00000001.pay';
  const flipped = files.copy();
  flipped.corrupt(path, (bytes) => (bytes[(places[1]?.offset ?? 0) + 5] = 9));
  const middle = await reopen(flipped);
  assert.deepEqual(middle.names, ['a', 'c']);
  assert.deepEqual(middle.damaged, [`00000001.pay@${places[1]?.offset}`]);
  const body = files.copy();
  body.corrupt(path, (bytes) => (bytes[(places[0]?.offset ?? 0) + 200] = 9));
  assert.deepEqual((await reopen(body)).names, ['a!', 'b', 'c']);
  const torn = files.copy();
  torn.corrupt(path, (bytes) => bytes.fill(0, (places[2]?.offset ?? 0) + 512));
  const end = await reopen(torn);
  assert.deepEqual([end.names, end.damaged, end.torn], [['a', 'b'], [], 1]);
  // The place is clean again, and writing goes on there.
  await end.store.append(frame('d'), 1000);
  assert.deepEqual((await reopen(torn)).names, ['a', 'b', 'd']);
});

test('frame R3: any bytes at all are scanned without a crash, and whole frames are found', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 9000 }), fc.nat(8999), (noise, at) => {
      const bytes = Buffer.alloc(12 * 1024);
      bytes.set(noise, 0);
      bytes[at] = 0x4b;
      scanFrames(bytes, undefined);
      scanFrames(bytes, 4096);
    }),
    { numRuns: 300 },
  );
});

test('payload A2: damage to one payload is located and hides no other', async () => {
  const files = new MemoryFiles();
  const one = await bench(files);
  const first = await record(one, [ALICE]);
  const second = await record(one, [BOB]);
  await one.close();
  files.corrupt('ledger/payload/00000001.pay', (bytes) => (bytes[4096 + 41] = 0xee));
  const two = await bench(files);
  const { damaged } = two.fields.stats().recovery;
  assert.deepEqual(
    damaged.map(({ file, from }) => [file, from]),
    [['00000001.pay', 4096]],
  );
  assert.deepEqual(new Set(await statesAt(two, first)), new Set(['missing']));
  assert.ok((await statesAt(two, second)).includes('actor="Bob Brown"'));
  await two.close();
});

function moodyDisk(): { files: MemoryFiles; fail: (operation: FilesOperation) => boolean } {
  const disk = {
    fail: (_operation: FilesOperation): boolean => false,
    files: new MemoryFiles({
      before: (operation) => {
        if (disk.fail(operation)) throw Object.assign(new Error('bad disk'), { code: 'EIO' });
      },
    }),
  };
  return disk;
}

test('frame R5: after a failed sync the group goes to a new file', async () => {
  const disk = moodyDisk();
  const store = makeStore(disk.files);
  await store.recover(() => undefined);
  await store.append(frame('a'), 1000);
  let failures = 1;
  disk.fail = (operation) => operation === 'datasync' && failures-- > 0;
  const place = await store.append(frame('b'), 1000);
  assert.equal(place.file, 2);
  await store.append(frame('c'), 1000);
  const again = await reopen(disk.files);
  // What the failed write left behind in the first file is the same frame once more.
  assert.deepEqual([...new Set(again.names)], ['a', 'b', 'c']);
  assert.deepEqual(again.damaged, []);
});

test('frame R5, payload A1: a second failure ends writing for good, with a code', async () => {
  const disk = moodyDisk();
  const store = makeStore(disk.files);
  await store.recover(() => undefined);
  await store.append(frame('a'), 1000);
  disk.fail = (operation) => operation === 'datasync';
  assert.equal((await refusal(store.append(frame('b'), 1000))).code, 'KIN_LEDGER_POISONED');
  disk.fail = () => false;
  assert.equal((await refusal(store.append(frame('c'), 1000))).code, 'KIN_LEDGER_POISONED');
  const again = await reopen(disk.files);
  assert.deepEqual([again.names[0], again.damaged], ['a', []]);
});

test('frame R4: a disk that never answers: deadlines are kept, the queue is bounded', async () => {
  let hang = false;
  const files = new MemoryFiles({
    before: (operation) =>
      hang && operation === 'datasync' ? new Promise(() => undefined) : undefined,
  });
  const clock = new FakeClock();
  const store = makeStore(files, { clock, queueBytesMax: 5000 });
  await store.recover(() => undefined);
  await store.append(frame('a'), 1000);
  hang = true;
  const inFlight = refusal(store.append(frame('b'), 1000));
  await settle();
  const queued = refusal(store.append(frame('c', 4000), 500));
  const over = await refusal(store.append(frame('d', 4000), 1000));
  assert.equal(over.code, 'KIN_LEDGER_OVERLOADED');
  await settle();
  await clock.advance(600);
  const late = await queued;
  assert.deepEqual([late.code, late.inLog], ['KIN_LEDGER_DEADLINE', 'no']);
  await clock.advance(600);
  assert.equal((await inFlight).inLog, 'unknown');
});

test('a full disk refuses with a code and is taken up again when there is space', async () => {
  const files = new MemoryFiles({ capacityBytes: FILE_BYTES + 20_000 });
  const store = makeStore(files);
  await store.recover(() => undefined);
  let stored = 0;
  let code = '';
  while (code === '') {
    await store.append(frame('a', 4000), 1000).then(
      () => (stored += 1),
      (cause: { code: string }) => (code = cause.code),
    );
  }
  assert.equal(code, 'KIN_LEDGER_FULL');
  files.setCapacity(10 * FILE_BYTES);
  await store.append(frame('b', 4000), 1000);
  const again = await reopen(files);
  assert.deepEqual([again.names.length, again.names.at(-1)], [stored + 1, 'b']);
});

test('many files: frames roll over, are found, and a rewrite keeps what is live', async () => {
  const files = new MemoryFiles();
  const store = makeStore(files);
  await store.recover(() => undefined);
  const places = new Map<string, FramePlace>();
  await Promise.all(
    Array.from({ length: 60 }, async (_, at) => {
      places.set(`f${at}`, await store.append(frame(`f${at}`, 3000), 1000));
    }),
  );
  assert.ok(store.lastFile >= 3);
  const odd = [...places].filter((_, at) => at % 2 === 1);
  await store.remove(() => odd.map(([, place]) => place), 'retired', 7);
  for (let file = 1; file <= store.lastFile; file++) {
    const moved = new Map<number, FramePlace>();
    await store.rewrite(file, 'keep-heads', (from, to) => moved.set(from, to));
    for (const [name, place] of places) {
      const to = place.file === file ? moved.get(place.offset) : undefined;
      if (to !== undefined) places.set(name, to);
    }
  }
  await store.append(frame('last'), 1000);
  for (const [name, place] of places) {
    const found = await store.read(() => place);
    assert.equal(found?.head.toString(), name);
    const isOdd = odd.some(([other]) => other === name);
    assert.equal(found.state.kind, isOdd ? 'removed' : 'live');
    assert.equal(found.body.length, isOdd ? 0 : 3000);
  }
  const again = await reopen(files);
  assert.equal(again.names.length, 61);
  assert.deepEqual(again.damaged, []);
});

test('index U1: rows are found by digest among many, and a tag is only a hint', () => {
  const index = new DigestIndex();
  const columns = new Columns(2);
  const digestOf = (at: number): Buffer => {
    const digest = Buffer.alloc(32);
    // Few different tags, so that many digests share one.
    digest.writeUInt32BE(Math.imul(at % 50, 0x9e3779b1) >>> 0, 0);
    digest.writeUInt32BE(at, 28);
    return digest;
  };
  for (let at = 0; at < 3000; at++) index.add(digestOf(at), columns.push(at, at * 2));
  for (const at of [0, 1, 49, 50, 2999]) {
    const rows = index.candidates(digestOf(at));
    assert.equal(rows.length, 60);
    assert.ok(rows.some((row) => columns.get(row, 0) === at && columns.get(row, 1) === at * 2));
  }
  assert.equal(index.count, 3000);
});

test('on the real file system: seal, erase, compact and start again', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'kin-frames-'));
  try {
    const options = { dir, clock: systemClock };
    const store = makeStore(nodeFiles(), options);
    await store.recover(() => undefined);
    const places = await Promise.all(
      ['x', 'y', 'z'].map((name) => store.append(frame(name, 500), 5000)),
    );
    await store.remove(() => places.slice(0, 1), 'erased', 3);
    assert.equal(await store.rewrite(1, 'leave-out', () => undefined), 'rewritten');
    await store.append(frame('w'), 5000);
    await store.close(5000);
    const names: string[] = [];
    const again = makeStore(nodeFiles(), options);
    await again.recover((_file, { head }) => names.push(head.toString()));
    assert.deepEqual(names, ['y', 'z', 'w']);
    await again.close(5000);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
