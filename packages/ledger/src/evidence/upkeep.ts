// What tidies up behind the evidence? Payloads whose entry never came (a crash, a refusal) are
// overwritten, and files that are mostly empty are rewritten. For a timer of the owner; it may run
// while entries are written.
// UP1. An entry that is served keeps its payloads; what is younger than the grace time, or held, is
//      not touched.

import { LedgerError } from '../errors.ts';
import { privateDigests } from '../private/disclosure.ts';
import type { EvidenceLog } from './evidence-log.ts';

export interface UpkeepOptions {
  /** Default one hour: no entry comes later than that after its private fields. */
  readonly graceMs?: number;
  /** Payload files are rewritten when at least this share was removed. Default 0.5. */
  readonly removedShareMin?: number;
}

export interface UpkeepReport {
  /** Orphaned payloads that were overwritten. */
  readonly removed: number;
  /** Payload files that were rewritten. */
  readonly files: number;
}

const GRACE_MS = 3_600_000;
const GRACE_MIN_MS = 60_000;
const TENANTS_PAGE = 1000;

export async function collectOrphansOf(
  evidence: EvidenceLog,
  { graceMs = GRACE_MS, removedShareMin = 0.5 }: UpkeepOptions = {},
): Promise<UpkeepReport> {
  if (!Number.isFinite(graceMs) || graceMs < GRACE_MIN_MS) {
    const why = `graceMs is at least ${GRACE_MIN_MS}: an entry may be on its way`;
    throw new LedgerError('KIN_LEDGER_OPTION_INVALID', why);
  }
  const { privacy, core } = evidence;
  const { removed } = await privacy.collectOrphans({
    referenced: referencedBy(evidence),
    olderThanMs: graceMs,
    size: core.size,
  });
  const { files } = await privacy.compact(removedShareMin);
  return { removed, files };
}

/** The digests in every entry that is served, tenant by tenant. */
async function* referencedBy(evidence: EvidenceLog): AsyncGenerator<readonly string[]> {
  const { tenants } = evidence;
  // Bounded by the tenants: a page that is not full is the last.
  for (let after: string | undefined; ;) {
    const page = tenants.list(TENANTS_PAGE, after);
    for (const tenant of page) {
      for await (const entries of evidence.tenantPages(tenant)) {
        yield entries.flatMap(({ bytes }) => privateDigests(bytes));
      }
    }
    after = page.at(-1);
    if (after === undefined || page.length < TENANTS_PAGE) return;
  }
}
