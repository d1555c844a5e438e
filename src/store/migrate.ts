// Is the schema the one that this version knows, and if it is older, how does it get there?
//
//   MG1. Migrations only go forward, each runs once, all of one start are durable together.
//   MG2. A schema of a newer version is left alone: `KIN_STORE_NEWER`.
import { sql } from 'kysely';
import { Migrator } from 'kysely/migration';
import type { Migration } from 'kysely/migration';
import { KinError, messageOf } from '../model/errors.ts';
import type { Db } from './guard.ts';
import * as journal from './migrations/001-journal.ts';
import * as tenantHold from './migrations/002-tenant-hold.ts';

/** In order; a name is for ever. */
const MIGRATIONS: Readonly<Record<string, Migration>> = {
  '001-journal': { up: journal.up },
  '002-tenant-hold': { up: tenantHold.up },
};

export async function migrate(db: Db, where: string): Promise<void> {
  const applied = await appliedNames(db);
  const newer = applied.filter((name) => MIGRATIONS[name] === undefined);
  if (newer.length > 0) {
    throw new KinError(
      'KIN_STORE_NEWER',
      `the store ${where} was written by a newer version (its schema has ${newer.join(', ')})`,
      'Start that version or a later one. Nothing was changed.',
    );
  }
  if (applied.length === Object.keys(MIGRATIONS).length) return;
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => ({ ...MIGRATIONS }) },
    migrationTableSchema: 'kintsugi',
    migrationTableName: 'migration',
    migrationLockTableName: 'migration_lock',
  });
  const { error } = await migrator.migrateToLatest();
  if (error instanceof Error) throw error;
  if (error !== undefined) throw new Error(messageOf(error));
}

async function appliedNames(db: Db): Promise<readonly string[]> {
  const found = await sql<{ there: boolean }>`
    select to_regclass('kintsugi.migration') is not null as there`.execute(db);
  if (found.rows[0]?.there !== true) return [];
  const names = await sql<{ name: string }>`
    select name from kintsugi.migration order by name limit 10000`.execute(db);
  return names.rows.map((row) => row.name);
}
