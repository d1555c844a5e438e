// Retention removes whole segments. Does every proof of what stays still hold, does a crash at any
// step lose nothing, and can nobody use a base to hide that entries are gone?
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { MemoryFiles, verifyConsistency, verifyLedgerDir, verifyProof } from '../src/index.ts';
import type { Checkpoint, EntryFollower, FilesOperation, Ledger } from '../src/index.ts';
import { exportStatic, isLedgerError } from '../src/index.ts';
import { toBase64 } from '../src/bytes.ts';
import { HashTree } from '../src/tree.ts';
import { open, refusal, segmentFiles, signer } from './support.ts';

const BASIS = 'retention: 90 days';

/** A view with a state that only every single entry in order gives. */
class Chain implements EntryFollower {
  readonly name: string = 'chain';
  seen = 0;
  sum = 0;

  follow(index: number, entry: Uint8Array, leaf: Uint8Array): void {
    assert.equal(index, this.seen);
    this.seen += 1;
    this.sum = (Math.imul(this.sum, 31) + entry.length + (leaf[0] ?? 0)) >>> 0;
  }

  snapshot(): Uint8Array {
    return Buffer.from(JSON.stringify([this.seen, this.sum]));
  }

  restore(bytes: Uint8Array): void {
    [this.seen, this.sum] = JSON.parse(Buffer.from(bytes).toString());
  }
}

async function fill(ledger: Ledger, count: number): Promise<Checkpoint[]> {
  const texts: Checkpoint[] = [];
  for (let at = 0; at < count; at++) {
    texts.push((await ledger.record('test.entry', { at })).checkpoint);
  }
  return texts;
}

async function checkConsistent(ledger: Ledger, texts: readonly Checkpoint[]): Promise<number> {
  const after = ledger.checkpoint();
  let proved = 0;
  for (const before of texts) {
    if (before.size <= ledger.stats().first && before.size % 256 !== 0) continue;
    const proof = await ledger.consistency(before.size, after.size);
    const evidence = { before: before.text, after: after.text, proof };
    assert.equal(verifyConsistency(evidence, signer.vkey).kind, 'valid', `size ${before.size}`);
    assert.equal(await ledger.rootAt(before.size), before.root);
    proved += 1;
  }
  return proved;
}

async function checkProofs(ledger: Ledger): Promise<void> {
  for (let index = ledger.stats().first; index < ledger.size; index += 7) {
    const { bytes } = await ledger.read(index);
    assert.equal(verifyProof(await ledger.prove(index), bytes, signer.vkey).kind, 'valid');
  }
}

test('base BA2, follow FW2: after pruning, proofs and views are as before', async () => {
  const files = new MemoryFiles();
  const views = [new Chain(), new Chain(), new Chain()];
  const [live, again, third] = views;
  assert.ok(live && again && third);
  const ledger = await open(files, { followers: [live] });
  const texts = await fill(ledger, 300);
  const kept = await ledger.intent({ kind: 'a.b', subject: 's', detail: { n: 1 } });
  texts.push(...(await fill(ledger, 50)));
  const report = await ledger.prune({ first: 280, basis: BASIS });
  const { first } = report;
  assert.ok(report.kind === 'pruned' && first > 256 && first <= 280, JSON.stringify(report));
  assert.equal(ledger.stats().first, first);
  texts.push(...(await fill(ledger, 20)));
  assert.ok((await checkConsistent(ledger, texts)) > 80);
  await checkProofs(ledger);
  for (const call of [() => ledger.read(first - 1), () => ledger.prove(0)]) {
    assert.equal((await refusal(call())).code, 'KIN_LEDGER_PRUNED');
  }
  const early = ledger.entries({ from: 0, limit: 5 });
  assert.equal((await refusal(early)).code, 'KIN_LEDGER_PRUNED');
  assert.equal((await refusal(ledger.rootAt(7))).code, 'KIN_LEDGER_PRUNED');
  await ledger.close();
  const check = await verifyLedgerDir('ledger', signer.vkey, { files });
  assert.deepEqual([check.kind, check.first], ['intact', first], JSON.stringify(check));
  const reopened = await open(files, { followers: [again] });
  assert.deepEqual([again.seen, again.sum], [live.seen, live.sum]);
  assert.deepEqual(reopened.stats().recovery, { kind: 'clean' });
  assert.deepEqual(
    reopened.openIntents().map(({ index }) => index),
    [kept.index],
  );
  await checkConsistent(reopened, texts);
  await checkProofs(reopened);
  await reopened.closeIntent(kept.index, { result: 'succeeded', detail: null });
  const second = await reopened.prune({ first: reopened.size, basis: BASIS });
  assert.ok(second.kind === 'pruned' && second.first > first);
  await reopened.close();
  const last = await open(files, { followers: [third] });
  assert.deepEqual([third.seen, third.sum], [again.seen, again.sum]);
  await checkProofs(last);
  await last.close();
  assert.equal((await verifyLedgerDir('ledger', signer.vkey, { files })).kind, 'intact');
});

