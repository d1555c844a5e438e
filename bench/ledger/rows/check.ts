// How fast is a whole log checked again, how fast does it open? Both read every byte, hash every
// entry and check every signature.
import type { RowReport } from '../../heal/bench.ts';
import { median } from '../../heal/numbers.ts';
import { bar, roundsOf } from '../bench.ts';
import type { LedgerBench } from '../bench.ts';
import { ENTRY_BYTES, runJob } from '../job.ts';
import type { Passed } from '../job.ts';
import { bytesText, numberText, spread, timeText } from '../rates.ts';

const FSCK_WANTED = 150_000;
const OPEN_MS = 8000;
const WRITERS = 256;

export async function checkRow(bench: LedgerBench): Promise<RowReport> {
  const entries = bench.options.quick ? 100_000 : 1_000_000;
  const rounds = roundsOf(bench.options, 5, 2);
  const [filled, fscks, opens] = await bench.inFolder(async (dir) => {
    bench.say(`writing ${numberText(entries)} entries`);
    const written = await runJob('fill', { dir, entries, writers: WRITERS });
    // Reads everything once, so that the first round finds the cache as warm as the others do.
    await runJob('fsck', { dir });
    const found: [Passed[], Passed[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      bench.say(`round ${round + 1} of ${rounds}: fsck, then open`);
      found[0].push(await runJob('fsck', { dir }));
      found[1].push(await runJob('open', { dir }));
    }
    return [written, ...found] as const;
  });
  const roots = new Set([filled, ...fscks, ...opens].map(({ root }) => root));
  const cpuRate = (one: Passed): number => (one.entries / one.cpuMs) * 1000;
  const perCore = median(fscks.map(cpuRate)) ?? 0;
  const openMs = median(opens.map(({ wallMs }) => wallMs)) ?? Infinity;
  const line = (name: string, all: readonly Passed[]): string[] => [
    name,
    spread(all.map((one) => (one.entries / one.wallMs) * 1000)),
    numberText(median(all.map(cpuRate)) ?? 0),
    timeText(median(all.map(({ wallMs }) => wallMs)) ?? 0),
    bytesText(Math.max(...all.map(({ rssBytes }) => rssBytes))),
  ];
  const size = numberText(entries);
  return {
    name: 'check',
    title: `deep fsck and recovery of ${size} entries of ${ENTRY_BYTES} B, warm cache`,
    table: [
      ['', 'entries/s', 'per CPU second', 'wall', 'peak RSS'],
      line('deep fsck', fscks),
      line('recovery (open)', opens),
      line(`written by ${WRITERS} writers`, [filled]),
    ],
    bars: [
      bar(
        'deep fsck, entries/s of one core',
        `≥ ${numberText(FSCK_WANTED)}`,
        numberText(perCore),
        perCore >= FSCK_WANTED,
      ),
      bar(`recovery of ${size} entries`, '< 8 s', timeText(openMs), openMs < OPEN_MS),
      bar('the same root each time', '1 root', `${roots.size}`, roots.size === 1),
    ],
    notes: bench.options.quick
      ? ['--quick: a tenth of the entries, so this says nothing about 1 000 000']
      : [],
    inside: [],
    data: { entries, filled, fscks, opens },
  };
}
