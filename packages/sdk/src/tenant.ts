// For which tenant is this request, and who says so? The gateway authenticates the caller and
// signs what it found; the service believes the signature, never a plain header.
//
// T1. An assertion is accepted only if the HMAC matches, in constant time, before it is parsed.
// T2. It must be made out to this service, so that one service cannot replay it to another.
// T3. It lives 30 s; 5 s of clock skew are forgiven in both directions, not more.
// T4. A plain header that contradicts the assertion refuses the request: two truths are none.
// T5. Outside a request there is no tenant: `currentTenant()` throws instead of guessing.
// T6. An assertion that serves several requests has `*` for a request id; the id is in the header
//     `x-request-id` then, and is as little a proof as it ever was: clients may choose it.
import { AsyncLocalStorage } from 'node:async_hooks';
import { createHmac, timingSafeEqual, type KeyObject } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { SdkError } from './errors.ts';

/** Who asks, for whom: what the gateway vouches for. */
export interface Tenant {
  readonly tenant: string;
  /** The authenticated caller inside the tenant (API key id, user). */
  readonly subject: string;
  /** Home region of the tenant: where its data may live. */
  readonly region: string;
  readonly requestId: string;
}

/** In the place of a request id in an assertion: see `x-request-id`, which the gateway sets. */
export const ANY_REQUEST = '*';

export interface AssertionClaims extends Tenant {
  /** Name of the one service that may accept the assertion. */
  readonly service: string;
  /** Wall clock, milliseconds since 1970, after which it is refused. */
  readonly expMs: number;
}

export type AssertionRefusal =
  | 'missing'
  | 'malformed'
  | 'forged'
  | 'expired'
  | 'too-long-lived'
  | 'wrong-service'
  | 'contradicted';

export type AssertionVerdict =
  | { readonly kind: 'accepted'; readonly tenant: Tenant }
  | { readonly kind: 'refused'; readonly reason: AssertionRefusal };

/** Life of an assertion, milliseconds. */
export const ASSERTION_LIFE_MS = 30_000;
/** Clock difference that is forgiven, milliseconds. */
export const ASSERTION_SKEW_MS = 5_000;
const HEADER_CHARS_MAX = 4_096;
const CLAIM_CHARS_MAX = 256;

/** The inverse of `verifyAssertion`: for a gateway of your own, and for tests. */
export function signAssertion(claims: AssertionClaims, key: KeyObject | Buffer): string {
  const body = Buffer.from(JSON.stringify(claims)).toString('base64url');
  return `v1.${body}.${signature(`v1.${body}`, key)}`;
}

export interface VerifyOptions {
  readonly key: KeyObject | Buffer;
  readonly service: string;
  /** Wall clock now, milliseconds since 1970. */
  readonly nowMs: number;
}

/** Checks one `x-kintsugi-assertion` value. Costs about 10 µs, so it is never cached. */
export function verifyAssertion(
  value: string | undefined,
  options: VerifyOptions,
): AssertionVerdict {
  if (value === undefined || value === '') return refused('missing');
  if (value.length > HEADER_CHARS_MAX) return refused('malformed');
  const [version, body, given, ...rest] = value.split('.');
  if (version !== 'v1' || body === undefined || given === undefined || rest.length > 0) {
    return refused('malformed');
  }
  if (!sameText(given, signature(`v1.${body}`, options.key))) return refused('forged');
  const claims = parseClaims(body);
  if (claims === undefined) return refused('malformed');
  if (claims.service !== options.service) return refused('wrong-service');
  if (options.nowMs > claims.expMs + ASSERTION_SKEW_MS) return refused('expired');
  if (claims.expMs > options.nowMs + ASSERTION_LIFE_MS + ASSERTION_SKEW_MS) {
    return refused('too-long-lived');
  }
  const { tenant, subject, region, requestId } = claims;
  return { kind: 'accepted', tenant: { tenant, subject, region, requestId } };
}

/**
 * How a service learns its tenant. `assertion` is the only choice for production; `headers`
 * believes plain headers (development by hand); `none` is a service without tenants.
 */
