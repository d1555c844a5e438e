// How does a log outlive this program? The static tlog-tiles tree: `checkpoint`, `tile/<L>/<N>` and
// `tile/entries/<N>`, which third-party clients read from any web server or folder.
// A pruned log exports what it still has: all hashes from level 1 up, and from the first tile that
// is complete again also leaves and entries (the minimum index of the specification).
// T2. The checkpoint is written last, so that a reader never sees one without its tiles.

import type { Checkpoint } from './api.ts';
import { BASE, readBase } from './base.ts';
import { fromUtf8, toBase64, utf8 } from './bytes.ts';
import { LedgerError } from './errors.ts';
import { replaceFile } from './files.ts';
import type { Files } from './files.ts';
import { LocalStore } from './local-store.ts';
import { nodeFiles } from './node-files.ts';
import { eachEntry } from './record.ts';
import { CHAIN_START, scanSegment } from './scan.ts';
import type { ChainState } from './scan.ts';
import type { RecordStore } from './store.ts';
import { HashTree, hashLeaf } from './tree.ts';
import type { TreePrefix } from './tree.ts';
import { HASH_BYTES } from './merkle.ts';
import { TILE_WIDTH, foldTile, tileNumber } from './tiles.ts';
import { verifyCheckpoint } from './verify.ts';

export interface ExportOptions {
  /** Where the tree is written, and where the ledger's folder is unless `store` says. */
  readonly files?: Files;
  readonly store?: RecordStore;
  /** The checkpoint to export at; default: that of the last record. */
  readonly upTo?: { readonly size: number; readonly text: string };
  readonly allowUnsigned?: boolean;
}

/** Exports a ledger folder, open or not, into an empty or missing folder `out`. */
export async function exportStatic(
  dir: string,
  out: string,
  vkey: string,
  options: ExportOptions = {},
): Promise<Checkpoint> {
  const files = options.files ?? nodeFiles();
  await files.mkdir(out);
  if ((await files.list(out)).length > 0) {
    throw new LedgerError('KIN_LEDGER_OPTION_INVALID', `${out} is not empty`);
  }
  const store = options.store ?? new LocalStore(files, dir.replace(/\/+$/, ''));
  const writer = new TileWriter(files, out);
  const limit = options.upTo?.size ?? Infinity;
  let text = options.upTo?.text ?? '';
  const base = (await readBase(store, BASE, vkey))?.base;
  if (base !== undefined) writer.restore(base.prefix);
  let chain: ChainState =
    base === undefined ? CHAIN_START : { index: base.first, hash: base.chain };
  for await (const piece of store.pieces(chain.index)) {
    const { file, next } = piece;
    // Behind the start of the next piece stands what a failed sync left in doubt.
    const step = scanSegment(await piece.load(), chain, Math.min(limit, next), (record) => {
      eachEntry(record, (entry) => writer.add(entry));
      if (options.upTo === undefined) text = fromUtf8(record.trailer) ?? '';
    });
    chain = step.chain;
    const isComplete = chain.index === next || chain.index >= limit;
    if (!isComplete && (next !== Infinity || step.end.kind === 'damaged')) {
      const place = { file, offset: step.end.offset, index: chain.index };
      throw new LedgerError('KIN_LEDGER_CORRUPT', `${file} is damaged at byte ${place.offset}`, {
        place,
      });
    }
    await writer.flush(false);
    if (chain.index >= limit) break;
  }
  await writer.flush(true);
  const verdict = verifyCheckpoint(text, vkey);
  const root = toBase64(writer.root());
  const matches =
    verdict.kind === 'valid' &&
    verdict.head.root === root &&
    Number(verdict.head.size) === writer.size;
  if (!matches) {
    throw new LedgerError('KIN_LEDGER_CORRUPT', `${dir}: the entries do not give the signed root`);
  }
  await replaceFile(files, out, 'checkpoint', utf8(text));
  return { origin: verdict.head.origin, size: writer.size, root, text };
}

