// Where do ids come from? `inc_` and 26 characters of Crockford base 32: 48 bits of wall time, 80
// bits of chance, as in ULIDs, but lower case.
//
//   ID3. Ids of one process sort in the order of their making, even when the wall clock goes back.
import { randomBytes } from 'node:crypto';
import type { Clock, Ids } from '../clock.ts';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const PREFIX = /^[a-z]{1,12}$/u;

export function openIds(clock: Pick<Clock, 'nowMs'>): Ids {
  let lastMs = 0;
  let chance = 0n;
  return {
    next(prefix) {
      if (!PREFIX.test(prefix)) throw new Error(`assertion failed: id prefix "${prefix}"`);
      const nowMs = Math.max(0, Math.floor(clock.nowMs()));
      if (nowMs > lastMs) {
        lastMs = nowMs;
        // The top bit stays 0, so that counting up within one ms never overflows the 80 bits.
        chance = BigInt(`0x${randomBytes(10).toString('hex')}`) >> 1n;
      } else {
        chance += 1n;
      }
      return `${prefix}_${base32(BigInt(lastMs), 10)}${base32(chance, 16)}`;
    },
  };
}

function base32(value: bigint, length: number): string {
  let out = '';
  for (let rest = value, at = 0; at < length; at += 1, rest >>= 5n) {
    out = (ALPHABET[Number(rest & 31n)] ?? '') + out;
  }
  return out;
}
