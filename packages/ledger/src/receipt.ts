// What does an executor hold in its hand before it acts? A receipt that only a ledger can make.
// Q1. `isReceipt` is true only for objects made here, so a copied or invented one is refused.

import type { Checkpoint, LedgerReceipt, ReceiptJson } from './api.ts';
import { toBase64, toHex } from './bytes.ts';
import { sha256 } from './crypto.ts';
import { formatProof } from './proof.ts';
import { hashLeaf } from './tree.ts';

const issued = new WeakSet<object>();

export interface ReceiptSource {
  readonly index: number;
  readonly entry: Uint8Array;
  readonly checkpoint: Checkpoint;
  /** Inclusion hashes of `index` in the tree of that checkpoint. */
  readonly hashes: () => Promise<readonly Uint8Array[]>;
}

export function makeReceipt(source: ReceiptSource): LedgerReceipt {
  const { index, checkpoint } = source;
  const leafHash = toBase64(hashLeaf(source.entry));
  const entryDigest = `sha256:${toHex(sha256(source.entry))}`;
  const toJSON = (): ReceiptJson => ({
    index,
    leafHash,
    entryDigest,
    checkpoint: checkpoint.text,
  });
  const receipt = {
    index,
    leafHash,
    entryDigest,
    get checkpoint(): string {
      return checkpoint.text;
    },
    proof: async () => {
      const hashes = await source.hashes();
      return formatProof({ index: BigInt(index), hashes, checkpoint: checkpoint.text });
    },
    toJSON,
  };
  issued.add(receipt);
  // The brand exists in types only: this is the one place that may grant it.
  return Object.freeze(receipt) as unknown as LedgerReceipt;
}

export function isReceipt(value: unknown): value is LedgerReceipt {
  return typeof value === 'object' && value !== null && issued.has(value);
}
