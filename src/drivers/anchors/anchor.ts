// What does it mean to anchor a log? To leave a head of it where we cannot change it, and to keep a
// receipt that an auditor checks without us.
//
//   AN1. Only four values leave: SHA-256 of the checkpoint text, size, root and the log id (SHA-256
//        of the origin). The one exception is the `file` anchor, which keeps the signed text.
//   AN2. A receipt carries the checkpoint text, so that it proves origin, size and root by itself.
import { createHash } from 'node:crypto';
import { AnchorError } from './errors.ts';

/** Checkpoints with many cosignatures stay far below. */
export const CHECKPOINT_BYTES_MAX = 65_536;

export interface AnchoredHead {
  readonly origin: string;
  readonly size: number;
  /** Base64 of 32 bytes, as it stands in the checkpoint. */
  readonly root: string;
  /** The signed checkpoint, byte for byte. */
  readonly checkpointText: string;
}

interface ReceiptBase {
  readonly v: 1;
  readonly anchor: string;
  readonly size: number;
  readonly root: string;
  readonly checkpoint: string;
  /** Our wall clock when the receipt was made; what the medium says stands in its own members. */
  readonly atMs: number;
}

export interface StampReceipt extends ReceiptBase {
  readonly kind: 'rfc3161';
  /** Base64 of the whole TimeStampResp. */
  readonly response: string;
}

export interface EvmReceipt extends ReceiptBase {
  readonly kind: 'evm';
  readonly chainId: number;
  readonly contract: string;
  readonly owner: string;
  readonly transaction: string;
  readonly blockNumber: number;
  readonly blockHash: string;
  readonly confirmations: number;
}

export interface CalendarReceipt extends ReceiptBase {
  readonly kind: 'opentimestamps';
  /** Base64 of the `.ots` file. */
  readonly proof: string;
  /** `pending`: only calendars promise so far. `attested`: a Bitcoin block is named. */
  readonly state: 'pending' | 'attested';
}

export interface FileReceipt extends ReceiptBase {
  readonly kind: 'file';
  readonly layout: 'append' | 'objects';
}

export type AnchorReceipt = StampReceipt | EvmReceipt | CalendarReceipt | FileReceipt;

export type InvalidReason =
  /** The receipt speaks about another log, size or root. */
  | 'other-head'
  /** Its checkpoint text does not say what the receipt says. */
  | 'receipt-inconsistent'
  /** The medium's proof does not cover this checkpoint. */
  | 'other-content'
  | 'malformed'
  | 'untrusted-signer'
  | 'not-in-medium'
  | 'other-chain';

export type Verdict =
  | { readonly kind: 'anchored'; readonly atMs: number; readonly detail: string }
  | {
      readonly kind: 'pending';
      readonly reason: 'calendar-promised' | 'confirmations-missing';
      readonly detail: string;
    }
  /** Everything that can be checked here holds; the rest needs the tool named in the detail. */
  | {
      readonly kind: 'partial';
      readonly reason: 'bitcoin-header-unchecked';
      readonly detail: string;
    }
  | { readonly kind: 'invalid'; readonly reason: InvalidReason; readonly detail: string }
  | { readonly kind: 'unreachable'; readonly detail: string };

export interface Anchor {
  readonly name: string;
  /** Rejects with an `AnchorError`, or with the signal's reason; never hangs. */
  anchor(head: AnchoredHead, signal?: AbortSignal): Promise<AnchorReceipt>;
  /** Never rejects. */
  verify(receipt: AnchorReceipt, head: AnchoredHead): Promise<Verdict>;
}

/** A medium whose first receipt is only a promise. Answers the same one while nothing is new. */
export interface UpgradingAnchor extends Anchor {
  upgrade(receipt: AnchorReceipt): Promise<AnchorReceipt>;
}

export interface HighWaterMark {
  readonly size: number;
  readonly root: string;
}

/** A medium that tells its newest size: a copy of the log that is smaller was rolled back. */
export interface RememberingAnchor extends Anchor {
  highWater(origin: string): Promise<HighWaterMark | undefined>;
}

export function isUpgrading(anchor: Anchor): anchor is UpgradingAnchor {
  return 'upgrade' in anchor;
}

