// Who sent this? An API key or a JWT is checked against the table, and says which tenant it is.
//
//   AU1. A key is accepted only if its id is in the table, its MAC matches in constant time and it
//        has not expired. What was accepted is remembered in a bounded cache; refusals are not.
//   AU2. A token is accepted only with a listed asymmetric algorithm, a known issuer, the right
//        audience, a valid signature and a time of expiry in the future.
//   AU3. Two credentials in one request are none.
//   AU4. A new table empties the caches: what was revoked is refused from the next request on.
import { hash } from 'node:crypto';
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose';
import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose';
import type { JwtRule, TenantRoute } from '../model/routing.ts';
import type { Head } from './http/head.ts';
import { fieldName } from './http/names.ts';
import { keyMac, parseKey, sameMac } from './keys.ts';
import type { Routes } from './routes.ts';

const CACHE_MAX = 10_000;
const TOKEN_CHARS_MAX = 8_192;
const SUBJECT = /^[\x21-\x7e]{1,200}$/u;
const ALGORITHMS = ['EdDSA', 'Ed25519', 'ES256', 'RS256'];
const CLOCK_SKEW_S = 5;
const AUTHORIZATION = fieldName('authorization');
const API_KEY = fieldName('x-api-key');

export type AuthRefusal = 'missing' | 'ambiguous' | 'invalid' | 'expired';

export type AuthAnswer =
  | { readonly kind: 'known'; readonly tenant: TenantRoute; readonly subject: string }
  | { readonly kind: 'refused'; readonly reason: AuthRefusal };

interface Remembered {
  readonly tenant: TenantRoute;
  readonly subject: string;
  readonly expiresAtMs: number;
}

export interface Authenticator {
  /** Takes over a table. */
  use(routes: Routes): void;
  /** Wall ms. A promise only for a token that is seen for the first time. */
  authenticate(head: Head, nowMs: number): AuthAnswer | Promise<AuthAnswer>;
}

const refuse = (reason: AuthRefusal): AuthAnswer => ({ kind: 'refused', reason });

export function openAuthenticator(): Authenticator {
  const cache = new Map<string, Remembered>();
  let current: Routes | undefined;
  let keySets = new Map<JwtRule, JWTVerifyGetKey>();

  const recall = (mark: string, nowMs: number): AuthAnswer | undefined => {
    const found = cache.get(mark);
    if (found === undefined) return undefined;
    if (found.expiresAtMs > nowMs) return { kind: 'known', ...found };
    cache.delete(mark);
    return refuse('expired');
  };
  const remember = (mark: string, entry: Remembered): AuthAnswer => {
    if (cache.size >= CACHE_MAX) {
      const oldest = cache.keys().next().value;
      if (oldest !== undefined) cache.delete(oldest);
    }
    cache.set(mark, entry);
    return { kind: 'known', tenant: entry.tenant, subject: entry.subject };
  };
  const byKey = (routes: Routes, text: string, mark: string, nowMs: number): AuthAnswer => {
    const key = parseKey(text);
    if (key === undefined) return refuse('invalid');
    const found = routes.keys.get(key.id);
    // The MAC is computed also for an unknown id, so that time does not tell which ids exist.
    const matches = sameMac(keyMac(routes.pepper, key.secret), found?.rule.mac ?? '');
    if (found === undefined || !matches) return refuse('invalid');
    const expiresAtMs = found.rule.expiresAtMs ?? Number.POSITIVE_INFINITY;
    if (expiresAtMs <= nowMs) return refuse('expired');
    return remember(mark, { tenant: found.tenant, subject: `key:${key.id}`, expiresAtMs });
  };
  const byToken = async (
    routes: Routes,
    token: string,
    mark: string,
    nowMs: number,
  ): Promise<AuthAnswer> => {
    const entry = await verifyToken(routes, keySets, token, nowMs);
    if (entry.kind === 'refused') return entry;
    // The table may have changed while the signature was checked: then this verdict is stale.
    if (current !== routes) return refuse('invalid');
    return remember(mark, entry.found);
  };
  return {
    use(routes) {
      current = routes;
      cache.clear();
      keySets = new Map();
      for (const rule of routes.jwt) {
        const keys = rule.jwks as unknown as JSONWebKeySet;
        keySets.set(rule, createLocalJWKSet(keys));
      }
    },
    authenticate(head, nowMs) {
      if (current === undefined) return refuse('invalid');
      const shown = credentialOf(head);
      if (shown.kind === 'refused') return shown;
      const { text } = shown;
      if (text.length > TOKEN_CHARS_MAX) return refuse('invalid');
      const mark = hash('sha256', text, 'base64');
      const known = recall(mark, nowMs);
      if (known !== undefined) return known;
      if (shown.kind === 'key' || text.startsWith('kin_')) return byKey(current, text, mark, nowMs);
      return byToken(current, text, mark, nowMs);
    },
  };
}

