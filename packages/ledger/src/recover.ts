// What is the state of the log after whatever happened? Reads every segment, rebuilds the tree and
// decides: go on, drop a torn tail, or refuse.
// G1. Nothing that may have been acknowledged is ever truncated: damage that is not a torn last
//     write refuses to open and names file, byte offset and index.
// G2. The recomputed root equals the signed checkpoint in the last record.
// G3. A log shorter than what the `checkpoint` file or an outside memory says is refused.

import type { HighWater, RecoveryReport } from './api.ts';
import { fromUtf8, toBase64 } from './bytes.ts';
import { LedgerError } from './errors.ts';
import type { Files } from './files.ts';
import type { History } from './history.ts';
import type { IntentBook } from './intents.ts';
import { formatTreeHead } from './note.ts';
import type { RecordView } from './record.ts';
import { CHAIN_START, listSegments, loadSegment, scanSegment } from './scan.ts';
import type { ChainState, SegmentEnd, SegmentName } from './scan.ts';
import { hashLeaf } from './tree.ts';
import type { HashTree } from './tree.ts';
import { verifyCheckpoint } from './verify.ts';

/** Every record's hash is chained; its root is compared this often and at each segment's end. */
const ROOT_EVERY_RECORDS = 64;

export interface RecoverParts {
  readonly files: Files;
  /** The ledger's folder; segments lie in `seg` below it. */
  readonly dir: string;
  readonly origin: string;
  readonly vkey: string;
  readonly allowUnsigned: boolean;
  readonly damagedTail: 'refuse' | 'drop';
  readonly tree: HashTree;
  readonly history: History;
  readonly intents: IntentBook;
}

export interface Recovered {
  readonly chain: ChainState;
  /** Where writing goes on; undefined when no segment exists. */
  readonly last: { readonly file: string; readonly offset: number } | undefined;
  readonly report: RecoveryReport;
}

export async function recover(parts: RecoverParts): Promise<Recovered> {
  const { files, dir } = parts;
  const segmentDir = `${dir}/seg`;
  const segments = await dropUnusedLast(files, segmentDir, await listSegments(files, segmentDir));
  let chain = CHAIN_START;
  let end: SegmentEnd | undefined;
  let lastTrailer: RecordView | undefined;
  for (const [at, segment] of segments.entries()) {
    const next = segments[at + 1];
    const bytes = await loadSegment(files, `${segmentDir}/${segment.file}`);
    const visitor = new RecordVisitor(parts, segment.file);
    const step = scanSegment(bytes, chain, next?.first ?? Infinity, (record) => {
      visitor.take(record);
      lastTrailer = record;
    });
    visitor.finish();
    chain = step.chain;
    end = step.end;
    checkEnd(parts, segment, next, step.chain, step.end);
  }
  if (lastTrailer !== undefined) checkTrailer(parts, lastTrailer);
  const lastSegment = segments.at(-1);
  if (lastSegment === undefined || end === undefined) {
    return { chain, last: undefined, report: { kind: 'clean' } };
  }
  const report = await settleEnd(parts, lastSegment.file, end);
  return { chain, last: { file: lastSegment.file, offset: end.offset }, report };
}

/** Feeds good records into tree, history and intents, and compares roots on the way. */
class RecordVisitor {
  readonly #parts: RecoverParts;
  readonly #file: string;
  #seen = 0;
  #last: RecordView | undefined;

  constructor(parts: RecoverParts, file: string) {
    this.#parts = parts;
    this.#file = file;
  }

