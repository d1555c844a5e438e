// How does a PostgreSQL server come to life on a folder? First time: made beside, set up on a
// private port, shut down cleanly, then moved into place in one step. Later: just started.
//
// C1. A data folder exists whole or not at all: a first start that is cut short leaves nothing
//     that a second one would take for a database.
// C2. Passwords are never in an argument, a log or a file that stays: initdb reads a 0600 file
//     that is removed, SQL travels over the connection, and statements are not logged.
// C3. Durability is on (fsync, synchronous commit); only initdb's own files are synced at its end.
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, lchownSync, renameSync, rmSync, writeFileSync, readdirSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import type { Account } from './account.ts';
import { identityOf, type Binaries } from './binaries.ts';
import { migrate } from './migrations.ts';
import { stopOrphan } from './orphan.ts';
import { Refusal } from './refusal.ts';
import { seed } from './seed.ts';

export interface ClusterOptions {
  readonly home: string;
  readonly account: Account;
  readonly binaries: Binaries;
  readonly port: number;
  readonly passwords: Passwords;
  /** Called with each process that is started, so that a signal can end it. */
  readonly onChild: (child: ChildProcess) => void;
}

export interface Passwords {
  readonly superuser: string;
  readonly owner: string;
  readonly app: string;
}

const SUPERUSER = 'clinic_super';
const DATABASE = 'clinic';
const START_MS = 30_000;
const STOP_MS = 20_000;

const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  password_encryption: 'scram-sha-256',
  max_connections: '200',
  shared_buffers: '48MB',
  fsync: 'on',
  synchronous_commit: 'on',
  // Replication is not part of this example; without it less is written.
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '256MB',
  io_method: 'sync',
  max_parallel_workers_per_gather: '0',
  jit: 'off',
  // Statements and the DETAIL of errors hold patients' data: keep them out of the log.
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
  log_line_prefix: '%m [%p] ',
  log_checkpoints: 'off',
  timezone: 'UTC',
};

export const dataFolderOf = (home: string): string => join(home, 'pgdata');

/** Makes the database if there is none. Returns whether it did. */
export async function createOnce(options: ClusterOptions): Promise<boolean> {
  const target = dataFolderOf(options.home);
  if (existsSync(target)) return false;
  await clearUnfinished(options.home);
  // A name of its own: an initdb whose supervisor was killed may still be writing to the last one.
  const unfinished = `${target}.new-${randomBytes(4).toString('hex')}`;
  await runInitdb(options, unfinished);
  const port = await freePort();
  const server = startServer(options, unfinished, port);
  try {
    await untilReady(server, { ...options, port });
    await ensureRoles({ ...options, port });
    await updateSchema({ ...options, port });
  } finally {
    await stopServer(server);
  }
  await run(options, options.binaries.initdb, ['--sync-only', '-D', unfinished]);
  renameSync(unfinished, target);
  return true;
}

/** What an earlier start left behind; one that is still being written goes at a later start. */
async function clearUnfinished(home: string): Promise<void> {
  for (const name of readdirSync(home).filter((entry) => entry.startsWith('pgdata.new-'))) {
    const folder = join(home, name);
    await stopOrphan(folder);
    try {
      rmSync(folder, { recursive: true, force: true });
    } catch {
      // Somebody writes in it yet.
    }
  }
}

