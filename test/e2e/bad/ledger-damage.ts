// How does a ledger get damaged? By a write that a power cut ended, or by a byte that changed
// later; both made on the file of a ledger that is closed, in the format of packages/ledger.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { encodeRecord, readRecord } from '../../../packages/ledger/src/record.ts';
import type { RecordView } from '../../../packages/ledger/src/record.ts';

const SECTOR = 512;

export function records(bytes: Buffer): readonly RecordView[] {
  const found: RecordView[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    const read = readRecord(bytes, offset);
    if (read.kind === 'bad') break;
    found.push(read.record);
    offset += read.record.length;
  }
  return found;
}

/** The next record, of which only the first sector reached the disk. Answers its place. */
export function tearTail(file: string): number {
  const bytes = readFileSync(file);
  const last = records(bytes).at(-1);
  assert.ok(last !== undefined);
  const at = last.offset + last.length;
  const next = encodeRecord({
    firstIndex: last.firstIndex + last.count,
    entries: [Buffer.alloc(3_000, 'x')],
    previous: last.hash,
    trailer: Buffer.from('never written'),
    unsigned: false,
  });
  bytes.set(next.bytes.subarray(0, SECTOR), at);
  writeFileSync(file, bytes);
  return at;
}

/** One bit of an entry in the middle. Answers the record that holds it. */
export function flipMiddle(file: string): RecordView {
  const bytes = readFileSync(file);
  const all = records(bytes);
  const victim = all[Math.floor(all.length / 2)];
  assert.ok(victim !== undefined && all.length >= 3);
  const at = victim.offset + 100;
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  writeFileSync(file, bytes);
  return victim;
}
