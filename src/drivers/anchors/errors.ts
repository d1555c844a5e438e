// How does a failure to anchor look to a person, and is it worth another try? One table: the code,
// whether time alone may help, and the fix. Texts from outside are cut and cleaned before they
// enter a message; addresses are shown as host and port only, because a path may carry a key.
import { KinError } from '../../model/errors.ts';

const TEXT_MAX = 200;

const CATALOGUE = {
  KIN_ANCHOR_CONFIG: [false, 'Correct this entry of ledger.anchors.'],
  KIN_ANCHOR_HEAD: [false, 'Pass the signed checkpoint exactly as the log published it.'],
  KIN_ANCHOR_RECEIPT: [false, 'Use the line of anchors.log as it was written.'],
  KIN_ANCHOR_UNREACHABLE: [true, 'Check the address and the network; it is tried again.'],
  KIN_ANCHOR_ANSWER: [true, 'Check that the address is that of the service meant.'],
  KIN_ANCHOR_REFUSED: [true, 'Read the reason; ask whoever runs the service.'],
  KIN_ANCHOR_MISMATCH: [true, 'Do not use this answer; if it repeats, change the service.'],
  KIN_ANCHOR_UNTRUSTED: [false, 'Give the right TSA certificates, or change the authority.'],
  KIN_ANCHOR_PROOF: [false, 'Do not rely on this proof; ask the calendar again.'],
  KIN_ANCHOR_KEY: [false, 'Give a file with one key, owned by this user, mode 0600.'],
  KIN_ANCHOR_CHAIN: [false, 'Correct chainId or the RPC address.'],
  KIN_ANCHOR_CONTRACT: [false, 'Deploy contracts/KintsugiAnchor.sol and give its address.'],
  KIN_ANCHOR_FEE: [true, 'Wait, or raise maxFeeGwei.'],
  KIN_ANCHOR_STUCK: [true, 'Wait: it is replaced; check the balance of the account.'],
  KIN_ANCHOR_FORK: [
    false,
    'Stop trusting this log: compare both checkpoints, keep both as evidence.',
  ],
  KIN_ANCHOR_ROLLED_BACK: [false, 'Restore the newest copy of the ledger; never continue the old.'],
  KIN_ANCHOR_BOOK_CORRUPT: [false, 'Restore the file from a copy, or move it away to begin anew.'],
  KIN_ANCHOR_IO: [true, 'Check rights, space and the mount.'],
} as const satisfies Record<`KIN_ANCHOR_${string}`, readonly [boolean, string]>;

export type AnchorErrorCode = keyof typeof CATALOGUE;

export class AnchorError extends KinError {
  declare readonly code: AnchorErrorCode;
  /** May another try succeed without anybody doing anything? */
  readonly retryable: boolean;

  constructor(code: AnchorErrorCode, message: string, cause?: unknown) {
    const [retryable, fix] = CATALOGUE[code];
    super(code, message, fix, cause === undefined ? undefined : { cause });
    this.name = 'AnchorError';
    this.retryable = retryable;
  }
}

/** Foreign text for a message: printable ASCII, one line, short. */
export function foreign(text: string): string {
  const clean = text.replaceAll(/[^\x20-\x7e]+/g, ' ').trim();
  return clean.length > TEXT_MAX ? `${clean.slice(0, TEXT_MAX)}…` : clean;
}

/** `ENOENT` and the like, without the path. */
export function errnoOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
}
