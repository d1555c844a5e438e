// The only file with node:crypto that the verifier reaches. A browser build replaces this one file
// by browser/crypto.ts and keeps every other line of the verifier.

import { createPrivateKey, createPublicKey, hash, sign, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { concat } from './bytes.ts';
import { MLDSA44_PUBLIC_PREFIX, ED25519_PUBLIC_PREFIX } from './der.ts';

// DER wrappers of RFC 8410 and RFC 9881 (seed form): fixed bytes before the 32 bytes of a seed.
const PRIVATE_PREFIXES = {
  ed25519: '302e020100300506032b657004220420',
  'ml-dsa-44': '3034020100300b060960864801650304031104228020',
} as const;
const PUBLIC_PREFIXES = {
  ed25519: ED25519_PUBLIC_PREFIX,
  'ml-dsa-44': MLDSA44_PUBLIC_PREFIX,
} as const;
const SIZES = {
  ed25519: { publicKey: 32, signature: 64 },
  'ml-dsa-44': { publicKey: 1312, signature: 2420 },
} as const;
const KEYS_MAX = 512;

type Algorithm = keyof typeof SIZES;

/** `unchecked`: this runtime does not know the algorithm. It never counts as good. */
export type SignatureCheck = 'good' | 'bad' | 'unchecked';

export function sha256(bytes: Uint8Array): Uint8Array {
  return latin1Bytes(hash('sha256', bytes, 'latin1'));
}

/**
 * A digest as text of one byte a character costs half of one as a Buffer, and these few bytes lie
 * on the heap of the engine, where nothing has to be given back.
 */
function latin1Bytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

const verifyKeys = new Map<string, KeyObject>();

export function checkSignature(
  algorithm: Algorithm,
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): SignatureCheck {
  const sizes = SIZES[algorithm];
  if (publicKey.length !== sizes.publicKey || signature.length !== sizes.signature) return 'bad';
  let key: KeyObject;
  try {
    key = verifyKey(algorithm, publicKey);
  } catch {
    // Any 1312 bytes are an ML-DSA-44 key, so it is the runtime that lacks the algorithm.
    return algorithm === 'ml-dsa-44' ? 'unchecked' : 'bad';
  }
  try {
    return verify(null, message, key, signature) ? 'good' : 'bad';
  } catch {
    return 'bad';
  }
}

function verifyKey(algorithm: Algorithm, publicKey: Uint8Array): KeyObject {
  const cacheKey = Buffer.from(publicKey).toString('latin1');
  const known = verifyKeys.get(cacheKey);
  if (known !== undefined) return known;
  const der = Buffer.from(concat(PUBLIC_PREFIXES[algorithm], publicKey));
  const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
  if (verifyKeys.size >= KEYS_MAX) verifyKeys.clear();
  verifyKeys.set(cacheKey, key);
  return key;
}

/** A private key in memory. It signs plain bytes; what they mean is decided above. */
export interface SigningKey {
  readonly algorithm: Algorithm;
  readonly publicKey: Uint8Array;
  sign(message: Uint8Array): Uint8Array;
}

/** Throws where the runtime does not know the algorithm (ML-DSA-44 needs Node 24.7 or later). */
export function keyFromSeed(algorithm: Algorithm, seed: Uint8Array): SigningKey {
  const prefix = Buffer.from(PRIVATE_PREFIXES[algorithm], 'hex');
  const der = Buffer.from(concat(prefix, seed));
  return signingKey(algorithm, createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
}

/** Undefined when the PEM text is not a private key of the algorithm. */
export function keyFromPem(algorithm: Algorithm, pem: string): SigningKey | undefined {
  try {
    const key = createPrivateKey(pem);
    const type: string | undefined = key.asymmetricKeyType;
    return type === algorithm ? signingKey(algorithm, key) : undefined;
  } catch {
    return undefined;
  }
}

function signingKey(algorithm: Algorithm, key: KeyObject): SigningKey {
  const pem = key.export({ format: 'pem', type: 'pkcs8' });
  const spki = createPublicKey(pem).export({ format: 'der', type: 'spki' });
  const publicKey = Uint8Array.from(spki.subarray(PUBLIC_PREFIXES[algorithm].length));
  return {
    algorithm,
    publicKey,
    sign: (message) => Uint8Array.from(sign(null, message, key)),
  };
}
