// Does a destroyed key still open anything? A few bytes are sealed under it before it goes; after,
// the file is read as a later start would read it, and every key in it is tried on them.

import { LedgerError } from '../errors.ts';
import type { Frame } from './frame.ts';
import { readKeyHead, unwrapDataKey } from './key-frames.ts';
import type { Random } from './random.ts';
import { boxUp, unbox } from './wrapper.ts';

const TEXT = Buffer.from('kintsugi canary v1');

export interface Canary {
  readonly keyId: Buffer;
  /** Undefined when the key could not be opened any more, so that only its absence is checked. */
  readonly box: Buffer | undefined;
}

export function makeCanary(keyId: Buffer, key: Buffer | undefined, random: Random): Canary {
  return { keyId, box: key && boxUp(key, random(12), TEXT, keyId) };
}

/** Throws KIN_LEDGER_ERASURE_FAILED. Frames without a body are what is left of destroyed keys. */
export function checkCanary(
  { keyId, box }: Canary,
  frames: readonly Frame[],
  tenantKey: Buffer | undefined,
): void {
  for (const frame of frames) {
    const isSame = readKeyHead(frame.head)?.keyId.equals(keyId) === true;
    if (!isSame && !opens(frame, tenantKey, box, keyId)) continue;
    throw new LedgerError(
      'KIN_LEDGER_ERASURE_FAILED',
      'a stored key still opens what the destroyed key had sealed',
    );
  }
}

function opens(
  frame: Frame,
  tenantKey: Buffer | undefined,
  box: Buffer | undefined,
  keyId: Buffer,
): boolean {
  if (tenantKey === undefined || box === undefined) return false;
  const key = unwrapDataKey(tenantKey, frame.head, frame.body);
  const opened = key !== undefined && unbox(key, box, keyId) !== undefined;
  key?.fill(0);
  return opened;
}
