// Full events: canonical JSON, four salted and encrypted fields, the tree of one of 1000 tenants,
// an epoch leaf a second. How many a second with 256 writers?
import type { RowReport } from '../../heal/bench.ts';
import { bar, roundsOf } from '../bench.ts';
import type { LedgerBench } from '../bench.ts';
import { TENANTS, runJob } from '../job.ts';
import { openPeers } from '../peers.ts';
import { interleave, numberText, rateOf, rateTable } from '../rates.ts';
import type { Contender } from '../rates.ts';
import { nameOf, paceOf } from './opaque.ts';

const WANTED = 20_000;
const WRITERS = 256;

export async function eventsRow(bench: LedgerBench): Promise<RowReport> {
  const time = paceOf(bench);
  const own = [1, WRITERS].map((writers): Contender => {
    const pace = { ...time, writers };
    const run = (): ReturnType<Contender['run']> =>
      bench.inFolder((dir) => runJob('events', { dir, pace }));
    return { name: nameOf(writers), run };
  });
  const name = nameOf(WRITERS);
  const peers = await openPeers(bench, 'events', time, { one: nameOf(1), many: name });
  const contenders = [...own, ...peers.contenders];
  const rounds = await interleave(contenders, roundsOf(bench.options, 5, 2), bench.say);
  const rate = rateOf(rounds, name);
  const bytes = (of: string): number => Math.round(rounds.get(of)?.[0]?.entryBytes ?? 0);
  const peerBytes = peers.contenders.map((peer) => bytes(peer.name))[0];
  return {
    name: 'events',
    title:
      `full events: canonical JSON, 4 salted and encrypted fields, ` +
      `${numberText(TENANTS)} tenants' trees`,
    table: rateTable(contenders, rounds),
    bars: [
      bar(
        `entries/s, ${WRITERS} writers`,
        `≥ ${numberText(WANTED)}`,
        numberText(rate),
        rate >= WANTED,
      ),
    ],
    notes: [
      `an entry has ${bytes(name)} B in the tree; its disclosures are synced in another file`,
      ...(peerBytes === undefined
        ? []
        : [
            `peers store ${peerBytes} B: the same fields encrypted as one, one chain for all ` +
              'tenants, no signature',
          ]),
      ...peers.notes,
    ],
    inside: [],
    data: { time, rounds: Object.fromEntries(rounds) },
  };
}
