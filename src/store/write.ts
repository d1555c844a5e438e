// How is a write fenced and made durable? Every write is one SQL statement, so it is atomic and one
// commit, and its first part locks the lease row under the writer's epoch: a writer that lost the
// lease finds no row, and then nothing else of the statement finds any either.
//
//   WR1. A statement writes only `from fence`; so a stale epoch changes nothing (ST2).
import { sql } from 'kysely';
import type { RawBuilder } from 'kysely';
import type { Db, Tx } from './guard.ts';
import { fenced } from './errors.ts';

export interface Wrote {
  /** Rows that the last part wrote. */
  readonly rows: number;
  /** The highest `v` that it returned. */
  readonly value: number | undefined;
}

/** `select … for update` in a CTE is never inlined, and waits for a take-over in flight. */
export function fence(epoch: number): RawBuilder<unknown> {
  return sql`fence as materialized (
    select 1 from kintsugi.lease where id = 1 and epoch = ${epoch} and owner <> '' for update)`;
}

/** `parts`: data-modifying statements that end in `returning <number> as v`. */
export async function write(
  db: Db | Tx,
  epoch: number,
  parts: readonly RawBuilder<unknown>[],
): Promise<Wrote> {
  const named = parts.map((part, i) => sql`${sql.raw(`w${i}`)} as (${part})`);
  const last = sql.raw(`w${parts.length - 1}`);
  const answer = await sql<{ held: number; rows: number; value: number | null }>`
    with ${sql.join([fence(epoch), ...named])}
    select (select count(*)::int from fence) as held,
           (select count(*)::int from ${last}) as rows,
           (select max(v)::bigint from ${last}) as value`.execute(db);
  const row = answer.rows[0];
  if (row === undefined || row.held === 0) throw fenced(epoch);
  return { rows: row.rows, value: row.value ?? undefined };
}
