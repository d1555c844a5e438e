// What do the views of the log read from its core, beyond the public contract? Leaf hashes, subtree
// hashes and raw entries, and the door for the ledger's own entries. Not for callers from outside.

import type { AppendedDurably } from '../api.ts';
import { LedgerError } from '../errors.ts';
import type { LedgerParts } from '../ledger-parts.ts';
import { toBase64 } from '../bytes.ts';

export interface CoreReads {
  /** Index of the first entry that is kept. */
  readonly first: number;
  leaves(from: number, count: number): Promise<readonly Uint8Array[]>;
  /** Roots of complete subtrees of 256^level leaves, `level` from 1 up. */
  levelHashes(level: number, from: number, count: number): readonly Uint8Array[];
  /** Exactly `count` of them, below the size. */
  entries(from: number, count: number): Promise<readonly Uint8Array[]>;
  inclusion(index: number, size: number): Promise<readonly Uint8Array[]>;
  /** An entry of the ledger's own, with a reserved kind: durable and followed when it resolves. */
  appendOwn(bytes: Uint8Array): Promise<AppendedDurably>;
  /** Nothing is accepted any more. */
  fail(error: LedgerError): void;
}

export function coreReads(parts: LedgerParts): CoreReads {
  const { tree, history, committer, appendDeadlineMs } = parts;
  return {
    get first() {
      return history.first;
    },
    leaves: (from, count) =>
      Promise.all(Array.from({ length: count }, (_, at) => tree.leaf(from + at))),
    levelHashes: (level, from, count) => tree.levelHashes(level, from, count),
    async entries(from, count) {
      if (from < history.first) {
        throw new LedgerError('KIN_LEDGER_PRUNED', `${from} is below ${history.first}`);
      }
      return history.range(from, count, true);
    },
    inclusion: (index, size) => tree.inclusion(index, size),
    async appendOwn(bytes) {
      const { index, leaf, checkpoint } = await committer.submit({
        bytes,
        priority: 'reserved',
        deadlineMs: appendDeadlineMs,
      });
      return { kind: 'durable', index, leafHash: toBase64(leaf), checkpoint };
    },
    fail: (error) => committer.fail(error),
  };
}
