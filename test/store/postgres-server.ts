// A real PostgreSQL server for a test: the one of the example, on a fresh folder and a free port,
// with the clinic's roles and schema. KINTSUGI_TEST_DATABASE_URL (a superuser's) names another;
// then only what needs no clinic is tested there.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync } from 'node:fs';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { chooseAccount, prepareHome } from '../../examples/clinic/services/postgres/account.ts';
import { prepareBinaries } from '../../examples/clinic/services/postgres/binaries.ts';
import * as cluster from '../../examples/clinic/services/postgres/cluster.ts';
import { templateOf } from './template.ts';

export interface TestServer {
  /** URL of a superuser for this database. */
  superUrl(database: string): string;
  ownerUrl: string;
  appUrl: string;
  /** A new empty database; answers its superuser's URL. */
  database(): Promise<string>;
  /** As `kill`: cuts it off hard. `resume` starts it again on the same port. */
  interrupt(): Promise<void>;
  resume(): Promise<void>;
  end(): Promise<void>;
}

export type ServerAnswer =
  | { readonly kind: 'server'; readonly server: TestServer }
  | { readonly kind: 'none'; readonly reason: string };

/** `none` with the reason where no server can run (no binary for this platform). */
export async function startServer(): Promise<ServerAnswer> {
  const base = mkdtempSync(join(tmpdir(), 'kintsugi-pg-'));
  chmodSync(base, 0o755);
  try {
    return { kind: 'server', server: await startIn(base) };
  } catch (error) {
    rmSync(base, { recursive: true, force: true });
    const reason = error instanceof Error ? error.message : String(error);
    return { kind: 'none', reason: `no PostgreSQL server here: ${reason}` };
  }
}

async function startIn(base: string): Promise<TestServer> {
  const account = chooseAccount();
  const home = prepareHome(join(base, 'home'), account).path;
  const binaries = prepareBinaries(home, account);
  const port = await freePort();
  const onChild = (): void => undefined;
  const passwords = await makeCluster({ home, account, binaries, port, onChild });
  const { superuser, owner, app } = passwords;
  const options = { home, account, binaries, port, passwords, onChild };
  const data = cluster.dataFolderOf(home);
  let child = cluster.startServer(options, data, port);
  const killNow = (): void => void child.kill('SIGQUIT');
  process.once('exit', killNow);
  await cluster.untilReady(child, options);
  const url = (user: string, password: string, database: string): string =>
    `postgres://${user}:${password}@127.0.0.1:${port}/${database}`;
  const superUrl = (database: string): string => url('clinic_super', superuser, database);
  return {
    superUrl,
    ownerUrl: url('clinic_owner', owner, 'clinic'),
    appUrl: url('clinic_app', app, 'clinic'),
    async database() {
      const name = `test_${randomBytes(6).toString('hex')}`;
      await query(superUrl('postgres'), `create database ${name}`);
      return superUrl(name);
    },
    async interrupt() {
      child.kill('SIGQUIT');
      await once(child, 'exit');
    },
    async resume() {
      child = cluster.startServer(options, data, port);
      await cluster.untilReady(child, options);
    },
    async end() {
      process.removeListener('exit', killNow);
      await cluster.stopServer(child);
      rmSync(home, { recursive: true, force: true });
      rmSync(base, { recursive: true, force: true });
    },
  };
}

/** One that was made for an earlier file of this run, with its passwords, or a new one. */
async function makeCluster(
  options: Omit<cluster.ClusterOptions, 'passwords'>,
): Promise<cluster.Passwords> {
  const own = { superuser: secret(), owner: secret(), app: secret() };
  const data = cluster.dataFolderOf(options.home);
  const template = await templateOf('cluster', async (fresh) => {
    await cluster.createOnce({ ...options, passwords: own });
    mkdirSync(fresh, { mode: 0o700 });
    copyOwned(data, join(fresh, 'data'));
    writeFileSync(join(fresh, 'passwords'), JSON.stringify(own), { mode: 0o600 });
  });
  if (template === undefined) {
    await cluster.createOnce({ ...options, passwords: own });
    return own;
  }
  if (!existsSync(data)) copyOwned(join(template, 'data'), data);
  return JSON.parse(readFileSync(join(template, 'passwords'), 'utf8')) as cluster.Passwords;
}

/** With owners and modes: run by root, the files belong to another user. */
function copyOwned(from: string, to: string): void {
  execFileSync('cp', ['-a', from, to]);
}

export async function query(
  url: string,
  text: string,
  values: readonly unknown[] = [],
): Promise<readonly Record<string, unknown>[]> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5000 });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const result = await client.query<Record<string, unknown>>(text, [...values]);
    return result.rows;
  } finally {
    await client.end();
  }
}

const secret = (): string => randomBytes(12).toString('hex');

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
