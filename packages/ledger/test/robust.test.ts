// What the disk and other people may do to a running log: is it noticed, and does writing stop
// before an acknowledgement would be a lie?
import assert from 'node:assert/strict';
import { mkdtemp, open as openFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { MemoryFiles, openLedger, verifyLedgerDir } from '../src/index.ts';
import { IntentBook } from '../src/intents.ts';
import {
  FakeClock,
  bytesOf,
  open,
  options,
  refusal,
  segmentFiles,
  settle,
  signer,
} from './support.ts';

test('a segment that was removed while nobody writes is noticed at the next publish', async () => {
  const files = new MemoryFiles();
  const ledger = await open(files);
  await ledger.record('a', 1);
  const [segment = ''] = await segmentFiles(files);
  await files.remove(segment);
  assert.equal((await refusal(ledger.checkPlace())).code, 'KIN_LEDGER_SEGMENT_LOST');
  assert.equal((await refusal(ledger.publish())).code, 'KIN_LEDGER_SEGMENT_LOST');
  assert.equal((await refusal(ledger.record('b', 2))).code, 'KIN_LEDGER_SEGMENT_LOST');
  assert.equal(ledger.stats().state.kind, 'failed');
  await ledger.close();
});

test('real files: removed, swapped or cut short, each stops the writing', async (context) => {
  const base = await mkdtemp(join(tmpdir(), 'kintsugi-robust-'));
  context.after(() => rm(base, { recursive: true, force: true }));
  const harms = {
    removed: (path: string) => rm(path),
    swapped: async (path: string) => {
      await writeFile(`${path}.new`, Buffer.alloc(64 * 1024));
      await rename(`${path}.new`, path);
    },
    cut: (path: string) => truncate(path, 0),
  };
  for (const [name, harm] of Object.entries(harms)) {
    const dir = join(base, name);
    const ledger = await openLedger({
      dir,
      origin: signer.name,
      signer,
      segmentBytes: 64 * 1024,
    });
    await ledger.record('a', 1);
    await harm(join(dir, 'seg/0000000000000000-0.wal'));
    assert.equal((await refusal(ledger.publish())).code, 'KIN_LEDGER_SEGMENT_LOST', name);
    assert.equal((await refusal(ledger.record('b', 2))).code, 'KIN_LEDGER_SEGMENT_LOST', name);
    await ledger.close();
  }
});

test('real files: half a spare, a strange file, an empty segment: no harm', async (context) => {
  const base = await mkdtemp(join(tmpdir(), 'kintsugi-robust-'));
  context.after(() => rm(base, { recursive: true, force: true }));
  const dir = join(base, 'log');
  const more = { dir, origin: signer.name, signer, segmentBytes: 64 * 1024 };
  const ledger = await openLedger(more);
  await ledger.record('a', 1);
  await ledger.close();
  await writeFile(join(dir, 'seg/README'), 'not a segment');
  await writeFile(join(dir, 'seg/spare.tmp'), 'half a spare');
  const empty = await openFile(join(dir, 'seg/0000000000000002-0.wal'), 'wx', 0o600);
  await empty.write(Buffer.alloc(64 * 1024));
  await empty.close();
  const again = await openLedger(more);
  assert.deepEqual([again.size, again.stats().recovery.kind], [2, 'clean']);
  assert.equal((await again.record('b', 2)).index, 2);
  await again.close();
});

test('real files: pruned, reopened, checked', async (context) => {
  const base = await mkdtemp(join(tmpdir(), 'kintsugi-robust-'));
  context.after(() => rm(base, { recursive: true, force: true }));
  const dir = join(base, 'log');
  const more = { dir, origin: signer.name, signer, segmentBytes: 64 * 1024 };
  const ledger = await openLedger(more);
  for (let at = 0; at < 40; at++) await ledger.record('a', at);
  const report = await ledger.prune({ first: 30, basis: 'retention' });
  assert.equal(report.kind, 'pruned');
  await ledger.close();
  const again = await openLedger(more);
  assert.equal(again.stats().first, report.first);
  assert.equal((await again.read(report.first)).index, report.first);
  await again.close();
  const check = await verifyLedgerDir(dir, signer.vkey);
  assert.deepEqual([check.kind, check.first], ['intact', report.first]);
});

test('a follower that fails stops the writing instead of drifting apart', async () => {
  let isBroken = false;
  const files = new MemoryFiles();
  const follower = {
    name: 'fragile',
    follow: () => {
      if (isBroken) throw new Error('out of step');
    },
    snapshot: () => new Uint8Array(0),
    restore: () => undefined,
  };
  const ledger = await open(files, { followers: [follower] });
  isBroken = true;
  assert.equal((await refusal(ledger.record('a', 1))).code, 'KIN_LEDGER_IO');
  await settle();
  assert.equal(ledger.stats().state.kind, 'failed');
  await ledger.close();
  // It was durable, and the next incarnation follows it.
  isBroken = false;
  const again = await open(files, { followers: [follower] });
  assert.equal(again.size, 2);
  await again.close();
});

test('entry E2: raw bytes that end like an entry of a tenant are refused', async () => {
  const ledger = await open(new MemoryFiles());
  const tail = '"salt":"AAAAAAAAAAAAAAAAAAAAAA","tenant":"clinic-7","v":1}';
  for (const text of [`{"kind":"x",${tail}`, `not json at all,${tail}`]) {
    const error = await refusal(ledger.append(bytesOf(text)));
    assert.equal(error.code, 'KIN_LEDGER_ENTRY_INVALID', text);
  }
  await ledger.append(bytesOf('{"tenant":"clinic-7","v":1} '));
  assert.equal(ledger.size, 2);
  await ledger.close();
});

test('the snapshot of open intents: the same after it, and nonsense is refused', () => {
  const book = new IntentBook();
  const entry = '{"action":"a.b","at":"x","detail":{"n":1},"kind":"intent","subject":"s","v":1}';
  book.follow(7, bytesOf(entry));
  book.follow(8, bytesOf(entry));
  book.follow(
    9,
    bytesOf('{"at":"x","detail":1,"intent":7,"kind":"outcome","result":"failed","v":1}'),
  );
  const other = new IntentBook();
  other.restore(book.snapshot());
  assert.deepEqual(other.list(), book.list());
  assert.deepEqual(
    other.list().map(({ index }) => index),
    [8],
  );
  for (const text of ['', '{}', '[1]', '[{"index":1}]', '[{"index":1.5,"detail":0}]', '[null]']) {
    assert.throws(() => other.restore(bytesOf(text)), { code: 'KIN_LEDGER_CORRUPT' }, text);
  }
});

test('deep check and recovery hold one segment at a time', async () => {
  const { LocalStore } = await import('../src/local-store.ts');
  const files = new MemoryFiles();
  const ledger = await open(files);
  for (let at = 0; at < 40; at++) await ledger.record('a', at);
  await ledger.close();
  const store = new LocalStore(files, options(files).dir ?? '');
  let pieces = 0;
  let end = 0;
  for await (const { first, next, load } of store.pieces(0)) {
    assert.equal(first, end);
    end = next;
    pieces += 1;
    assert.equal((await load()).length, 64 * 1024);
  }
  assert.ok(pieces >= 3 && end === Infinity);
});

test('wal D4: a segment that could not be started leaves no empty one in the middle', async () => {
  for (const operation of ['rename', 'syncDir', 'open'] as const) {
    let left = 0;
    const files = new MemoryFiles({
      before: (now, path) => {
        const isRoll = operation === 'rename' ? path.endsWith('spare.wal') : path.includes('/seg');
        if (left === 0 || now !== operation || !isRoll) return;
        left -= 1;
        throw Object.assign(new Error('ENOSPC: injected'), { code: 'ENOSPC' });
      },
    });
    const clock = new FakeClock();
    const ledger = await open(files, { clock });
    // Almost to the end of the first segment; the next big record needs another one.
    for (let at = 0; at < 14; at++) await ledger.record('a', at);
    left = 1;
    const big = await refusal(ledger.record('big', 'x'.repeat(9000)));
    assert.equal(big.code, 'KIN_LEDGER_FULL', operation);
    // Small ones still fit into the old segment (the reserve), then into a new one.
    await clock.advance(5000);
    for (let at = 0; at < 30; at++) await ledger.record('b', at);
    const { size } = ledger;
    files.crash();
    const again = await open(files);
    assert.equal(again.size, size, operation);
    await again.close();
  }
});
