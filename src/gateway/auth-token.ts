// Is this token good, and what does it say? Everything that can be seen without the signature is
// looked at first, so that a made-up token costs microseconds; then the signature is checked.
//
//   TK1. Only three parts of base64url, a JSON object each in the first two; `alg` from our list;
//        `typ` absent, `JWT` or `at+jwt`; no `crit`, no `b64`, no token inside of the token.
//   TK2. A key comes from the rule's own set alone: `jwk`, `jku`, `x5u` and `x5c` of a token are
//        never looked at.
//   TK3. Issuer and audience are a rule's; `exp` is there; `nbf` and `exp` hold with 5 s of skew.
//   TK4. The tenant's claim is a text. Of several rules that accept a token all must name the same
//        tenant, else it names none.
import { jwtVerify } from 'jose';
import type { KeyObject } from 'node:crypto';
import type { JwtRule } from '../model/routing.ts';
import { algorithmOf, chooseKey, readKeySet } from './auth-keys.ts';
import type { Algorithm, ReadKeys } from './auth-keys.ts';
import { claimAt, rolesIn } from './roles.ts';

export const TOKEN_CHARS_MAX = 8_192;
export const CLOCK_SKEW_S = 5;
const HEADER_CHARS_MAX = 2_048;
const KID_CHARS_MAX = 256;
const SHAPE = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/u;
const SUBJECT = /^[\x21-\x7e]{1,200}$/u;
const TENANT_CHARS_MAX = 200;
const TYPES: ReadonlySet<unknown> = new Set([undefined, 'jwt', 'at+jwt']);

export interface TokenRule {
  readonly rule: JwtRule;
  readonly keys: ReadKeys;
}

export function tokenRules(rules: readonly JwtRule[]): readonly TokenRule[] {
  return rules.map((rule) => ({ rule, keys: readKeySet(rule.jwks) }));
}

type Json = Readonly<Record<string, unknown>>;

export type TokenRefusal = 'invalid' | 'expired' | 'ambiguous';

/** Passed all that does not need its signature. */
export interface Plausible {
  readonly kind: 'plausible';
  readonly token: string;
  readonly claims: Json;
  readonly ways: readonly Way[];
}

interface Way {
  readonly rule: JwtRule;
  readonly key: KeyObject;
}

export type Look =
  | Plausible
  /** `wanted`: the issuer that may have a key by now that we do not know. */
  | { readonly kind: 'refused'; readonly reason: TokenRefusal; readonly wanted?: string };

const invalid: Look = { kind: 'refused', reason: 'invalid' };

export function lookAtToken(rules: readonly TokenRule[], token: string, nowMs: number): Look {
  if (token.length > TOKEN_CHARS_MAX) return invalid;
  const [, first, second] = SHAPE.exec(token) ?? [];
  if (first === undefined || second === undefined) return invalid;
  if (first.length > HEADER_CHARS_MAX) return invalid;
  const header = jsonOf(first);
  const claims = jsonOf(second);
  if (header === undefined || claims === undefined) return invalid;
  const signed = headerOf(header);
  if (signed === undefined) return invalid;
  const fitting = rules.filter(({ rule }) => isFor(rule, claims));
  if (fitting.length === 0) return invalid;
  const time = timesOf(claims, nowMs);
  if (time !== 'good') return { kind: 'refused', reason: time };
  const ways: Way[] = [];
  let wanted: string | undefined;
  for (const { rule, keys } of fitting) {
    const choice = chooseKey(keys.set, signed.algorithm, signed.kid, keys.kids);
    if (choice.kind === 'key') ways.push({ rule, key: choice.key });
    if (choice.kind === 'unknown-kid') wanted = rule.issuer;
  }
  if (ways.length > 0) return { kind: 'plausible', token, claims, ways };
  return wanted === undefined ? invalid : { kind: 'refused', reason: 'invalid', wanted };
}

function jsonOf(part: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as Json) : undefined;
  } catch {
    return undefined;
  }
}

interface SignedWith {
  readonly algorithm: Algorithm;
  readonly kid: string | undefined;
}

