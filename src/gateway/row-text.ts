// How does a row become text? Put together from its columns where all of them are plain, as nearly
// always: as lists of values for JSON, 100 000 rows were the longest pause of a push.
//
//   WR1. It is what `JSON.stringify` of the row gives, byte for byte.
import type { KeyRule, TenantRoute } from '../model/routing.ts';
import type { RowFamily } from './parts.ts';

/** What a row is made from beside its tenant: the rule of a key; of all others the name. */
export type RowSource = string | KeyRule;

/** What stands under its name at the end of a row. The compiler tells when there is more of it. */
type MoreOfTenant = Exclude<
  keyof TenantRoute,
  | 'id'
  | 'region'
  | 'status'
  | 'ratePerSecond'
  | 'burst'
  | 'concurrency'
  | 'bodyBytes'
  | 'keys'
  | 'hosts'
  | 'certificates'
>;
type MoreOfKey = Exclude<keyof KeyRule, 'id' | 'mac' | 'expiresAtMs'>;

/** JSON writes it as it is, between quotes. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/u;

export function rowText(family: RowFamily, tenant: TenantRoute, source: RowSource): string {
  if (family === 'tenants') return plainTenant(tenant) ?? JSON.stringify(tenantRow(tenant));
  if (typeof source !== 'string') {
    return plainKey(tenant, source) ?? JSON.stringify(keyRow(tenant, source));
  }
  return JSON.stringify([source, tenant.id]);
}

function plainTenant(tenant: TenantRoute): string | undefined {
  const { id, region, ratePerSecond, burst, concurrency, bodyBytes, priority } = tenant;
  const more: { readonly [K in MoreOfTenant]: TenantRoute[K] } = { priority };
  const isPlain =
    more.priority === undefined &&
    isText(id) &&
    isText(region) &&
    Number.isFinite(ratePerSecond) &&
    Number.isFinite(burst) &&
    Number.isFinite(concurrency) &&
    Number.isFinite(bodyBytes);
  if (!isPlain) return undefined;
  const suspended = tenant.status === 'suspended' ? '1' : '0';
  const limits = `${ratePerSecond},${burst},${concurrency},${bodyBytes}`;
  return `["${id}","${region}",${suspended},${limits}]`;
}

function plainKey(tenant: TenantRoute, rule: KeyRule): string | undefined {
  const { id, mac, expiresAtMs = 0, roles } = rule;
  const more: { readonly [K in MoreOfKey]: KeyRule[K] } = { roles };
  const isPlain =
    more.roles === undefined &&
    isText(id) &&
    isText(tenant.id) &&
    isText(mac) &&
    Number.isFinite(expiresAtMs);
  return isPlain ? `["${id}","${tenant.id}","${mac}",${expiresAtMs}]` : undefined;
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && PLAIN.test(value);
}

function keyRow(tenant: TenantRoute, rule: KeyRule): readonly unknown[] {
  const { id, mac, expiresAtMs, ...more } = rule;
  return withMore([id, tenant.id, mac, expiresAtMs ?? 0], more);
}

function tenantRow(tenant: TenantRoute): readonly unknown[] {
  const { id, region, status, ratePerSecond, burst, concurrency, bodyBytes, ...others } = tenant;
  const { keys: _, hosts: _hosts, certificates: _certificates, ...more } = others;
  const suspended = status === 'suspended' ? 1 : 0;
  return withMore([id, region, suspended, ratePerSecond, burst, concurrency, bodyBytes], more);
}

/** What few have stands under its name at the end of the row. */
function withMore(row: readonly unknown[], more: object): readonly unknown[] {
  for (const value of Object.values(more)) if (value !== undefined) return [...row, more];
  return row;
}
