// What is the state of the log after whatever happened? Reads every piece, rebuilds the tree and
// decides: go on, drop a torn tail, or refuse.
// G1. Nothing that may have been acknowledged is ever truncated: damage that is not a torn last
//     write refuses to open and names file, byte offset and index.
// G2. The recomputed root equals the signed checkpoint in the last record.
// G3. A log shorter than what the `checkpoint` file or an outside memory says is refused.
// G4. What a killed process left in the cache is synced before it counts.

import type { HighWater, RecoveryReport } from './api.ts';
import { BASE, damaged, restoreFollowers } from './base.ts';
import type { PruneNotes, ReadBase } from './base.ts';
import { fromUtf8, toBase64 } from './bytes.ts';
import { LedgerError } from './errors.ts';
import { followAll } from './follow.ts';
import type { EntryFollower } from './follow.ts';
import { isPruned } from './history.ts';
import type { History } from './history.ts';
import { formatTreeHead } from './note.ts';
import { eachEntry } from './record.ts';
import type { RecordView } from './record.ts';
import { CHAIN_START, scanSegment } from './scan.ts';
import type { ChainState, SegmentEnd } from './scan.ts';
import type { Piece, RecordPlace, RecordStore } from './store.ts';
import { hashLeaf } from './tree.ts';
import type { HashTree } from './tree.ts';
import { verifyCheckpoint } from './verify.ts';

/** Every record's hash is chained; its root is compared this often and at each piece's end. */
const ROOT_EVERY_RECORDS = 64;

export interface RecoverParts {
  readonly store: RecordStore;
  readonly origin: string;
  readonly vkey: string;
  readonly allowUnsigned: boolean;
  readonly damagedTail: 'refuse' | 'drop';
  readonly tree: HashTree;
  readonly history: History;
  /** Views that learn from every entry. */
  readonly followers: readonly EntryFollower[];
  /** Where pruning left off. */
  readonly base: ReadBase | undefined;
  readonly notes: PruneNotes;
}

export interface Recovered {
  readonly chain: ChainState;
  /** Where writing goes on; undefined when no record exists. */
  readonly last: RecordPlace | undefined;
  readonly report: RecoveryReport;
}

export async function recover(parts: RecoverParts): Promise<Recovered> {
  const { store, base } = parts;
  await store.dropUnusedLast();
  let chain = startFrom(parts);
  let end: SegmentEnd | undefined;
  let last: Piece | undefined;
  let lastTrailer: TrailerView | undefined;
  for await (const piece of store.pieces(chain.index)) {
    if (last === undefined) checkStart(piece, chain);
    const bytes = await piece.load();
    const visitor = new RecordVisitor(parts, piece.file);
    const step = scanSegment(bytes, chain, piece.next, (record) => visitor.take(record));
    lastTrailer = visitor.finish() ?? lastTrailer;
    ({ chain, end } = step);
    last = piece;
    checkEnd(parts, piece, step.chain, step.end);
  }
  if (lastTrailer !== undefined) checkTrailer(parts, lastTrailer);
  if (base !== undefined) await checkBase(parts, base);
  if (last === undefined || end === undefined) {
    return { chain, last: undefined, report: { kind: 'clean' } };
  }
  const report = await settleEnd(store, last.file, end);
  // G4: before anything is signed, published or appended behind it.
  await store.makeDurable(last.file);
  return { chain, last: { file: last.file, offset: end.offset }, report };
}

function startFrom({ base, tree, history, followers }: RecoverParts): ChainState {
  if (base === undefined) return CHAIN_START;
  const { first, chain, prefix } = base.base;
  tree.restore(prefix);
  history.forget(first);
  restoreFollowers(base.base, followers);
  return { index: first, hash: chain };
}

function checkStart(piece: Piece, chain: ChainState): void {
  if (piece.first === chain.index) return;
  const reason = `entries ${chain.index} to ${piece.first - 1} are missing`;
  throw corrupt(piece.file, 0, chain.index, reason);
}

/** BA1: what the base claims, against what is still there. */
async function checkBase({ tree, notes }: RecoverParts, read: ReadBase): Promise<void> {
  const { base, digest, root } = read;
  if (tree.size < base.size) throw damaged(BASE, `the log ends at ${tree.size}, below its size`);
  if (toBase64(await tree.rootAt(base.size)) !== root) throw damaged(BASE, 'its root differs');
  if (!notes.names(digest)) throw damaged(BASE, 'no entry of the log names it');
}

/** Only what outlives the bytes of a piece, so that one piece at a time is held. */
interface TrailerView {
  readonly unsigned: boolean;
  readonly trailer: string;
}

/** Feeds good records into tree, history and followers, and compares roots on the way. */
class RecordVisitor {
  readonly #parts: RecoverParts;
  readonly #file: string;
  readonly #followFrom: number;
  #seen = 0;
  #last: RecordView | undefined;