test('prune PN2: an open intent and the segment in use stay, and the reason is told', async () => {
  const files = new MemoryFiles();
  const ledger = await open(files);
  await ledger.intent({ kind: 'a.b', subject: 's', detail: null });
  await fill(ledger, 60);
  const held = await ledger.prune({ first: 50, basis: BASIS });
  assert.deepEqual(held, { kind: 'nothing', first: 0, reason: 'open-intent' });
  await ledger.closeIntent(1, { result: 'unknown', detail: null });
  const few = await ledger.prune({ first: 3, basis: BASIS });
  assert.deepEqual(few, { kind: 'nothing', first: 0, reason: 'no-whole-piece' });
  const all = await ledger.prune({ first: ledger.size, basis: BASIS });
  assert.equal(all.kind, 'pruned');
  assert.ok((await segmentFiles(files)).length >= 1);
  await ledger.record('after', 1);
  for (const first of [-1, 1.5, ledger.size + 1]) {
    const refused = await refusal(ledger.prune({ first, basis: BASIS }));
    assert.equal(refused.code, 'KIN_LEDGER_RANGE');
  }
  await ledger.close();
});

test('pruning is in the log: an intent, the base by its digest, an outcome', async () => {
  const files = new MemoryFiles();
  const ledger = await open(files);
  await fill(ledger, 60);
  const { first } = await ledger.prune({ first: 40, basis: BASIS });
  const entries = await ledger.entries({ from: 61, limit: 10 });
  const kinds = entries.map(({ decoded }) => (decoded.type === 'raw' ? '' : decoded.entry.kind));
  assert.deepEqual(kinds, ['intent', 'ledger.pruned', 'outcome']);
  const [, named] = entries;
  assert.ok(named?.decoded.type === 'plain');
  const bytes = (await files.readWhole('ledger/base.bin', 1e9)) ?? new Uint8Array(0);
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  assert.deepEqual(named.decoded.entry.detail, { base: digest, basis: BASIS, first });
  await ledger.close();
});

interface Outcome {
  readonly files: MemoryFiles;
  readonly texts: Checkpoint[];
  operations: number;
}

async function pruneUntilCrash(crashAt: number): Promise<Outcome> {
  let armed = false;
  const run: Outcome = {
    texts: [],
    operations: 0,
    files: new MemoryFiles({
      before: (_operation: FilesOperation) => {
        if (!armed) return;
        run.operations += 1;
        if (run.operations >= crashAt) throw Object.assign(new Error('power cut'), { code: 'EIO' });
      },
    }),
  };
  const ledger = await open(run.files, { followers: [new Chain()] });
  run.texts.push(...(await fill(ledger, 70)));
  await ledger.publish();
  armed = true;
  try {
    await ledger.prune({ first: 60, basis: BASIS });
    run.texts.push(...(await fill(ledger, 3)));
    await ledger.close();
  } catch {
    // The crash, seen from inside.
  }
  armed = false;
  return run;
}

