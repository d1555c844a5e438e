// Which failures can a caller of the ledger meet, and what should a person do about each?
// Every one has a code, a message that names the place, and a fix. Codes never change meaning.

export type LedgerErrorCode =
  | 'KIN_LEDGER_LOCKED'
  | 'KIN_LEDGER_CORRUPT'
  | 'KIN_LEDGER_ROLLED_BACK'
  | 'KIN_LEDGER_FORKED'
  | 'KIN_LEDGER_WRONG_KEY'
  | 'KIN_LEDGER_DEADLINE'
  | 'KIN_LEDGER_OVERLOADED'
  | 'KIN_LEDGER_FULL'
  | 'KIN_LEDGER_ENTRY_TOO_LARGE'
  | 'KIN_LEDGER_ENTRY_INVALID'
  | 'KIN_LEDGER_POISONED'
  | 'KIN_LEDGER_SEGMENT_LOST'
  | 'KIN_LEDGER_UNSAFE_MODE'
  | 'KIN_LEDGER_CLOSED'
  | 'KIN_LEDGER_INTENT_UNKNOWN'
  | 'KIN_LEDGER_INTENT_CLOSED'
  | 'KIN_LEDGER_RANGE'
  | 'KIN_LEDGER_PRUNED'
  | 'KIN_LEDGER_TENANT_UNKNOWN'
  | 'KIN_LEDGER_TENANTS_FULL'
  | 'KIN_LEDGER_NOTE_INVALID'
  | 'KIN_LEDGER_SIGNATURE_INVALID'
  | 'KIN_LEDGER_SIGNATURE_UNCHECKED'
  | 'KIN_LEDGER_PROOF_INVALID'
  | 'KIN_LEDGER_KEY_INVALID'
  | 'KIN_LEDGER_POLICY_INVALID'
  | 'KIN_LEDGER_QUORUM_UNMET'
  | 'KIN_LEDGER_OPTION_INVALID'
  | 'KIN_LEDGER_HELD'
  | 'KIN_LEDGER_ERASING'
  | 'KIN_LEDGER_ERASURE_FAILED'
  | 'KIN_LEDGER_KEY_UNAVAILABLE'
  | 'KIN_LEDGER_PAYLOAD_FULL'
  | 'KIN_LEDGER_IO';

