// Every single bit of every file of an exported log: is it covered, and does the check say where?
// Used by the tests, scripts/ledger/flips.ts and the bench.
import { MemoryFiles, exportStatic, openLedger, signerFromSeed } from '../src/index.ts';
import { verifyStatic } from '../src/static.ts';
import type { StaticReport } from '../src/static.ts';
import { hashesAt, levelsOf, widthOf } from '../src/static-source.ts';
import { formatTilePath, parseTilePath } from '../src/tiles.ts';
import { FakeClock } from './support.ts';

const ORIGIN = 'flip.example/static';
const { signer } = signerFromSeed(ORIGIN, new Uint8Array(32).fill(9));
const EXPORTED = 'out';

export const staticVkey = signer.vkey;

export interface StaticLog {
  readonly files: MemoryFiles;
  readonly size: number;
  /** Relative paths with their sizes; only files that a flip must be found in. */
  readonly paths: readonly { readonly path: string; readonly bytes: number }[];
}

/** A log of `entries` small entries, exported; with `pruneAt` after it was pruned. */
export async function staticLog(entries: number, pruneAt = 0): Promise<StaticLog> {
  const files = new MemoryFiles();
  const options = { dir: 'ledger', origin: ORIGIN, signer, files, clock: new FakeClock() };
  const ledger = await openLedger({ ...options, segmentBytes: 64 * 1024 });
  const group = Math.max(1, Math.min(4096, Math.floor(entries / 32)));
  for (let at = 1; at < entries; at += group) {
    const count = Math.min(group, entries - at);
    await Promise.all(
      Array.from({ length: count }, (_, step) => ledger.append(Buffer.from(`${at + step}`))),
    );
  }
  if (pruneAt > 0) await ledger.prune({ first: pruneAt, basis: 'retention' });
  await ledger.close();
  const { size } = await exportStatic('ledger', EXPORTED, signer.vkey, { files });
  return { files, size, paths: await pathsOf(files, size) };
}

async function pathsOf(files: MemoryFiles, size: number): Promise<StaticLog['paths']> {
  const wanted = ['checkpoint'];
  for (let level = 0; level < levelsOf(size); level++) {
    const count = hashesAt(level, size);
    for (let number = 0; number * 256 < count; number++) {
      const width = widthOf(number, count);
      wanted.push(formatTilePath({ kind: 'tile', level, number, width }));
      if (level === 0) wanted.push(formatTilePath({ kind: 'entries', number, width }));
    }
  }
  const paths = [];
  for (const path of wanted) {
    const bytes = await files.readWhole(`${EXPORTED}/${path}`, 1e9);
    if (bytes !== undefined) paths.push({ path, bytes: bytes.length });
  }
  return paths;
}

export type StaticRegion = 'checkpoint' | 'entry bundles' | `tiles of level ${number}`;

export interface StaticTally {
  flips: number;
  /** The right file and the first entry that it is wrong about. */
  located: number;
  readonly missed: string[];
}

/** `take` chooses by a running number over all bits of all files. */
export async function flipStatic(
  log: StaticLog,
  take: (nth: number) => boolean,
): Promise<Map<StaticRegion, StaticTally>> {
  const tally = new Map<StaticRegion, StaticTally>();
  let nth = 0;
  for (const { path, bytes } of log.paths) {
    for (let bit = 0; bit < bytes * 8; bit++) {
      nth += 1;
      if (!take(nth - 1)) continue;
      const report = await flipped(log, path, bit);
      const region = regionOf(path);
      const entry = tally.get(region) ?? { flips: 0, located: 0, missed: [] };
      tally.set(region, entry);
      entry.flips += 1;
      const expected = await indexOf(log, path, Math.floor(bit / 8));
      const [found] = report.kind === 'damaged' ? report.findings : [];
      if (found?.file === path && found.index === expected) entry.located += 1;
      else entry.missed.push(`${path} bit ${bit}: ${found?.file} ${found?.index} not ${expected}`);
    }
  }
  return tally;
}

export function bitsOf({ paths }: StaticLog): number {
  return paths.reduce((sum, { bytes }) => sum + bytes * 8, 0);
}

async function flipped({ files }: StaticLog, path: string, bit: number): Promise<StaticReport> {
  const flip = (): void => {
    files.corrupt(`${EXPORTED}/${path}`, (bytes) => {
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    });
  };
  flip();
  const report = await verifyStatic(EXPORTED, signer.vkey, { files });
  flip();
  return report;
}

function regionOf(path: string): StaticRegion {
  const tile = parseTilePath(path);
  if (tile === undefined || tile.kind === 'checkpoint') return 'checkpoint';
  return tile.kind === 'entries' ? 'entry bundles' : `tiles of level ${tile.level}`;
}

/** The first entry that this byte of the file speaks about. */
async function indexOf({ files }: StaticLog, path: string, byte: number): Promise<number> {
  const tile = parseTilePath(path);
  if (tile === undefined || tile.kind === 'checkpoint') return 0;
  if (tile.kind === 'tile') {
    return (tile.number * 256 + Math.floor(byte / 32)) * 256 ** tile.level;
  }
  const bytes = (await files.readWhole(`${EXPORTED}/${path}`, 1e9)) ?? new Uint8Array(0);
  let entry = -1;
  for (let at = 0; at <= byte; entry++) at += 2 + (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
  return tile.number * 256 + entry;
}
