// The ledger of a controller in PostgreSQL instead of its folder: the same evidence, a second
// writer refused, and a start that says what is wrong. Covers src/main/ledger.ts.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Client } from 'pg';
import { openLedgerIn } from '../../src/main/ledger.ts';
import { startServer } from '../store/postgres-server.ts';

const base = mkdtempSync(join(tmpdir(), 'kin-ledger-db-'));
const answer = await startServer();
after(async () => {
  if (answer.kind === 'server') await answer.server.end();
  rmSync(base, { recursive: true, force: true });
});
const skip = answer.kind === 'server' ? false : answer.reason;
const person = { subject: 'user:ann', fields: { actor: 'user:ann' } };
const TERMS = { deadlineMs: 60_000, level: 'durable', tenant: undefined } as const;

test(
  'ML1: the log is in the database, private fields in the folder; no second writer',
  { skip },
  async () => {
    assert.ok(answer.kind === 'server');
    const databaseUrl = await answer.server.database();
    const dir = join(base, 'one');
    const first = await openLedgerIn(dir, 'wired', undefined, { databaseUrl });
    const intent = await first.ledger.intent('replica:a-1', { run: 'r' }, TERMS);
    const scope = { tenant: 'north', private: [person] };
    await first.evidence.record('service.audit', { action: 'patient.read' }, { scope });
    await assert.rejects(openLedgerIn(join(base, 'two'), 'wired', undefined, { databaseUrl }), {
      code: 'KIN_LEDGER_LOCKED',
    });
    await first.ledger.close();
    assert.ok(!readdirSync(join(dir, 'log')).includes('seg'));
    const second = await openLedgerIn(dir, 'wired', undefined, { databaseUrl });
    assert.deepEqual(
      second.ledger.openIntents().map(({ index }) => index),
      [intent.index],
    );
    const [, entry] = await second.evidence.tenantEntries('north', 0, 10);
    const [field] = await second.evidence.privacy.reveal(entry?.bytes ?? new Uint8Array(0));
    assert.ok(field?.kind === 'shown' && field.value === 'user:ann');
    const client = new Client({ connectionString: databaseUrl });
    await client.connect();
    await assert.rejects(client.query('delete from kin_ledger_batch'));
    await client.end();
    await second.ledger.close();
  },
);

test('a database that is not there is said with its fix, without the password', async () => {
  const databaseUrl = 'postgres://kin:hush-hush@127.0.0.1:1/none';
  await assert.rejects(
    openLedgerIn(join(base, 'three'), 'wired', undefined, { databaseUrl }),
    (error) => {
      assert.ok(error instanceof Error && 'code' in error);
      assert.equal(error.code, 'KIN_STORE_UNREACHABLE');
      assert.ok(!error.message.includes('hush-hush'));
      return true;
    },
  );
});
