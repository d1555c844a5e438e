// The service `database`: a real PostgreSQL server, supervised like every other service.
//
// It stays in the foreground: SIGTERM becomes PostgreSQL's fast shutdown, and the end of the
// server is the end of this process. Exit codes: 0 asked to stop, 70 the server ended by itself
// (start it again), 78 something must be changed first (the message names the fix).
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger, readEnvironment } from '@kintsugi/sdk';
import { chooseAccount, prepareHome } from './postgres/account.ts';
import { prepareBinaries } from './postgres/binaries.ts';
import * as cluster from './postgres/cluster.ts';
import { stopOrphan } from './postgres/orphan.ts';
import { EXIT_CONFIG, EXIT_LOST, Refusal } from './postgres/refusal.ts';

/** Backends of a server that was killed need a moment to let go of its shared memory. */
const ATTEMPTS_MAX = 5;
const ATTEMPT_PAUSE_MS = 400;

const environment = readEnvironment();
const log = createLogger({ identity: environment.identity });
/** initdb, the server that is being set up, or the server. */
let child: ChildProcess | undefined;
let stopping = false;

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    stopping = true;
    // Without a child we are between two steps; what is unfinished is thrown away next time.
    if (child === undefined || cluster.hasEnded(child)) process.exit(0);
    void cluster.stopServer(child);
  });
}

try {
  await serve();
} catch (error) {
  if (child !== undefined) await cluster.stopServer(child);
  if (stopping) process.exit(0);
  if (error instanceof Refusal) {
    log.error(error.message, { fix: error.fix });
    process.exit(EXIT_CONFIG);
  }
  log.error('the database cannot run', { error });
  process.exit(EXIT_LOST);
}

async function serve(): Promise<never> {
  const startedMs = performance.now();
  const options = prepare();
  const orphan = await stopOrphan(cluster.dataFolderOf(options.home));
  if (orphan.kind !== 'none') log.warn('found the remains of an earlier run', orphan);
  const created = await cluster.createOnce(options);
  const server = await startPatiently(options);
  const readyMs = Math.round(performance.now() - startedMs);
  log.info('accepting connections', { port: options.port, created, readyMs });
  await cluster.ensureRoles(options);
  const applied = await cluster.updateSchema(options);
  log.info('roles and schema are in place', { applied });
  if (!cluster.hasEnded(server)) await once(server, 'exit');
  if (stopping) {
    log.info('stopped');
    process.exit(0);
  }
  log.error(`PostgreSQL ended by itself (${cluster.exitOf(server)})`);
  process.exit(EXIT_LOST);
}

function prepare(): cluster.ClusterOptions {
  const account = chooseAccount();
  const wanted = resolve(process.env['CLINIC_DATA'] ?? '.data/database');
  const home = prepareHome(wanted, account);
  if (home.moved !== undefined) {
    const fix = 'set CLINIC_DATA to a folder that this user can reach';
    log.warn(`data is in ${home.path}`, { reason: home.moved, fix });
  }
  const passwords = {
    superuser: needed('CLINIC_SUPER_PASSWORD'),
    owner: needed('CLINIC_OWNER_PASSWORD'),
    app: needed('CLINIC_APP_PASSWORD'),
  };
  const binaries = prepareBinaries(home.path, account);
  if (binaries.copied) log.info(`PostgreSQL was copied to ${home.path} for ${account.name}`);
  const port = environment.port === 0 ? 5432 : environment.port;
  const onChild = (next: ChildProcess): void => {
    child = next;
    // The step before may have ended well although it was told to stop: nothing new may go on.
    if (stopping) void cluster.stopServer(next);
  };
  return { home: home.path, account, binaries, port, passwords, onChild };
}

async function startPatiently(options: cluster.ClusterOptions): Promise<ChildProcess> {
  for (let attempt = 1; ; attempt += 1) {
    const next = cluster.startServer(options, cluster.dataFolderOf(options.home), options.port);
    try {
      await cluster.untilReady(next, options);
      return next;
    } catch (error) {
      if (!cluster.hasEnded(next) || stopping || attempt === ATTEMPTS_MAX) throw error;
    }
    await sleep(ATTEMPT_PAUSE_MS);
  }
}

function needed(name: string): string {
  const value = process.env[name];
  if (value !== undefined && value !== '') return value;
  throw new Refusal(`${name} is not set.`, 'Set it, or start the example with Kintsugi.');
}