test('prune PN1: power cut at each step of pruning: nothing above the base is lost', async () => {
  const { operations } = await pruneUntilCrash(Infinity);
  assert.ok(operations > 30, `${operations} operations`);
  const ends = new Set<string>();
  for (let crashAt = 1; crashAt <= operations; crashAt++) {
    for (const keep of [false, true]) {
      const run = await pruneUntilCrash(crashAt);
      run.files.crash({
        keepSector: (_path, sector) => keep || sector % 2 === 0,
        keepNames: () => keep,
      });
      const disk = run.files.copy();
      const view = new Chain();
      const ledger = await open(disk, { followers: [view] });
      assert.equal(view.seen, ledger.size);
      assert.equal(ledger.openIntents().length, 0);
      await checkConsistent(ledger, run.texts);
      await checkProofs(ledger);
      await ledger.record('after', null);
      const { first } = ledger.stats();
      ends.add(first === 0 ? 'whole' : 'pruned');
      assert.equal(await disk.readWhole('ledger/base.next', 1e9), undefined);
      await ledger.close();
      const check = await verifyLedgerDir('ledger', signer.vkey, { files: disk });
      assert.deepEqual([check.kind, check.first], ['intact', first], JSON.stringify(check));
    }
  }
  assert.deepEqual([...ends].sort(), ['pruned', 'whole']);
});

async function prunedLedger(): Promise<MemoryFiles> {
  const files = new MemoryFiles();
  const ledger = await open(files, { followers: [new Chain()] });
  await fill(ledger, 300);
  await ledger.prune({ first: 290, basis: BASIS });
  await ledger.close();
  return files;
}

test('base BA1: every bit of base.bin is covered, a missing or forged base is found', async () => {
  const files = await prunedLedger();
  const path = 'ledger/base.bin';
  const length = (await files.readWhole(path, 1e9))?.length ?? 0;
  for (let at = 0; at < length; at++) {
    const bit = 1 << (at % 8);
    const flip = (): void => files.corrupt(path, (bytes) => (bytes[at] = (bytes[at] ?? 0) ^ bit));
    flip();
    const report = await verifyLedgerDir('ledger', signer.vkey, { files });
    const [first] = report.kind === 'damaged' ? report.findings : [];
    assert.equal(first?.file, 'base.bin', `byte ${at}`);
    if (at % 16 === 0) assert.equal((await refusal(open(files))).place?.file, 'base.bin');
    flip();
  }
  const forged = files.copy();
  const { baseDigest, decodeBase, encodeBase } = await import('../src/base.ts');
  const bytes = (await forged.readWhole(path, 1e9)) ?? new Uint8Array(0);
  const base = decodeBase(bytes);
  assert.deepEqual(encodeBase(base), Uint8Array.from(bytes));
  const snapshots = new Map([...base.snapshots, ['intents', Buffer.from('[]')]]);
  snapshots.set('chain', Buffer.from('[302,7]'));
  const other = encodeBase({ ...base, snapshots });
  assert.notEqual(baseDigest(other), baseDigest(bytes));
  await forged.remove(path);
  const file = await forged.open(path, 'create');
  await file.write(other, 0);
  const error = await refusal(open(forged, { followers: [new Chain()] }));
  assert.match(error.message, /no entry of the log names it/);
  const report = await verifyLedgerDir('ledger', signer.vkey, { files: forged });
  assert.match(report.kind === 'damaged' ? (report.findings[0]?.reason ?? '') : '', /names it/);
  const gone = files.copy();
  await gone.remove(path);
  const missing = await refusal(open(gone));
  assert.deepEqual([missing.code, missing.place?.index], ['KIN_LEDGER_CORRUPT', 0]);
  assert.match(missing.message, /entries 0 to \d+ are missing/);
});

