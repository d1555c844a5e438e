// What stands in a row of a bucket, and when is it in order? One check for each family; the layout
// is told in parts.ts, and row-reading.ts reads.
import type { KeyRule, TenantRoute } from '../model/routing.ts';
import type { RowFamily } from './parts.ts';

export interface KnownKey {
  readonly tenant: TenantRoute;
  readonly rule: KeyRule;
}

export interface KeyRow {
  readonly tenant: string;
  readonly rule: KeyRule;
  /** Remembered: whose it is, among these tenants. */
  known: KnownKey | undefined;
  tenants: unknown;
}

/** What a row is read as. Hosts and certificates name their tenant. */
export interface RowValue {
  readonly tenants: TenantRoute;
  readonly keys: KeyRow;
  readonly hosts: string;
  readonly certificates: string;
}

const TEXT_CHARS_MAX = 1_024;
const PRIORITY_MAX = 9;
const ROLES_MAX = 100;
// Letters, digits, dashes and underscores between dots; a name that the lower-case form changes is
// never found again.
const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?';
const HOST = new RegExp(String.raw`^(?=.{1,253}$)${LABEL}(?:\.${LABEL})*$`, 'u');
const IPV6 = /^\[[0-9a-f:.]{2,45}\]$/u;
const CERTIFICATE = /^(?:uri:[!#-[\]-~]{1,1000}|dns:[a-z0-9*._-]{1,253}|sha256:[0-9a-f]{64})$/u;

const TEXT = String.raw`"[\x20\x21\x23-\x5b\x5d-\x7e]+"`;
const COUNT = String.raw`(?:0|[1-9]\d{0,14})(?:\.\d{1,17})?`;

/** Rows that look like this, as nearly all do, are in order: they need not be parsed to know. */
export const COMMON_ROWS: { readonly [F in RowFamily]: RegExp | undefined } = {
  tenants: common(TEXT, TEXT, '[01]', COUNT, COUNT, COUNT, COUNT),
  keys: common(TEXT, TEXT, TEXT, COUNT),
  hosts: undefined,
  certificates: undefined,
};
/** A longer row is looked at more closely. */
export const COMMON_CHARS_MAX = 1_000;

function common(...fields: readonly string[]): RegExp {
  return new RegExp(String.raw`\[${fields.join(',')}\](?=,?\n)`, 'uy');
}

/** Why this row is not in order; undefined when it is. */
export function rowFault(family: RowFamily, row: unknown): string | undefined {
  if (!Array.isArray(row) || !isText(row[0])) return 'no name';
  switch (family) {
    case 'tenants':
      return tenantFault(row);
    case 'keys':
      return keyFault(row);
    case 'hosts':
      if (!isHost(row[0])) return `odd host ${row[0].slice(0, 100)}`;
      return isText(row[1]) && row.length === 2 ? undefined : 'a host of no tenant';
    case 'certificates':
      if (!CERTIFICATE.test(row[0])) return `odd certificate ${row[0].slice(0, 100)}`;
      return isText(row[1]) && row.length === 2 ? undefined : 'a certificate of no tenant';
  }
}

export function isHost(text: string): boolean {
  return HOST.test(text) || IPV6.test(text);
}

function tenantFault(row: readonly unknown[]): string | undefined {
  const [id, region, suspended, rate, burst, concurrency, body, more = {}] = row;
  const isWhole = row.length === 7 || (row.length === 8 && isRecord(more));
  if (!isWhole) return `${String(id)} has an odd length`;
  if (!isText(region)) return `${String(id)} has an odd region`;
  if (suspended !== 0 && suspended !== 1) return `${String(id)} has an odd status`;
  for (const number of [rate, burst, concurrency, body]) {
    if (!isCount(number)) return `${String(id)} has an odd limit`;
  }
  const { priority } = more as { readonly priority?: unknown };
  const isRanked = priority === undefined || (isCount(priority) && priority <= PRIORITY_MAX);
  return isRanked ? undefined : `${String(id)} has an odd priority`;
}

function keyFault(row: readonly unknown[]): string | undefined {
  const [id, tenant, mac, expiresAtMs, more = {}] = row;
  const isWhole = row.length === 4 || (row.length === 5 && isRecord(more));
  if (!isWhole) return `key ${String(id)} has an odd length`;
  if (!isText(tenant) || !isText(mac)) return `key ${String(id)} is nobody's`;
  if (!isCount(expiresAtMs)) return `key ${String(id)} has an odd expiry`;
  const { roles = [] } = more as { readonly roles?: unknown };
  const areRoles = Array.isArray(roles) && roles.length <= ROLES_MAX && roles.every(isText);
  return areRoles ? undefined : `key ${String(id)} has odd roles`;
}

function isRecord(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= TEXT_CHARS_MAX;
}

/** JSON has no infinity and no NaN. */
function isCount(value: unknown): value is number {
  return typeof value === 'number' && value >= 0;
}