  take(record: RecordView): void {
    const { tree, history, intents } = this.#parts;
    for (const [at, entry] of record.entries.entries()) {
      tree.append(hashLeaf(entry));
      intents.learn(record.firstIndex + at, entry);
    }
    history.add(record.firstIndex, this.#file, record.offset);
    this.#last = record;
    this.#seen += 1;
    if (this.#seen % ROOT_EVERY_RECORDS === 0) this.#compare(record);
  }

  finish(): void {
    if (this.#last !== undefined) this.#compare(this.#last);
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

/**
 * A crash between creating a segment and its first record leaves one without any entry. The one
 * before it is then the last.
 */
async function dropUnusedLast(
  files: Files,
  dir: string,
  segments: readonly SegmentName[],
): Promise<readonly SegmentName[]> {
  const last = segments.at(-1);
  if (last === undefined) return segments;
  const bytes = await loadSegment(files, `${dir}/${last.file}`);
  const { end } = scanSegment(bytes, { ...CHAIN_START, index: -1 }, 0, () => undefined);
  const isEmpty = end.kind === 'end' && end.offset === 0;
  if (!isEmpty) return segments;
  await files.remove(`${dir}/${last.file}`);
  await files.syncDir(dir);
  return dropUnusedLast(files, dir, segments.slice(0, -1));
}

function checkEnd(
  parts: RecoverParts,
  segment: SegmentName,
  next: SegmentName | undefined,
  chain: ChainState,
  end: SegmentEnd,
): void {
  // A bad record in front of a segment that starts with the same index is the failed write that
  // the new segment repeats.
  if (next !== undefined && chain.index === next.first) return;
  if (next !== undefined) {
    const reason = end.kind === 'end' ? 'entries are missing' : end.reason;
    throw corrupt(segment.file, end.offset, chain.index, reason);
  }
  if (end.kind !== 'damaged') return;
  if (end.tail && parts.damagedTail === 'drop') return;
  throw corrupt(segment.file, end.offset, chain.index, end.reason);
}

function checkTrailer(parts: RecoverParts, record: RecordView): void {
  if (record.unsigned && parts.allowUnsigned) return;
  const verdict = verifyCheckpoint(fromUtf8(record.trailer) ?? '', parts.vkey);
  if (verdict.kind === 'valid') return;
  throw new LedgerError(
    'KIN_LEDGER_WRONG_KEY',
    `the last record was not signed by the key of this ledger: ${verdict.reason}`,
  );
}

/** Zeros over what a torn write left, so that it can never be mistaken for a record later. */
async function settleEnd(
  parts: RecoverParts,
  file: string,
  end: SegmentEnd,
): Promise<RecoveryReport> {
  if (end.kind === 'end') return { kind: 'clean' };
  const handle = await parts.files.open(`${parts.dir}/seg/${file}`, 'write');
  try {
    await handle.write(new Uint8Array(end.until - end.offset), end.offset);
    await handle.datasync();
  } finally {
    await handle.close();
  }
  const droppedBytes = end.until - end.offset;
  return { kind: 'tail-dropped', file, offset: end.offset, droppedBytes, reason: end.reason };
}

/** G3, with the `checkpoint` file that lies beside the log. */
export async function checkPublished(parts: RecoverParts): Promise<'present' | 'missing'> {
  const bytes = await parts.files.readWhole(`${parts.dir}/checkpoint`, 1_000_000);
  if (bytes === undefined) return 'missing';
  const verdict = verifyCheckpoint(fromUtf8(bytes) ?? '', parts.vkey);
  if (verdict.kind === 'invalid') {
    throw corrupt('checkpoint', 0, 0, verdict.reason);
  }
  const { size, root } = verdict.head;
  if (size > BigInt(parts.tree.size)) {
    const message = `entries up to ${size} were published, the segments end`;
    throw corrupt('checkpoint', 0, parts.tree.size, message);
  }
  const ours = toBase64(await parts.tree.rootAt(Number(size)));
  if (ours !== root) throw corrupt('checkpoint', 0, Number(size), 'published root differs');
  return 'present';
}

/** G3, with what somebody outside remembers. */
export async function checkHighWater(tree: HashTree, mark: HighWater): Promise<void> {
  if (tree.size < mark.size) {
    throw new LedgerError(
      'KIN_LEDGER_ROLLED_BACK',
      `the ledger has ${tree.size} entries, but ${mark.size} were acknowledged before`,
    );
  }
  if (toBase64(await tree.rootAt(mark.size)) !== mark.root) {
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
