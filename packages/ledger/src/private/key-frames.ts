// What does a stored key look like? A frame whose head says whose it is, and whose body is the
// wrapped key, so that destroying the key is overwriting the body.
//
//   0 type (1 tenant key, 2 data key)   1 tenant bytes   2 zero u16   4 key id (16)
//  20 check value of a tenant key, or the subject's tag (32)          52 tenant
//
// S1. A subject's id is never written: its tag is an HMAC under a key derived from the tenant's.

import { createHmac } from 'node:crypto';
import { encodeFrame } from './frame.ts';
import { KEY_ID_BYTES } from './payload.ts';
import type { Random } from './random.ts';
import { boxUp, unbox } from './wrapper.ts';

export type KeyType = 'tenant' | 'data';
const TYPES: readonly KeyType[] = ['tenant', 'data'];
const HEAD_FIXED = 52;

export interface KeyHead {
  readonly type: KeyType;
  readonly tenant: string;
  readonly keyId: Buffer;
  readonly tag: Buffer;
}

export function encodeKeyHead({ type, tenant, keyId, tag }: KeyHead): Buffer {
  const head = Buffer.alloc(HEAD_FIXED + tenant.length);
  head[0] = TYPES.indexOf(type) + 1;
  head[1] = tenant.length;
  head.set(keyId, 4);
  head.set(tag, 20);
  head.write(tenant, HEAD_FIXED, 'latin1');
  return head;
}

export function readKeyHead(head: Buffer): KeyHead | undefined {
  const type = TYPES[(head[0] ?? 0) - 1];
  if (type === undefined || head.length !== HEAD_FIXED + (head[1] ?? 0)) return undefined;
  return {
    type,
    tenant: head.toString('latin1', HEAD_FIXED),
    keyId: Buffer.from(head.subarray(4, 4 + KEY_ID_BYTES)),
    tag: Buffer.from(head.subarray(20, HEAD_FIXED)),
  };
}

/** What is derived from a tenant key; the two never share an HMAC input. */
export function checkValue(tenantKey: Uint8Array): Buffer {
  return createHmac('sha256', tenantKey).update('kintsugi/tenant-key-check/v1').digest();
}

export function tagKeyOf(tenantKey: Uint8Array): Buffer {
  return createHmac('sha256', tenantKey).update('kintsugi/subject-tag-key/v1').digest();
}

/** S1. */
export function subjectTag(tagKey: Uint8Array, subject: string): Buffer {
  return createHmac('sha256', tagKey).update(subject, 'utf8').digest();
}

export interface WrappedDataKey {
  readonly head: Buffer;
  readonly body: Buffer;
  readonly frame: Buffer;
}

export function wrapDataKey(
  tenantKey: Uint8Array,
  dataKey: Uint8Array,
  about: Omit<KeyHead, 'type'>,
  random: Random,
): WrappedDataKey {
  const head = encodeKeyHead({ type: 'data', ...about });
  const body = boxUp(tenantKey, random(12), dataKey, head);
  return { head, body, frame: encodeFrame(head, body) };
}

export function unwrapDataKey(
  tenantKey: Uint8Array,
  head: Uint8Array,
  body: Uint8Array,
): Buffer | undefined {
  return unbox(tenantKey, body, head);
}
