// Which keys may check the signatures of an issuer's tokens? The key set of a rule, made ready once
// a table: public keys only, strong ones only, each for one algorithm only.
//
//   KS1. A key serves the one algorithm of its type (OKP Ed25519: EdDSA, EC P-256: ES256,
//        RSA: RS256): an RSA key is never an HMAC secret, whatever a token says.
//   KS2. RSA below 2048 or above 8192 bits, or with an exponent below 65537, is no key; neither is
//        one that says it is for another algorithm, for encryption, or not for verifying.
//   KS3. Two different keys of one algorithm with one `kid` are none: which is meant?
//   KS4. A token without `kid` is checked only where the algorithm has a single key.
import { createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { JwtRule } from '../model/routing.ts';

export type Algorithm = 'EdDSA' | 'ES256' | 'RS256';

const KEYS_MAX = 100;
const KID_CHARS_MAX = 256;
const RSA_BITS = { min: 2_048, max: 8_192 } as const;
const EXPONENT_MIN = 65_537n;

/** RFC 9864 gives EdDSA with this curve a name of its own. */
export function algorithmOf(name: unknown): Algorithm | undefined {
  if (name === 'Ed25519') return 'EdDSA';
  return name === 'EdDSA' || name === 'ES256' || name === 'RS256' ? name : undefined;
}

interface OneAlgorithm {
  readonly byKid: ReadonlyMap<string, KeyObject>;
  /** Undefined: none, or more than one. */
  readonly only: KeyObject | undefined;
}

export type KeySet = ReadonlyMap<Algorithm, OneAlgorithm>;

export type KeyChoice =
  | { readonly kind: 'key'; readonly key: KeyObject }
  /** The issuer may have a new key that nobody told us of yet. */
  | { readonly kind: 'unknown-kid' }
  | { readonly kind: 'none' };

export function chooseKey(
  set: KeySet,
  algorithm: Algorithm,
  kid: string | undefined,
  known: ReadonlySet<string>,
): KeyChoice {
  const keys = set.get(algorithm);
  const key = kid === undefined ? keys?.only : keys?.byKid.get(kid);
  if (key !== undefined) return { kind: 'key', key };
  // A `kid` that the set does have, under another algorithm or twice, is no reason to ask again.
  return kid === undefined || known.has(kid) ? { kind: 'none' } : { kind: 'unknown-kid' };
}

type Jwk = Readonly<Record<string, unknown>>;

export interface ReadKeys {
  readonly set: KeySet;
  /** Every `kid` of the document, usable or not. */
  readonly kids: ReadonlySet<string>;
  /** What was not taken, in words without key material. */
  readonly refused: readonly string[];
}

export function readKeySet(jwks: JwtRule['jwks']): ReadKeys {
  const kids = new Set<string>();
  const refused: string[] = [];
  const found = new Map<Algorithm, Map<string, KeyObject | undefined>>();
  const unnamed = new Map<Algorithm, KeyObject[]>();
  for (const [i, jwk] of jwks.keys.slice(0, KEYS_MAX).entries()) {
    const { kid } = jwk as { readonly kid?: unknown };
    if (typeof kid === 'string') kids.add(kid);
    const answer = readKey(jwk);
    const name = typeof kid === 'string' ? JSON.stringify(kid.slice(0, 40)) : `number ${i + 1}`;
    if (answer.kind === 'refused') {
      refused.push(`key ${name}: ${answer.reason}`);
      continue;
    }
    const { algorithm, key } = answer;
    if (typeof kid !== 'string' || kid === '') {
      unnamed.set(algorithm, [...(unnamed.get(algorithm) ?? []), key]);
      continue;
    }
    const named = found.get(algorithm) ?? new Map<string, KeyObject | undefined>();
    found.set(algorithm, named);
    const twin = named.get(kid);
    if (!named.has(kid) || twin?.equals(key) === true) named.set(kid, key);
    else {
      // KS3.
      named.set(kid, undefined);
      refused.push(`key ${name}: there is another one of this name`);
    }
  }
  if (jwks.keys.length > KEYS_MAX) refused.push(`keys after the first ${KEYS_MAX}`);
  return { set: shelved(found, unnamed), kids, refused };
}

function shelved(
  found: ReadonlyMap<Algorithm, ReadonlyMap<string, KeyObject | undefined>>,
  unnamed: ReadonlyMap<Algorithm, readonly KeyObject[]>,
): KeySet {
  const set = new Map<Algorithm, OneAlgorithm>();
  for (const algorithm of ['EdDSA', 'ES256', 'RS256'] as const) {
    const named = found.get(algorithm) ?? new Map<string, KeyObject | undefined>();
    const others = unnamed.get(algorithm) ?? [];
    const byKid = new Map<string, KeyObject>();
    for (const [kid, key] of named) if (key !== undefined) byKid.set(kid, key);
    // KS4: twins count as well, so that none of them is used by its lonely look.
    const count = named.size + others.length;
    const only = count === 1 ? (byKid.values().next().value ?? others[0]) : undefined;
    if (count > 0) set.set(algorithm, { byKid, only });
  }
  return set;
}

type ReadKey =
  | { readonly kind: 'key'; readonly algorithm: Algorithm; readonly key: KeyObject }
  | { readonly kind: 'refused'; readonly reason: string };

const refuse = (reason: string): ReadKey => ({ kind: 'refused', reason });

/** Only these are handed on: a private part, should one be there, never becomes a key (JW1). */
const PARTS: Readonly<Record<Algorithm, readonly string[]>> = {
  EdDSA: ['kty', 'crv', 'x'],
  ES256: ['kty', 'crv', 'x', 'y'],
  RS256: ['kty', 'n', 'e'],
};

/** Why a key of a JWKS is not used; undefined when it is. Also asked by the controller. */
export function keyFault(jwk: Jwk): string | undefined {
  const answer = readKey(jwk);
  return answer.kind === 'refused' ? answer.reason : undefined;
}

function readKey(jwk: Jwk): ReadKey {
  const { kty, crv, alg, use, key_ops: operations, kid } = jwk as Record<string, unknown>;
  if ('d' in jwk || 'k' in jwk || kty === 'oct') return refuse('it is not a public key');
  if (typeof kid === 'string' && kid.length > KID_CHARS_MAX) return refuse('its name is too long');
  const algorithm = byType(kty, crv);
  if (algorithm === undefined) return refuse('its type is not used for EdDSA, ES256 or RS256');
  if (alg !== undefined && algorithmOf(alg) !== algorithm)
    return refuse('it has another algorithm');
  if (use !== undefined && use !== 'sig') return refuse('it is not for signatures');
  const verifies = !Array.isArray(operations) || operations.includes('verify');
  if (!verifies) return refuse('it is not for verifying');
  const parts: Record<string, string> = {};
  for (const part of PARTS[algorithm]) {
    const value = jwk[part];
    if (typeof value !== 'string' || value.length > 2_000) return refuse(`its ${part} is missing`);
    parts[part] = value;
  }
  try {
    const key = createPublicKey({ key: parts, format: 'jwk' });
    const weak = algorithm === 'RS256' ? weakness(key) : undefined;
    return weak === undefined ? { kind: 'key', algorithm, key } : refuse(weak);
  } catch {
    return refuse('it is not a valid key');
  }
}

function byType(kty: unknown, crv: unknown): Algorithm | undefined {
  if (kty === 'RSA') return 'RS256';
  if (kty === 'EC' && crv === 'P-256') return 'ES256';
  return kty === 'OKP' && crv === 'Ed25519' ? 'EdDSA' : undefined;
}

/** KS2. */
function weakness(key: KeyObject): string | undefined {
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
  if (modulusLength < RSA_BITS.min) return `RSA with ${modulusLength} bits is too weak`;
  if (modulusLength > RSA_BITS.max) return `RSA with ${modulusLength} bits takes too long`;
  return publicExponent < EXPONENT_MIN ? 'its exponent is too small' : undefined;
}
