// How long is evidence kept? As long as the manifest says, for each tenant: what is older is given
// up (its people's fields first), and what no log needs any more leaves the disk.
//
//   RT1. Only entries at least as old as the limit go; the age is the one that the entry says.
//   RT2. Without a limit nothing is ever removed.
import type { EvidenceLog } from '@kintsugi/ledger';
import type { LedgerSpec } from '../model/manifest.ts';
import type { TenantId } from '../model/ids.ts';

const BASIS = { code: 'retention-schedule', ref: 'ledger.retention' } as const;

export async function retainAsSaid(
  evidence: EvidenceLog,
  { retention }: LedgerSpec,
  nowMs: number,
): Promise<void> {
  const { keepMs, tenantsMs } = retention;
  if (keepMs === undefined && tenantsMs.size === 0) return;
  const { tenants, core } = evidence;
  for (let after: string | undefined; ;) {
    const page = tenants.list(1_000, after);
    for (const tenant of page) {
      const limitMs = tenantsMs.get(tenant as TenantId) ?? keepMs;
      if (limitMs === undefined) continue;
      const index = await firstSince(evidence, nowMs - limitMs);
      if (index > 0) await evidence.retain(tenant, index, BASIS);
    }
    after = page.at(-1);
    if (after === undefined || page.length < 1_000) break;
  }
  if (keepMs === undefined) return;
  await core.publish();
  const bound = Math.min(await firstSince(evidence, nowMs - keepMs), tenants.prunableBelow());
  if (bound > core.stats().first) await core.prune({ first: bound, basis: BASIS.ref });
}

/** RT1: index of the first entry that is younger, by bisection; entries say when they were made. */
async function firstSince({ core }: EvidenceLog, sinceMs: number): Promise<number> {
  let low = core.stats().first;
  let high = core.size;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if ((await madeAtMs(core, middle)) < sinceMs) low = middle + 1;
    else high = middle;
  }
  return low;
}

async function madeAtMs(core: EvidenceLog['core'], index: number): Promise<number> {
  const { decoded } = await core.read(index);
  return decoded.type === 'raw' ? Number.POSITIVE_INFINITY : Date.parse(decoded.entry.at);
}
