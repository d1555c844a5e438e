// What do the tlog-tiles clients read: the whole log, or the log of one tenant? Both are plain logs
// to them, with a checkpoint of their own origin.
// TS1. A tenant's checkpoint is signed when it is asked for; its truth is the tenant's proof, which
//      leads to the system checkpoint that witnesses have seen.
// TS2. The minimum index that is said is the end of the bundle in which retention left off, for a
//      bundle is served whole or not at all; and never above the published size, as the
//      specification demands.

import { LedgerError } from '../errors.ts';
import { isPruned } from '../history.ts';
import { formatTreeHead, signNote } from '../note.ts';
import type { Signer } from '../note.ts';
import type { TenantLogs } from '../tenants/tenant-logs.ts';
import { TILE_WIDTH } from '../tiles.ts';
import type { TileSource } from '../tiles.ts';
import type { CoreReads } from './core-reads.ts';

/** TS2. `first` is the first entry that is kept. */
export function minimumIndexOf(first: number, size: number): number {
  return Math.min(Math.ceil(first / TILE_WIDTH) * TILE_WIDTH, size);
}

export function systemSource(
  core: CoreReads,
  published: () => { readonly size: number; readonly text: string } | undefined,
): TileSource {
  const size = (): number => published()?.size ?? 0;
  return {
    size,
    checkpointText: () => published()?.text,
    minimumIndex: () => minimumIndexOf(core.first, size()),
    leafHashes: (from, count) => core.leaves(from, count),
    levelHashes: (level, from, count) => core.levelHashes(level, from, count),
    entries: (from, count) => orPruned(() => core.entries(from, count)),
  };
}

/** Undefined for what retention removed, also while somebody reads it. */
async function orPruned<T>(read: () => Promise<T> | T): Promise<T | undefined> {
  try {
    return await read();
  } catch (cause) {
    if (isPruned(cause)) return undefined;
    throw cause;
  }
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
    minimumIndex: () => minimumIndexOf(tenants.minimum(tenant), size),
    leafHashes: (from, count) => orPruned(() => tenants.leafHashes(tenant, from, count)),
    async levelHashes(level, from, count) {
      const found: Uint8Array[] = [];
      for (let at = from; at < from + count; at++) {
        found.push(await subtreeHash(tenants, tenant, TILE_WIDTH ** level, at));
      }
      return found;
    },
    entries: (from, count) =>
      orPruned(async () => {
        const found: Uint8Array[] = [];
        for (const index of tenants.positions(tenant, from, Math.min(count, size - from))) {
          found.push(...(await core.entries(index, 1)));
        }
        return found;
      }),
  };
}

/**
 * The root of the subtree number `at` of `width` leaves, a power of two, whatever retention gave
 * up. A left one is the last peak of the tree that it ends; a right one is the hash by which that
 * tree extends the one before it.
 */
async function subtreeHash(
  tenants: TenantLogs,
  tenant: string,
  width: number,
  at: number,
): Promise<Uint8Array> {
  const end = (at + 1) * width;
  const hash =
    at % 2 === 0
      ? (await tenants.peaks(tenant, end)).at(-1)
      : // A proof from one single subtree does not repeat it.
        (await tenants.consistency(tenant, end - width, end))[at === 1 ? 0 : 1];
  if (hash !== undefined) return hash;
  throw new LedgerError('KIN_LEDGER_RANGE', `${tenant} has no subtree ${at} of ${width} leaves`);
}
