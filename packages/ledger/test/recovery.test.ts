import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryFiles, verifyLedgerDir } from '../src/index.ts';
import type { Ledger } from '../src/index.ts';
import { listSegments } from '../src/scan.ts';
import {
  open,
  options,
  otherSigner,
  refusal,
  segmentFiles,
  signer,
  smallLedger,
} from './support.ts';

async function onlySegment(files: MemoryFiles): Promise<string> {
  const [segment = ''] = await segmentFiles(files);
  return segment;
}

function kinds(ledger: Ledger): Promise<string[]> {
  return ledger
    .entries({ from: 0, limit: 1000 })
    .then((all) => all.map(({ decoded }) => (decoded.type === 'raw' ? '' : decoded.entry.kind)));
}

test('scan S1: damage in front of a valid record refuses to open and says where', async () => {
  const files = await smallLedger(5);
  const segment = await onlySegment(files);
  files.corrupt(segment, (bytes) => {
    bytes[2 * 4096 + 100] = (bytes[2 * 4096 + 100] ?? 0) ^ 4;
  });
  const error = await refusal(open(files));
  assert.equal(error.code, 'KIN_LEDGER_CORRUPT');
  assert.deepEqual(error.place, { file: '0000000000000000-0.wal', offset: 8192, index: 2 });
  const report = await verifyLedgerDir('ledger', signer.vkey, { files });
  assert.equal(report.kind, 'damaged');
  const [finding] = report.kind === 'damaged' ? report.findings : [];
  assert.deepEqual([finding?.offset, finding?.index], [8192, 2]);
});

test('scan S2: a torn last write is dropped and recorded, once', async () => {
  for (const sectors of [[0], [1], [0, 1, 2, 3, 4], [2, 3]]) {
    const files = new MemoryFiles();
    const ledger = await open(files);
    await ledger.record('a', 'x'.repeat(3000));
    const segment = await onlySegment(files);
    // The write of a third record, of which only some sectors reached the disk.
    const donor = (await smallLedgerWithBigEntry()).subarray(4096 * 2, 4096 * 3);
    files.corrupt(segment, (bytes) => {
      for (const sector of sectors) {
        const at = sector * 512;
        bytes.set(donor.subarray(at, at + 512), 8192 + at);
      }
    });
    files.crash();
    const check = await verifyLedgerDir('ledger', signer.vkey, { files });
    assert.equal(check.kind, 'intact', JSON.stringify(check));
    assert.equal(check.notes.length, 1);
    const again = await open(files);
    const { recovery } = again.stats();
    assert.equal(recovery.kind, 'tail-dropped');
    assert.equal(recovery.kind === 'tail-dropped' && recovery.offset, 8192);
    assert.deepEqual(await kinds(again), ['ledger.created', 'a', 'ledger.recovered']);
    await again.close();
    const third = await open(files);
    assert.deepEqual(third.stats().recovery, { kind: 'clean' });
    await third.close();
  }
});

async function smallLedgerWithBigEntry(): Promise<Uint8Array> {
  const files = new MemoryFiles();
  const ledger = await open(files);
  await ledger.record('a', 'x'.repeat(3000));
  await ledger.record('b', 'y'.repeat(2500));
  await ledger.close();
  return (await files.readWhole(await onlySegment(files), 1e9)) ?? new Uint8Array(0);
}

test('recover G1: a damaged acknowledged last record is refused, never truncated', async () => {
  const files = new MemoryFiles();
  const ledger = await open(files);
  await ledger.record('a', 'x'.repeat(3000));
  // No clean close: the checkpoint file does not know of this entry.
  files.crash();
  const segment = await onlySegment(files);
  for (const at of [4096, 4096 + 40, 4096 + 72, 4096 + 2000, 8191]) {
    const damaged = files.copy();
    damaged.corrupt(segment, (bytes) => {
      bytes[at] = (bytes[at] ?? 0) ^ 1;
    });
    const error = await refusal(open(damaged));
    assert.equal(error.code, 'KIN_LEDGER_CORRUPT', String(at));
    assert.deepEqual([error.place?.offset, error.place?.index], [4096, 1]);
    const dropped = await open(damaged, { damagedTail: 'drop' });
    assert.deepEqual(await kinds(dropped), ['ledger.created', 'ledger.recovered']);
    await dropped.close();
  }
});

