// Who is this request for, as told to the replica? The gateway vouches for the tenant with a MAC;
// whatever a client says about itself in our headers is removed first.
//
//   ID1. No incoming header named `x-kintsugi-*` (or a spelling that some servers read the same)
//        reaches a replica.
//   ID2. Credentials that the gateway checked are not forwarded.
//   ID3. Hop-by-hop headers, and those that `Connection` names, end here.
//   ID4. An assertion is made out to one service and lives 30 s.
import { createHmac, randomFillSync, randomUUID, type KeyObject } from 'node:crypto';
import type { Head } from './http/head.ts';
import { type FieldName, fieldName, nameSet } from './http/names.ts';

export const ASSERTION_LIFE_MS = 30_000;
const REQUEST_ID = /^[A-Za-z0-9._-]{8,100}$/u;
const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/u;

const REQUEST_ID_FIELD = fieldName('x-request-id');
const TRACEPARENT_FIELD = fieldName('traceparent');

/** Written anew below. WSGI and CGI servers read `X_Kintsugi_Tenant` as the same: so do sets. */
export const DROP_FROM_REQUEST = nameSet(
  [
    'authorization',
    'x-api-key',
    'x-request-id',
    'traceparent',
    'x-forwarded-for',
    'x-forwarded-host',
    'x-forwarded-proto',
    'forwarded',
  ],
  ['x-kintsugi-'],
);
export const DROP_FROM_ANSWER = nameSet(['x-request-id']);

export interface Identity {
  readonly tenant: string;
  readonly subject: string;
  readonly region: string;
  readonly requestId: string;
}

export interface Assertion {
  readonly service: string;
  readonly key: KeyObject;
  /** Wall ms. */
  readonly nowMs: number;
}

/** Its value if it is there exactly once. */
function onlyValue(head: Head, name: FieldName): string | undefined {
  const field = head.find(name);
  if (field < 0 || head.find(name, field + 1) >= 0) return undefined;
  return head.valueAt(field);
}

const TRACE_BYTES = 24;
const pool = Buffer.alloc(TRACE_BYTES * 128);
let used = pool.length;

/** Asking the system for a few random bytes costs as much as asking for many. */
function randomHex(): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += TRACE_BYTES;
  return pool.toString('hex', used - TRACE_BYTES, used);
}

/** The client's id if it is harmless, else a new one. */
export function requestIdOf(head: Head): string {
  const given = onlyValue(head, REQUEST_ID_FIELD);
  return given !== undefined && REQUEST_ID.test(given) ? given : randomUUID();
}

function traceparentOf(head: Head): string {
  const given = onlyValue(head, TRACEPARENT_FIELD);
  if (given !== undefined && TRACEPARENT.test(given)) return given;
  const hex = randomHex();
  return `00-${hex.slice(0, 32)}-${hex.slice(32)}-01`;
}

export function assertionOf(identity: Identity, assertion: Assertion): string {
  const { service, key, nowMs } = assertion;
  const { tenant, subject, region, requestId } = identity;
  const expMs = nowMs + ASSERTION_LIFE_MS;
  const claims = JSON.stringify({ tenant, subject, region, service, requestId, expMs });
  const signed = `v1.${Buffer.from(claims).toString('base64url')}`;
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
}

/**
 * The lines for the replica. None of the values can hold a line end: tenant and region are checked
 * with their table, subject and ids by their grammar, the host by the parser.
 */
export function upstreamLines(
  head: Head,
  remoteAddress: string,
  identity: Identity,
  assertion: Assertion,
): string {
  return (
    `x-forwarded-host: ${head.host}\r\n` +
    `x-forwarded-for: ${remoteAddress}\r\n` +
    'x-forwarded-proto: http\r\n' +
    `x-request-id: ${identity.requestId}\r\n` +
    `traceparent: ${traceparentOf(head)}\r\n` +
    `x-kintsugi-tenant: ${identity.tenant}\r\n` +
    `x-kintsugi-region: ${identity.region}\r\n` +
    `x-kintsugi-subject: ${identity.subject}\r\n` +
    `x-kintsugi-assertion: ${assertionOf(identity, assertion)}\r\n`
  );
}

/** The line for the client. */
export function answerLine(requestId: string): string {
  return `x-request-id: ${requestId}\r\n`;
}
