// Brings the schema of an external PostgreSQL up to date:
//   DATABASE_URL=postgres://owner@host/clinic PGPASSWORD=… node services/migrate.ts
// The role in the URL owns the tables. The role `clinic_app` must exist; if the owner may create
// roles and CLINIC_APP_PASSWORD is set, it is created here.
import { Client } from 'pg';
import { migrate } from './postgres/migrations.ts';
import { EXIT_CONFIG } from './postgres/refusal.ts';
import { seed } from './postgres/seed.ts';

const connectionString = process.env['DATABASE_URL'];
if (connectionString === undefined || connectionString === '') {
  console.error('DATABASE_URL is not set. Set it to the database to migrate, as its owner.');
  process.exit(EXIT_CONFIG);
}
const client = new Client({ connectionString, connectionTimeoutMillis: 5_000 });
await client.connect();
try {
  const { rows } = await client.query("select 1 from pg_roles where rolname = 'clinic_app'");
  if (rows.length === 0) await createAppRole();
  const applied = await migrate(client);
  if (process.env['CLINIC_SEED'] === '1') await seed(client);
  console.log(applied.length === 0 ? 'up to date' : `applied ${applied.join(', ')}`);
} finally {
  await client.end();
}

async function createAppRole(): Promise<void> {
  const password = process.env['CLINIC_APP_PASSWORD'];
  if (password === undefined || password === '') {
    console.error('The role clinic_app is missing. Create it, or set CLINIC_APP_PASSWORD.');
    process.exit(EXIT_CONFIG);
  }
  await client.query(
    'create role clinic_app login nosuperuser nocreatedb nocreaterole nobypassrls ' +
      `password ${client.escapeLiteral(password)}`,
  );
}
