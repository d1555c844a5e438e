// Is every single bit of a log's files covered, and does the check say where? Flips one bit at a
// time, asks the check, flips it back. Used by the tests and by scripts/ledger/flips.ts.
import { MemoryFiles, openLedger, signerFromSeed, verifyLedgerDir } from '../src/index.ts';
import type { FsckReport } from '../src/index.ts';
import { FakeClock } from './support.ts';

const ORIGIN = 'flip.example/ledger';
const { signer } = signerFromSeed(ORIGIN, new Uint8Array(32).fill(6));
const ALIGN = 4096;

/** Where in the log a bit lies; each is found in its own way. */
export type Region =
  | 'record header'
  | 'record body'
  | 'record trailer'
  | 'record padding'
  | 'unused tail'
  | 'checkpoint'
  | 'log.json'
  | 'base.bin';

export interface RegionTally {
  flips: number;
  /** The right file, and for records also the right byte offset and index. */
  located: number;
  /** As damage, or as a note about bytes behind the last record (they are erased at a start). */
  readonly as: Map<string, number>;
}

export type FlipTally = Map<Region, RegionTally>;

export interface FlipLog {
  readonly files: MemoryFiles;
  readonly records: readonly { file: string; offset: number; used: number; bodyEnd: number }[];
  readonly first: number;
}

/** A log with one entry per record; pruned once, so that it has a base as well. */
export async function flipLog(entries: number, pruneAt: number): Promise<FlipLog> {
  const files = new MemoryFiles();
  const clock = new FakeClock();
  const options = { dir: 'ledger', origin: ORIGIN, signer, files, clock, segmentBytes: 64 * 1024 };
  const ledger = await openLedger(options);
  for (let at = 0; at < entries; at++) await ledger.record('test.entry', { at });
  if (pruneAt > 0) await ledger.prune({ first: pruneAt, basis: 'retention' });
  const { first } = ledger.stats();
  await ledger.close();
  return { files, records: await readRecords(files), first };
}

async function readRecords(files: MemoryFiles): Promise<FlipLog['records']> {
  const records = [];
  for (const name of await files.list('ledger/seg')) {
    if (!/^\d/.test(name)) continue;
    const bytes = await bytesOf(files, `ledger/seg/${name}`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at < bytes.length && view.getUint32(at) !== 0; at += ALIGN) {
      const bodyEnd = 72 + view.getUint32(at + 8);
      records.push({ file: name, offset: at, used: bodyEnd + view.getUint32(at + 12), bodyEnd });
    }
  }
  return records;
}

async function bytesOf(files: MemoryFiles, path: string): Promise<Uint8Array> {
  return (await files.readWhole(path, 1e9)) ?? new Uint8Array(0);
}

export interface FlipChoice {
  /** Which bits of a region, by a running number: all of them, or a sample. */
  readonly take: (region: Region, nth: number) => boolean;
}

export async function flipBits(log: FlipLog, { take }: FlipChoice): Promise<FlipTally> {
  const tally: FlipTally = new Map();
  for (const [at, record] of log.records.entries()) {
    const index = log.first + at;
    for (let byte = 0; byte < ALIGN; byte++) {
      const region = regionOf(record, byte);
      const place = { path: `ledger/seg/${record.file}`, byte: record.offset + byte };
      const expected = { file: record.file, offset: record.offset, index };
      await flipByte(log, tally, { region, ...place, expected }, take);
    }
  }
  await flipTail(log, tally, take);
  for (const name of ['checkpoint', 'log.json', 'base.bin'] as const) {
    const path = `ledger/${name}`;
    const { length } = await bytesOf(log.files, path);
    const expected = { file: name };
    for (let byte = 0; byte < length; byte++) {
      await flipByte(log, tally, { region: name, path, byte, expected }, take);
    }
  }
  return tally;
}

function regionOf(record: FlipLog['records'][number], byte: number): Region {
  if (byte < 72) return 'record header';
  if (byte < record.bodyEnd) return 'record body';
  return byte < record.used ? 'record trailer' : 'record padding';
}

async function flipTail(log: FlipLog, tally: FlipTally, take: FlipChoice['take']): Promise<void> {
  const last = log.records.at(-1);
  if (last === undefined) return;
  const path = `ledger/seg/${last.file}`;
  const { length } = await bytesOf(log.files, path);
  const end = last.offset + ALIGN;
  const expected = { file: last.file, offset: end };
  for (let byte = end; byte < length; byte++) {
    await flipByte(log, tally, { region: 'unused tail', path, byte, expected }, take);
  }
}

interface Flip {
  readonly region: Region;
  readonly path: string;
  readonly byte: number;
  readonly expected: { readonly file: string; readonly offset?: number; readonly index?: number };
}

async function flipByte(
  { files }: FlipLog,
  tally: FlipTally,
  { region, path, byte, expected }: Flip,
  take: FlipChoice['take'],
): Promise<void> {
  for (let bit = 0; bit < 8; bit++) {
    if (!take(region, byte * 8 + bit)) continue;
    const flip = (): void => {
      files.corrupt(path, (bytes) => {
        bytes[byte] = (bytes[byte] ?? 0) ^ (1 << bit);
      });
    };
    flip();
    const report = await verifyLedgerDir('ledger', signer.vkey, { files });
    flip();
    count(tally, region, report, expected);
  }
}

function count(
  tally: FlipTally,
  region: Region,
  report: FsckReport,
  expected: Flip['expected'],
): void {
  const entry = tally.get(region) ?? { flips: 0, located: 0, as: new Map() };
  tally.set(region, entry);
  entry.flips += 1;
  const [finding] = report.kind === 'damaged' ? report.findings : [];
  const [note] = report.notes;
  const found = finding ?? (region === 'unused tail' ? note : undefined);
  const isPlace =
    found?.file === expected.file &&
    (expected.offset === undefined || found.offset === expected.offset) &&
    (expected.index === undefined || finding?.index === expected.index);
  if (isPlace) entry.located += 1;
  const how = finding !== undefined ? finding.reason : (note?.reason ?? 'not at all');
  const kind = finding === undefined ? `note: ${how}` : how.replaceAll(/\d+/g, 'N');
  entry.as.set(kind, (entry.as.get(kind) ?? 0) + 1);
}
