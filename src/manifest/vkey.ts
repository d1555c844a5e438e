// Is a text the verifier key of a witness? A line `name+id+base64` as c2sp.org/signed-note says,
// whose id is a checksum over name and key: a slip of the pen is found before anybody is asked.
import { createHash } from 'node:crypto';

export type VkeyFault = 'damaged' | 'of-a-log' | 'other-type';

export interface VkeyAnswer {
  readonly name: string;
  /** The same for two spellings of one key. */
  readonly publicKey: string;
  readonly fault: VkeyFault | undefined;
}

const LOG_TYPE = 1;
/** First byte of a witness' key → bytes of the key: Ed25519 cosigner, ML-DSA-44. */
const WITNESS_BYTES: Readonly<Record<number, number>> = { 4: 32, 6: 1312 };

/** The text already has the outer form of a verifier key. */
export function readVkey(text: string): VkeyAnswer {
  const [name = '', id = '', ...rest] = text.split('+');
  const encoded = rest.join('+');
  const bytes = Buffer.from(encoded, 'base64');
  const type = bytes[0] ?? 0;
  const publicKey = bytes.subarray(1).toString('base64');
  const digest = createHash('sha256').update(`${name}\n`).update(bytes).digest('hex');
  const answer = (fault: VkeyFault | undefined): VkeyAnswer => ({ name, publicKey, fault });
  if (digest.slice(0, 8) !== id || bytes.toString('base64') !== encoded) return answer('damaged');
  if (type === LOG_TYPE) return answer('of-a-log');
  return answer(WITNESS_BYTES[type] === bytes.length - 1 ? undefined : 'other-type');
}
