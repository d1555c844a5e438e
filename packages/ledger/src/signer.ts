// Where does a signing key come from? Ed25519 (0x01), an Ed25519 cosigner (0x04) or ML-DSA-44
// (0x06), each in the signed-note text form or as PEM. Who may read the file that holds it is the
// caller's business (mode 0600); nothing here writes a key anywhere.

import { randomBytes } from 'node:crypto';
import { concat, fromBase64, fromUtf8, toBase64 } from './bytes.ts';
import {
  COSIGNATURE_TYPE,
  ED25519_TYPE,
  MLDSA44_TYPE,
  cosignedText,
  typeShape,
  uint64,
} from './cosignature.ts';
import { keyFromPem, keyFromSeed } from './crypto.ts';
import type { SigningKey } from './crypto.ts';
import { LedgerError, errorText } from './errors.ts';
import { formatVkey, keyId, validKeyName } from './note.ts';
import type { Signer } from './note.ts';

/** `ed25519` signs notes; `cosigner` checkpoints of others; `ml-dsa-44` checkpoints of both. */
export type SignerKind = 'ed25519' | 'cosigner' | 'ml-dsa-44';

const TYPES: Readonly<Record<SignerKind, number>> = {
  ed25519: ED25519_TYPE,
  cosigner: COSIGNATURE_TYPE,
  'ml-dsa-44': MLDSA44_TYPE,
};
const SEED_BYTES = 32;
const SECRET_CHARS_MAX = 16_384;

export interface GeneratedSigner {
  readonly signer: Signer;
  /** Secret text (`PRIVATE+KEY+name+id+…`): write it to a 0600 file, then forget it. */
  readonly secret: string;
}

export function generateSigner(name: string, kind: SignerKind = 'ed25519'): GeneratedSigner {
  return signerFromSeed(name, Uint8Array.from(randomBytes(SEED_BYTES)), kind);
}

/** The same seed gives the same key: for simulations and tests, which must repeat. */
export function signerFromSeed(
  name: string,
  seed: Uint8Array,
  kind: SignerKind = 'ed25519',
): GeneratedSigner {
  if (seed.length !== SEED_BYTES) throw invalid(`a seed has ${SEED_BYTES} bytes`);
  const type = TYPES[kind];
  const signer = toSigner(name, type, seedKey(type, seed));
  const encoded = toBase64(concat(Uint8Array.of(type), seed));
  return { signer, secret: `PRIVATE+KEY+${name}+${signer.keyId}+${encoded}` };
}

/** Takes the signed-note secret text, or PEM together with the key's name and kind. */
export function loadSigner(secret: string, name?: string, kind?: SignerKind): Signer {
  if (secret.length > SECRET_CHARS_MAX) throw invalid('a secret key text is short');
  const text = secret.trim();
  if (text.startsWith('-----BEGIN')) return fromPem(text, name, kind ?? 'ed25519');
  const match = /^PRIVATE\+KEY\+([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text);
  const [, keyName = '', id = '', encoded = ''] = match ?? [];
  const bytes = fromBase64(encoded);
  const type = bytes?.[0];
  const isKnown = type !== undefined && typeShape(type) !== undefined;
  if (bytes?.length !== 1 + SEED_BYTES || !isKnown) {
    throw invalid('not a signed-note secret key of a known type');
  }
  if (kind !== undefined && type !== TYPES[kind]) throw invalid(`the key is no ${kind} key`);
  if (name !== undefined && name !== keyName) throw invalid('the key has another name');
  const signer = toSigner(keyName, type, seedKey(type, bytes.subarray(1)));
  if (signer.keyId !== id) throw invalid('the key id does not match the key');
  return signer;
}

function fromPem(text: string, name: string | undefined, kind: SignerKind): Signer {
  if (name === undefined) throw invalid('a PEM key needs a name');
  const algorithm = kind === 'ml-dsa-44' ? 'ml-dsa-44' : 'ed25519';
  const key = keyFromPem(algorithm, text);
  if (key === undefined) throw invalid(`the PEM text is not a private key of ${algorithm}`);
  return toSigner(name, TYPES[kind], key);
}

function seedKey(type: number, seed: Uint8Array): SigningKey {
  const algorithm = typeShape(type)?.algorithm ?? 'ed25519';
  try {
    return keyFromSeed(algorithm, seed);
  } catch (cause) {
    throw invalid(`this runtime has no ${algorithm}: ${errorText(cause)}`);
  }
}

function toSigner(name: string, type: number, key: SigningKey): Signer {
  if (!validKeyName(name)) throw invalid('a key name has no spaces, control characters or plus');
  return {
    name,
    keyId: keyId(name, type, key.publicKey),
    type,
    publicKey: key.publicKey,
    vkey: formatVkey(name, key.publicKey, type),
    sign: (text, timestampS) => signText(name, type, key, text, timestampS),
  };
}

function signText(
  name: string,
  type: number,
  key: SigningKey,
  text: Uint8Array,
  timestampS: bigint | undefined,
): Uint8Array {
  if (type === ED25519_TYPE) return key.sign(text);
  if (type === COSIGNATURE_TYPE && timestampS === undefined) {
    throw new LedgerError('KIN_LEDGER_OPTION_INVALID', 'a cosignature/v1 needs a time');
  }
  const time = timestampS ?? 0n;
  const message = cosignedText(type, name, fromUtf8(text) ?? '', time);
  if (message === undefined) {
    throw new LedgerError(
      'KIN_LEDGER_NOTE_INVALID',
      `${name} signs checkpoints only, with names of at most 255 bytes and a time of 63 bits`,
    );
  }
  return concat(uint64(time), key.sign(message));
}

function invalid(why: string): LedgerError {
  return new LedgerError('KIN_LEDGER_KEY_INVALID', why);
}
