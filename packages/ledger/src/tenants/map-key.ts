// Where in the map does a tenant's log stand? At HMAC-SHA256(map key, tenant id): the id cannot be
// guessed from the position without the key, and the position never changes.
// MK1. HMAC is built on the one SHA-256 of crypto.ts, so that an auditor's browser that was given
//      the key computes the same positions. Made once per tenant, so speed does not matter.

import { concat, utf8 } from '../bytes.ts';
import { sha256 } from '../crypto.ts';
import { LedgerError } from '../errors.ts';

export const MAP_KEY_BYTES = 32;
const BLOCK_BYTES = 64;

export function mapPosition(mapKey: Uint8Array, tenant: string): Uint8Array {
  return hmacSha256(mapKey, utf8(tenant));
}

/** What the log says about the key: enough to notice a wrong one. */
export function mapKeyDigest(mapKey: Uint8Array): Uint8Array {
  return new Uint8Array(sha256(mapKey));
}

export function checkMapKey(mapKey: Uint8Array): void {
  if (mapKey.length === MAP_KEY_BYTES) return;
  throw new LedgerError('KIN_LEDGER_OPTION_INVALID', `a map key has ${MAP_KEY_BYTES} bytes`);
}

/** RFC 2104. */
export function hmacSha256(key: Uint8Array, message: Uint8Array): Uint8Array {
  const block = new Uint8Array(BLOCK_BYTES);
  block.set(key.length > BLOCK_BYTES ? sha256(key) : key);
  const inner = sha256(
    concat(
      block.map((byte) => byte ^ 0x36),
      message,
    ),
  );
  return new Uint8Array(
    sha256(
      concat(
        block.map((byte) => byte ^ 0x5c),
        inner,
      ),
    ),
  );
}