type Credential =
  | { readonly kind: 'key' | 'bearer'; readonly text: string }
  | { readonly kind: 'refused'; readonly reason: AuthRefusal };

function credentialOf(head: Head): Credential {
  const bearerAt = head.find(AUTHORIZATION);
  const keyAt = head.find(API_KEY);
  if (bearerAt < 0 && keyAt < 0) return { kind: 'refused', reason: 'missing' };
  const name = bearerAt < 0 ? API_KEY : AUTHORIZATION;
  const at = Math.max(bearerAt, keyAt);
  // AU3: of both kinds, or twice of one.
  const isOne = (bearerAt < 0 || keyAt < 0) && head.find(name, at + 1) < 0;
  if (!isOne) return { kind: 'refused', reason: 'ambiguous' };
  const value = head.valueAt(at);
  return bearerAt < 0 ? { kind: 'key', text: value } : { kind: 'bearer', text: bearerOf(value) };
}

function bearerOf(value: string): string {
  return /^bearer +(\S+)$/iu.exec(value)?.[1] ?? '';
}

type Verified =
  | { readonly kind: 'verified'; readonly found: Remembered }
  | { readonly kind: 'refused'; readonly reason: AuthRefusal };

/** One issuer may have several rules: each of them is asked, and the first that accepts decides. */
async function verifyToken(
  routes: Routes,
  keySets: ReadonlyMap<JwtRule, JWTVerifyGetKey>,
  token: string,
  nowMs: number,
): Promise<Verified> {
  let refused: Verified = { kind: 'refused', reason: 'invalid' };
  const issuer = issuerOf(token);
  for (const rule of routes.jwt) {
    const keys = keySets.get(rule);
    if (rule.issuer !== issuer || keys === undefined) continue;
    const answer = await verifyUnder(rule, keys, routes, token, nowMs);
    if (answer.kind === 'verified') return answer;
    if (answer.reason === 'expired') refused = answer;
  }
  return refused;
}

function issuerOf(token: string): string | undefined {
  try {
    return decodeJwt(token).iss;
  } catch {
    return undefined;
  }
}

async function verifyUnder(
  rule: JwtRule,
  keys: JWTVerifyGetKey,
  routes: Routes,
  token: string,
  nowMs: number,
): Promise<Verified> {
  try {
    const { payload } = await jwtVerify(token, keys, {
      issuer: rule.issuer,
      audience: rule.audience,
      algorithms: ALGORITHMS,
      requiredClaims: ['exp'],
      clockTolerance: CLOCK_SKEW_S,
      currentDate: new Date(nowMs),
    });
    const tenant = routes.tenants.get(String(payload[rule.tenantClaim]));
    if (tenant === undefined) return { kind: 'refused', reason: 'invalid' };
    const subject = SUBJECT.test(payload.sub ?? '') ? `user:${payload.sub ?? ''}` : 'user:unknown';
    const expiresAtMs = ((payload.exp ?? 0) + CLOCK_SKEW_S) * 1_000;
    return { kind: 'verified', found: { tenant, subject, expiresAtMs } };
  } catch (error) {
    const expired = error instanceof Error && error.name === 'JWTExpired';
    return { kind: 'refused', reason: expired ? 'expired' : 'invalid' };
  }
}
