// Request heads, key pairs, tokens and tables for the tests of identity.
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { AuthAnswer, Authenticator } from '../../../src/gateway/auth.ts';
import type { Peer } from '../../../src/gateway/auth-peer.ts';
import { Head } from '../../../src/gateway/http/head.ts';
import { DONE, parseRequest } from '../../../src/gateway/http/parse-head.ts';
import { keyMac, mintKey } from '../../../src/gateway/keys.ts';
import type { MintedKey } from '../../../src/gateway/keys.ts';
import { compileTable } from '../../../src/gateway/routes.ts';
import type { Routes } from '../../../src/gateway/routes.ts';
import { tenantId } from '../../../src/model/ids.ts';
import type { JwtRule, KeyRule, RoutingTable, TenantRoute } from '../../../src/model/routing.ts';

export const PEPPER = randomBytes(32).toString('base64url');
export const NOW_MS = Date.UTC(2026, 10, 20, 19);
export const NOW_S = NOW_MS / 1_000;

const LIMITS = { headBytes: 65_536, fields: 100, targetBytes: 8_192 };

export const hostHead = (host: string): Head => headOf([], host);

export function headOf(lines: readonly string[], host = 'a.test'): Head {
  const head = new Head(LIMITS);
  const all = ['GET /api HTTP/1.1', `host: ${host}`, ...lines];
  const bytes = Buffer.from(`${all.join('\r\n')}\r\n\r\n`, 'latin1');
  if (parseRequest(head, bytes, bytes.length) !== DONE) throw new Error(`bad head: ${head.fault}`);
  return head;
}

export const bearer = (text: string): Head => headOf([`authorization: Bearer ${text}`]);

export interface Pair {
  readonly alg: string;
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly jwk: Readonly<Record<string, unknown>>;
}

export function pairOf(alg: 'EdDSA' | 'ES256' | 'RS256', kid: string, bits = 2_048): Pair {
  const { privateKey, publicKey } = made(alg, bits);
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' };
  return { alg, kid, privateKey, publicKey, jwk };
}

function made(alg: string, bits: number): { privateKey: KeyObject; publicKey: KeyObject } {
  if (alg === 'EdDSA') return generateKeyPairSync('ed25519');
  if (alg === 'ES256') return generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return generateKeyPairSync('rsa', { modulusLength: bits });
}

type Json = Readonly<Record<string, unknown>>;
const part = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

export function signature(pair: Pair, text: string): string {
  const bytes = Buffer.from(text);
  const hash = pair.alg === 'EdDSA' ? null : 'sha256';
  const key = pair.alg === 'ES256' ? ecKey(pair.privateKey) : pair.privateKey;
  return sign(hash, bytes, key).toString('base64url');
}

const ecKey = (key: KeyObject): { key: KeyObject; dsaEncoding: 'ieee-p1363' } => ({
  key,
  dsaEncoding: 'ieee-p1363',
});

export const CLAIMS: Json = {
  iss: 'https://id.test',
  aud: 'api',
  sub: 'ann',
  org: 'acme',
  exp: NOW_S + 300,
};

/** A token whose parts may be anything; `header` and `claims` are merged over good ones. */
export function token(pair: Pair, claims: Json | string = {}, header: Json | string = {}): string {
  const first = typeof header === 'string' ? header : { alg: pair.alg, kid: pair.kid, ...header };
  const second = typeof claims === 'string' ? claims : { ...CLAIMS, ...claims };
  const text = `${part(first)}.${part(second)}`;
  return `${text}.${signature(pair, text)}`;
}

export const ruleOf = (keys: readonly Json[], more: Partial<JwtRule> = {}): JwtRule => ({
  issuer: 'https://id.test',
  audience: 'api',
  tenantClaim: 'org',
  jwks: { keys },
  ...more,
});

export function tenantOf(id: string, more: Partial<TenantRoute> = {}): TenantRoute {
  return {
    id: tenantId(id),
    region: 'eu',
    status: 'active',
    ratePerSecond: 100,
    burst: 100,
    concurrency: 10,
    bodyBytes: 1_000,
    keys: [],
    ...more,
  };
}

export interface TableOf {
  readonly jwt?: readonly JwtRule[];
  readonly tenants?: readonly TenantRoute[];
}

let version = 0;

/** Compiled like any other table. */
export function routesOf({ jwt = [], tenants = TENANTS }: TableOf): Routes {
  version += 1;
  const parts = { services: [], quarantines: [], retryBudget: 0 };
  const table: RoutingTable = { v: 1, version, ...parts, tenants, jwt };
  const compiled = compileTable(table, PEPPER);
  if (compiled.kind === 'refused') throw new Error(compiled.reason);
  return compiled.routes;
}

export const TENANTS = [tenantOf('acme'), tenantOf('globex')];

export const minted = (): MintedKey => mintKey('test', randomBytes(9), randomBytes(32));
export const keyRule = (key: MintedKey, more: Partial<KeyRule> = {}): KeyRule => ({
  id: key.id,
  mac: keyMac(PEPPER, key.secret),
  expiresAtMs: undefined,
  ...more,
});

export async function ask(
  auth: Authenticator,
  head: Head,
  nowMs = NOW_MS,
  peer?: Peer,
  source?: string,
): Promise<string> {
  return shown(await auth.authenticate(head, nowMs, peer, source));
}

/** `acme user:ann`, or the reason of a refusal. */
export function shown(answer: AuthAnswer): string {
  if (answer.kind === 'refused') return answer.reason;
  return `${answer.tenant.id} ${answer.subject}`;
}
