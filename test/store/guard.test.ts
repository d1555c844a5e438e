// What must never happen inside a transaction or a statement: a query past the transaction that
// would wait for itself, a write past the fence; and how values become rows.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PGlite } from '@electric-sql/pglite';
import { createPgConfig } from '@electric-sql/pglite/node-postgres';
import { sql } from 'kysely';
import { Pool } from 'pg';
import { storeError } from '../../src/store/errors.ts';
import { inTransaction, openDb } from '../../src/store/guard.ts';
import { migrate } from '../../src/store/migrate.ts';
import { decode, encode, encodeFree } from '../../src/store/schema.ts';
import { write } from '../../src/store/write.ts';

describe('transactions on the one session', () => {
  test('GD1: a query on db in a transaction fails at once; WR1: no fence, no write', async () => {
    const pglite = await PGlite.create();
    const db = openDb(new Pool(Object.assign({ max: 1 }, createPgConfig(pglite))));
    try {
      await migrate(db, 'memory');
      await migrate(db, 'memory');
      let later: Promise<unknown> | undefined;
      const gate = Promise.withResolvers<void>();
      await inTransaction(db, async (tx) => {
        await sql`select 1`.execute(tx);
        await assert.rejects(sql`select 1`.execute(db), /inside a transaction/u);
        await assert.rejects(
          inTransaction(db, async () => undefined),
          /inside a transaction/u,
        );
        later = gate.promise.then(() => sql`select 1`.execute(db));
      });
      gate.resolve();
      await later;
      await sql`select 1`.execute(db);
      const failing = inTransaction(db, async (tx) => {
        await sql`insert into kintsugi.setting (name, body) values ('x', '1')`.execute(tx);
        throw new Error('half way');
      });
      await assert.rejects(failing, /half way/u);
      const insert = sql`insert into kintsugi.setting (name, body)
        select 'y', '1'::json from fence returning 1 as v`;
      await assert.rejects(write(db, 1, [insert]), { code: 'KIN_STORE_FENCED' });
      const rows = await sql`select * from kintsugi.setting`.execute(db);
      assert.deepEqual(rows.rows, []);
    } finally {
      await db.destroy();
      await pglite.close();
    }
  });
});

describe('values and rows', () => {
  test('SC1: undefined survives in a body, null in free data, key order in both', () => {
    const value = { z: 1, a: undefined, list: [{ b: undefined }, 'x'], deep: { c: 0.1 } };
    const back = decode<typeof value>(JSON.parse(encode(value)));
    assert.deepEqual(back, value);
    assert.deepEqual(Object.keys(back), Object.keys(value));
    assert.equal(encodeFree(undefined), null);
    assert.equal(encodeFree(null), 'null');
  });

  test('SC1: what has no JSON form is refused instead of becoming something else', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, new Map(), new Set()]) {
      assert.throws(() => encode({ bad }), /has no JSON form/u);
    }
  });

  test('a failure of the driver becomes a code with a fix; a bug stays what it is', () => {
    const codes: readonly (readonly [string, string])[] = [
      ['53100', 'KIN_STORE_FULL'],
      ['ENOSPC', 'KIN_STORE_FULL'],
      ['XX001', 'KIN_STORE_CORRUPT'],
      ['28P01', 'KIN_STORE_REFUSED'],
      ['ECONNREFUSED', 'KIN_STORE_UNREACHABLE'],
      ['08006', 'KIN_STORE_UNREACHABLE'],
      ['57P01', 'KIN_STORE_UNREACHABLE'],
    ];
    for (const [code, wanted] of codes) {
      const error = Object.assign(new Error('postgres://u:sesame@h/x broke'), { code });
      const known = storeError(error, 'here');
      assert.ok(known instanceof Error && 'code' in known && 'fix' in known);
      assert.equal(known.code, wanted);
      assert.doesNotMatch(known.message, /sesame/u);
    }
    const bug = Object.assign(new Error('syntax error'), { code: '42601' });
    assert.equal(storeError(bug, 'here'), bug);
  });
});