/** TK1. */
function headerOf(header: Json): SignedWith | undefined {
  if ('crit' in header || 'b64' in header || 'enc' in header || 'zip' in header) return undefined;
  if (!TYPES.has(mediaType(header['typ'])) || mediaType(header['cty']) === 'jwt') return undefined;
  const algorithm = algorithmOf(header['alg']);
  const { kid } = header as { readonly kid?: unknown };
  if (algorithm === undefined) return undefined;
  if (kid === undefined) return { algorithm, kid: undefined };
  const isName = typeof kid === 'string' && kid !== '' && kid.length <= KID_CHARS_MAX;
  return isName ? { algorithm, kid } : undefined;
}

/** RFC 7515 §4.1.9: `application/` may be left out, and case does not matter. */
function mediaType(value: unknown): unknown {
  return typeof value === 'string' ? value.toLowerCase().replace(/^application\//u, '') : value;
}

function isFor(rule: JwtRule, claims: Json): boolean {
  const { iss, aud } = claims as { readonly iss?: unknown; readonly aud?: unknown };
  if (iss !== rule.issuer) return false;
  return aud === rule.audience || (Array.isArray(aud) && aud.includes(rule.audience));
}

function timesOf(claims: Json, nowMs: number): 'good' | 'expired' | 'invalid' {
  const { exp, nbf } = claims as { readonly exp?: unknown; readonly nbf?: unknown };
  if (typeof exp !== 'number' || (nbf !== undefined && typeof nbf !== 'number')) return 'invalid';
  if ((exp + CLOCK_SKEW_S) * 1_000 <= nowMs) return 'expired';
  return nbf !== undefined && (nbf - CLOCK_SKEW_S) * 1_000 > nowMs ? 'invalid' : 'good';
}

/** What a good token says, without the table: it stays true as long as the rules are the same. */
export interface Said {
  readonly tenant: string;
  readonly subject: string;
  readonly roles: readonly string[];
  readonly expiresAtMs: number;
}

export type Verified =
  | { readonly kind: 'verified'; readonly said: Said }
  | { readonly kind: 'refused'; readonly reason: TokenRefusal };

/** TK4. */
export async function verifyToken(look: Plausible, nowMs: number): Promise<Verified> {
  let found: Said | undefined;
  let refused: TokenRefusal = 'invalid';
  for (const way of look.ways) {
    const answer = await verifyOne(look.token, way, nowMs);
    if (answer.kind === 'refused') {
      if (answer.reason === 'expired') refused = 'expired';
      continue;
    }
    if (found !== undefined && found.tenant !== answer.said.tenant) {
      return { kind: 'refused', reason: 'ambiguous' };
    }
    found ??= answer.said;
  }
  return found === undefined
    ? { kind: 'refused', reason: refused }
    : { kind: 'verified', said: found };
}

async function verifyOne(token: string, { rule, key }: Way, nowMs: number): Promise<Verified> {
  try {
    // All of it once more, by the library: what is seen above only saves time.
    const { payload } = await jwtVerify(token, key, {
      issuer: rule.issuer,
      audience: rule.audience,
      algorithms: ['EdDSA', 'Ed25519', 'ES256', 'RS256'],
      requiredClaims: ['exp'],
      clockTolerance: CLOCK_SKEW_S,
      currentDate: new Date(nowMs),
    });
    const tenant = claimAt(payload, rule.tenantClaim);
    const isName = typeof tenant === 'string' && tenant.length <= TENANT_CHARS_MAX;
    if (!isName) return { kind: 'refused', reason: 'invalid' };
    const roles = rolesIn(claimAt(payload, rule.rolesClaim ?? 'roles'));
    const { sub = '', exp = 0 } = payload;
    const subject = SUBJECT.test(sub) ? `user:${sub}` : 'user:unknown';
    const expiresAtMs = (exp + CLOCK_SKEW_S) * 1_000;
    return { kind: 'verified', said: { tenant, subject, roles, expiresAtMs } };
  } catch (error) {
    // The error may quote the token: only its kind is kept.
    const expired = error instanceof Error && error.name === 'JWTExpired';
    return { kind: 'refused', reason: expired ? 'expired' : 'invalid' };
  }
}
