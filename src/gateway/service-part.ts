// Parts that are read whole: a service with its routes and replicas, and the small rest of a table.
// What a request would stumble over later is refused here, with the reason.
import { createSecretKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type {
  PrefixRoute,
  RouteMatrix,
  RoutingTable,
  ServiceRoute,
  TenantRule,
} from '../model/routing.ts';
import type { Part } from './parts.ts';

/** Becomes a header line for replicas, or the name in a metric. */
const PLAIN = /^[\x20-\x7e]{1,200}$/u;
const PREFIX_CHARS_MAX = 1_000;
const TENANT_MODES: ReadonlySet<unknown> = new Set(['deny', 'throttle', 'read-only', 'pin']);

export interface Entry {
  readonly service: ServiceRoute;
  readonly route: PrefixRoute;
  readonly assertionKey: KeyObject;
}

export interface ServicePart extends Part {
  readonly kind: 'service';
  readonly service: ServiceRoute;
  readonly entries: readonly Entry[];
}

/** All of a table that has no family of its own. */
export type Rest = Omit<RoutingTable, 'v' | 'version' | 'services' | 'tenants'>;

export interface RestPart extends Part {
  readonly kind: 'rest';
  readonly pepper: string;
  readonly content: Rest;
}

type Loose<T> = { readonly [K in keyof T]?: unknown };

/** Throws when it is not in order, as `readRest` does. */
export function readService({ digest, body }: Part): ServicePart {
  const service = contentOf<ServiceRoute>('services', body);
  checkService(service);
  const bytes = Buffer.from(service.assertionKey, 'base64url');
  const assertionKey = createSecretKey(bytes);
  const entries = service.prefixes.map((route) => ({ service, route, assertionKey }));
  return { kind: 'service', digest, body, service, entries };
}

export function readRest({ digest, body }: Part): RestPart {
  const { pepper, ...content } = contentOf<Rest & { readonly pepper: string }>('rest', body);
  if (typeof pepper !== 'string') throw new Error('the table has no pepper');
  if (!isShare(content.retryBudget)) throw new Error('the retry budget is no share');
  listOf('quarantines', content.quarantines);
  listOf('token issuers', content.jwt);
  for (const rule of listOf<TenantRule>('rules of tenants', content.tenantRules ?? [])) {
    checkTenantRule(rule);
  }
  return { kind: 'rest', digest, body, pepper, content };
}

function contentOf<T>(family: string, body: Buffer): T {
  const text = body.toString();
  if (!text.startsWith(`${family}\n`)) throw new Error(`this is no part of the ${family}`);
  const value: unknown = JSON.parse(text.slice(family.length + 1));
  if (typeof value !== 'object' || value === null) throw new Error(`no object in the ${family}`);
  return value as T;
}

function listOf<T>(what: string, value: unknown): readonly T[] {
  const items: readonly unknown[] = Array.isArray(value) ? value : [undefined];
  if (items.every((item) => typeof item === 'object' && item !== null))
    return items as readonly T[];
  throw new Error(`the ${what} are no list of objects`);
}

function checkService(service: ServiceRoute): void {
  const { name, assertionKey, minRouted, slowMs } = service as Loose<ServiceRoute>;
  if (!isPlain(name)) throw new Error('a service has an odd name');
  const refuse = (what: string): never => {
    throw new Error(`the service ${name} has ${what}`);
  };
  if (typeof assertionKey !== 'string') refuse('no assertion key');
  if (!isNumber(minRouted) || !isNumber(slowMs)) refuse('an odd number');
  const { shardSize = 1, concurrencyMax = 1 } = service as Loose<ServiceRoute>;
  // So many replicas of a tenant: half of one would be none, or one more than the shard has.
  if (!Number.isInteger(shardSize) || Number(shardSize) < 1) refuse('an odd shardSize');
  if (!isNumber(concurrencyMax) || concurrencyMax < 1) refuse('an odd concurrencyMax');
  for (const route of listOf<PrefixRoute>(`routes of ${name}`, service.prefixes)) {
    const fault = routeFault(route);
    if (fault !== undefined) refuse(`a route with ${fault}`);
  }
  for (const replica of listOf<ServiceRoute['replicas'][number]>('replicas', service.replicas)) {
    const { id, release, host, port, weight, region } = replica;
    if (![id, release, host, region].every(isPlain)) refuse('a replica with an odd text');
    if (!Number.isInteger(port) || port < 1 || port > 65_535) refuse(`${id} without a port`);
    if (!isNumber(weight) || weight > 100) refuse(`${id} with an odd weight`);
  }
}

function routeFault(route: PrefixRoute): string | undefined {
  const { prefix, timeoutMs, retry, tenants, dependencies } = route as Loose<PrefixRoute>;
  const isPath = typeof prefix === 'string' && (prefix === '' || prefix.startsWith('/'));
  if (!isPath || prefix.length > PREFIX_CHARS_MAX) return 'an odd prefix';
  if (!isNumber(timeoutMs) || typeof retry !== 'boolean') return 'an odd timeout or retry';
  for (const names of [tenants, dependencies]) {
    const areNames = names === undefined || (Array.isArray(names) && names.every(isPlain));
    if (!areNames) return 'odd tenants or dependencies';
  }
  const areMatrices = [route.allow, route.deny].every((m) => m === undefined || isMatrix(m));
  return areMatrices ? undefined : 'an odd matrix';
}

function isMatrix(value: unknown): value is RouteMatrix {
  if (typeof value !== 'object' || value === null) return false;
  return Object.values(value).every((m: unknown) => Array.isArray(m) && m.every(isPlain));
}

function checkTenantRule(rule: TenantRule): void {
  const { tenant, mode, ratePerSecond, replicas } = rule as Loose<TenantRule>;
  const isOdd =
    !isPlain(tenant) ||
    !TENANT_MODES.has(mode) ||
    (mode === 'throttle' && !(isNumber(ratePerSecond) && ratePerSecond > 0)) ||
    (mode === 'pin' && !(Array.isArray(replicas) && replicas.every(isPlain)));
  if (isOdd) throw new Error(`the rule for the tenant ${String(tenant).slice(0, 100)} is odd`);
}

function isPlain(value: unknown): value is string {
  return typeof value === 'string' && PLAIN.test(value);
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && value >= 0;
}

function isShare(value: unknown): boolean {
  return isNumber(value) && value <= 1;
}
