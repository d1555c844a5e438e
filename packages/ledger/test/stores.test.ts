// Does a log behave the same wherever its bytes live? One suite for every store, then what only a
// database can get wrong: two writers, lost answers, and people with SQL.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { PGlite } from '@electric-sql/pglite';
import { Client } from 'pg';
import {
  LocalStore,
  MemoryFiles,
  PostgresStore,
  exportStatic,
  openLedger,
  verifyConsistency,
  verifyLedgerDir,
  verifyProof,
} from '../src/index.ts';
import type { Ledger, LedgerOptions, RecordStore, SqlClient } from '../src/index.ts';
import { startServer } from '../../../test/store/postgres-server.ts';
import { FakeClock, ORIGIN, SEGMENT_BYTES, bytesOf, refusal, signer } from './support.ts';

interface Place {
  readonly title: string;
  /** Always the same log; a fresh store object each time. */
  store(): RecordStore;
  /** Changes one stored byte behind the ledger's back. */
  damage(index: number, offset: number): Promise<void>;
}

function openAt(place: Place, more: Partial<LedgerOptions> = {}): Promise<Ledger> {
  const { signing: _signing, ...rest } = more;
  return openLedger({
    origin: ORIGIN,
    signer,
    clock: new FakeClock(),
    segmentBytes: SEGMENT_BYTES,
    store: place.store(),
    ...rest,
  });
}

async function fill(ledger: Ledger, count: number): Promise<void> {
  for (let at = 0; at < count; at++) await ledger.record('test.entry', { at });
}

async function contract(place: Place): Promise<void> {
  const first = await openAt(place);
  assert.equal(first.stats().recovery.kind, 'created');
  await fill(first, 20);
  await Promise.all(Array.from({ length: 30 }, (_, at) => first.append(bytesOf(`raw ${at}`))));
  const intent = await first.intent({ kind: 'a.b', subject: 's', detail: null });
  const proof = await intent.receipt.proof();
  const before = first.checkpoint();
  assert.equal((await refusal(openAt(place))).code, 'KIN_LEDGER_LOCKED');
  await first.close();
  const second = await openAt(place, { highWater: { size: before.size, root: before.root } });
  assert.deepEqual(second.stats().recovery, { kind: 'clean' });
  assert.equal(second.openIntents()[0]?.index, intent.index);
  const { bytes } = await second.read(intent.index);
  assert.equal(verifyProof(proof, bytes, signer.vkey).kind, 'valid');
  assert.equal(Buffer.from((await second.read(25)).bytes).toString(), 'raw 4');
  await second.closeIntent(intent.index, { result: 'succeeded', detail: null });
  await fill(second, 30);
  const consistency = await second.consistency(before.size);
  const texts = { before: before.text, after: second.checkpoint().text, proof: consistency };
  assert.equal(verifyConsistency(texts, signer.vkey).kind, 'valid');
  const pruned = await second.prune({ first: 70, basis: 'retention' });
  assert.ok(pruned.kind === 'pruned', JSON.stringify(pruned));
  assert.equal((await refusal(second.read(3))).code, 'KIN_LEDGER_PRUNED');
  await fill(second, 5);
  await second.close();
  const out = new MemoryFiles();
  const exported = await exportStatic('', 'out', signer.vkey, { files: out, store: place.store() });
  const third = await openAt(place);
  assert.deepEqual([third.size, third.stats().first], [exported.size, pruned.first]);
  assert.equal(exported.text, third.checkpoint().text);
  const last = third.size - 1;
  const entry = await third.read(last);
  assert.equal(verifyProof(await third.prove(last), entry.bytes, signer.vkey).kind, 'valid');
  await third.close();
  const check = await verifyLedgerDir('', signer.vkey, { store: place.store() });
  assert.deepEqual([check.kind, check.size, check.first], ['intact', third.size, pruned.first]);
  await place.damage(last - 2, 90);
  const report = await verifyLedgerDir('', signer.vkey, { store: place.store() });
  assert.equal(report.kind === 'damaged' && report.findings[0]?.index, last - 2);
  const refused = await refusal(openAt(place));
  assert.deepEqual([refused.code, refused.place?.index], ['KIN_LEDGER_CORRUPT', last - 2]);
}

function memoryPlace(): Place {
  const files = new MemoryFiles();
  return {
    title: 'segments in a folder',
    store: () => new LocalStore(files, 'ledger'),
    damage: async (index, offset) => {
      const store = new LocalStore(files, 'ledger');
      for await (const piece of store.pieces(0)) {
        if (index < piece.first || index >= piece.next) continue;
        const at = (index - piece.first) * 4096 + offset;
        files.corrupt(`ledger/seg/${piece.file}`, (bytes) => (bytes[at] = (bytes[at] ?? 0) ^ 1));
      }
    },
  };
}

