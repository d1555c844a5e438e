// Which secrets does an instance have of its own, and which API keys do its tenants have? Made
// once, kept in 0600 files; of an API key only its MAC is ever stored.
//
//   KY1. A key is shown once, when it is made.
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { readStateFile, writeFirstKeysFile, writeStateFile } from '../api/state-folder.ts';
import { keyMac, mintKey, parseKey, sameMac } from '../gateway/keys.ts';
import { isRole, ROLES_MAX } from '../model/rights.ts';
import { KinError } from '../model/errors.ts';
import type { TenantId } from '../model/ids.ts';
import type { Manifest } from '../model/manifest.ts';
import type { KeyRule } from '../model/routing.ts';
import type { Clock } from '../world/clock.ts';
import type { ApiKeyRow, Store } from '../world/store.ts';

export interface OwnSecrets {
  readonly pepper: string;
  readonly assertionRoot: string;
  readonly instance: string;
}

export function ownSecrets(stateDir: string): OwnSecrets {
  return {
    pepper: kept(join(stateDir, 'gateway.pepper')),
    assertionRoot: kept(join(stateDir, 'assertion.root')),
    instance: kept(join(stateDir, 'instance.id'))
      .slice(0, 12)
      .toLowerCase()
      .replaceAll(/[^a-z0-9]/gu, 'x'),
  };
}

function kept(path: string): string {
  const found = readStateFile(path)?.trim();
  if (found !== undefined && found.length >= 43) return found;
  const made = randomBytes(32).toString('base64url');
  writeStateFile(path, `${made}\n`);
  return made;
}

export interface KeyRing {
  /** By tenant, for the routing table. */
  rules(): ReadonlyMap<string, readonly KeyRule[]>;
  rows(): readonly ApiKeyRow[];
  create(
    tenant: string,
    roles?: readonly string[],
  ): Promise<{ readonly id: string; readonly key: string }>;
  revoke(id: string): Promise<void>;
  /** Whose key this is, as the gateways would say; undefined for every other text. */
  tenantOf(key: string): string | undefined;
}

export interface KeyPorts {
  readonly store: Pick<Store, 'putKey' | 'dropKey' | 'keys'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly epoch: number;
  readonly pepper: string;
  readonly env: string;
  readonly manifest: () => Manifest;
}

/** A tenant has at most so many keys: two for a rotation, and some for its own services. */
const KEYS_MAX = 20;

export async function openKeyRing(ports: KeyPorts): Promise<KeyRing> {
  const byId = new Map((await ports.store.keys()).map((row) => [row.id, row]));
  const own = rulesOf(byId.values());
  // Copied when somebody asks after a change, and not at each change: a first start makes a key for
  // every tenant. The lists in it stay the same objects: a table is compared by them.
  let rules: ReadonlyMap<string, readonly KeyRule[]> | undefined;
  let rows: readonly ApiKeyRow[] | undefined;
  const changed = (tenant: string, list: readonly KeyRule[]): void => {
    if (list.length === 0) own.delete(tenant);
    else own.set(tenant, list);
    rules = undefined;
    rows = undefined;
  };
  return {
    rows: () => (rows ??= [...byId.values()]),
    rules: () => (rules ??= new Map(own)),
    async create(tenant, roles = []) {
      if (!ports.manifest().tenants.has(tenant as TenantId)) {
        throw new KinError('KIN_TENANT_UNKNOWN', `no tenant ${tenant}`, 'See `kintsugi tenants`.');
      }
      if ((own.get(tenant)?.length ?? 0) >= KEYS_MAX) {
        throw new KinError(
          'KIN_TENANT_KEYS_FULL',
          `${tenant} has ${KEYS_MAX} keys already`,
          'Revoke one first: `kintsugi tenants key revoke ID`.',
        );
      }
      checkRoles(roles);
      const minted = mintKey(ports.env, randomBytes(9), randomBytes(32));
      const row: ApiKeyRow = {
        id: minted.id,
        tenant,
        mac: keyMac(ports.pepper, minted.secret),
        createdAtMs: ports.clock.nowMs(),
        expiresAtMs: undefined,
        ...(roles.length === 0 ? {} : { roles: [...new Set(roles)] }),
      };
      await ports.store.putKey(row, ports.epoch);
      byId.set(row.id, row);
      changed(tenant, [...(own.get(tenant) ?? []), ruleOf(row)]);
      return { id: minted.id, key: minted.key };
    },
    tenantOf(text) {
      const parsed = parseKey(text);
      if (parsed === undefined) return undefined;
      const row = byId.get(parsed.id);
      if (row === undefined) return undefined;
      if (row.expiresAtMs !== undefined && row.expiresAtMs <= ports.clock.nowMs()) return undefined;
      return sameMac(keyMac(ports.pepper, parsed.secret), row.mac) ? row.tenant : undefined;
    },
    async revoke(id) {
      const row = byId.get(id);
      if (row === undefined) {
        throw new KinError('KIN_KEY_UNKNOWN', `no key ${id}`, 'See `kintsugi tenants`.');
      }
      await ports.store.dropKey(id, ports.epoch);
      byId.delete(id);
      const left = own.get(row.tenant) ?? [];
      changed(
        row.tenant,
        left.filter((rule) => rule.id !== id),
      );
    },
  };
}

function rulesOf(rows: Iterable<ApiKeyRow>): Map<string, readonly KeyRule[]> {
  const rules = new Map<string, KeyRule[]>();
  for (const row of rows) {
    const list = rules.get(row.tenant);
    if (list === undefined) rules.set(row.tenant, [ruleOf(row)]);
    else list.push(ruleOf(row));
  }
  return rules;
}

function ruleOf({ id, mac, expiresAtMs, roles }: ApiKeyRow): KeyRule {
  return { id, mac, expiresAtMs, ...(roles === undefined ? {} : { roles }) };
}

function checkRoles(roles: readonly string[]): void {
  const odd = roles.find((role): boolean => !isRole(role));
  if (odd === undefined && roles.length <= ROLES_MAX) return;
  const what = odd === undefined ? `${roles.length} roles` : JSON.stringify(odd.slice(0, 64));
  throw new KinError(
    'KIN_KEY_ROLE_INVALID',
    `a key cannot have ${what}${odd === undefined ? '' : ' as a role'}`,
    `At most ${ROLES_MAX} roles: 1–64 letters, digits and . _ : / -, a letter or digit first.`,
  );
}

/** Tenants that never had a key get one; all of them go into the one-time file (KY1). */
export async function firstKeys(
  ring: KeyRing,
  manifest: Manifest,
  stateDir: string,
): Promise<readonly string[]> {
  const have = new Set(ring.rows().map((row) => row.tenant));
  const made = [];
  for (const tenant of manifest.tenants.keys()) {
    if (!have.has(tenant)) made.push({ tenant, ...(await ring.create(tenant)) });
  }
  if (made.length > 0) writeFirstKeysFile(stateDir, { v: 1, keys: made });
  return made.map(({ tenant }) => tenant);
}
