// An evidence log on a disk in memory, with a clock that only moves when told.
import { MemoryFiles, openEvidence, signerFromSeed } from '../../src/index.ts';
import type { EvidenceLog, EvidenceOptions } from '../../src/index.ts';
import { rootKeyWrapper } from '../../src/private/wrapper.ts';
import { FakeClock } from '../support.ts';

export const ORIGIN = 'evidence.test/memory';
const SEED = new Uint8Array(32).fill(11);
export const { signer } = signerFromSeed(ORIGIN, SEED);
export const MAP_KEY = new Uint8Array(32).fill(12);

export interface MemoryEvidence {
  readonly files: MemoryFiles;
  readonly clock: FakeClock;
  readonly log: EvidenceLog;
}

export async function openInMemory(
  files: MemoryFiles = new MemoryFiles(),
  change: Partial<EvidenceOptions> = {},
): Promise<MemoryEvidence> {
  const clock = new FakeClock();
  const log = await openEvidence({
    dir: 'log',
    origin: ORIGIN,
    signer,
    mapKey: MAP_KEY,
    files,
    clock,
    segmentBytes: 64 * 1024,
    wrapper: rootKeyWrapper(Buffer.alloc(32, 13), 'test root'),
    privateFields: { fileBytes: 64 * 1024 },
    tenantSigner: (origin) => signerFromSeed(origin, SEED).signer,
    ...change,
  });
  return { files, clock, log };
}

/** Many entries in few groups: each has `together` entries. */
export async function fill(
  log: EvidenceLog,
  count: number,
  tenant?: string,
  together = 64,
): Promise<void> {
  const scope = tenant === undefined ? {} : { scope: { tenant } };
  for (let at = 0; at < count; at += together) {
    const batch = Math.min(together, count - at);
    await Promise.all(
      Array.from({ length: batch }, (_, step) =>
        log.record('service.audit', { at: at + step, pad: 'x'.repeat(100) }, scope),
      ),
    );
  }
}