  constructor(parts: RecoverParts, file: string) {
    this.#parts = parts;
    this.#file = file;
    this.#followFrom = parts.base?.base.size ?? 0;
  }

  take(record: RecordView): void {
    const { tree, history, followers, notes } = this.#parts;
    eachEntry(record, (entry, index) => {
      const leaf = hashLeaf(entry);
      tree.append(leaf);
      notes.learn(entry);
      if (index >= this.#followFrom) followAll(followers, index, entry, leaf);
    });
    history.add(record.firstIndex, this.#file, record.offset);
    this.#last = record;
    this.#seen += 1;
    if (this.#seen % ROOT_EVERY_RECORDS === 0) this.#compare(record);
  }

  finish(): TrailerView | undefined {
    const last = this.#last;
    if (last === undefined) return undefined;
    this.#compare(last);
    return { unsigned: last.unsigned, trailer: fromUtf8(last.trailer) ?? '' };
  }

  /** G2. */
  #compare(record: RecordView): void {
    const { tree, origin } = this.#parts;
    const expected = formatTreeHead(origin, tree.size, tree.root());
    const text = fromUtf8(record.trailer) ?? '';
    if (text.startsWith(expected)) return;
    throw corrupt(this.#file, record.offset, record.firstIndex, 'root differs from the checkpoint');
  }
}

function checkEnd(parts: RecoverParts, piece: Piece, chain: ChainState, end: SegmentEnd): void {
  // A bad record in front of a segment that starts with the same index is the failed write that
  // the new segment repeats.
  if (chain.index === piece.next) return;
  if (piece.next !== Infinity) {
    const reason = end.kind === 'end' ? 'entries are missing' : end.reason;
    throw corrupt(piece.file, end.offset, chain.index, reason);
  }
  if (end.kind !== 'damaged') return;
  if (end.tail && parts.damagedTail === 'drop') return;
  throw corrupt(piece.file, end.offset, chain.index, end.reason);
}

function checkTrailer(parts: RecoverParts, record: TrailerView): void {
  if (record.unsigned && parts.allowUnsigned) return;
  const verdict = verifyCheckpoint(record.trailer, parts.vkey);
  if (verdict.kind === 'valid') return;
  throw new LedgerError(
    'KIN_LEDGER_WRONG_KEY',
    `the last record was not signed by the key of this ledger: ${verdict.reason}`,
  );
}

async function settleEnd(
  store: RecordStore,
  file: string,
  end: SegmentEnd,
): Promise<RecoveryReport> {
  if (end.kind === 'end') return { kind: 'clean' };
  await store.erase(file, end.offset, end.until);
  const droppedBytes = end.until - end.offset;
  return { kind: 'tail-dropped', file, offset: end.offset, droppedBytes, reason: end.reason };
}

export type Published =
  | { readonly kind: 'missing' }
  | { readonly kind: 'present'; readonly size: number };

/** G3, with the `checkpoint` file that lies beside the log. */
export async function checkPublished(parts: RecoverParts): Promise<Published> {
  const bytes = await parts.store.readDocument('checkpoint', 1_000_000);
  if (bytes === undefined) return { kind: 'missing' };
  const verdict = verifyCheckpoint(fromUtf8(bytes) ?? '', parts.vkey);
  if (verdict.kind === 'invalid') {
    throw corrupt('checkpoint', 0, 0, verdict.reason);
  }
  const { size, root } = verdict.head;
  if (size > BigInt(parts.tree.size)) {
    const message = `entries up to ${size} were published, the segments end`;
    throw corrupt('checkpoint', 0, parts.tree.size, message);
  }
  const ours = await rootOr(parts.tree, Number(size));
  if (ours !== undefined && ours !== root) {
    throw corrupt('checkpoint', 0, Number(size), 'published root differs');
  }
  return { kind: 'present', size: Number(size) };
}

/** Undefined for a size whose entries were pruned: a later signed size stands for it. */
async function rootOr(tree: HashTree, size: number): Promise<string | undefined> {
  try {
    return toBase64(await tree.rootAt(size));
  } catch (cause) {
    if (isPruned(cause)) return undefined;
    throw cause;
  }
}

/** G3, with what somebody outside remembers. */
export async function checkHighWater(tree: HashTree, mark: HighWater): Promise<void> {
  if (tree.size < mark.size) {
    throw new LedgerError(
      'KIN_LEDGER_ROLLED_BACK',
      `the ledger has ${tree.size} entries, but ${mark.size} were acknowledged before`,
    );
  }
  const root = await rootOr(tree, mark.size);
  if (root !== undefined && root !== mark.root) {
    throw new LedgerError(
      'KIN_LEDGER_FORKED',
      `the first ${mark.size} entries are not those that were acknowledged before`,
    );
  }
}

function corrupt(file: string, offset: number, index: number, reason: string): LedgerError {
  return new LedgerError(
    'KIN_LEDGER_CORRUPT',
    `${file} is damaged at byte ${offset} (entry ${index}): ${reason}`,
    { place: { file, offset, index } },
  );
}
