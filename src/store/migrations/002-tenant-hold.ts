// Whole tenants that an operator holds to less: one row each.
import { sql } from 'kysely';
import type { Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create table kintsugi.tenant_hold (
     id text primary key, ord bigint generated always as identity, body json not null)`.execute(db);
}
