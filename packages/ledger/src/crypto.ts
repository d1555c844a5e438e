// The only file with node:crypto that the verifier reaches. A browser build replaces this one file
// (WebCrypto or a small library) and keeps every other line of the verifier.

import { createPrivateKey, createPublicKey, hash, sign, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { concat } from './bytes.ts';

// DER wrappers of RFC 8410: fixed bytes before the 32 raw bytes of a key.
const PRIVATE_PREFIX = Uint8Array.from([
  0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
]);
const PUBLIC_PREFIX = Uint8Array.from([
  0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
]);

export function sha256(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer');
}

const verifyKeys = new Map<string, KeyObject>();

export function ed25519Verify(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  const cacheKey = publicKey.join(',');
  let key = verifyKeys.get(cacheKey);
  try {
    if (key === undefined) {
      const der = Buffer.from(concat(PUBLIC_PREFIX, publicKey));
      key = createPublicKey({ key: der, format: 'der', type: 'spki' });
      if (verifyKeys.size >= 64) verifyKeys.clear();
      verifyKeys.set(cacheKey, key);
    }
    return verify(null, message, key, signature);
  } catch {
    return false;
  }
}

export interface Ed25519Key {
  readonly publicKey: Uint8Array;
  sign(message: Uint8Array): Uint8Array;
}

export function ed25519FromSeed(seed: Uint8Array): Ed25519Key {
  const der = Buffer.from(concat(PRIVATE_PREFIX, seed));
  return ed25519FromKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
}

/** Undefined when the PEM text is not an Ed25519 private key. */
export function ed25519FromPem(pem: string): Ed25519Key | undefined {
  try {
    const key = createPrivateKey(pem);
    return key.asymmetricKeyType === 'ed25519' ? ed25519FromKey(key) : undefined;
  } catch {
    return undefined;
  }
}

function ed25519FromKey(key: KeyObject): Ed25519Key {
  const pem = key.export({ format: 'pem', type: 'pkcs8' });
  const spki = createPublicKey(pem).export({ format: 'der', type: 'spki' });
  const publicKey = Uint8Array.from(spki.subarray(PUBLIC_PREFIX.length));
  return { publicKey, sign: (message) => sign(null, message, key) };
}
