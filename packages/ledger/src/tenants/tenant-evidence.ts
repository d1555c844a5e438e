// What does a tenant get to keep as evidence? Joins the tenant's tree, the map of an epoch, the
// epoch's entry and the system checkpoint into one text.
// How it is written stands in tenant-proof.ts; who believes it, in tenant-verify.ts.

import { isLedgerError } from '../errors.ts';
import type { KnownEpoch } from './epochs.ts';
import { findInMap, proveInMap } from './sparse-map.ts';
import type { MapLeaf } from './sparse-map.ts';
import type { TenantLogs } from './tenant-logs.ts';
import { formatTenantProof } from './tenant-proof.ts';
import type { TenantProofPart } from './tenant-proof.ts';

export interface SystemLogView {
  /** A signed checkpoint of the whole log; best one that is cosigned. */
  readonly checkpoint: { readonly text: string; readonly size: number };
  inclusion(index: number, size: number): Promise<readonly Uint8Array[]>;
  readEntry(index: number): Promise<Uint8Array>;
}

export interface TenantProofRequest {
  readonly tenant: string;
  /**
   * `entry`: that one. `after`: for the whole log from that number on, as completeness is checked
   * after retention. `head`: for the whole log.
   */
  readonly about:
    | { readonly kind: 'head' }
    | { readonly kind: 'entry'; readonly index: number }
    | { readonly kind: 'after'; readonly index: number };
}

export type NoTenantProof =
  | 'tenant-unknown'
  | 'no-epoch'
  | 'tenant-not-in-epoch'
  | 'entry-not-in-epoch'
  | 'no-longer-kept'
  | 'log-not-begun';

export type TenantProofResult =
  | {
      readonly kind: 'proof';
      readonly text: string;
      /** Entries of the tenant that the epoch covers. */
      readonly size: number;
      readonly epochIndex: number;
    }
  | { readonly kind: 'refused'; readonly reason: NoTenantProof };

export async function tenantProof(
  tenants: TenantLogs,
  system: SystemLogView,
  request: TenantProofRequest,
): Promise<TenantProofResult> {
  const { tenant, about } = request;
  if (!tenants.has(tenant)) return refused('tenant-unknown');
  const epoch = tenants.provableEpoch(system.checkpoint.size);
  if (epoch === undefined) return refused('no-epoch');
  const head = findInMap(epoch.heads, tenants.position(tenant));
  if (head === undefined) return refused('tenant-not-in-epoch');
  const bound = about.kind === 'after' ? head.size + 1 : head.size;
  if (about.kind !== 'head' && about.index >= bound) return refused('entry-not-in-epoch');
  const begin = tenants.firstEntry(tenant);
  if (begin === undefined) return refused('log-not-begun');
  try {
    const text = await write(tenants, system, { tenant, epoch, head, begin, about });
    return { kind: 'proof', text, size: head.size, epochIndex: epoch.index };
  } catch (cause) {
    if (isLedgerError(cause) && cause.code === 'KIN_LEDGER_PRUNED') {
      return refused('no-longer-kept');
    }
    throw cause;
  }
}

interface Parts {
  readonly tenant: string;
  readonly epoch: KnownEpoch;
  readonly head: MapLeaf;
  readonly begin: Uint8Array;
  readonly about: TenantProofRequest['about'];
}

async function write(tenants: TenantLogs, system: SystemLogView, parts: Parts): Promise<string> {
  const { tenant, epoch, head, begin, about } = parts;
  const { checkpoint } = system;
  const part = await partOf(tenants, tenant, head.size, about);
  return formatTenantProof({
    tenant,
    size: BigInt(head.size),
    root: head.root,
    part,
    begin: { entry: begin, hashes: await tenants.inclusion(tenant, 0, head.size) },
    map: proveInMap(epoch.heads, head.position).siblings,
    epoch: {
      index: BigInt(epoch.index),
      entry: await system.readEntry(epoch.index),
      hashes: await system.inclusion(epoch.index, checkpoint.size),
    },
    checkpoint: checkpoint.text,
  });
}

async function partOf(
  tenants: TenantLogs,
  tenant: string,
  size: number,
  about: TenantProofRequest['about'],
): Promise<TenantProofPart> {
  switch (about.kind) {
    case 'head':
      return about;
    case 'entry': {
      const hashes = await tenants.inclusion(tenant, about.index, size);
      return { kind: 'entry', index: BigInt(about.index), hashes };
    }
    case 'after': {
      const hashes = await tenants.peaks(tenant, about.index);
      return { kind: 'after', index: BigInt(about.index), hashes };
    }
  }
}

function refused(reason: NoTenantProof): TenantProofResult {
  return { kind: 'refused', reason };
}
