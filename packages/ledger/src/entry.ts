// What is written into the ledger? Canonical JSON of a closed set of shapes; version 1.
// E1. Every entry of ours is `{"v":1,"kind":…,"at":…}` in RFC 8785 form, at most 65535 bytes.
// E2. `intent`, `outcome` and everything under `ledger.` and `privacy.` are written by the ledger
//     alone: neither `record` nor a raw `append` can forge them.

import { fromUtf8 } from './bytes.ts';
import type { EntryMembers } from './api.ts';
import { LedgerError } from './errors.ts';

import { canonicalJson } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { checkSalt, checkTenantId, tenantOf } from './tenants/tenant-of.ts';

export const ENTRY_BYTES_MAX = 65_535;
const KIND = /^[a-z][a-z0-9]*([._-][a-z0-9]+)*$/;

export type OutcomeResult = 'succeeded' | 'failed' | 'unknown';

/** What every entry of ours may carry beside its own members. */
interface SharedMembers {
  /** Base64url digests of disclosures that are kept outside of the tree, sorted. */
  readonly private?: readonly string[];
  /** 128 random bits in base64url (22 characters), so that a leaf hash tells nothing. */
  readonly salt?: string;
  /** The tenant whose log holds the entry as well. */
  readonly tenant?: string;
}

export interface IntentEntry extends SharedMembers {
  readonly v: 1;
  readonly kind: 'intent';
  /** ISO 8601 wall time of the writer. */
  readonly at: string;
  /** What will be done, e.g. `heal.restart`. */
  readonly action: string;
  /** To whom or what, e.g. a replica id. */
  readonly subject: string;
  readonly plan?: string;
  readonly detail: JsonValue;
  /** Wall time after which an open intent is an incident. */
  readonly deadlineAt?: string;
}

export interface OutcomeEntry extends SharedMembers {
  readonly v: 1;
  readonly kind: 'outcome';
  readonly at: string;
  /** Index of the intent that this closes. */
  readonly intent: number;
  readonly result: OutcomeResult;
  readonly detail: JsonValue;
}

export interface PlainEntry extends SharedMembers {
  readonly v: 1;
  readonly kind: string;
  readonly at: string;
  readonly detail: JsonValue;
}

/** `raw` is what `append` was given by a caller with its own encoding. */
export type DecodedEntry =
  | { readonly type: 'intent'; readonly entry: IntentEntry }
  | { readonly type: 'outcome'; readonly entry: OutcomeEntry }
  | { readonly type: 'plain'; readonly entry: PlainEntry }
  | { readonly type: 'raw' };

const DIGEST = /^[A-Za-z0-9_-]{43}$/;
const DIGESTS_MAX = 1024;

/** As they stand in the entry; refused when `tenantOf` would not read them back. */
export function entryMembers(members: EntryMembers | undefined): object {
  if (members === undefined) return {};
  const { tenant, salt, private: digests } = members;
  checkTenantId(tenant);
  checkSalt(salt);
  if (digests === undefined) return { tenant, salt };
  if (digests.length > DIGESTS_MAX || !digests.every((digest) => DIGEST.test(digest))) {
    throw new LedgerError('KIN_LEDGER_ENTRY_INVALID', 'private members are SHA-256 digests');
  }
  return { tenant, salt, private: digests };
}

export function encodeEntry(entry: object): Uint8Array {
  // Short entries share a block of memory, which is far cheaper than one of their own each.
  const bytes = Buffer.from(canonicalJson(entry));
  checkLength(bytes.length);
  return bytes;
}

export function checkLength(bytes: number): void {
  if (bytes <= ENTRY_BYTES_MAX) return;
  throw new LedgerError(
    'KIN_LEDGER_ENTRY_TOO_LARGE',
    `an entry of ${bytes} bytes is over the limit of ${ENTRY_BYTES_MAX}`,
  );
}

/** Refuses kinds that only the ledger itself may write (E2). */
export function checkPlainKind(kind: string, isOwn = false): void {
  if (!KIND.test(kind) || kind.length > 128) {
    throw new LedgerError('KIN_LEDGER_ENTRY_INVALID', `"${kind.slice(0, 140)}" is no entry kind`);
  }
  if (isReserved(kind) && !isOwn) {
    throw new LedgerError('KIN_LEDGER_ENTRY_INVALID', `the kind "${kind}" is reserved`);
  }
}

function isReserved(kind: string): boolean {
  return kind === 'intent' || kind === 'outcome' || /^(?:ledger|privacy)[.]/.test(kind);
}

/** The same reading at append and at recovery, so that what was let in means the same later. */
export function decodeEntry(bytes: Uint8Array): DecodedEntry {
  if (bytes[0] !== 0x7b) return { type: 'raw' };
  const text = fromUtf8(bytes);
  if (text === undefined) return { type: 'raw' };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { type: 'raw' };
  }
  return isObject(value) ? classify(value) : { type: 'raw' };
}

function classify(value: JsonObject): DecodedEntry {
  const { v, kind, at, detail = null } = value;
  if (v !== 1 || typeof kind !== 'string' || typeof at !== 'string') return { type: 'raw' };
  if (kind === 'intent') return classifyIntent(value, at, detail);
  if (kind === 'outcome') {
    const { intent, result } = value;
    if (typeof intent !== 'number' || !Number.isSafeInteger(intent) || !isResult(result)) {
      return { type: 'raw' };
    }
    return { type: 'outcome', entry: { v, kind, at, intent, result, detail, ...shared(value) } };
  }
  return { type: 'plain', entry: { v, kind, at, detail, ...shared(value) } };
}

function shared(value: JsonObject): SharedMembers {
  const { private: digests, salt, tenant } = value;
  return {
    ...(isTexts(digests) ? { private: digests } : {}),
    ...(typeof salt === 'string' ? { salt } : {}),
    ...(typeof tenant === 'string' ? { tenant } : {}),
  };
}

function isTexts(value: JsonValue | undefined): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function classifyIntent(value: JsonObject, at: string, detail: JsonValue): DecodedEntry {
  const { action, subject, plan, deadlineAt } = value;
  if (typeof action !== 'string' || typeof subject !== 'string') return { type: 'raw' };
  const base = { v: 1, kind: 'intent', at, action, subject, detail } as const;
  return {
    type: 'intent',
    entry: {
      ...base,
      ...(typeof plan === 'string' ? { plan } : {}),
      ...(typeof deadlineAt === 'string' ? { deadlineAt } : {}),
      ...shared(value),
    },
  };
}

/** E2 for raw bytes: what reads back as the ledger's own entry may not come from outside. */
export function checkRawEntry(bytes: Uint8Array): void {
  checkLength(bytes.length);
  const tenant = tenantOf(bytes);
  if (tenant !== undefined) {
    const message = `appended bytes end like an entry of the tenant "${tenant}"`;
    throw new LedgerError('KIN_LEDGER_ENTRY_INVALID', message);
  }
  const decoded = decodeEntry(bytes);
  if (decoded.type === 'raw') return;
  if (!isReserved(decoded.entry.kind)) return;
  throw new LedgerError(
    'KIN_LEDGER_ENTRY_INVALID',
    `an appended entry may not carry the reserved kind "${decoded.entry.kind}"`,
  );
}

function isResult(value: unknown): value is OutcomeResult {
  return value === 'succeeded' || value === 'failed' || value === 'unknown';
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
