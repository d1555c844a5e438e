// Which bytes does a signature of a note cover? For type 0x01 the text itself; for a cosignature
// (c2sp.org/tlog-cosignature) a message made of the text and of the time inside the signature.
// C1. A cosignature is read only in its one exact length, with a time of at most 2^63 - 1.
// C2. The message of type 0x06 binds cosigner, time, origin, range and root; a subtree that does
//     not start at zero carries no time.

import { concat, fromBase64, utf8 } from './bytes.ts';
import { parseCheckpointBody } from './tree-head.ts';

export const ED25519_TYPE = 0x01;
/** Ed25519 cosignature/v1 of a checkpoint, with a time. */
export const COSIGNATURE_TYPE = 0x04;
/** ML-DSA-44 cosignature, also used by logs for their own checkpoints. */
export const MLDSA44_TYPE = 0x06;

export type SignatureAlgorithm = 'ed25519' | 'ml-dsa-44';

interface TypeShape {
  readonly algorithm: SignatureAlgorithm;
  readonly publicKeyBytes: number;
  readonly signatureBytes: number;
  readonly isTimestamped: boolean;
}

const ED25519 = { algorithm: 'ed25519', publicKeyBytes: 32, signatureBytes: 64 } as const;
const MLDSA44 = { algorithm: 'ml-dsa-44', publicKeyBytes: 1312, signatureBytes: 2420 } as const;

/** Undefined for a signature type that this program does not know. */
export function typeShape(type: number): TypeShape | undefined {
  if (type === ED25519_TYPE) return { ...ED25519, isTimestamped: false };
  if (type === COSIGNATURE_TYPE) return { ...ED25519, isTimestamped: true };
  if (type === MLDSA44_TYPE) return { ...MLDSA44, isTimestamped: true };
  return undefined;
}

const TIMESTAMP_BYTES = 8;
const TIMESTAMP_MAX = 0x7fff_ffff_ffff_ffffn;
const NAME_BYTES_MAX = 255;
const U64_MAX = 0xffff_ffff_ffff_ffffn;

export interface SignedParts {
  readonly algorithm: SignatureAlgorithm;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
  /** Seconds since 1970; absent for type 0x01. */
  readonly timestampS?: bigint;
}

/** Takes what follows the key id in a signature line apart. Undefined when it cannot be one. */
export function signedParts(
  type: number,
  name: string,
  text: string,
  bytes: Uint8Array,
): SignedParts | undefined {
  const shape = typeShape(type);
  if (shape === undefined) return undefined;
  const { algorithm } = shape;
  const timeBytes = shape.isTimestamped ? TIMESTAMP_BYTES : 0;
  if (bytes.length !== timeBytes + shape.signatureBytes) return undefined;
  const signature = bytes.subarray(timeBytes);
  if (!shape.isTimestamped) return { algorithm, message: utf8(text), signature };
  const timestampS = readUint64(bytes);
  const message = cosignedText(type, name, text, timestampS);
  return message === undefined ? undefined : { algorithm, message, signature, timestampS };
}

/** What a cosigner signs. Undefined when the text is no checkpoint or does not fit the format. */
export function cosignedText(
  type: number,
  name: string,
  text: string,
  timestampS: bigint,
): Uint8Array | undefined {
  const body = parseCheckpointBody(text);
  if (body === undefined || timestampS < 0n || timestampS > TIMESTAMP_MAX) return undefined;
  if (type === COSIGNATURE_TYPE) return utf8(`cosignature/v1\ntime ${timestampS}\n${text}`);
  const hash = fromBase64(body.root) ?? new Uint8Array(0);
  return subtreeMessage({ name, timestampS, origin: body.origin, start: 0n, end: body.size, hash });
}

export interface Subtree {
  /** The cosigner. */
  readonly name: string;
  /** Seconds since 1970; zero when nothing is said about the largest tree that was seen. */
  readonly timestampS: bigint;
  readonly origin: string;
  readonly start: bigint;
  /** Exclusive: for a checkpoint the size of the tree. */
  readonly end: bigint;
  readonly hash: Uint8Array;
}

/** The `cosigned_message` structure of type 0x06. Undefined for what the structure cannot hold. */
export function subtreeMessage(subtree: Subtree): Uint8Array | undefined {
  const { timestampS, start, end, hash } = subtree;
  const name = utf8(subtree.name);
  const origin = utf8(subtree.origin);
  const fits = [name, origin].every(({ length }) => length > 0 && length <= NAME_BYTES_MAX);
  if (!fits || hash.length !== 32) return undefined;
  if (timestampS < 0n || timestampS > TIMESTAMP_MAX) return undefined;
  if (start < 0n || end < start || end > U64_MAX) return undefined;
  if (start !== 0n && timestampS !== 0n) return undefined;
  return concat(
    utf8('subtree/v1\n\0'),
    Uint8Array.of(name.length),
    name,
    uint64(timestampS),
    Uint8Array.of(origin.length),
    origin,
    uint64(start),
    uint64(end),
    hash,
  );
}

export function uint64(value: bigint): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, value);
  return out;
}

function readUint64(bytes: Uint8Array): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0);
}
