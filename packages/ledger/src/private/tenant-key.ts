// How does a tenant's key come from the key store? Made once, wrapped there, and checked whenever
// it comes back: S4 of the key ring.

import { toHex } from '../bytes.ts';
import { LedgerError } from '../errors.ts';
import { checkValue, tagKeyOf } from './key-frames.ts';
import type { KeyHead } from './key-frames.ts';
import { KEY_ID_BYTES } from './payload.ts';
import type { SealingKey } from './payload.ts';
import type { Random } from './random.ts';
import { WRAPPED_BYTES_MAX } from './wrapper.ts';
import type { KeyWrapper } from './wrapper.ts';

export const KEY_BYTES = 32;

export interface DataKey extends SealingKey {
  readonly row: number;
  readonly key: Buffer;
}

export interface TenantKey {
  readonly key: Buffer;
  readonly tagKey: Buffer;
  /** Data keys by the subject's id: in memory only, oldest first. */
  readonly cache: Map<string, DataKey>;
}

export interface TenantDraft {
  readonly key: Buffer;
  readonly head: KeyHead;
  readonly wrapped: Uint8Array;
}

export function readyKey(key: Buffer): TenantKey {
  return { key, tagKey: tagKeyOf(key), cache: new Map() };
}

export async function makeTenantKey(
  tenant: string,
  wrapper: KeyWrapper,
  random: Random,
): Promise<TenantDraft> {
  const key = Buffer.from(random(KEY_BYTES));
  const keyId = Buffer.from(random(KEY_ID_BYTES));
  const context = { purpose: 'tenant-key', tenant, keyId: toHex(keyId) } as const;
  const wrapped = await wrapper.wrap(key, context);
  if (wrapped.length > WRAPPED_BYTES_MAX) {
    throw new LedgerError('KIN_LEDGER_KEY_INVALID', 'the key store wraps into too many bytes');
  }
  return { key, wrapped, head: { type: 'tenant', tenant, keyId, tag: checkValue(key) } };
}

export async function unwrapTenantKey(
  { tenant, keyId, tag }: KeyHead,
  wrapped: Uint8Array,
  wrapper: KeyWrapper,
): Promise<TenantKey> {
  const context = { purpose: 'tenant-key', tenant, keyId: toHex(keyId) } as const;
  const key = Buffer.from(await wrapper.unwrap(wrapped, context));
  if (key.length === KEY_BYTES && checkValue(key).equals(tag)) return readyKey(key);
  throw new LedgerError(
    'KIN_LEDGER_WRONG_KEY',
    `the key store (${wrapper.describe()}) answers with another key for tenant ${tenant}`,
  );
}
