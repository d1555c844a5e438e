// May this query go out now? The embedded store has one session: a query on `db` inside the
// callback of a transaction would wait for that very transaction for ever, and on a server it
// would silently run outside of it. Both are the same bug, so it fails at once on both.
//
//   GD1. Inside `inTransaction`, only the transaction that is handed in may be used.
import { AsyncLocalStorage } from 'node:async_hooks';
import { Kysely, PostgresDialect } from 'kysely';
import type { Transaction } from 'kysely';
import type { Pool } from 'pg';
import type { Schema } from './schema.ts';

export type Db = Kysely<Schema>;
export type Tx = Transaction<Schema>;

interface Scope {
  open: boolean;
}

const scope = new AsyncLocalStorage<Scope>();

export function openDb(pool: Pool): Db {
  return new Kysely<Schema>({
    dialect: new PostgresDialect({
      pool: {
        options: pool.options,
        async connect() {
          if (scope.getStore()?.open === true) {
            throw new Error('assertion failed: query on db inside a transaction: use its tx');
          }
          return await pool.connect();
        },
        end: () => pool.end(),
      },
    }),
  });
}

export async function inTransaction<T>(db: Db, work: (tx: Tx) => Promise<T>): Promise<T> {
  return await db.transaction().execute(async (tx) => {
    const mine: Scope = { open: true };
    try {
      return await scope.run(mine, () => work(tx));
    } finally {
      // Work that was started inside and lives on (a timer) is outside again.
      mine.open = false;
    }
  });
}
