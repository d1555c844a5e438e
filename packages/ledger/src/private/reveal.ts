// What do the private fields of this entry say, and where one says nothing, why? Every digest gets
// one state; none is left out.
// P1. A value is returned only after its digest was compared with the entry.
// P2. The reason is told apart: redacted (by which ledger entry), restricted, held back, damaged,
//     or missing (never stored here, or a decoy).
// P5. An entry of one tenant never shows what was sealed for another.

import { LedgerError, isLedgerError } from '../errors.ts';
import type { JsonValue } from '../json.ts';
import { tenantOf } from '../tenants/tenant-of.ts';
import { parseDisclosure, privateDigests } from './disclosure.ts';
import { tagText } from './parts.ts';
import type { PrivateParts } from './parts.ts';
import { openPayload, readPayloadHead } from './payload.ts';
import type { Opened, PayloadHead } from './payload.ts';

export type FieldState =
  | {
      readonly kind: 'shown';
      readonly digest: string;
      readonly name: string;
      readonly value: JsonValue;
      /** What a third party needs to verify the field. */
      readonly disclosure: string;
    }
  | {
      readonly kind: 'redacted';
      readonly digest: string;
      readonly by: 'erasure' | 'retention' | 'collection';
      /** The ledger entry that ordered it. */
      readonly index: number;
    }
  | {
      readonly kind: 'restricted';
      readonly digest: string;
      readonly restriction: string;
      readonly reason: string;
      readonly index: number;
    }
  | {
      readonly kind: 'held-back';
      readonly digest: string;
      readonly reason: 'erasing' | 'below-retention' | 'key-store-unavailable';
    }
  | { readonly kind: 'damaged'; readonly digest: string; readonly reason: string }
  | { readonly kind: 'missing'; readonly digest: string };

export interface RevealOptions {
  /** Whose fields these are, for an entry of the system log, which names no tenant itself. */
  readonly tenant?: string;
  /** Log index of the entry, where a retention minimum by index may apply. */
  readonly index?: number;
}

export async function revealEntry(
  parts: PrivateParts,
  entry: Uint8Array,
  options: RevealOptions = {},
): Promise<readonly FieldState[]> {
  const digests = privateDigests(entry);
  if (digests.length === 0) return [];
  const tenant = tenantOf(entry) ?? options.tenant;
  if (tenant === undefined) {
    const message = 'the entry names no tenant: say whose fields are to be shown';
    throw new LedgerError('KIN_LEDGER_OPTION_INVALID', message);
  }
  // Asked for one tenant, and the entry is another's: P5 as well.
  if ((options.tenant ?? tenant) !== tenant) {
    return digests.map((digest) => ({ kind: 'missing', digest }));
  }
  // Fields of one payload are decrypted once.
  const opened = new Map<number, Promise<Opened>>();
  const states: FieldState[] = [];
  for (const digest of digests) {
    states.push(await stateOf(parts, digest, { ...options, tenant }, opened));
  }
  return states;
}

interface Asked extends RevealOptions {
  readonly tenant: string;
}

async function stateOf(
  parts: PrivateParts,
  digest: string,
  options: Asked,
  opened: Map<number, Promise<Opened>>,
): Promise<FieldState> {
  const { payloads, keys } = parts;
  const found = await payloads.find(Buffer.from(digest, 'base64url'));
  if (found.kind === 'absent') return { kind: 'missing', digest };
  if (found.kind === 'damaged') return { kind: 'damaged', digest, reason: found.reason };
  const { row, frame, at } = found;
  const head = readPayloadHead(frame.head);
  if (head === undefined) return { kind: 'damaged', digest, reason: 'the payload has no head' };
  // P5: somebody copied the digest of another tenant's entry into this one.
  if (head.tenant !== options.tenant) return { kind: 'missing', digest };
  if (frame.state.kind === 'removed') {
    const { cause, index } = frame.state;
    const by = { erased: 'erasure', retired: 'retention', orphan: 'collection' } as const;
    return { kind: 'redacted', digest, by: by[cause], index };
  }
  const keyRow = payloads.keyRowOf(row);
  const barred = bar(parts, digest, head, keyRow, options);
  if (barred !== undefined) return barred;
  if (!frame.bodyIntact) return { kind: 'damaged', digest, reason: 'the payload was changed' };
  let opening = opened.get(row);
  if (opening === undefined) {
    opening = decrypt(parts, head, frame.head, frame.body, keyRow);
    opened.set(row, opening);
  }
  try {
    return shown(digest, await opening, at);
  } catch (cause) {
    // Erased while it was being read.
    const state = keys.table.state(keyRow);
    if (state === 'erasing' || state === 'destroyed') return heldBack(digest);
    if (!isLedgerError(cause) || cause.code !== 'KIN_LEDGER_KEY_UNAVAILABLE') throw cause;
    return { kind: 'held-back', digest, reason: 'key-store-unavailable' };
  }
}

/** Reasons not to decrypt at all. */
function bar(
  { keys, marks }: PrivateParts,
  digest: string,
  head: PayloadHead,
  keyRow: number,
  { index }: RevealOptions,
): FieldState | undefined {
  const state = keys.table.state(keyRow);
  if (state === 'erasing' || state === 'destroyed') return heldBack(digest);
  if (state === 'unknown') return { kind: 'damaged', digest, reason: 'its key does not exist' };
  const { tenant, sealedAtMs } = head;
  const minimum = marks.retentionOf(tenant);
  const isBelow =
    minimum !== undefined && (sealedAtMs < minimum.atMs || (index ?? Infinity) < minimum.index);
  if (isBelow) return { kind: 'held-back', digest, reason: 'below-retention' };
  const restricted = marks.restrictionOf(tenant, tagText(keys.table.tagOf(keyRow)));
  if (restricted === undefined) return undefined;
  const { restriction, basis } = restricted;
  return {
    kind: 'restricted',
    digest,
    restriction,
    reason: basis.text,
    index: restricted.index,
  };
}

async function decrypt(
  { keys }: PrivateParts,
  { tenant }: PayloadHead,
  head: Buffer,
  body: Buffer,
  keyRow: number,
): Promise<Opened> {
  const key = await keys.open(keyRow, tenant);
  if (key === undefined) return { kind: 'damaged', reason: 'its key cannot be unwrapped' };
  const opened = openPayload(key, head, body);
  key.fill(0);
  return opened;
}

/** P1: `openPayload` compared every digest of the head, and the head has this one at `at`. */
function shown(digest: string, opened: Opened, at: number): FieldState {
  if (opened.kind === 'damaged') return { ...opened, digest };
  const disclosure = opened.disclosures[at] ?? '';
  const field = parseDisclosure(disclosure);
  if (field === undefined) return { kind: 'damaged', digest, reason: 'not a disclosure' };
  return { kind: 'shown', digest, name: field.name, value: field.value, disclosure };
}

function heldBack(digest: string): FieldState {
  return { kind: 'held-back', digest, reason: 'erasing' };
}