const fixes: Readonly<Record<LedgerErrorCode, string>> = {
  KIN_LEDGER_LOCKED: 'Stop the other process that has this ledger open, or use another folder.',
  KIN_LEDGER_CORRUPT:
    'Do not edit the folder. Restore it from a replica or a backup that is not older than the ' +
    'last acknowledged entry, then run the ledger check again.',
  KIN_LEDGER_ROLLED_BACK:
    'The folder is older than what was acknowledged. Restore the newest copy; never continue ' +
    'an old one, because that would fork the log.',
  KIN_LEDGER_FORKED: 'Two histories exist. Keep both folders for the investigation.',
  KIN_LEDGER_WRONG_KEY: 'Open the ledger with the origin and the key that it was created with.',
  KIN_LEDGER_DEADLINE: 'The disk is slow or stuck. Do not act; try again once appends succeed.',
  KIN_LEDGER_OVERLOADED: 'More is appended than the disk takes. Slow the callers down and retry.',
  KIN_LEDGER_FULL: 'Free space on the disk of the ledger folder; appends resume by themselves.',
  KIN_LEDGER_ENTRY_TOO_LARGE: 'Record a digest and keep the payload elsewhere (limit 65535 bytes).',
  KIN_LEDGER_ENTRY_INVALID: 'Pass plain JSON values; kinds in use by the ledger are reserved.',
  KIN_LEDGER_POISONED: 'The disk failed twice. Check it, then restart: recovery decides from disk.',
  KIN_LEDGER_SEGMENT_LOST: 'Somebody removed or replaced an open segment. Restore it and restart.',
  KIN_LEDGER_UNSAFE_MODE: 'Take the right to write from others: chmod 0700 on the folder named.',
  KIN_LEDGER_CLOSED: 'Open the ledger again.',
  KIN_LEDGER_INTENT_UNKNOWN: 'Close an intent by the index that its receipt carries.',
  KIN_LEDGER_INTENT_CLOSED: 'An intent has one outcome. Record further facts as plain entries.',
  KIN_LEDGER_RANGE: 'Ask for an index below the size of the ledger.',
  KIN_LEDGER_PRUNED: 'Retention removed it. Ask for an index that stats().first still keeps.',
  KIN_LEDGER_TENANT_UNKNOWN: 'Nothing was ever recorded for this tenant; check its id.',
  KIN_LEDGER_TENANTS_FULL: 'Raise the limit on tenants; those that have a log go on as before.',
  KIN_LEDGER_NOTE_INVALID: 'Pass the text exactly as the log published it.',
  KIN_LEDGER_SIGNATURE_INVALID: 'Check that the key belongs to this log; if it does, do not trust.',
  KIN_LEDGER_SIGNATURE_UNCHECKED:
    'This runtime lacks the algorithm. Check with Node 26, or with a key of another type.',
  KIN_LEDGER_PROOF_INVALID: 'The proof does not match. Do not trust the entry.',
  KIN_LEDGER_KEY_INVALID: 'Pass a signed-note key text, or a key in PEM form with its name.',
  KIN_LEDGER_POLICY_INVALID: 'Correct the line of the trust policy that the message names.',
  KIN_LEDGER_QUORUM_UNMET: 'Ask for a copy with more cosignatures; do not trust it until then.',
  KIN_LEDGER_OPTION_INVALID: 'Correct the option that the message names.',
  KIN_LEDGER_HELD: 'Release the legal hold that the message names, or wait until it is released.',
  KIN_LEDGER_ERASING: 'The data of this subject is being erased; try again when that has ended.',
  KIN_LEDGER_ERASURE_FAILED:
    'The key or the payloads could not be destroyed for certain. Check the disk and restart: ' +
    'the erasure is taken up again.',
  KIN_LEDGER_KEY_UNAVAILABLE: 'Check the key store (KMS or key file); nothing is lost meanwhile.',
  KIN_LEDGER_PAYLOAD_FULL: 'Set a retention for the tenants, compact, or raise the stated limit.',
  KIN_LEDGER_IO: 'Check the disk, the folder and its permissions.',
};

/** Where damage was found. `index` is the first entry that the damaged record holds. */
export interface DamagePlace {
  readonly file: string;
  readonly offset: number;
  readonly index: number;
}

export interface LedgerErrorExtra {
  readonly place?: DamagePlace;
  /** After a missed deadline: is the entry certainly absent, or may it still become durable? */
  readonly inLog?: 'no' | 'unknown';
  readonly cause?: unknown;
}

export class LedgerError extends Error {
  override readonly name = 'LedgerError';
  readonly code: LedgerErrorCode;
  readonly fix: string;
  readonly place: DamagePlace | undefined;
  readonly inLog: 'no' | 'unknown' | undefined;

  constructor(code: LedgerErrorCode, message: string, extra: LedgerErrorExtra = {}) {
    super(message, extra.cause === undefined ? undefined : { cause: extra.cause });
    this.code = code;
    this.fix = fixes[code];
    this.place = extra.place;
    this.inLog = extra.inLog;
  }
}

/** Every code with its fix, for the reference page of errors. */
export const ledgerErrorFixes: Readonly<Record<LedgerErrorCode, string>> = fixes;

export function isLedgerError(value: unknown): value is LedgerError {
  return value instanceof LedgerError;
}

/** Whatever the file system threw, as an error of the catalogue. */
export function typedError(cause: unknown, what: string): LedgerError {
  if (isLedgerError(cause)) return cause;
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const isFull = code === 'ENOSPC' || code === 'EDQUOT';
  return new LedgerError(
    isFull ? 'KIN_LEDGER_FULL' : 'KIN_LEDGER_IO',
    `${what}: ${errorText(cause)}`,
    {
      cause,
    },
  );
}

export function errorText(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
