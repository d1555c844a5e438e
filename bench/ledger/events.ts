// The ledger with tenants and private fields, as the bench writes to it: the one place that knows
// how the evidence of a platform is opened.
import { openEvidence, rootKeyWrapper, signerFromSeed } from '../../packages/ledger/src/index.ts';
import type { BenchEvent } from './content.ts';
import { ORIGIN, signer } from './opaque.ts';

const DEADLINE_MS = 60_000;
const SAMPLE = 200;
/** Keys of throw-away logs; the same for all jobs, because one may open what another wrote. */
const KEY = new Uint8Array(32).fill(11);

export interface EventLog {
  /** Seals the private fields, then appends; resolves when both are durable. */
  readonly write: (event: BenchEvent) => Promise<void>;
  /** An entry of a tenant without private fields. */
  readonly writePlain: (tenant: string, detail: object) => Promise<void>;
  /** Mean size of the newest entries. */
  readonly entryBytes: () => Promise<number>;
  readonly tenants: () => number;
  readonly head: () => { readonly size: number; readonly root: string };
  readonly close: () => Promise<void>;
}

/** Published once a second with both kinds of signature; no witnesses, who have no part in it. */
export async function openEventLog(dir: string): Promise<EventLog> {
  const log = await openEvidence({
    dir,
    origin: ORIGIN,
    signer,
    cosigners: [signerFromSeed(ORIGIN, KEY, 'ml-dsa-44').signer],
    mapKey: KEY,
    wrapper: rootKeyWrapper(KEY, 'bench'),
    appendDeadlineMs: DEADLINE_MS,
  });
  return {
    write: async ({ tenant, subject, kind, detail, fields }) => {
      const scope = { tenant, private: [{ subject, fields }] };
      await log.record(kind, detail, { scope, deadlineMs: DEADLINE_MS });
    },
    writePlain: async (tenant, detail) => {
      await log.record('access.read', detail, { scope: { tenant }, deadlineMs: DEADLINE_MS });
    },
    entryBytes: async () => {
      const from = Math.max(0, log.core.size - SAMPLE);
      const entries = await log.core.entries({ from, limit: SAMPLE });
      return entries.reduce((sum, { bytes }) => sum + bytes.length, 0) / entries.length;
    },
    tenants: () => log.tenants.count,
    head: () => log.core.checkpoint(),
    close: () => log.close(),
  };
}