/** Collects one bundle and one tile per level; full ones are written as they fill up. */
class TileWriter {
  readonly #files: Files;
  readonly #out: string;
  readonly #tree = new HashTree(() => Promise.reject(new Error('not needed')));
  readonly #levels: Uint8Array[][] = [];
  readonly #counts: number[] = [];
  #bundle: Uint8Array[] = [];
  #bundles = 0;
  /** Pruned entries of the current bundle: it is left out while there are any. */
  #missing = 0;
  readonly #ready: { readonly path: string; readonly bytes: Uint8Array }[] = [];

  constructor(files: Files, out: string) {
    this.#files = files;
    this.#out = out;
  }

  get size(): number {
    return this.#tree.size;
  }

  root(): Uint8Array {
    return this.#tree.root();
  }

  /** The tree goes on behind pruned entries; their last, ragged bundle cannot be written. */
  restore(prefix: TreePrefix): void {
    this.#tree.restore(prefix);
    const complete = prefix.tiles.length / HASH_BYTES;
    this.#bundles = complete;
    this.#counts[0] = complete;
    for (const hash of slices(prefix.tiles)) this.#put(1, hash);
    for (const leaf of slices(prefix.leaves)) {
      this.#put(0, leaf);
      this.#missing += 1;
      this.#bundle.push(EMPTY, EMPTY);
    }
  }

  add(entry: Uint8Array): void {
    const length = Uint8Array.of(entry.length >> 8, entry.length & 0xff);
    this.#bundle.push(length, Uint8Array.from(entry));
    const leaf = hashLeaf(entry);
    this.#tree.append(leaf);
    this.#put(0, leaf);
    if (this.#bundle.length === 2 * TILE_WIDTH) {
      if (this.#missing === 0)
        this.#queue(`tile/entries/${tileNumber(this.#bundles)}`, this.#bundle);
      this.#missing = 0;
      this.#bundles += 1;
      this.#bundle = [];
    }
  }

  /** Writes what is complete; with `partial` also the ragged ends. */
  async flush(partial: boolean): Promise<void> {
    if (partial) this.#queuePartial();
    for (const { path, bytes } of this.#ready) {
      const split = path.lastIndexOf('/');
      const folder = `${this.#out}/${path.slice(0, split)}`;
      await this.#files.mkdir(folder);
      const file = await this.#files.open(`${folder}/${path.slice(split + 1)}`, 'create');
      await file.write(bytes, 0);
      await file.close();
    }
    this.#ready.length = 0;
  }

  #put(level: number, hash: Uint8Array): void {
    const tile = (this.#levels[level] ??= []);
    tile.push(hash);
    if (tile.length < TILE_WIDTH) return;
    const number = this.#counts[level] ?? 0;
    this.#queue(`tile/${level}/${tileNumber(number)}`, tile);
    this.#counts[level] = number + 1;
    this.#levels[level] = [];
    this.#put(level + 1, foldTile(tile));
  }

  #queuePartial(): void {
    const width = this.#bundle.length / 2;
    if (width > 0 && this.#missing === 0) {
      this.#queue(`tile/entries/${tileNumber(this.#bundles)}.p/${width}`, this.#bundle);
    }
    for (const [level, tile] of this.#levels.entries()) {
      if (tile.length === 0) continue;
      this.#queue(`tile/${level}/${tileNumber(this.#counts[level] ?? 0)}.p/${tile.length}`, tile);
    }
  }

  #queue(path: string, parts: readonly Uint8Array[]): void {
    this.#ready.push({ path, bytes: Buffer.concat(parts) });
  }
}

const EMPTY = new Uint8Array(0);

function* slices(hashes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < hashes.length; at += HASH_BYTES) {
    yield Uint8Array.from(hashes.subarray(at, at + HASH_BYTES));
  }
}
