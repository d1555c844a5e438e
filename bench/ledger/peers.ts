// Which peers stand beside the ledger? What a team would build instead: an audit table with a hash
// chain, in SQLite and in PostgreSQL, with the same durability; once with a transaction for each
// entry, and once with 256 entries in a transaction, which is their best case.
import type { LedgerBench } from './bench.ts';
import { runJob } from './job.ts';
import type { Content, Measured, Pace } from './job.ts';
import type { Contender } from './rates.ts';

const CONNECTIONS = 32;
const BATCH = 256;

export interface Against {
  /** Names of the ledger's own lines that the peers are compared with. */
  readonly one: string;
  readonly many: string;
}

export interface Peers {
  readonly contenders: readonly Contender[];
  readonly notes: readonly string[];
}

export async function openPeers(
  bench: LedgerBench,
  content: Content,
  time: Omit<Pace, 'writers'>,
  against: Against,
): Promise<Peers> {
  if (!bench.options.peers) return { contenders: [], notes: [] };
  const sqlite = (batch: number): Promise<Measured> =>
    bench.inFolder((dir) =>
      runJob('sqlite', { dir, content, batch, pace: { ...time, writers: 1 } }),
    );
  const contenders: Contender[] = [
    { name: 'SQLite, a transaction each', against: against.one, run: () => sqlite(1) },
    { name: `SQLite, ${BATCH} a transaction`, against: against.many, run: () => sqlite(BATCH) },
  ];
  const probe = await bench.inDatabase(() => Promise.resolve());
  if (probe.kind === 'none') return { contenders, notes: [`skipped: ${probe.reason}`] };
  const pace = { ...time, writers: CONNECTIONS };
  const postgres = async (batch: number): Promise<Measured> => {
    const answer = await bench.inDatabase((url) =>
      runJob('postgres', { url, content, batch, pace }),
    );
    if (answer.kind === 'none') throw new Error(answer.reason);
    return answer.value;
  };
  const name = `PostgreSQL, ${CONNECTIONS} connections`;
  contenders.push(
    { name: `${name}, a transaction each`, against: against.many, run: () => postgres(1) },
    { name: `${name}, ${BATCH} each`, against: against.many, run: () => postgres(BATCH) },
  );
  return { contenders, notes: [] };
}
