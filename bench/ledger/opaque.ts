// The ledger with bytes that mean nothing to it: appended, checked again, opened again.
import { openLedger, signerFromSeed, verifyLedgerDir } from '../../packages/ledger/src/index.ts';
import type { Ledger } from '../../packages/ledger/src/index.ts';
import { opaqueEntries } from './content.ts';
import { ENTRY_BYTES } from './job.ts';
import type { JobOf, Measured, Passed } from './job.ts';
import { drive, passed } from './pace.ts';

export const ORIGIN = 'bench.example/ledger';
/** A key for throw-away logs; the same for all jobs, because one may read what another wrote. */
export const { signer } = signerFromSeed(ORIGIN, new Uint8Array(32).fill(9));

/** As an application opens it; only the deadline is longer, so that a slow disk is measured. */
export function openBenchLedger(dir: string): Promise<Ledger> {
  return openLedger({ dir, origin: ORIGIN, signer, appendDeadlineMs: 60_000 });
}

export async function runOpaque({ dir, pace }: JobOf<'opaque'>): Promise<Measured> {
  const ledger = await openBenchLedger(dir);
  const entryOf = opaqueEntries();
  const measured = await drive({
    pace,
    write: async (n) => {
      await ledger.append(entryOf(n));
      return 1;
    },
  });
  await ledger.close();
  return { ...measured, entryBytes: ENTRY_BYTES };
}

export async function runFill({ dir, entries, writers }: JobOf<'fill'>): Promise<Passed> {
  const ledger = await openBenchLedger(dir);
  const entryOf = opaqueEntries();
  return passed(async () => {
    let next = 0;
    const loop = async (): Promise<void> => {
      while (next < entries) await ledger.append(entryOf(next++));
    };
    await Promise.all(Array.from({ length: writers }, loop));
    await ledger.close();
    const { size, root: text } = ledger.checkpoint();
    return { entries: size, root: text };
  });
}

export function runFsck({ dir }: JobOf<'fsck'>): Promise<Passed> {
  return passed(async () => {
    const report = await verifyLedgerDir(dir, signer.vkey);
    if (report.kind === 'damaged') throw new Error(JSON.stringify(report.findings[0]));
    return { entries: report.size, root: report.root };
  });
}

/** From the call to the moment at which it takes entries. */
export async function runOpen({ dir }: JobOf<'open'>): Promise<Passed> {
  let opened: Ledger | undefined;
  const result = await passed(async () => {
    const ledger = await openBenchLedger(dir);
    opened = ledger;
    const { size, root } = ledger.checkpoint();
    return { entries: size, root };
  });
  await opened?.close();
  return result;
}
