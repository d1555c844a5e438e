// What do private fields need from the ledger, and on which grounds may they be changed? Types and
// closed lists; the ledger is behind a narrow port, so that either side is tested alone.

import type { JsonValue } from '../json.ts';
import type { Standing } from './privacy-book.ts';

/** Kinds and actions that these modules write. They hold random ids and codes, nothing personal. */
export const ERASE = 'privacy.erase';
export const ERASED_PAGE = 'privacy.erased';
export const ERASE_VOID = 'privacy.erase-void';
export const RETAIN = 'privacy.retain';
export const HOLD_PLACED = 'privacy.hold-placed';
export const HOLD_RELEASED = 'privacy.hold-released';
export const RESTRICTED = 'privacy.restricted';
export const UNRESTRICTED = 'privacy.unrestricted';
export const EXPORTED = 'privacy.exported';

export interface OpenPrivacyIntent {
  readonly index: number;
  readonly action: string;
  readonly detail: JsonValue;
}

export interface PrivacyLedger {
  /** Resolves when durable. */
  intent(input: {
    readonly action: string;
    readonly subject: string;
    readonly tenant: string;
    readonly detail: JsonValue;
  }): Promise<{ readonly index: number }>;
  outcome(
    index: number,
    outcome: { readonly result: 'succeeded' | 'failed' | 'unknown'; readonly detail: JsonValue },
  ): Promise<unknown>;
  record(kind: string, detail: JsonValue, tenant: string): Promise<{ readonly index: number }>;
  openIntents(): readonly OpenPrivacyIntent[];
  /** What the log says is in force; with it, lost marks are noticed at the start. */
  standing?(): Standing;
  /** Log index of the entry that carries each digest; undefined where it is not known. */
  locate?(
    tenant: string,
    digests: readonly string[],
  ): Promise<readonly (number | undefined)[]> | readonly (number | undefined)[];
  /** The `private` digests of a tenant's entries below `before` (a log index), in pages. */
  digestsBelow?(tenant: string, before: number): AsyncIterable<readonly string[]>;
}

const ERASURE_BASES = {
  'gdpr-17-1-a': 'GDPR Art. 17(1)(a): no longer necessary for its purposes',
  'gdpr-17-1-b': 'GDPR Art. 17(1)(b): consent withdrawn',
  'gdpr-17-1-c': 'GDPR Art. 17(1)(c): objection',
  'gdpr-17-1-d': 'GDPR Art. 17(1)(d): unlawfully processed',
  'gdpr-17-1-e': 'GDPR Art. 17(1)(e): legal obligation to erase',
  'gdpr-17-1-f': 'GDPR Art. 17(1)(f): service offered to a child',
  'ccpa-1798-105': 'CCPA § 1798.105: request to delete',
  'contract-end': 'end of the contract with the tenant (GDPR Art. 28(3)(g))',
} as const;

const RETENTION_BASES = {
  'gdpr-5-1-e': 'GDPR Art. 5(1)(e): storage limitation',
  'retention-schedule': 'retention schedule of the tenant',
  'contract-end': ERASURE_BASES['contract-end'],
} as const;

const HOLD_BASES = {
  litigation: 'pending or expected litigation',
  'regulator-order': 'order of a supervisory or law enforcement authority',
  'gdpr-17-3-b': 'GDPR Art. 17(3)(b): legal obligation to keep',
  'gdpr-17-3-e': 'GDPR Art. 17(3)(e): legal claims',
} as const;

const RESTRICTION_BASES = {
  'gdpr-18-1-a': 'GDPR Art. 18(1)(a): accuracy contested',
  'gdpr-18-1-b': 'GDPR Art. 18(1)(b): unlawful, erasure opposed',
  'gdpr-18-1-c': 'GDPR Art. 18(1)(c): needed by the person for legal claims',
  'gdpr-18-1-d': 'GDPR Art. 18(1)(d): objection pending',
} as const;

export const BASES = {
  erasure: ERASURE_BASES,
  retention: RETENTION_BASES,
  hold: HOLD_BASES,
  restriction: RESTRICTION_BASES,
} as const;

export type BasisKind = keyof typeof BASES;

export interface Basis<Kind extends BasisKind = BasisKind> {
  readonly code: keyof (typeof BASES)[Kind] & string;
  /** A case or ticket number. It stays for ever: nothing personal belongs here. */
  readonly ref: string;
}

export type ErasureBasis = Basis<'erasure'>;
export type RetentionBasis = Basis<'retention'>;
export type HoldBasis = Basis<'hold'>;
export type RestrictionBasis = Basis<'restriction'>;

/** What stands in the log. A type, not an interface, so that it counts as JSON. */
export type BasisDetail = {
  readonly code: string;
  readonly ref: string;
  readonly text: string;
};
