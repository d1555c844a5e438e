// What does the store forget, and how does it stay small? The oldest rows past each limit go, some
// at a time; the embedded database, which has no background workers, is vacuumed and checkpointed.
//
//   TD1. Nothing that is open, pending or alive is ever dropped.
import { sql } from 'kysely';
import type { RawBuilder } from 'kysely';
import type { Db, Tx } from './guard.ts';
import { inTransaction } from './guard.ts';
import { fenced } from './errors.ts';
import type { KeepLimits } from './rules.ts';
import { fence } from './write.ts';

/** A long statement blocks the thread of the embedded store; the next tidy takes the next ones. */
const DROPS_MAX = 5000;
const VACUUMED = ['run', 'run_step', 'incident', 'approval', 'service', 'replica', 'lease'];
const VACUUMED_TOO = [
  'release',
  'quarantine',
  'tenant_hold',
  'story',
  'api_key',
  'setting',
  'migration_lock',
];
/** Far below the 2 000 million at which PostgreSQL stops to protect itself. */
const FREEZE_AGE = 100_000_000;

export async function dropOld(db: Db, epoch: number, keep: KeepLimits): Promise<void> {
  await inTransaction(db, async (tx) => {
    const held = await sql<{ n: number }>`
      with ${fence(epoch)} select count(*)::int as n from fence`.execute(tx);
    if (held.rows[0]?.n !== 1) throw fenced(epoch);
    await dropStory(tx, keep.story);
    const ended = sql`state not in ('waiting', 'running', 'undoing')`;
    await dropBeyond(tx, 'run', ended, keep.endedRuns);
    await dropBeyond(tx, 'incident', sql`state = 'healed'`, keep.healedIncidents);
    await dropBeyond(tx, 'approval', sql`state <> 'pending'`, keep.decidedApprovals);
    await dropGoneReplicas(tx, keep.goneReplicas);
  });
}

async function dropStory(tx: Tx, keep: number): Promise<void> {
  await sql`delete from kintsugi.story where seq in (
    select seq from kintsugi.story
    where seq < (select seq from kintsugi.story order by seq desc offset ${keep - 1} limit 1)
    order by seq limit ${DROPS_MAX})`.execute(tx);
}

async function dropBeyond(
  tx: Tx,
  table: 'run' | 'incident' | 'approval',
  closed: RawBuilder<unknown>,
  keep: number,
): Promise<void> {
  const from = sql.table(`kintsugi.${table}`);
  await sql`delete from ${from} where id in (
    select id from (
      select id, ord from ${from} where ${closed} order by ord desc offset ${keep}) as old
    order by ord limit ${DROPS_MAX})`.execute(tx);
}

async function dropGoneReplicas(tx: Tx, keep: number): Promise<void> {
  await sql`delete from kintsugi.replica where id in (
    select id from (
      select id, row_number() over (partition by service order by ord desc) as age
      from kintsugi.replica where phase = 'gone') as old
    where age > ${keep} limit ${DROPS_MAX})`.execute(tx);
}

/** Only for the embedded store. One statement at a time: between two, the loop gets its turn. */
export async function vacuum(db: Db): Promise<void> {
  for (const table of [...VACUUMED, ...VACUUMED_TOO]) {
    await sql`vacuum (analyze, index_cleanup auto) ${sql.table(`kintsugi.${table}`)}`.execute(db);
  }
  const oldest = await sql<{ age: number }>`
    select age(datfrozenxid)::int as age from pg_database
    where datname = current_database()`.execute(db);
  if ((oldest.rows[0]?.age ?? 0) > FREEZE_AGE) await sql`vacuum (freeze)`.execute(db);
  await sql`checkpoint`.execute(db);
}
