// What do the tlog-tiles clients read: the whole log, or the log of one tenant? Both are plain logs
// to them, with a checkpoint of their own origin.
// TS1. A tenant's checkpoint is signed when it is asked for; its truth is the tenant's proof, which
//      leads to the system checkpoint that witnesses have seen.

import { formatTreeHead, signNote } from '../note.ts';
import type { Signer } from '../note.ts';
import type { TenantLogs } from '../tenants/tenant-logs.ts';
import type { TileSource } from '../tiles.ts';
import type { CoreReads } from './core-reads.ts';

export function systemSource(
  core: CoreReads,
  published: () => { readonly size: number; readonly text: string } | undefined,
): TileSource {
  return {
    size: () => published()?.size ?? 0,
    checkpointText: () => published()?.text,
    minimumIndex: () => core.first,
    leafHashes: (from, count) => core.leaves(from, count),
    levelHashes: (level, from, count) => core.levelHashes(level, from, count),
    entries: (from, count) => core.entries(from, count),
  };
}

export interface TenantSourceParts {
  readonly tenant: string;
  readonly tenants: TenantLogs;
  readonly core: CoreReads;
  readonly signer: Signer;
}

/** Of the tenant's log as it is now; a growing log needs a fresh source for a fresh checkpoint. */
export function tenantSource({ tenant, tenants, core, signer }: TenantSourceParts): TileSource {
  const head = tenants.head(tenant);
  const size = head?.size ?? 0;
  let text: string | undefined;
  return {
    size: () => size,
    checkpointText() {
      if (head === undefined) return undefined;
      text ??= signNote(formatTreeHead(signer.name, size, head.root), signer);
      return text;
    },
    minimumIndex: () => tenants.minimum(tenant),
    leafHashes: (from, count) => tenants.leafHashes(tenant, from, count),
    async entries(from, count) {
      const found: Uint8Array[] = [];
      for (const index of tenants.positions(tenant, from, Math.min(count, size - from))) {
        found.push(...(await core.entries(index, 1)));
      }
      return found;
    },
  };
}
