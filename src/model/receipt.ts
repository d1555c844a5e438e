// May this act happen? Only with a receipt: proof that its intent is durable in the ledger (P1).
//
//   RC1. A receipt can only be made from a durable ledger position, by `record`.
//   RC2. It permits only the plan whose digest it names, and only until it expires.
import type { PlanId } from './ids.ts';

export interface Receipt {
  readonly plan: PlanId;
  readonly planDigest: string;
  /** Position of the intent in the ledger. */
  readonly index: number;
  /** Base64 of the RFC 6962 leaf hash. */
  readonly leafHash: string;
  readonly [RECEIPT]: true;
}

const RECEIPT = Symbol('receipt');
const minted = new WeakSet<object>();

/** Called by `record` alone (the tidy test holds this), once the intent is durable. */
export function mintReceipt(
  plan: PlanId,
  planDigest: string,
  index: number,
  leafHash: string,
): Receipt {
  const receipt: Receipt = { plan, planDigest, index, leafHash, [RECEIPT]: true };
  minted.add(receipt);
  return Object.freeze(receipt);
}

/** Drivers call this first: an act without a genuine receipt is a bug and stops here. */
export function assertReceipt(receipt: Receipt): void {
  if (!minted.has(receipt)) throw new Error('assertion failed: act without a ledger receipt');
}
