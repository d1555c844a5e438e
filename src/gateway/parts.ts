// In which form does a routing table travel and lie on disk? In parts, each named by its digest, so
// that only what changed is sent, checked and written again.
//
//   rest          one part: the pepper and all of a table that has no family of its own
//   services      a part for each service, in the order of the table
//   tenants, keys, hosts, certificates
//                 rows by name in 2^n buckets: a name's hash says in which one it is
//
// The body of a part is the name of its family, a line end, and JSON. Rows stand each on a line of
// its own, in printable ASCII without backslashes, so that one can be read without the others:
//
//   tenants       [id, region, 1 when suspended, rate, burst, concurrency, body bytes, {more}?]
//   keys          [id, tenant, mac, wall ms of expiry or 0, {more}?]
//   hosts         [host, tenant]
//   certificates  [identity, tenant]
//
//   PT1. The same rows in the same order give the same digest, on every machine.
//   PT2. Past a limit nothing of a table is used, and the reason says which limit it was.
import { hash } from 'node:crypto';
import { KinError } from '../model/errors.ts';

export const FAMILIES = ['rest', 'services', 'tenants', 'keys', 'hosts', 'certificates'] as const;
export type Family = (typeof FAMILIES)[number];
export type RowFamily = Exclude<Family, 'rest' | 'services'>;

export const DIGEST = /^[A-Za-z0-9_-]{43}$/u;
/** A part is checked in one go: this many bytes take a few milliseconds. */
export const PART_BYTES_MAX = 1_024 * 1_024;
export const PARTS_MAX = 8_192;
export const TABLE_BYTES_MAX = 256 * 1_024 * 1_024;
export const ROWS_MAX = 500_000;
export const PART_ROWS_MAX = 32_767;
export const SERVICES_MAX = 1_000;
export const BUCKETS_MAX = 1_024;
const BUCKET_ROWS = 256;

export interface Part {
  /** Base64url SHA-256 of the body. */
  readonly digest: string;
  readonly body: Buffer;
}

export function partOf(family: Family, content: string): Part {
  const body = Buffer.from(`${family}\n${content}`);
  if (body.length > PART_BYTES_MAX) {
    throw limit(`a part of the ${family} has ${body.length} of at most ${PART_BYTES_MAX} bytes`);
  }
  return { digest: digestOf(body), body };
}

export function digestOf(body: Uint8Array): string {
  return hash('sha256', body, 'base64url');
}

/** How many buckets so many rows are spread over. */
export function bucketsFor(rows: number): number {
  let buckets = 1;
  while (buckets < BUCKETS_MAX && buckets * BUCKET_ROWS < rows) buckets *= 2;
  return rows === 0 ? 0 : buckets;
}

/**
 * FNV-1a with a final mix. Its low bits choose the bucket, its high ones the place inside it. It is
 * part of the format: who changes it changes every part.
 */
export function nameHash(text: string, from = 0, to = text.length): number {
  let mixed = 0x811c9dc5;
  for (let i = from; i < to; i += 1) {
    mixed = Math.imul(mixed ^ text.charCodeAt(i), 0x01000193);
  }
  mixed ^= mixed >>> 16;
  mixed = Math.imul(mixed, 0x85ebca6b);
  return (mixed ^ (mixed >>> 13)) >>> 0;
}

export function limit(what: string): KinError {
  return new KinError(
    'KIN_GATEWAY_TABLE_LIMIT',
    `the routing table is too large: ${what}`,
    'Gateways keep serving from the table before. Reduce what the message names.',
  );
}