function sqlPlace(client: SqlClient, logId: string): Place {
  return {
    title: `rows of ${logId}`,
    store: () => new PostgresStore({ client, logId }),
    damage: async (index, offset) => {
      const off = 'ALTER TABLE kin_ledger_batch DISABLE TRIGGER USER';
      await client.query(off);
      await client.query(
        `UPDATE kin_ledger_batch SET bytes = set_byte(bytes, $3, get_byte(bytes, $3) # 1)
         WHERE log_id = $1 AND first_index = $2`,
        [logId, index, offset],
      );
      await client.query(off.replace('DISABLE', 'ENABLE'));
    },
  };
}

test('store ST1, ST2, ST3: the contract over segments in a folder', () => contract(memoryPlace()));

describe('rows of PGlite', () => {
  const pglite = new PGlite();
  const client: SqlClient = { query: (text, params) => pglite.query(text, [...(params ?? [])]) };
  after(() => pglite.close());

  test('store ST1, ST2, ST3: the contract over rows', () => contract(sqlPlace(client, 'one')));

  test('postgres schema PQ1, PS2: update, delete, truncate and a new identity fail', async () => {
    const place = sqlPlace(client, 'guard');
    const ledger = await openAt(place);
    await fill(ledger, 3);
    const statements = [
      `UPDATE kin_ledger_batch SET bytes = '\\x00' WHERE log_id = 'guard'`,
      `DELETE FROM kin_ledger_batch WHERE log_id = 'guard'`,
      `DELETE FROM kin_ledger_batch WHERE log_id = 'guard' AND first_index = 0`,
      'TRUNCATE kin_ledger_batch',
      'TRUNCATE kin_ledger_document',
      `DELETE FROM kin_ledger_log WHERE log_id = 'guard'`,
      `UPDATE kin_ledger_log SET epoch = epoch - 1 WHERE log_id = 'guard'`,
      `UPDATE kin_ledger_document SET bytes = '' WHERE log_id = 'guard' AND name = 'log.json'`,
      `DELETE FROM kin_ledger_document WHERE log_id = 'guard' AND name = 'log.json'`,
      `SELECT kin_ledger_remove('guard', 1, 2, false)`,
      `SELECT kin_ledger_remove('guard', 1, 2, true)`,
      `SELECT kin_ledger_remove('guard', 7, 2, false)`,
    ];
    for (const text of statements) await assert.rejects(client.query(text), /./, text);
    await ledger.close();
    const check = await verifyLedgerDir('', signer.vkey, { store: place.store() });
    assert.deepEqual([check.kind, check.size], ['intact', 4]);
  });

  test('postgres PS2: a role of its own can write and prune, and do nothing else', async () => {
    await client.query('CREATE ROLE kin_writer');
    await client.query('GRANT SELECT, INSERT ON kin_ledger_batch TO kin_writer');
    await client.query('GRANT SELECT, INSERT, UPDATE ON kin_ledger_log TO kin_writer');
    await client.query('GRANT SELECT, INSERT, UPDATE, DELETE ON kin_ledger_document TO kin_writer');
    await client.query('SET ROLE kin_writer');
    try {
      const place = sqlPlace(client, 'role');
      const ledger = await openAt(place);
      await fill(ledger, 10);
      assert.equal((await ledger.prune({ first: 5, basis: 'retention' })).kind, 'pruned');
      const texts = [
        `DELETE FROM kin_ledger_batch WHERE log_id = 'role'`,
        `UPDATE kin_ledger_log SET removed_below = 9 WHERE log_id = 'role'`,
        'ALTER TABLE kin_ledger_batch DISABLE TRIGGER USER',
      ];
      for (const text of texts) await assert.rejects(client.query(text), /./, text);
      await ledger.close();
      await (await openAt(place)).close();
    } finally {
      await client.query('RESET ROLE');
    }
  });

  test('postgres PS1: a writer that was replaced adds nothing and publishes nothing', async () => {
    const place = sqlPlace(client, 'fence');
    const ledger = await openAt(place);
    await fill(ledger, 2);
    await client.query(`UPDATE kin_ledger_log SET epoch = epoch + 1 WHERE log_id = 'fence'`);
    assert.equal((await refusal(ledger.record('a', 1))).code, 'KIN_LEDGER_LOCKED');
    assert.equal((await refusal(ledger.record('b', 2))).code, 'KIN_LEDGER_LOCKED');
    assert.equal((await refusal(ledger.publish())).code, 'KIN_LEDGER_SEGMENT_LOST');
    await ledger.close();
    const { rows } = await client.query(
      `SELECT count(*)::int AS n FROM kin_ledger_batch WHERE log_id = 'fence'`,
    );
    assert.equal(rows[0]?.['n'], 3);
  });

  test('postgres PS1: the insert is the compare-and-swap: the second of two loses', async () => {
    const place = sqlPlace(client, 'swap');
    const ledger = await openAt(place);
    await client.query(
      `INSERT INTO kin_ledger_batch (log_id, first_index, epoch, bytes)
       SELECT log_id, 1, epoch, '\\x01' FROM kin_ledger_batch WHERE log_id = 'swap'`,
    );
    assert.equal((await refusal(ledger.record('a', 1))).code, 'KIN_LEDGER_FORKED');
    assert.equal(ledger.stats().state.kind, 'failed');
    await ledger.close();
    assert.equal((await refusal(openAt(place))).code, 'KIN_LEDGER_CORRUPT');
  });

  test('postgres PS3: a lost answer is looked up, no entry doubles or vanishes', async () => {
    let lose: 'no' | 'answer' | 'statement' = 'no';
    const flaky: SqlClient = {
      query: async (text, params) => {
        const isInsert = text.includes('INSERT INTO kin_ledger_batch');
        if (isInsert && lose === 'statement') throw new Error('connection lost before');
        const result = await client.query(text, params);
        if (isInsert && lose === 'answer') throw new Error('connection lost behind');
        return result;
      },
    };
    const place = sqlPlace(flaky, 'lost');
    const ledger = await openAt(place);
    lose = 'answer';
    assert.equal((await ledger.record('a', 1)).index, 1);
    lose = 'statement';
    const error = await refusal(ledger.record('b', 2));
    assert.deepEqual([error.code, error.inLog], ['KIN_LEDGER_POISONED', 'unknown']);
    assert.equal((await refusal(ledger.record('c', 3))).code, 'KIN_LEDGER_POISONED');
    await ledger.close();
    lose = 'no';
    const again = await openAt(place);
    assert.equal(again.size, 2);
    await again.close();
  });

  test('a creation that was interrupted starts anew', async () => {
    let failing = true;
    const flaky: SqlClient = {
      query: (text, params) => {
        const isIdentity = params?.includes('log.json') === true && text.includes('INSERT');
        if (failing && isIdentity) return Promise.reject(new Error('cut off'));
        return client.query(text, params);
      },
    };
    const place = sqlPlace(flaky, 'unborn');
    await assert.rejects(openAt(place));
    failing = false;
    const ledger = await openAt(place);
    assert.deepEqual([ledger.size, ledger.stats().recovery.kind], [1, 'created']);
    await ledger.close();
  });
});

