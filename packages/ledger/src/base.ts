// What is left of entries that retention removed? A base: enough of the tree, of the chain and of
// the followers to go on from the first kept entry, in one document with a digest of its own.
//
//   line of canonical JSON (sizes and names), then: level-8 hashes of the tiles before the first
//   kept one, leaf hashes up to the first kept entry, the followers' snapshots, SHA-256 of it all
//
// BA1. A base counts only when its digest fits, its checkpoint is signed, the kept records lead to
//      the root of that checkpoint, and an entry of the kept log names its digest.
// BA2. Proofs and consistency for sizes above the base are the same as without it.

import { hash as digest } from 'node:crypto';
import { concat, fromBase64, fromUtf8, toBase64, utf8 } from './bytes.ts';
import { decodeEntry } from './entry.ts';
import { LedgerError } from './errors.ts';
import type { EntryFollower } from './follow.ts';
import { canonicalJson } from './json.ts';
import { HASH_BYTES } from './merkle.ts';
import type { RecordStore } from './store.ts';
import type { TreePrefix } from './tree.ts';
import { verifyCheckpoint } from './verify.ts';

export const BASE = 'base.bin';
/** Written first; it becomes BASE once an entry of the log names it. */
export const BASE_NEXT = 'base.next';
export const PRUNED_KIND = 'ledger.pruned';
const BASE_BYTES_MAX = 1024 * 1024 * 1024;
const HEAD_BYTES_MAX = 16 * 1024 * 1024;
const TILE_LEAVES = 256;

export interface Base {
  /** First kept entry; a piece starts there. */
  readonly first: number;
  /** Hash of the record in front of it. */
  readonly chain: Uint8Array;
  /** The snapshots hold what the entries below this size say. */
  readonly size: number;
  /** Signed, of that size. */
  readonly checkpoint: string;
  readonly prefix: TreePrefix;
  readonly snapshots: ReadonlyMap<string, Uint8Array>;
}

export interface ReadBase {
  readonly base: Base;
  /** `sha256:` and the hexadecimal digest of the document. */
  readonly digest: string;
  /** Base64 root of the checkpoint. */
  readonly root: string;
}

interface BaseHead {
  readonly chain: string;
  readonly checkpoint: string;
  readonly first: number;
  readonly followers: readonly (readonly [string, number])[];
  readonly size: number;
}

export function encodeBase(base: Base): Uint8Array {
  const { chain, checkpoint, first, size, prefix, snapshots } = base;
  const followers = [...snapshots].map(([name, bytes]) => [name, bytes.length]);
  const head = { chain: toBase64(chain), checkpoint, first, followers, format: 1, size };
  const body = concat(
    utf8(`${canonicalJson(head)}\n`),
    prefix.tiles,
    prefix.leaves,
    ...snapshots.values(),
  );
  return concat(body, digest('sha256', body, 'buffer'));
}

export function baseDigest(bytes: Uint8Array): string {
  return `sha256:${digest('sha256', bytes, 'hex')}`;
}

/** Undefined when there is none; throws KIN_LEDGER_CORRUPT with the place. */
export async function readBase(
  store: RecordStore,
  name: string,
  vkey: string,
): Promise<ReadBase | undefined> {
  const bytes = await store.readDocument(name, BASE_BYTES_MAX);
  if (bytes === undefined) return undefined;
  const base = decodeBase(bytes, name);
  const verdict = verifyCheckpoint(base.checkpoint, vkey);
  if (verdict.kind === 'invalid') throw damaged(name, verdict.reason);
  if (Number(verdict.head.size) !== base.size) throw damaged(name, 'another size is signed');
  return { base, digest: baseDigest(bytes), root: verdict.head.root };
}