export function isRemembering(anchor: Anchor): anchor is RememberingAnchor {
  return 'highWater' in anchor;
}

/** Is more of this receipt to come? */
export function isPromise(receipt: AnchorReceipt): boolean {
  return receipt.kind === 'opentimestamps' && receipt.state === 'pending';
}

/** 32 bytes that name the log to strangers. */
export function logIdOf(origin: string): Buffer {
  return createHash('sha256').update(origin, 'utf8').digest();
}

export function digestOf(checkpointText: string): Buffer {
  return createHash('sha256').update(checkpointText, 'utf8').digest();
}

const ROOT = /^[A-Za-z0-9+/]{43}=$/;
const SIZE = /^(?:0|[1-9][0-9]{0,15})$/;

/** Reads origin, size and root out of a checkpoint; its signatures are the ledger's to check. */
export function headOf(checkpointText: string): AnchoredHead {
  const bad = (why: string): AnchorError =>
    new AnchorError('KIN_ANCHOR_HEAD', `not a checkpoint: ${why}`);
  if (Buffer.byteLength(checkpointText) > CHECKPOINT_BYTES_MAX) throw bad('it is too long');
  const [origin = '', size = '', root = ''] = checkpointText.split('\n', 3);
  if (origin === '') throw bad('no origin');
  if (!SIZE.test(size) || !Number.isSafeInteger(Number(size))) throw bad('no size');
  if (!ROOT.test(root) || Buffer.from(root, 'base64').toString('base64') !== root)
    throw bad('no root');
  if (!checkpointText.includes('\n\n\u2014 ')) throw bad('no signature');
  return { origin, size: Number(size), root, checkpointText };
}

/** Throws when the head says something else than its own checkpoint text. */
export function checkHead(head: AnchoredHead): void {
  const said = headOf(head.checkpointText);
  if (said.origin !== head.origin || said.size !== head.size || said.root !== head.root)
    throw new AnchorError('KIN_ANCHOR_HEAD', 'the head differs from its own checkpoint text');
}

export function receiptBase(anchor: string, head: AnchoredHead, atMs: number): ReceiptBase {
  const { size, root, checkpointText } = head;
  return { v: 1, anchor, size, root, checkpoint: checkpointText, atMs };
}

export const invalid = (reason: InvalidReason, detail: string): Verdict => ({
  kind: 'invalid',
  reason,
  detail,
});

/**
 * Is the receipt about this head? Signatures may differ (a witness cosigned later), so the text of
 * the receipt counts for the digest, and origin, size and root are compared.
 */
export function doubtAbout(receipt: AnchorReceipt, head: AnchoredHead): Verdict | undefined {
  let said: AnchoredHead;
  try {
    said = headOf(receipt.checkpoint);
  } catch {
    return invalid('receipt-inconsistent', 'the receipt holds no checkpoint');
  }
  if (said.size !== receipt.size || said.root !== receipt.root)
    return invalid('receipt-inconsistent', 'the receipt differs from its checkpoint');
  if (said.origin !== head.origin) return invalid('other-head', 'it is of another log');
  if (said.size !== head.size)
    return invalid('other-head', `it is for size ${said.size}, not ${head.size}`);
  if (said.root !== head.root) return invalid('other-head', 'same size, other root: a fork');
  return undefined;
}

/** What a failed check of a receipt means for the auditor. */
export function verdictOf(error: unknown): Verdict {
  if (!(error instanceof AnchorError)) throw error;
  switch (error.code) {
    case 'KIN_ANCHOR_UNREACHABLE':
    case 'KIN_ANCHOR_REFUSED':
    case 'KIN_ANCHOR_ANSWER':
    case 'KIN_ANCHOR_IO':
      return { kind: 'unreachable', detail: error.message };
    case 'KIN_ANCHOR_MISMATCH':
      return invalid('other-content', error.message);
    case 'KIN_ANCHOR_UNTRUSTED':
      return invalid('untrusted-signer', error.message);
    case 'KIN_ANCHOR_CHAIN':
    case 'KIN_ANCHOR_CONTRACT':
      return invalid('other-chain', error.message);
    default:
      return invalid('malformed', error.message);
  }
}
