// Who is this request for, as told to the replica? The gateway vouches for the tenant with a MAC;
// whatever a client says about itself in our headers is removed first.
//
//   ID1. No incoming header named `x-kintsugi-*` (or a spelling that some servers read the same)
//        reaches a replica.
//   ID2. Credentials that the gateway checked are not forwarded.
//   ID3. Hop-by-hop headers, and those that `Connection` names, end here.
//   ID4. An assertion is made out to one service and lives 30 s; one that is sent has at least 20 s
//        of them left.
//   ID5. A replica gets one request id and one traceparent: the client's, if it is there once and
//        harmless, or ours.
import { createHmac, randomFillSync, randomUUID, type KeyObject } from 'node:crypto';
import { DEPENDENCY_FAILED } from './fair/breaker.ts';
import { type Head, SLOT, VALUE_AT, VALUE_END } from './http/head.ts';
import type { ExchangeView } from './http/hooks.ts';
import { KNOWN, nameSet } from './http/names.ts';
import { sameBytes, type Seat } from './principals.ts';

export const ASSERTION_LIFE_MS = 30_000;
/** One assertion serves all requests of its kind for so long. */
export const ASSERTION_REUSE_MS = 10_000;
/** In the place of a request id: see the header of that name. */
const ANY_REQUEST = '*';
const REQUEST_ID = /^[A-Za-z0-9._-]{8,100}$/u;
const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/u;

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
/** The second is said to the gateway, and nobody else's business. */
export const DROP_FROM_ANSWER = nameSet(['x-request-id', DEPENDENCY_FAILED]);

export interface Identity {
  readonly tenant: string;
  readonly subject: string;
  readonly region: string;
}

export interface Assertion {
  readonly service: string;
  readonly key: KeyObject;
  /** Wall ms. */
  readonly nowMs: number;
}

const HOSTS_MAX = 1_024;
const TRACE_BYTES = 24;
const TRACES = 128;
const TRACE_LINE = 'traceparent: 00-TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTT-PPPPPPPPPPPPPPPP-01\r\n'
  .length;
const random = Buffer.alloc(TRACE_BYTES * TRACES);
/** Made ready in one text, of which each request gets a part without copying. */
let traceLines = '';
let traceAt = 0;

/** Asking the system for a few random bytes costs as much as asking for many. */
function makeTraceLines(): void {
  randomFillSync(random);
  const lines: string[] = [];
  for (let i = 0; i < random.length; i += TRACE_BYTES) {
    const trace = random.toString('hex', i, i + 16);
    lines.push(
      `traceparent: 00-${trace}-${random.toString('hex', i + 16, i + TRACE_BYTES)}-01\r\n`,
    );
  }
  traceLines = flat(lines.join(''));
  traceAt = 0;
}

/** The client's id if it is harmless, else a new one; the client's passes as it came. */
export function requestIdOf(head: Head): string {
  const field = head.noted(KNOWN.requestId);
  if (field < 0) return randomUUID();
  const id = head.valueAt(field);
  if (!REQUEST_ID.test(id)) return randomUUID();
  // A field that Connection names ends here, even this one: then it is added like a new one.
  if (!head.namesOthers) head.keptId = field;
  return id;
}

/** Of a head that `requestIdOf` was asked about: does its id pass? Else it is to be added. */
export function keepsRequestId(head: Head): boolean {
  return head.keptId >= 0;
}

/** The line of traceparent that is to be added; '': the client's passes, there once and sound. */
export function traceLineOf(head: Head): string {
  const field = head.noted(KNOWN.traceparent);
  if (field < 0) return newTraceLine();
  const given = head.valueAt(field);
  if (!TRACEPARENT.test(given)) return newTraceLine();
  if (head.namesOthers) return `traceparent: ${given}\r\n`;
  head.keptTrace = field;
  return '';
}

function newTraceLine(): string {
  if (traceAt >= traceLines.length) makeTraceLines();
  traceAt += TRACE_LINE;
  return traceLines.slice(traceAt - TRACE_LINE, traceAt);
}

export function assertionOf(identity: Identity, assertion: Assertion): string {
  const { service, key, nowMs } = assertion;
  const { tenant, subject, region } = identity;
  const expMs = nowMs + ASSERTION_LIFE_MS;
  const requestId = ANY_REQUEST;
  const claims = JSON.stringify({ tenant, subject, region, service, requestId, expMs });
  const signed = `v1.${Buffer.from(claims).toString('base64url')}`;
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
}

/** One flat text: it is copied for each request, and a joined one would be flattened each time. */
export function flat(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

/**
 * The lines of the tenant. None of the values can hold a line end: tenant and region are checked
 * with their table, the subject by its grammar.
 */
export function identityLines(identity: Identity, assertion: Assertion): string {
  return flat(
    `x-kintsugi-tenant: ${identity.tenant}\r\n` +
      `x-kintsugi-region: ${identity.region}\r\n` +
      `x-kintsugi-subject: ${identity.subject}\r\n` +
      `x-kintsugi-assertion: ${assertionOf(identity, assertion)}\r\n`,
  );
}

/** One copy of each host for all of the connections that came by it. */
const hosts = new Map<string, Buffer>();

function hostBytes(host: string): Buffer {
  const known = hosts.get(host);
  if (known !== undefined) return known;
  if (hosts.size >= HOSTS_MAX) hosts.clear();
  const bytes = Buffer.from(host, 'latin1');
  hosts.set(host, bytes);
  return bytes;
}

/**
 * The lines of the connection, made anew when the host is another one. The parser checked it;
 * there is none only in what is no HTTP/1.1.
 */
export function connectionLines(seat: Seat, view: ExchangeView): string {
  const { head, remoteAddress, scheme } = view;
  const base = head.hostField * SLOT;
  const from = base < 0 ? 0 : (head.at[base + VALUE_AT] as number);
  const to = base < 0 ? 0 : (head.at[base + VALUE_END] as number);
  if (seat.lines !== '' && sameBytes(seat.host, head.buf, from, to)) return seat.lines;
  seat.host = hostBytes(head.host);
  seat.lines = flat(
    `x-forwarded-host: ${head.host}\r\n` +
      `x-forwarded-for: ${remoteAddress}\r\n` +
      `x-forwarded-proto: ${scheme}\r\n`,
  );
  return seat.lines;
}
