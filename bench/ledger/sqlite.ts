// The peer in the process: an audit table in SQLite, chained by SHA-256, in WAL mode with
// synchronous=FULL, so that a commit is on disk before it is acknowledged.
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { opaqueEntries } from './content.ts';
import type { JobOf, Measured } from './job.ts';
import { drive } from './pace.ts';
import { chained, peerEvents } from './peer-events.ts';
import type { PeerRow } from './peer-events.ts';

export async function runSqlite(job: JobOf<'sqlite'>): Promise<Measured> {
  const database = openTable(join(job.dir, 'audit.db'));
  const rowOf = rowsOf(job.content);
  const insert = database.prepare('INSERT INTO audit (tenant, hash, entry) VALUES (?, ?, ?)');
  let head: Uint8Array = new Uint8Array(32);
  let bytesAll = 0;
  let rows = 0;
  const add = (n: number): void => {
    const { tenant, entry } = rowOf(n);
    head = chained(head, entry);
    insert.run(tenant, head, entry);
    bytesAll += entry.length;
    rows += 1;
  };
  const measured = await drive({
    pace: job.pace,
    write: (n) => {
      if (job.batch === 1) {
        add(n);
        return 1;
      }
      database.exec('BEGIN IMMEDIATE');
      for (let at = 0; at < job.batch; at++) add(n * job.batch + at);
      database.exec('COMMIT');
      return job.batch;
    },
  });
  database.close();
  return { ...measured, entryBytes: bytesAll / rows };
}

function openTable(path: string): DatabaseSync {
  const database = new DatabaseSync(path);
  const mode = database.prepare('PRAGMA journal_mode = WAL').get()?.['journal_mode'];
  database.exec('PRAGMA synchronous = FULL');
  const level = database.prepare('PRAGMA synchronous').get()?.['synchronous'];
  if (mode !== 'wal' || level !== 2) throw new Error(`SQLite: ${String(mode)}, ${String(level)}`);
  database.exec(
    `CREATE TABLE audit (
       seq INTEGER PRIMARY KEY,
       tenant TEXT,
       hash BLOB NOT NULL,
       entry BLOB NOT NULL
     ) STRICT;
     CREATE INDEX audit_of_tenant ON audit (tenant, seq) WHERE tenant IS NOT NULL;`,
  );
  return database;
}

export function rowsOf(
  content: JobOf<'sqlite'>['content'],
): (n: number) => PeerRow | { readonly tenant: null; readonly entry: Uint8Array } {
  if (content === 'events') return peerEvents();
  const entryOf = opaqueEntries();
  return (n) => ({ tenant: null, entry: entryOf(n) });
}