export function decodeBase(bytes: Uint8Array, name = BASE): Base {
  const bodyEnd = bytes.length - HASH_BYTES;
  if (bodyEnd < 1) throw damaged(name, 'cut off');
  const body = bytes.subarray(0, bodyEnd);
  if (Buffer.compare(digest('sha256', body, 'buffer'), bytes.subarray(bodyEnd)) !== 0) {
    throw damaged(name, 'its digest differs');
  }
  const lineEnd = body.subarray(0, HEAD_BYTES_MAX).indexOf(0x0a);
  const head = parseHead(body.subarray(0, Math.max(0, lineEnd)));
  const chain = fromBase64(head?.chain ?? '');
  if (head === undefined || chain?.length !== HASH_BYTES) throw damaged(name, 'not a base');
  const { first, size, checkpoint } = head;
  const tilesEnd = lineEnd + 1 + Math.floor(first / TILE_LEAVES) * HASH_BYTES;
  const leavesEnd = tilesEnd + (first % TILE_LEAVES) * HASH_BYTES;
  const snapshots = new Map<string, Uint8Array>();
  let at = leavesEnd;
  for (const [follower, length] of head.followers) {
    snapshots.set(follower, body.subarray(at, at + length));
    at += length;
  }
  if (at !== bodyEnd || size < first) throw damaged(name, 'its lengths differ');
  const tiles = body.subarray(lineEnd + 1, tilesEnd);
  const leaves = body.subarray(tilesEnd, leavesEnd);
  return { first, chain, size, checkpoint, prefix: { first, tiles, leaves }, snapshots };
}

function parseHead(bytes: Uint8Array): BaseHead | undefined {
  let value: unknown;
  try {
    value = JSON.parse(fromUtf8(bytes) ?? '');
  } catch {
    return undefined;
  }
  return isHead(value) ? value : undefined;
}

function isHead(value: unknown): value is BaseHead {
  if (typeof value !== 'object' || value === null) return false;
  if (!('format' in value) || value.format !== 1) return false;
  if (!('chain' in value) || !('checkpoint' in value) || !('followers' in value)) return false;
  if (!('first' in value) || !('size' in value)) return false;
  const { chain, checkpoint, followers, first, size } = value;
  if (typeof chain !== 'string' || typeof checkpoint !== 'string') return false;
  if (!isCount(first) || !isCount(size) || !Array.isArray(followers)) return false;
  return followers.every(
    (item: unknown) =>
      Array.isArray(item) && item.length === 2 && typeof item[0] === 'string' && isCount(item[1]),
  );
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** A view that the base cannot tell about would be wrong for ever: it is refused. */
export function restoreFollowers(base: Base, followers: readonly EntryFollower[]): void {
  for (const follower of followers) {
    const snapshot = base.snapshots.get(follower.name);
    if (snapshot === undefined) {
      throw new LedgerError(
        'KIN_LEDGER_PRUNED',
        `entries below ${base.first} were pruned before "${follower.name}" could learn from them`,
      );
    }
    follower.restore(snapshot);
  }
}

const PRUNED_MARK = utf8(`"kind":"${PRUNED_KIND}"`);

/** Which bases does the log itself name? (BA1) Learns from every entry that is still there. */
export class PruneNotes {
  readonly #digests = new Set<string>();

  learn(entry: Buffer): void {
    if (!entry.includes(PRUNED_MARK)) return;
    const decoded = decodeEntry(entry);
    if (decoded.type !== 'plain' || decoded.entry.kind !== PRUNED_KIND) return;
    const { detail } = decoded.entry;
    if (typeof detail !== 'object' || detail === null || !('base' in detail)) return;
    if (typeof detail['base'] === 'string') this.#digests.add(detail['base']);
  }

  names(digestText: string): boolean {
    return this.#digests.has(digestText);
  }
}

export function damaged(file: string, reason: string): LedgerError {
  return new LedgerError('KIN_LEDGER_CORRUPT', `${file} is damaged: ${reason}`, {
    place: { file, offset: 0, index: 0 },
  });
}