test('recover G2: a rewritten history with correct checksums is found by its root', async () => {
  const one = await smallLedger(3);
  const forged = new MemoryFiles();
  const other = await open(forged, { signer: otherSigner });
  for (let at = 0; at < 3; at++) await other.record('test.entry', { at });
  await other.close();
  const segment = await onlySegment(one);
  const bytes = (await forged.readWhole(segment, 1e9)) ?? new Uint8Array(0);
  one.corrupt(segment, (target) => target.set(bytes));
  const error = await refusal(open(one));
  assert.equal(error.code, 'KIN_LEDGER_WRONG_KEY');
  const report = await verifyLedgerDir('ledger', signer.vkey, { files: one });
  assert.equal(report.kind === 'damaged' && report.findings[0]?.code, 'KIN_LEDGER_WRONG_KEY');
});

test('recover G3: an older copy is refused against the outside high-water mark', async () => {
  const files = new MemoryFiles();
  const ledger = await open(files);
  await ledger.record('a', 1);
  await ledger.publish();
  const backup = files.copy();
  const { size, root } = (await ledger.record('a', 2)).checkpoint;
  await ledger.close();
  const highWater = { size, root };
  const error = await refusal(open(backup, { highWater }));
  assert.equal(error.code, 'KIN_LEDGER_ROLLED_BACK');
  const good = await open(files, { highWater });
  await good.close();
  const fork = await open(backup);
  await fork.record('another', 'history');
  await fork.close();
  assert.equal((await refusal(open(backup, { highWater }))).code, 'KIN_LEDGER_FORKED');
});

test('recover G3: segments shorter than the published checkpoint are refused', async () => {
  const files = await smallLedger(4);
  const segment = await onlySegment(files);
  files.corrupt(segment, (bytes) => bytes.fill(0, 3 * 4096));
  assert.equal((await refusal(open(files))).code, 'KIN_LEDGER_CORRUPT');
  assert.equal((await verifyLedgerDir('ledger', signer.vkey, { files })).kind, 'damaged');
});

test('open O1: an interrupted creation starts anew; removed files are refused', async () => {
  const probe = new MemoryFiles();
  let operations = 0;
  let failAt = Infinity;
  const before = (): void => {
    operations += 1;
    if (operations >= failAt) throw Object.assign(new Error('EIO: crash'), { code: 'EIO' });
  };
  const counted = probe.copy({ before });
  await (await open(counted)).close();
  const total = operations;
  for (let at = 1; at < total; at++) {
    operations = 0;
    failAt = at;
    const files = new MemoryFiles({ before });
    await open(files)
      .then((ledger) => ledger.close())
      .catch(() => undefined);
    failAt = Infinity;
    files.crash({ keepNames: () => at % 2 === 0, keepSector: () => at % 3 === 0 });
    const ledger = await open(files);
    assert.equal((await ledger.record('a', 1)).index >= 1, true);
    await ledger.close();
  }
  const removed = await smallLedger(2);
  await removed.remove('ledger/log.json');
  assert.equal((await refusal(open(removed))).code, 'KIN_LEDGER_CORRUPT');
  const emptied = await smallLedger(2);
  await emptied.remove(await onlySegment(emptied));
  assert.equal((await refusal(open(emptied))).code, 'KIN_LEDGER_CORRUPT');
});

test('open O2: another key cannot open the folder; a damaged identity is named', async () => {
  const files = await smallLedger(1);
  const error = await refusal(open(files, { signer: otherSigner }));
  assert.equal(error.code, 'KIN_LEDGER_WRONG_KEY');
  files.corrupt('ledger/log.json', (bytes) => bytes.fill(0x20, 0, 4));
  assert.equal((await refusal(open(files))).place?.file, 'log.json');
  const damaged = await smallLedger(1);
  damaged.corrupt('ledger/checkpoint', (bytes) => bytes.fill(0x41, 30, 40));
  assert.equal((await refusal(open(damaged))).place?.file, 'checkpoint');
});

test('a log over many segments is read, proved and recovered as one', async () => {
  const files = new MemoryFiles();
  const ledger = await open(files);
  for (let at = 0; at < 60; at++) await ledger.record('a', at);
  await ledger.close();
  const names = await listSegments(files, 'ledger/seg');
  assert.ok(names.length >= 3, `${names.length} segments`);
  const report = await verifyLedgerDir('ledger', signer.vkey, { files });
  assert.deepEqual([report.kind, report.size], ['intact', 61]);
  const again = await open(files);
  const { decoded } = await again.read(33);
  assert.equal(decoded.type === 'plain' && decoded.entry.detail, 32);
  await again.close();
  await files.remove(`ledger/seg/${names[1]?.file ?? ''}`);
  assert.equal((await refusal(open(files))).code, 'KIN_LEDGER_CORRUPT');
});