export type Trust =
  | { readonly kind: 'assertion'; readonly key: KeyObject | Buffer; readonly service: string }
  | { readonly kind: 'headers' }
  | { readonly kind: 'none' };

export function tenantFromRequest(
  request: IncomingMessage,
  trust: Exclude<Trust, { kind: 'none' }>,
  nowMs: number,
): AssertionVerdict {
  const verdict =
    trust.kind === 'headers'
      ? tenantFromHeaders(request)
      : verifyAssertion(header(request, 'x-kintsugi-assertion'), { ...trust, nowMs });
  if (verdict.kind === 'refused') return verdict;
  const plain = header(request, 'x-kintsugi-tenant');
  const contradicted = plain !== undefined && plain !== verdict.tenant.tenant;
  if (contradicted) return refused('contradicted');
  if (verdict.tenant.requestId !== ANY_REQUEST) return verdict;
  const requestId = header(request, 'x-request-id') ?? 'none';
  return { kind: 'accepted', tenant: { ...verdict.tenant, requestId } };
}

function tenantFromHeaders(request: IncomingMessage): AssertionVerdict {
  const tenant = header(request, 'x-kintsugi-tenant');
  if (tenant === undefined || tenant === '') return refused('missing');
  return {
    kind: 'accepted',
    tenant: {
      tenant,
      subject: header(request, 'x-kintsugi-subject') ?? 'anonymous',
      region: header(request, 'x-kintsugi-region') ?? 'local',
      requestId: header(request, 'x-request-id') ?? 'none',
    },
  };
}

/** What is known about the request that the current call belongs to. */
export interface RequestContext {
  readonly tenant: Tenant | undefined;
  readonly requestId: string | undefined;
  /** W3C trace context, as received. */
  readonly traceparent: string | undefined;
}

const contexts = new AsyncLocalStorage<RequestContext>();
const tenants = new WeakMap<IncomingMessage, Tenant>();

/** Runs `body` inside a request context; the SDK does it for each request. */
export function withContext<T>(context: RequestContext, body: () => T): T {
  return contexts.run(context, body);
}

export function currentContext(): RequestContext | undefined {
  return contexts.getStore();
}

/** The tenant of the request that is being served. Throws `KIN_SDK_NO_TENANT` outside one. */
export function currentTenant(): Tenant {
  const tenant = contexts.getStore()?.tenant;
  if (tenant !== undefined) return tenant;
  throw new SdkError('KIN_SDK_NO_TENANT', 'There is no tenant outside a verified request.');
}

/** The tenant of a node request (`request.raw` in Fastify, `req` in Express). */
export function tenantOf(request: IncomingMessage): Tenant {
  const tenant = tenants.get(request);
  if (tenant !== undefined) return tenant;
  throw new SdkError('KIN_SDK_NO_TENANT', 'The request did not pass through service.handle().');
}

export function rememberTenant(request: IncomingMessage, tenant: Tenant): void {
  tenants.set(request, tenant);
}

/** One header as text; a repeated header is refused by reading it as absent. */
export function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : undefined;
}

function refused(reason: AssertionRefusal): AssertionVerdict {
  return { kind: 'refused', reason };
}

function signature(text: string, key: KeyObject | Buffer): string {
  return createHmac('sha256', key).update(text).digest('base64url');
}

/** Compares the encoded forms: a second encoding of the same bytes is a forgery too. */
function sameText(given: string, expected: string): boolean {
  const a = Buffer.from(given);
  const b = Buffer.from(expected);
  return a.length === b.length && timingSafeEqual(a, b);
}

function parseClaims(body: string): AssertionClaims | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(body, 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const claims = value as Partial<Record<keyof AssertionClaims, unknown>>;
  const { tenant, subject, region, service, requestId, expMs } = claims;
  const sound = isClaim(tenant) && isClaim(subject) && isClaim(region) && isClaim(service);
  if (!sound || !isClaim(requestId) || !Number.isFinite(expMs)) return undefined;
  return { tenant, subject, region, service, requestId, expMs: Number(expMs) };
}

function isClaim(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= CLAIM_CHARS_MAX;
}
