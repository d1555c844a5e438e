// Who leads? One row: its owner, until when, and the epoch that every write must carry.
//
//   LE1. The epoch grows with each new owner and never goes back, also after a release.
import { sql } from 'kysely';
import { assert } from '../model/errors.ts';
import type { LeaseAnswer } from '../world/store.ts';
import type { Db } from './guard.ts';

const TRIES_MAX = 5;

export async function takeLease(
  db: Db,
  owner: string,
  nowMs: number,
  ttlMs: number,
): Promise<LeaseAnswer> {
  assert(owner !== '', 'a lease has an owner');
  for (let attempt = 0; attempt < TRIES_MAX; attempt += 1) {
    const taken = await sql<{ epoch: number }>`
      insert into kintsugi.lease as l (id, owner, epoch, until_ms)
      values (1, ${owner}, 1, ${nowMs + ttlMs}::float8)
      on conflict (id) do update set owner = excluded.owner, until_ms = excluded.until_ms,
        epoch = case when l.owner = excluded.owner then l.epoch else l.epoch + 1 end
      where l.owner = excluded.owner or l.owner = '' or l.until_ms <= ${nowMs}::float8
      returning epoch`.execute(db);
    const epoch = taken.rows[0]?.epoch;
    if (epoch !== undefined) return { kind: 'held', epoch };
    const other = await db
      .selectFrom('kintsugi.lease')
      .select(['owner', 'until_ms'])
      .where('owner', '<>', '')
      .executeTakeFirst();
    if (other !== undefined) return { kind: 'taken', owner: other.owner, untilMs: other.until_ms };
    // It was given back between the two statements: ask again.
  }
  throw new Error('assertion failed: the lease is neither free nor held');
}

export async function releaseLease(db: Db, owner: string): Promise<void> {
  await sql`update kintsugi.lease set owner = '', until_ms = 0
    where id = 1 and owner = ${owner}`.execute(db);
}
