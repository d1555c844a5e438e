// Whose entry is this? The tenant is a function of the entry's bytes alone, so that the writer, the
// recovery, the checker and an auditor can never disagree, and it is read without parsing JSON.
// TO1. An entry belongs to a tenant when, and only when, its bytes end in
//      `,"tenant":"<id>","v":1}`. For canonical JSON with sorted keys that is its top-level member
//      `tenant`: no quote of that tail is escaped, so none of it can lie inside a string, and the
//      last brace closes the outermost object. No member may ever sort between `tenant` and `v`.
// TO2. What the ledger writes for a tenant carries 128 bits of `salt`, which sorts before `tenant`
//      (only `subject` of an intent stands between): a leaf hash can then not be guessed.
// TO3. A raw append that TO1 reads as a tenant's is refused by the writer.

import { LedgerError } from '../errors.ts';
import { canonicalJson } from '../json.ts';

export const TENANT_CHARS_MAX = 64;
const TENANT_ID = /^[a-z0-9][a-z0-9._-]{0,63}$/;
/** 16 bytes in base64url without padding; the last character carries two bits only. */
const SALT = /^[A-Za-z0-9_-]{21}[AQgw]$/;

const END = bytesOf('","v":1}');
const START = bytesOf(',"tenant":"');
const SALT_START = bytesOf(',"salt":"');
const SUBJECT_START = bytesOf(',"subject":"');
const SALT_CHARS = 22;
const QUOTE = 0x22;

export function isTenantId(text: string): boolean {
  return TENANT_ID.test(text);
}

export function isSalt(text: string): boolean {
  return SALT.test(text);
}

/** TO1: undefined for an entry of the system. */
export function tenantOf(bytes: Uint8Array): string | undefined {
  const end = bytes.length - END.length;
  if (!hasAt(bytes, end, END)) return undefined;
  let from = end;
  while (from > 0 && end - from <= TENANT_CHARS_MAX && isIdByte(bytes[from - 1])) from -= 1;
  const length = end - from;
  if (length === 0 || length > TENANT_CHARS_MAX || !isIdStart(bytes[from])) return undefined;
  if (!hasAt(bytes, from - START.length, START)) return undefined;
  return ascii(bytes, from, end);
}

/** TO2: the salt of a tenant's entry, or undefined where the writer forgot it. */
export function saltOf(bytes: Uint8Array, tenant = tenantOf(bytes)): string | undefined {
  if (tenant === undefined) return undefined;
  const end = bytes.length - END.length - tenant.length - START.length;
  return saltBefore(bytes, end) ?? saltBefore(bytes, subjectStart(bytes, end));
}

function saltBefore(bytes: Uint8Array, end: number): string | undefined {
  const from = end - 1 - SALT_CHARS;
  if (bytes[end - 1] !== QUOTE || !hasAt(bytes, from - SALT_START.length, SALT_START)) {
    return undefined;
  }
  const text = ascii(bytes, from, end - 1);
  return isSalt(text) ? text : undefined;
}

/** Where `,"subject":"` begins; inside a string its quotes would be escaped. */
function subjectStart(bytes: Uint8Array, end: number): number {
  for (let at = end - SUBJECT_START.length; at > 0; at--) {
    if (bytes[at] === SUBJECT_START[0] && hasAt(bytes, at, SUBJECT_START)) return at;
  }
  return 0;
}

/**
 * The last bytes of a tenant's entry, for writers that build canonical JSON by hand. `subject` is
 * given for intents only.
 */
export function tenantTail(salt: string, tenant: string, subject?: string): string {
  checkTenantId(tenant);
  checkSalt(salt);
  const between = subject === undefined ? '' : `,"subject":${canonicalJson(subject)}`;
  return `,"salt":"${salt}"${between},"tenant":"${tenant}","v":1}`;
}

export function checkTenantId(tenant: string): void {
  if (isTenantId(tenant)) return;
  const shown = JSON.stringify(tenant.slice(0, 70));
  throw new LedgerError('KIN_LEDGER_ENTRY_INVALID', `${shown} is no tenant id`);
}

export function checkSalt(salt: string): void {
  if (isSalt(salt)) return;
  throw new LedgerError('KIN_LEDGER_ENTRY_INVALID', 'a salt is 16 random bytes in base64url');
}

function hasAt(bytes: Uint8Array, at: number, part: Uint8Array): boolean {
  if (at < 0 || at + part.length > bytes.length) return false;
  // From the end: the tail of another entry mostly differs there.
  for (let step = part.length - 1; step >= 0; step--) {
    if (bytes[at + step] !== part[step]) return false;
  }
  return true;
}

/** Four times as fast as spreading the bytes, and every entry of a tenant pays it. */
function ascii(bytes: Uint8Array, from: number, end: number): string {
  let text = '';
  for (let at = from; at < end; at++) text += String.fromCharCode(bytes[at] ?? 0);
  return text;
}

function isIdStart(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  return (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x30 && byte <= 0x39);
}

function isIdByte(byte: number | undefined): boolean {
  return isIdStart(byte) || byte === 0x2e || byte === 0x5f || byte === 0x2d;
}

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}