async function runInitdb(options: ClusterOptions, folder: string): Promise<void> {
  const passwordFile = join(options.home, `initdb-${randomBytes(6).toString('hex')}`);
  writeFileSync(passwordFile, `${options.passwords.superuser}\n`, { mode: 0o600, flag: 'wx' });
  try {
    const { account } = options;
    if (account.switched) lchownSync(passwordFile, account.uid, account.gid);
    await run(options, options.binaries.initdb, [
      `--pgdata=${folder}`,
      `--username=${SUPERUSER}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      '--data-checksums',
      '--no-instructions',
      '--no-sync',
    ]);
  } finally {
    rmSync(passwordFile, { force: true });
  }
  writeFileSync(
    join(folder, 'pg_hba.conf'),
    '# Over the loopback with a password, and in no other way.\n' +
      'host all all 127.0.0.1/32 scram-sha-256\n',
  );
}

/** Starts the server in the foreground; its log is our stderr, so that it survives us. */
export function startServer(
  options: Pick<ClusterOptions, 'account' | 'binaries' | 'onChild'>,
  dataFolder: string,
  port: number,
): ChildProcess {
  const settings = Object.entries({ ...SETTINGS, port: String(port) });
  const flags = settings.flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const server = spawn(options.binaries.postgres, ['-D', dataFolder, ...flags], {
    ...identityOf(options.account),
    cwd: dataFolder,
    env: options.binaries.env,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  options.onChild(server);
  return server;
}

/** Resolves as soon as the superuser can log in; rejects if the server ends before. */
export async function untilReady(
  server: ChildProcess,
  options: Pick<ClusterOptions, 'port' | 'passwords'>,
): Promise<void> {
  const deadlineMs = performance.now() + START_MS;
  let last: unknown;
  while (performance.now() < deadlineMs) {
    if (hasEnded(server)) {
      throw new Error(`PostgreSQL ended during its start (${exitOf(server)}); its log is above.`);
    }
    try {
      return await withClient(options, SUPERUSER, options.passwords.superuser, async (client) => {
        await client.query('select 1');
      });
    } catch (error) {
      last = error;
      if (isWrongPassword(error)) throw wrongPassword(error);
    }
    await sleep(20);
  }
  throw new Error('PostgreSQL does not accept connections.', { cause: last });
}

/** Creates what is missing and sets the passwords from the environment; repeating is harmless. */
export async function ensureRoles(
  options: Pick<ClusterOptions, 'port' | 'passwords'>,
): Promise<void> {
  const { superuser, owner, app } = options.passwords;
  await withClient(
    options,
    SUPERUSER,
    superuser,
    async (client) => {
      for (const [role, password] of [
        ['clinic_owner', owner],
        ['clinic_app', app],
      ] as const) {
        const { rows } = await client.query('select 1 from pg_roles where rolname = $1', [role]);
        const verb = rows.length === 0 ? 'create' : 'alter';
        await client.query(
          `${verb} role ${role} login nosuperuser nocreatedb nocreaterole nobypassrls ` +
            `noreplication password ${client.escapeLiteral(password)}`,
        );
      }
      const { rows } = await client.query('select 1 from pg_database where datname = $1', [
        DATABASE,
      ]);
      if (rows.length > 0) return;
      await client.query(`create database ${DATABASE} owner clinic_owner`);
      await client.query(`revoke all on database ${DATABASE} from public`);
      await client.query(`grant connect on database ${DATABASE} to clinic_app`);
    },
    'postgres',
  );
}

/** Migrations and demo data, as the owner. Returns the versions that were applied. */
export async function updateSchema(
  options: Pick<ClusterOptions, 'port' | 'passwords'>,
): Promise<readonly number[]> {
  const { owner } = options.passwords;
  return withClient(options, 'clinic_owner', owner, async (client) => {
    const applied = await migrate(client);
    await seed(client);
    return applied;
  });
}

/** SIGINT is PostgreSQL's fast shutdown: connections are cut, data is flushed. */
export async function stopServer(server: ChildProcess): Promise<void> {
  if (hasEnded(server)) return;
  const exited = once(server, 'exit');
  // A stopped process (SIGSTOP) would not hear the rest.
  server.kill('SIGCONT');
  server.kill('SIGINT');
  const hurry = setTimeout(() => server.kill('SIGQUIT'), STOP_MS);
  await exited;
  clearTimeout(hurry);
}

export function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

export function exitOf(server: ChildProcess): string {
  return server.signalCode ?? `exit code ${server.exitCode}`;
}

async function run(
  options: ClusterOptions,
  program: string,
  args: readonly string[],
): Promise<void> {
  const child = spawn(program, args, {
    ...identityOf(options.account),
    cwd: options.home,
    env: options.binaries.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  options.onChild(child);
  const output: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => void output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => void output.push(chunk));
  await once(child, 'close');
  if (child.exitCode === 0) return;
  const tail = Buffer.concat(output).toString('utf8').trim().slice(-500);
  throw new Refusal(
    `initdb failed (${exitOf(child)}): ${tail}`,
    'Free some space or choose another folder by CLINIC_DATA; the text above names the cause.',
  );
}

async function withClient<T>(
  options: { readonly port: number },
  user: string,
  password: string,
  work: (client: Client) => Promise<T>,
  database = user === SUPERUSER ? 'postgres' : DATABASE,
): Promise<T> {
  const { port } = options;
  const client = new Client({
    host: '127.0.0.1',
    port,
    user,
    password,
    database,
    connectionTimeoutMillis: 2_000,
  });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const isWrongPassword = (error: unknown): boolean =>
  error instanceof Error && Reflect.get(error, 'code') === '28P01';

const wrongPassword = (cause: unknown): Refusal =>
  new Refusal(
    'The database was made with another superuser password than CLINIC_SUPER_PASSWORD.',
    'Bring the old secrets back, or remove the data folder to start with an empty database.',
    { cause },
  );

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
