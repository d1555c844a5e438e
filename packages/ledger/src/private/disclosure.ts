// Is this field really what the entry committed to? RFC 9901 disclosures, checked with nothing but
// the bytes of the entry: pure, for the browser as well.
//
//   disclosure = base64url(UTF-8 of `["salt","name",value]`)
//   digest     = base64url(SHA-256(ASCII of the disclosure))
//   entry      = {…,"private":[sorted digests],…}
//
// X1. A field is shown only when the digest of its disclosure stands in the entry; the text that is
//     hashed is the text that is parsed, so no second reading of it exists.
// X2. A salt has at least 128 bits: what was removed cannot be guessed from the digest.

import { fromBase64, fromUtf8, toBase64, utf8 } from '../bytes.ts';
import { sha256 } from '../crypto.ts';
import { LedgerError } from '../errors.ts';
import { sortTexts } from '../json.ts';
import type { JsonObject, JsonValue } from '../json.ts';

/** 18 random bytes: 144 bits, and 24 characters without a remainder. */
export const SALT_BYTES = 18;
const SALT = /^[A-Za-z0-9_-]{22,86}$/;
const DIGEST = /^[A-Za-z0-9_-]{43}$/;
/** Digests of one entry, decoys included. */
export const DIGESTS_MAX = 256;
export const FIELD_NAME_CHARS_MAX = 128;
/** Above what a payload of one field can hold. */
const DISCLOSURE_CHARS_MAX = 1_300_000;

export interface Disclosure {
  /** Base64url. */
  readonly salt: string;
  readonly name: string;
  readonly value: JsonValue;
}

export type DisclosureVerdict =
  | { readonly kind: 'valid'; readonly digest: string; readonly field: Disclosure }
  | { readonly kind: 'invalid'; readonly reason: string };

export function toBase64url(bytes: Uint8Array): string {
  return toBase64(bytes).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

/** Strict: no padding, unused bits zero. */
export function fromBase64url(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) return undefined;
  const standard = text.replaceAll('-', '+').replaceAll('_', '/');
  return fromBase64(standard + '='.repeat((4 - (standard.length % 4)) % 4));
}

export function digestOf(disclosure: string): string {
  return toBase64url(sha256(utf8(disclosure)));
}

export function isDigest(value: unknown): value is string {
  return typeof value === 'string' && DIGEST.test(value);
}

/** What a disclosure says; undefined when it is none. */
export function parseDisclosure(disclosure: string): Disclosure | undefined {
  if (disclosure.length > DISCLOSURE_CHARS_MAX) return undefined;
  const bytes = fromBase64url(disclosure);
  const text = bytes === undefined ? undefined : fromUtf8(bytes);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(value) || value.length !== 3) return undefined;
  const [salt, name, content]: readonly unknown[] = value;
  if (typeof salt !== 'string' || !SALT.test(salt)) return undefined;
  if (typeof name !== 'string' || fieldNameProblem(name) !== undefined) return undefined;
  return { salt, name, value: content as JsonValue };
}

export function fieldNameProblem(name: string): string | undefined {
  if (name === '' || name.length > FIELD_NAME_CHARS_MAX) return 'a field name has 1–128 characters';
  // RFC 9901 §4.2.1: these two have a meaning of their own.
  if (name === '_sd' || name === '...') return `"${name}" is no field name`;
  return name.isWellFormed() ? undefined : 'a field name holds half of a surrogate pair';
}

/** The digests that an entry commits to; empty for entries without private fields. */
export function privateDigests(entry: Uint8Array): readonly string[] {
  if (entry[0] !== 0x7b) return [];
  const text = fromUtf8(entry);
  // A cheap look first: most entries have no private fields.
  if (text?.includes('"private":[') !== true) return [];
  const value = parseObject(text);
  const list = value?.['private'];
  if (!Array.isArray(list) || list.length > DIGESTS_MAX) return [];
  const digests: readonly unknown[] = list;
  return digests.every(isDigest) ? digests : [];
}

function parseObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}

/** X1: one field against the bytes of an entry (whose own place in the log a proof shows). */
export function verifyDisclosure(entry: Uint8Array, disclosure: string): DisclosureVerdict {
  const field = parseDisclosure(disclosure);
  if (field === undefined) return { kind: 'invalid', reason: 'not a disclosure of RFC 9901' };
  const digest = digestOf(disclosure);
  const same = privateDigests(entry).filter((known) => known === digest);
  if (same.length === 1) return { kind: 'valid', digest, field };
  const reason = same.length === 0 ? 'the entry commits to another value' : 'digest stands twice';
  return { kind: 'invalid', reason };
}

/** Makes one disclosure the slow, portable way; `salt` is base64url. Sealing has a faster one. */
export function makeDisclosure(salt: string, name: string, valueText: string): string {
  if (!SALT.test(salt)) {
    throw new LedgerError('KIN_LEDGER_ENTRY_INVALID', 'a salt has at least 128 bits in base64url');
  }
  return toBase64url(utf8(`["${salt}",${JSON.stringify(name)},${valueText}]`));
}

/** The member `private` of an entry: sorted, so that the order of the fields tells nothing. */
export function privateMember(digests: readonly string[]): readonly string[] {
  if (digests.length > DIGESTS_MAX) {
    throw new LedgerError(
      'KIN_LEDGER_ENTRY_INVALID',
      `${digests.length} private fields and decoys, ${DIGESTS_MAX} are the most`,
    );
  }
  return sortTexts([...digests]);
}
