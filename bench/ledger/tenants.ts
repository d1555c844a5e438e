// What do tenants cost in memory? A warm process, then thousands of logs with some entries each;
// what the process has at that moment, and what it keeps once the collector has given back what is
// free (by itself it keeps free pages for a while, for the garbage to come).
import { sleep } from '../heal/clock.ts';
import { tenantName } from './content.ts';
import { openEventLog } from './events.ts';
import type { EventLog } from './events.ts';
import type { JobOf, MemoryOfTenants } from './job.ts';
import { peakRssBytes } from './pace.ts';

const WRITERS = 1024;
const WARM_ENTRIES = 20_000;
const SETTLE_MS = 100;

export async function runTenants({
  dir,
  tenants,
  each,
}: JobOf<'tenants'>): Promise<MemoryOfTenants> {
  const log = await openEventLog(dir);
  // Code, buffers and the spare segment are there before anything is compared.
  await writeAll(log, WARM_ENTRIES, () => 'warm');
  const before = await settled();
  const fromMs = performance.now();
  await writeAll(log, tenants * each, (n) => tenantName(n % tenants));
  const wallMs = performance.now() - fromMs;
  const atOnceBytes = process.memoryUsage().rss;
  const after = await settled();
  if (log.tenants() !== tenants + 1) throw new Error(`${log.tenants()} tenants have a log`);
  await log.close();
  return {
    tenants,
    entries: tenants * each,
    wallMs,
    rssGrowthBytes: after.rss - before.rss,
    atOnceGrowthBytes: atOnceBytes - before.rss,
    heapGrowthBytes: after.held - before.held,
    peakRssBytes: peakRssBytes(),
  };
}

async function writeAll(
  log: EventLog,
  count: number,
  tenantAt: (n: number) => string,
): Promise<void> {
  let next = 0;
  const loop = async (): Promise<void> => {
    while (next < count) {
      const n = next++;
      await log.writePlain(tenantAt(n), { decision: 'permit', record: `record/${n}` });
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, loop));
}

async function settled(): Promise<{ readonly rss: number; readonly held: number }> {
  const { gc } = globalThis;
  if (gc === undefined) throw new Error('start this process with --expose-gc');
  for (let round = 0; round < 4; round++) {
    await gc({ type: 'major', execution: 'async', flavor: 'last-resort' });
    await sleep(SETTLE_MS);
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss, held: heapUsed + external };
}
