// Where does a signing key come from? Ed25519 in the signed-note text form or as PEM. Who may read
// the file that holds it is the caller's business (mode 0600); nothing here writes a key anywhere.

import { generateKeyPairSync } from 'node:crypto';
import { concat, fromBase64, toBase64 } from './bytes.ts';
import { ed25519FromPem, ed25519FromSeed } from './crypto.ts';
import type { Ed25519Key } from './crypto.ts';
import { LedgerError } from './errors.ts';
import { ED25519_TYPE, formatVkey, keyId, validKeyName } from './note.ts';
import type { Signer } from './note.ts';

export interface GeneratedSigner {
  readonly signer: Signer;
  /** Secret text (`PRIVATE+KEY+name+id+…`): write it to a 0600 file, then forget it. */
  readonly secret: string;
}

export function generateSigner(name: string): GeneratedSigner {
  const pair = generateKeyPairSync('ed25519');
  const der = pair.privateKey.export({ format: 'der', type: 'pkcs8' });
  return signerFromSeed(name, Uint8Array.from(der.subarray(-32)));
}

/** The same seed gives the same key: for simulations and tests, which must repeat. */
export function signerFromSeed(name: string, seed: Uint8Array): GeneratedSigner {
  if (seed.length !== 32) throw invalid('a seed has 32 bytes');
  const signer = toSigner(name, ed25519FromSeed(seed));
  const encoded = toBase64(concat(Uint8Array.of(ED25519_TYPE), seed));
  return { signer, secret: `PRIVATE+KEY+${name}+${signer.keyId}+${encoded}` };
}

/** Takes the signed-note secret text, or PEM together with the key's name. */
export function loadSigner(secret: string, name?: string): Signer {
  const text = secret.trim();
  if (text.startsWith('-----BEGIN')) {
    if (name === undefined) throw invalid('a PEM key needs a name');
    const key = ed25519FromPem(text);
    if (key === undefined) throw invalid('the PEM text is not an Ed25519 private key');
    return toSigner(name, key);
  }
  const match = /^PRIVATE\+KEY\+([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text);
  const [, keyName = '', id = '', encoded = ''] = match ?? [];
  const bytes = fromBase64(encoded);
  if (bytes?.length !== 33 || bytes[0] !== ED25519_TYPE) {
    throw invalid('not a signed-note Ed25519 secret key');
  }
  if (name !== undefined && name !== keyName) throw invalid('the key has another name');
  const signer = toSigner(keyName, ed25519FromSeed(bytes.subarray(1)));
  if (signer.keyId !== id) throw invalid('the key id does not match the key');
  return signer;
}

function toSigner(name: string, key: Ed25519Key): Signer {
  if (!validKeyName(name)) throw invalid('a key name has no spaces, control characters or plus');
  return {
    name,
    keyId: keyId(name, ED25519_TYPE, key.publicKey),
    publicKey: key.publicKey,
    vkey: formatVkey(name, key.publicKey),
    sign: (message) => key.sign(message),
  };
}

function invalid(why: string): LedgerError {
  return new LedgerError('KIN_LEDGER_KEY_INVALID', why);
}
