// What would a team store of the same event in a table of a database? The event as canonical JSON,
// its four private fields encrypted with a key of the person's. Less than the ledger does: no
// digests of single fields, no tree of the tenant's own, no signature.
import { createCipheriv, hash, randomBytes } from 'node:crypto';
import { canonicalJson } from '../../packages/ledger/src/json.ts';
import { eventOf } from './content.ts';

export interface PeerRow {
  readonly tenant: string;
  readonly entry: Uint8Array;
}

export function peerEvents(): (n: number) => PeerRow {
  const keys = new Map<string, Buffer>();
  return (n) => {
    const { tenant, subject, kind, detail, fields } = eventOf(n);
    const owner = `${tenant}/${subject}`;
    let key = keys.get(owner);
    if (key === undefined) {
      key = randomBytes(32);
      keys.set(owner, key);
    }
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', key, nonce);
    const body = cipher.update(canonicalJson(fields), 'utf8');
    const sealed = Buffer.concat([nonce, body, cipher.final(), cipher.getAuthTag()]);
    const at = new Date().toISOString();
    const entry = { v: 1, kind, at, tenant, detail, private: sealed.toString('base64url') };
    return { tenant, entry: Buffer.from(canonicalJson(entry)) };
  };
}

/** The hash chain: SHA-256 over the hash before and the entry. */
export function chained(previous: Uint8Array, entry: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([previous, entry]), 'buffer');
}
