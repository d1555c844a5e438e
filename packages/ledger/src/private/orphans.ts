// Which payloads belong to no entry? A payload is durable before its entry; where the entry never
// came (a crash, a refusal), it is overwritten after a grace time. Harmless until then.
// T4. Nothing younger than the grace time is taken: its entry may be on its way.
// T6. Nothing that a legal hold protects is taken: retention may hide the entry that refers to it.

import type { PrivateParts } from './parts.ts';
import { isHeld } from './retain.ts';

export interface OrphanInput {
  /** The `private` digests of all entries of all tenants, in pages. */
  readonly referenced: AsyncIterable<readonly string[]>;
  readonly olderThanMs: number;
  /** Index that stands in the tombstones: the size of the log when the walk began. */
  readonly size: number;
}

const BATCH_PAYLOADS = 1024;

export async function collectOrphans(
  parts: PrivateParts,
  input: OrphanInput,
): Promise<{ readonly removed: number }> {
  const { payloads, clock } = parts;
  const bound = clock.nowMs() - input.olderThanMs;
  const known = new Uint8Array(payloads.payloads);
  for await (const page of input.referenced) {
    for (const digest of page) {
      const found = await payloads.find(Buffer.from(digest, 'base64url'));
      if (found.kind === 'found') known[found.row] = 1;
    }
  }
  const orphans: { readonly row: number; readonly tenant: string }[] = [];
  for (const { row, state } of payloads.walk()) {
    if (state !== 'live' || row >= known.length || known[row] === 1) continue;
    const found = await payloads.read(row);
    if (found === undefined || found.head.sealedAtMs >= bound) continue;
    orphans.push({ row, tenant: found.head.tenant });
  }
  let removed = 0;
  for (let at = 0; at < orphans.length; at += BATCH_PAYLOADS) {
    const batch = orphans.slice(at, at + BATCH_PAYLOADS);
    // T6, as late as possible: a hold may have been placed meanwhile.
    const free = batch.filter(({ row, tenant }) => !isHeld(parts, tenant, row));
    const rows = free.map(({ row }) => row);
    await payloads.remove(rows, 'orphan', input.size);
    removed += rows.length;
  }
  return { removed };
}
