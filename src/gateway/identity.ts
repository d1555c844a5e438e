// Who is this request for, as told to the replica? The gateway vouches for the tenant with a MAC;
// whatever a client says about itself in our headers is removed first.
//
//   ID1. No incoming header named `x-kintsugi-*` (or a spelling that some servers read the same)
//        reaches a replica.
//   ID2. Credentials that the gateway checked are not forwarded.
//   ID3. Hop-by-hop headers, and those that `Connection` names, end here.
//   ID4. An assertion is made out to one service and lives 30 s.
import { createHmac, randomBytes, randomUUID, type KeyObject } from 'node:crypto';
import type { Exchange } from './exchange.ts';

export const ASSERTION_LIFE_MS = 30_000;
const REQUEST_ID = /^[A-Za-z0-9._-]{8,100}$/u;
const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/u;

const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);
/** Written anew below, or by the upstream client. */
const REPLACED: ReadonlySet<string> = new Set([
  'authorization',
  'x-api-key',
  'expect',
  'content-length',
  'host',
  'x-request-id',
  'traceparent',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'forwarded',
]);

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

/** The client's id if it is harmless, else a new one. */
export function requestIdOf(exchange: Exchange): string {
  const given = exchange.header('x-request-id');
  return given !== undefined && REQUEST_ID.test(given) ? given : randomUUID();
}

function traceparentOf(exchange: Exchange): string {
  const given = exchange.header('traceparent');
  if (given !== undefined && TRACEPARENT.test(given)) return given;
  const hex = randomBytes(24).toString('hex');
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

function namedByConnection(exchange: Exchange): ReadonlySet<string> | undefined {
  const value = exchange.header('connection');
  if (value === undefined || value === 'keep-alive' || value === 'close') return undefined;
  return new Set(value.split(',').map((name) => name.trim().toLowerCase()));
}

function isOurs(lower: string): boolean {
  // WSGI and CGI servers read `X_Kintsugi_Tenant` as the same header: see ID1.
  return lower.startsWith('x') && lower.replaceAll('_', '-').startsWith('x-kintsugi-');
}

/** The headers for the replica: names and values in turn. */
export function upstreamHeaders(
  exchange: Exchange,
  identity: Identity,
  assertion: Assertion,
): string[] {
  const headers: string[] = [];
  const raw = exchange.rawHeaders;
  const named = namedByConnection(exchange);
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const lower = name.toLowerCase();
    if (HOP_BY_HOP.has(lower) || REPLACED.has(lower) || isOurs(lower)) continue;
    if (named?.has(lower) === true) continue;
    headers.push(name, raw[i + 1] ?? '');
  }
  const host = exchange.header('host');
  if (host !== undefined) headers.push('host', host, 'x-forwarded-host', host);
  headers.push(
    'x-forwarded-for',
    exchange.remoteAddress,
    'x-forwarded-proto',
    'http',
    'x-request-id',
    identity.requestId,
    'traceparent',
    traceparentOf(exchange),
    'x-kintsugi-tenant',
    identity.tenant,
    'x-kintsugi-region',
    identity.region,
    'x-kintsugi-subject',
    identity.subject,
    'x-kintsugi-assertion',
    assertionOf(identity, assertion),
  );
  return headers;
}

/** The answer's headers for the client, without what ends at this hop. */
export function downstreamHeaders(raw: readonly string[], requestId: string): string[] {
  const headers: string[] = [];
  let named: ReadonlySet<string> | undefined;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if ((raw[i] ?? '').toLowerCase() !== 'connection') continue;
    named = new Set((raw[i + 1] ?? '').split(',').map((name) => name.trim().toLowerCase()));
  }
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const lower = name.toLowerCase();
    if (HOP_BY_HOP.has(lower) || lower === 'x-request-id') continue;
    if (named?.has(lower) === true) continue;
    headers.push(name, raw[i + 1] ?? '');
  }
  headers.push('x-request-id', requestId);
  return headers;
}