test('a view that came too late for pruned entries is refused, not silently wrong', async () => {
  const files = await prunedLedger();
  class Late extends Chain {
    override readonly name: string = 'late';
  }
  const error = await refusal(open(files, { followers: [new Chain(), new Late()] }));
  assert.equal(error.code, 'KIN_LEDGER_PRUNED');
  const without = await open(files);
  const lost = await refusal(without.prune({ first: without.size, basis: BASIS }));
  assert.equal(lost.code, 'KIN_LEDGER_OPTION_INVALID');
  await without.close();
});

test('a pruned log exports the hashes of all and the entries that are left', async () => {
  const files = await prunedLedger();
  const { size } = await exportStatic('ledger', 'out', signer.vkey, { files });
  assert.equal(await files.readWhole('out/tile/entries/000', 1e9), undefined);
  const level1 = await files.readWhole('out/tile/1/000.p/1', 1e9);
  const width = size - 256;
  const leaves = (await files.readWhole(`out/tile/0/001.p/${width}`, 1e9)) ?? new Uint8Array(0);
  assert.equal(leaves.length, width * 32);
  const tree = new HashTree(() => Promise.reject(new Error('not needed')));
  tree.restore({ first: size, tiles: level1 ?? new Uint8Array(0), leaves });
  const text = Buffer.from((await files.readWhole('out/checkpoint', 1e6)) ?? []).toString();
  assert.equal(toBase64(tree.root()), text.split('\n')[2]);
});

test('follow FW1: each durable entry once, in order, before anybody is told', async () => {
  const files = new MemoryFiles();
  const view = new Chain();
  const ledger = await open(files, { followers: [view] });
  const burst = Array.from({ length: 30 }, async (_, at) => {
    const { index } = await ledger.record('a', at);
    assert.ok(view.seen > index, 'acknowledged before the view knew');
  });
  await Promise.all(burst);
  files.crash();
  const after = new Chain();
  const again = await open(files, { followers: [after] });
  assert.equal(after.seen, again.size);
  await again.close();
});

test('the check beside a pruning looks again instead of calling it damage', async () => {
  const files = new MemoryFiles();
  const ledger = await open(files);
  await fill(ledger, 60);
  const reads: string[] = [];
  const racing = Object.create(files, {
    readWhole: {
      value: async (path: string, bytesMax: number) => {
        if (path.endsWith('.wal') && reads.length === 0) {
          reads.push(path);
          assert.equal((await ledger.prune({ first: 50, basis: BASIS })).kind, 'pruned');
        }
        return files.readWhole(path, bytesMax);
      },
    },
    list: { value: (dir: string) => files.list(dir) },
  }) as MemoryFiles;
  const report = await verifyLedgerDir('ledger', signer.vkey, { files: racing });
  assert.deepEqual([report.kind, reads.length], ['intact', 1], JSON.stringify(report));
  assert.ok(report.first > 0);
  await ledger.close();
});

test('an interrupted pruning leaves no doubt for callers: the error is typed', async () => {
  let armed = false;
  const files = new MemoryFiles({
    before: (operation, path) => {
      if (armed && operation === 'open' && path.endsWith('base.next.tmp')) {
        throw Object.assign(new Error('EIO'), { code: 'EIO' });
      }
    },
  });
  const ledger = await open(files);
  await fill(ledger, 60);
  armed = true;
  await ledger.prune({ first: 50, basis: BASIS }).then(
    () => assert.fail('it was pruned'),
    (cause: unknown) => assert.ok(isLedgerError(cause) && cause.code === 'KIN_LEDGER_IO'),
  );
  armed = false;
  assert.deepEqual([ledger.openIntents().length, ledger.stats().first], [0, 0]);
  assert.equal((await ledger.prune({ first: 50, basis: BASIS })).kind, 'pruned');
  await ledger.close();
});
