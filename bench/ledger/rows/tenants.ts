// What do 10 000 tenants cost the process in memory, and how long does their log take to open?
import type { RowReport } from '../../heal/bench.ts';
import { median } from '../../heal/numbers.ts';
import { bar, roundsOf } from '../bench.ts';
import type { LedgerBench } from '../bench.ts';
import { runJob } from '../job.ts';
import type { MemoryOfTenants, Passed } from '../job.ts';
import { bytesText, numberText, timeText } from '../rates.ts';

const TENANTS = 10_000;
const BYTES = 200_000_000;

export async function tenantsRow(bench: LedgerBench): Promise<RowReport> {
  const each = bench.options.quick ? 10 : 100;
  const rounds = roundsOf(bench.options, 3, 1);
  const all: MemoryOfTenants[] = [];
  const opens: Passed[] = [];
  for (let round = 0; round < rounds; round++) {
    bench.say(`round ${round + 1} of ${rounds}: ${TENANTS} tenants, ${each} entries each`);
    await bench.inFolder(async (dir) => {
      all.push(await runJob('tenants', { dir, tenants: TENANTS, each }));
      opens.push(await runJob('openEvents', { dir }));
    });
  }
  const middle = (of: (one: MemoryOfTenants) => number): number => median(all.map(of)) ?? 0;
  const growth = middle((one) => one.rssGrowthBytes);
  const rate = middle(({ entries, wallMs }) => (entries / wallMs) * 1000);
  return {
    name: 'tenants',
    title: `${numberText(TENANTS)} tenants with ${each} entries each, in one process`,
    table: [
      [
        'growth of',
        'resident',
        'heap and buffers',
        'a tenant',
        'resident at once',
        'peak RSS',
        'entries/s',
        'opens again in',
      ],
      [
        'Kintsugi',
        bytesText(growth),
        bytesText(middle((one) => one.heapGrowthBytes)),
        `${numberText(middle((one) => one.heapGrowthBytes / one.tenants))} B`,
        bytesText(middle((one) => one.atOnceGrowthBytes)),
        bytesText(middle((one) => one.peakRssBytes)),
        numberText(rate),
        timeText(median(opens.map(({ wallMs }) => wallMs)) ?? 0),
      ],
    ],
    bars: [
      bar(
        'growth of the resident memory',
        '< 200 MB',
        `${Math.round(growth / 1e6)} MB`,
        growth < BYTES,
      ),
    ],
    notes: [
      'from a warm process with one tenant, once the collector has given back what is free; "at ' +
        'once" is before it has',
      'all that the ledger keeps of these entries counts, the places of the records included',
      ...(bench.options.quick ? [`--quick: ${each} entries a tenant instead of 100`] : []),
    ],
    inside: [],
    data: { rounds: all, opens },
  };
}
