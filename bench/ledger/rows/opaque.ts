// Opaque entries of 1 KB, acknowledged when they are synced, in the tree and signed for: how many a
// second with 1, 256 and 4096 writers, next to audit tables with hash chains?
import type { RowReport } from '../../heal/bench.ts';
import { bar, roundsOf } from '../bench.ts';
import type { LedgerBench } from '../bench.ts';
import { ENTRY_BYTES, runJob } from '../job.ts';
import { openPeers } from '../peers.ts';
import { interleave, numberText, rateOf, rateTable } from '../rates.ts';
import type { Contender } from '../rates.ts';

const WRITERS = [1, 256, 4096] as const;
const BARS = [
  { writers: 256, wanted: 40_000 },
  { writers: 1, wanted: 800 },
] as const;

export const paceOf = ({ options }: LedgerBench): { warmMs: number; forMs: number } =>
  options.quick ? { warmMs: 300, forMs: 500 } : { warmMs: 1000, forMs: 3000 };

export const nameOf = (writers: number): string =>
  `Kintsugi, ${writers} ${writers === 1 ? 'writer' : 'writers'}`;

export async function opaqueRow(bench: LedgerBench): Promise<RowReport> {
  const time = paceOf(bench);
  const own = WRITERS.map((writers): Contender => {
    const pace = { ...time, writers };
    const run = (): ReturnType<Contender['run']> =>
      bench.inFolder((dir) => runJob('opaque', { dir, pace }));
    return { name: nameOf(writers), run };
  });
  const against = { one: nameOf(1), many: nameOf(256) };
  const peers = await openPeers(bench, 'opaque', time, against);
  const contenders = [...own, ...peers.contenders];
  const rounds = await interleave(contenders, roundsOf(bench.options, 5, 2), bench.say);
  return {
    name: 'opaque',
    title: `opaque entries of ${ENTRY_BYTES} B; acknowledged = synced, in the tree, signed`,
    table: rateTable(contenders, rounds),
    bars: BARS.map(({ writers, wanted }) => {
      const rate = rateOf(rounds, nameOf(writers));
      const what = `entries/s, ${writers === 1 ? '1 writer' : `${writers} writers`}`;
      return bar(what, `≥ ${numberText(wanted)}`, numberText(rate), rate >= wanted);
    }),
    notes: [
      'a peer with a transaction each in one process is compared with 1 writer, others with 256',
      'ack of a batch is the time of its transaction: there, 256 entries wait for each other',
      ...peers.notes,
    ],
    inside: [],
    data: { time, rounds: Object.fromEntries(rounds) },
  };
}