test('fsck X1: every single-bit flip of a small log is detected and located', async () => {
  const files = await smallLedger(2);
  const segment = await onlySegment(files);
  const used = 3 * 4096;
  const whole = (await files.readWhole(segment, 1e9)) ?? new Uint8Array(0);
  const small = new Set<number>();
  for (let record = 0; record < 3; record++) {
    const end = record * 4096 + lastUsed(whole.subarray(record * 4096, (record + 1) * 4096));
    for (let at = record * 4096; at < end + 24; at++) small.add(at);
    for (let at = end + 24; at < (record + 1) * 4096; at += 97) small.add(at);
  }
  let checked = 0;
  for (const at of small) {
    for (let bit = 0; bit < 8; bit += at % 4096 < 72 ? 1 : 6) {
      flip(files, segment, at, bit);
      const { checkLocated } = await locate(files);
      assert.equal(checkLocated, Math.floor(at / 4096), `byte ${at} bit ${bit}`);
      flip(files, segment, at, bit);
      checked += 1;
    }
  }
  assert.ok(checked > 3000 && used > 0, `${checked} flips`);
  assert.equal((await verifyLedgerDir('ledger', signer.vkey, { files })).kind, 'intact');
});

function lastUsed(record: Uint8Array): number {
  return record.findLastIndex((byte) => byte !== 0) + 1;
}

function flip(files: MemoryFiles, path: string, at: number, bit: number): void {
  files.corrupt(path, (bytes) => {
    bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
  });
}

async function locate(files: MemoryFiles): Promise<{ checkLocated: number }> {
  const report = await verifyLedgerDir('ledger', signer.vkey, { files });
  if (report.kind === 'intact') return { checkLocated: -1 };
  const [first] = report.findings;
  assert.equal(first?.index, (first?.offset ?? 0) / 4096);
  return { checkLocated: (first?.offset ?? 0) / 4096 };
}

test('fsck X1: every bit flip of checkpoint and log.json is detected and named', async () => {
  const files = await smallLedger(2);
  for (const name of ['checkpoint', 'log.json']) {
    const length = (await files.readWhole(`ledger/${name}`, 1e9))?.length ?? 0;
    for (let at = 0; at < length; at++) {
      for (let bit = 0; bit < 8; bit += 3) {
        flip(files, `ledger/${name}`, at, bit);
        const report = await verifyLedgerDir('ledger', signer.vkey, { files });
        const [first] = report.kind === 'damaged' ? report.findings : [];
        assert.equal(first?.file, name, `byte ${at} bit ${bit}`);
        flip(files, `ledger/${name}`, at, bit);
      }
    }
  }
});

test('fsck X2: an entry rewritten with fresh checksums is found by the signed root', async () => {
  const { encodeRecord, readRecord } = await import('../src/record.ts');
  const files = await smallLedger(2);
  const segment = await onlySegment(files);
  files.corrupt(segment, (bytes) => {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const read = readRecord(buffer, 8192);
    assert.equal(read.kind, 'record');
    if (read.kind !== 'record') return;
    const { firstIndex, previous, trailer } = read.record;
    const entries = [Buffer.from('{"forged":true}')];
    const forged = encodeRecord({ firstIndex, entries, previous, trailer, unsigned: false });
    bytes.set(forged.bytes, 8192);
  });
  const report = await verifyLedgerDir('ledger', signer.vkey, { files });
  const [finding] = report.kind === 'damaged' ? report.findings : [];
  assert.deepEqual([finding?.offset, finding?.index], [8192, 2]);
  assert.match(finding?.reason ?? '', /root differs/);
  assert.equal((await refusal(open(files))).code, 'KIN_LEDGER_CORRUPT');
});

test('record W1 and W2: a record chained to another history is damage, not a record', async () => {
  const files = await smallLedger(3);
  const stranger = new MemoryFiles();
  const other = await open(stranger);
  for (let at = 0; at < 3; at++) await other.record('test.entry', { other: at });
  await other.close();
  const segment = await onlySegment(files);
  const foreign = (await stranger.readWhole(segment, 1e9)) ?? new Uint8Array(0);
  files.corrupt(segment, (bytes) => bytes.set(foreign.subarray(8192, 12_288), 8192));
  const error = await refusal(open(files));
  assert.deepEqual([error.code, error.place?.offset], ['KIN_LEDGER_CORRUPT', 8192]);
  assert.match(error.message, /previous record hash/);
});

test('two ledgers on one folder: the second is told that it is locked', async () => {
  const files = new MemoryFiles();
  const ledger = await open(files);
  assert.equal((await refusal(open(files))).code, 'KIN_LEDGER_LOCKED');
  await ledger.close();
  await (await open(files)).close();
  assert.equal(options(files).origin, ledger.origin);
});