test('a real server: the contract, and two sessions that want one log', async (context) => {
  const answer = await startServer();
  if (answer.kind === 'none') {
    context.skip(answer.reason);
    return;
  }
  const { server } = answer;
  const sessions: Client[] = [];
  context.after(async () => {
    await Promise.allSettled(sessions.map((session) => session.end()));
    await server.end();
  });
  const connectionString = await server.database();
  const connect = async (): Promise<SqlClient> => {
    const session = new Client({ connectionString });
    session.on('error', () => undefined);
    await session.connect();
    sessions.push(session);
    return { query: (text, params) => session.query(text, [...(params ?? [])]) };
  };
  const [one, two] = [await connect(), await connect()];
  await contract(sqlPlace(one, 'contract'));
  const first = await openAt(sqlPlace(one, 'shared'));
  await fill(first, 3);
  assert.equal((await refusal(openAt(sqlPlace(two, 'shared')))).code, 'KIN_LEDGER_LOCKED');
  // The first session dies without a word; its lock goes with it.
  const { rows } = await one.query('SELECT pg_backend_pid() AS pid');
  await two.query('SELECT pg_terminate_backend($1)', [rows[0]?.['pid']]);
  let second: Ledger | undefined;
  // Bounded by the test's own time limit: the server needs a moment to notice.
  while (second === undefined) {
    second = await openAt(sqlPlace(two, 'shared')).catch((cause: unknown) => {
      if (cause instanceof Error && cause.message.includes('another session')) return undefined;
      throw cause;
    });
  }
  assert.equal(second.size, 4);
  const late = await refusal(first.record('late', 1));
  assert.equal(late.code, 'KIN_LEDGER_POISONED');
  await second.record('next', 2);
  assert.equal(second.size, 5);
  await second.close();
});
