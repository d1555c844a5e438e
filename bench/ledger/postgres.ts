// The peer that is a server: an audit table in PostgreSQL whose rows are chained by SHA-256. The
// row with the chain's head is what every writer has to lock until its commit is on disk.
import { Client } from 'pg';
import { statOf } from '../heal/processes.ts';
import type { JobOf, Measured } from './job.ts';
import { drive } from './pace.ts';
import { chained } from './peer-events.ts';
import { rowsOf } from './sqlite.ts';

const SCHEMA = `
  CREATE TABLE audit_head (id boolean PRIMARY KEY, seq bigint NOT NULL, hash bytea NOT NULL);
  INSERT INTO audit_head VALUES (true, 0, sha256('start'));
  CREATE TABLE audit (
    seq bigint PRIMARY KEY, tenant text, hash bytea NOT NULL, entry bytea NOT NULL
  );
  CREATE INDEX audit_of_tenant ON audit (tenant, seq) WHERE tenant IS NOT NULL;`;

/** One round trip for an entry: the server chains it. */
const ADD_ONE = `
  WITH head AS (
    UPDATE audit_head SET seq = seq + 1, hash = sha256(hash || $2::bytea) RETURNING seq, hash
  )
  INSERT INTO audit (seq, tenant, hash, entry) SELECT seq, $1, hash, $2 FROM head`;

const LOCK = 'SELECT seq::float8 AS seq, hash FROM audit_head FOR UPDATE';
const MOVE = 'UPDATE audit_head SET seq = $1, hash = $2';
const ADD_MANY = `
  INSERT INTO audit (seq, tenant, hash, entry)
  SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[])`;

export async function runPostgres(job: JobOf<'postgres'>): Promise<Measured> {
  const clients = await Promise.all(Array.from({ length: job.pace.writers }, () => join(job.url)));
  const [first] = clients;
  if (first === undefined) throw new Error('no connection');
  await checkDurability(first);
  await first.query(SCHEMA);
  const pids = await serverPids(first);
  const rowOf = rowsOf(job.content);
  const entryBytes = rowOf(0).entry.length;
  const measured = await drive({
    pace: job.pace,
    elsewhereMs: () => pids.reduce((sum, pid) => sum + (statOf(pid)?.cpuMs ?? 0), 0),
    write: async (n, writer) => {
      const client = clients[writer] ?? first;
      if (job.batch === 1) {
        const { tenant, entry } = rowOf(n);
        const values = [tenant, asBuffer(entry)];
        await client.query({ name: 'add-one', text: ADD_ONE, values });
        return 1;
      }
      const rows = Array.from({ length: job.batch }, (_, at) => rowOf(n * job.batch + at));
      await addMany(client, rows);
      return job.batch;
    },
  });
  await checkChain(first);
  await Promise.all(clients.map((client) => client.end()));
  return { ...measured, entryBytes };
}

async function join(url: string): Promise<Client> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

async function checkDurability(client: Client): Promise<void> {
  for (const name of ['fsync', 'synchronous_commit', 'full_page_writes']) {
    const { rows } = await client.query<Record<string, string>>(`SHOW ${name}`);
    if (rows[0]?.[name] !== 'on') throw new Error(`PostgreSQL: ${name} is not on`);
  }
}

/** All processes of the server that can work for us; the /proc of this machine tells their time. */
async function serverPids(client: Client): Promise<readonly number[]> {
  const { rows } = await client.query<{ pid: number }>('SELECT pid FROM pg_stat_activity');
  return rows.map(({ pid }) => pid);
}

async function addMany(
  client: Client,
  rows: readonly { readonly tenant: string | null; readonly entry: Uint8Array }[],
): Promise<void> {
  await client.query('BEGIN');
  const locked = await client.query<{ seq: number; hash: Buffer }>({ name: 'lock', text: LOCK });
  let { seq, hash } = locked.rows[0] ?? { seq: 0, hash: Buffer.alloc(32) };
  const columns: [number[], (string | null)[], Buffer[], Buffer[]] = [[], [], [], []];
  for (const { tenant, entry } of rows) {
    seq += 1;
    hash = chained(hash, entry);
    columns[0].push(seq);
    columns[1].push(tenant);
    columns[2].push(hash);
    columns[3].push(asBuffer(entry));
  }
  await client.query({ name: 'add-many', text: ADD_MANY, values: columns });
  await client.query({ name: 'move', text: MOVE, values: [seq, hash] });
  await client.query('COMMIT');
}

/** A chain with gaps, or with links that do not hold, would be a cheaper one. */
async function checkChain(client: Client): Promise<void> {
  const { rows } = await client.query<{ head: string; rows: string; broken: string }>(
    `SELECT (SELECT seq FROM audit_head) AS head, count(*) AS rows,
       count(*) FILTER (WHERE hash <> sha256(before || entry)) AS broken
     FROM (SELECT hash, entry,
       coalesce(lag(hash) OVER (ORDER BY seq), sha256('start')) AS before FROM audit) AS chain`,
  );
  const [found] = rows;
  if (found?.head === found?.rows && found?.broken === '0') return;
  throw new Error(`PostgreSQL: the chain is broken: ${JSON.stringify(found)}`);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
