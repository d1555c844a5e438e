// What do erasure, retention, holds and reading share? The open stores and the way to the ledger.

import { toHex } from '../bytes.ts';
import { LedgerError } from '../errors.ts';
import type { LedgerClock } from '../files.ts';
import type { KeyRing } from './key-ring.ts';
import type { Marks } from './marks.ts';
import type { PayloadStore } from './payload-store.ts';
import type { PrivacyLedger } from './port.ts';
import type { Random } from './random.ts';

export interface PrivateParts {
  readonly keys: KeyRing;
  readonly payloads: PayloadStore;
  readonly marks: Marks;
  readonly clock: LedgerClock;
  readonly random: Random;
  readonly deadlineMs: number;
  /** Undefined until `start`. */
  readonly ledger: () => PrivacyLedger;
}

/** 128 random bits: what the log calls an erasure, a hold or a restriction. */
export function randomId(random: Random): string {
  return toHex(random(16));
}

export function tagText(tag: Uint8Array): string {
  return Buffer.from(tag).toString('base64url');
}

export function notStarted(): LedgerError {
  return new LedgerError('KIN_LEDGER_OPTION_INVALID', 'call start() with the ledger first');
}
