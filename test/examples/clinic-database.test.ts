import assert from 'node:assert/strict';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  readdirSync,
} from 'node:fs';
import { lstatSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import {
  canTraverse,
  chooseAccount,
  prepareHome,
} from '../../examples/clinic/services/postgres/account.ts';
import { prepareBinaries } from '../../examples/clinic/services/postgres/binaries.ts';
import { stopOrphan } from '../../examples/clinic/services/postgres/orphan.ts';
import { migrate, MIGRATIONS } from '../../examples/clinic/services/postgres/migrations.ts';
import { freePort, openClinic, openFolder, startProcess, until } from './clinic-processes.ts';
import type { Clinic, Process } from './clinic-processes.ts';

const isRoot = process.geteuid?.() === 0;
const passwords = {
  CLINIC_SUPER_PASSWORD: 'super-password-1',
  CLINIC_OWNER_PASSWORD: 'owner-password-1',
  CLINIC_APP_PASSWORD: 'app-password-1',
};

describe('the database service', () => {
  let clinic: Clinic;
  let database: Process;
  let records: Process;

  before(async () => {
    clinic = await openClinic();
    database = await clinic.startDatabase();
    records = await clinic.startService('records');
    await until('ready', async () => (await ready()) === 200);
  });
  after(() => clinic.end());

  const ready = async (): Promise<number> =>
    (await clinic.call(records, 'records', { path: '/readyz' })).status;
  const list = () =>
    clinic.call(records, 'records', { tenant: 'northside', path: '/records/patients' });
  const postmasterPid = (): number => {
    const file = join(clinic.folder, 'database/pgdata/postmaster.pid');
    return Number(readFileSync(file, 'utf8').split('\n')[0]);
  };
  const serverGone = async (): Promise<void> => {
    assert.equal((await clinic.call(records, 'records', { path: '/healthz' })).status, 200);
    await until('unready', async () => (await ready()) === 503);
    const reply = await list();
    assert.deepEqual([reply.status, reply.headers.get('retry-after')], [503, '1']);
  };
  const serverBack = async (): Promise<void> => {
    await until('ready again', async () => (await ready()) === 200);
    assert.equal((await list()).status, 200);
    assert.equal(records.child.exitCode, null, 'the same process as before');
  };

  it('C2 no password in arguments, log or files that stay', () => {
    const secrets = Object.values(clinic.passwords);
    for (const pid of [database.pid, postmasterPid()]) {
      const path = `/proc/${pid}/cmdline`;
      if (!existsSync(path)) continue;
      const line = readFileSync(path, 'utf8');
      assert.ok(line.length > 0);
      for (const secret of secrets) assert.ok(!line.includes(secret));
    }
    for (const secret of secrets) assert.ok(!database.output().includes(secret));
    assert.ok(database.output().includes('accepting connections'));
    assert.ok(!existsSync(join(clinic.folder, 'database/pgdata.new')));
  });

  it('D2 D3 a clean stop and start of PostgreSQL is survived by the services', async () => {
    assert.equal(await database.stop(), 0);
    await serverGone();
    database = await clinic.startDatabase();
    await serverBack();
  });

  it('D3 PostgreSQL killed: its supervisor says so and exits 70; a start recovers', async () => {
    process.kill(postmasterPid(), 'SIGKILL');
    assert.equal(await database.exit, 70);
    assert.match(database.output(), /PostgreSQL ended by itself \(SIGKILL\)/);
    database = await clinic.startDatabase();
    await serverBack();
  });

  it('O1 O2 its supervisor killed: the orphaned server is stopped, then started anew', async () => {
    const orphan = postmasterPid();
    assert.equal(await database.stop('SIGKILL'), 'SIGKILL');
    process.kill(orphan, 0);
    database = await clinic.startDatabase();
    assert.match(database.output(), /"kind":"stopped"/);
    assert.notEqual(postmasterPid(), orphan);
    await serverBack();
  });

  it('O3 C1 a stale pid of somebody else and an unfinished start are cleared away', async () => {
    assert.equal(await database.stop(), 0);
    const folder = join(clinic.folder, 'database');
    const before = lstatSync(join(folder, 'pgdata/PG_VERSION'));
    writeFileSync(join(folder, 'pgdata/postmaster.pid'), `${process.pid}\n`);
    mkdirSync(join(folder, 'pgdata.new'), { recursive: true });
    database = await clinic.startDatabase();
    assert.match(database.output(), /"kind":"stale"/);
    assert.equal(lstatSync(join(folder, 'pgdata/PG_VERSION')).ino, before.ino, 'same data');
    await serverBack();
  });

  it('B2 migrations run once, and a changed one is refused', async () => {
    const owner = await clinic.connect('clinic_owner');
    assert.deepEqual(await migrate(owner), []);
    const [first] = MIGRATIONS;
    assert.ok(first !== undefined);
    await assert.rejects(migrate(owner, [{ ...first, sql: 'select 1' }]), /changed after/);
    await owner.end();
    const url = `postgres://clinic_owner@127.0.0.1:${clinic.databasePort}/clinic`;
    const env = { DATABASE_URL: url, PGPASSWORD: clinic.passwords.owner };
    const run = startProcess({ script: 'services/migrate.ts', port: 0, env });
    assert.equal(await run.exit, 0, run.output());
    assert.match(run.output(), /up to date/);
  });

  it('C1 C3 other secrets than those it was made with are refused with the fix', async () => {
    assert.equal(await database.stop(), 0);
    const other = startProcess({
      script: 'services/database.ts',
      port: clinic.databasePort,
      env: { ...passwords, CLINIC_DATA: join(clinic.folder, 'database') },
    });
    assert.equal(await other.exit, 78);
    assert.match(other.output(), /Bring the old secrets back/);
    assert.ok(!existsSync(join(clinic.folder, 'database/pgdata/postmaster.pid')), 'left running');
    database = await clinic.startDatabase();
    const owner = await clinic.connect('clinic_owner');
    const { rows } = await owner.query(
      "select name, setting from pg_settings where name in ('fsync', 'synchronous_commit')",
    );
    assert.deepEqual(rows, [
      { name: 'fsync', setting: 'on' },
      { name: 'synchronous_commit', setting: 'on' },
    ]);
    await owner.end();
  });
});

function removedAfter(t: TestContext): string {
  const folder = openFolder();
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const unfinished = (data: string): string | undefined =>
  existsSync(data) ? readdirSync(data).find((name) => name.startsWith('pgdata.new-')) : undefined;

describe('a first start that is cut short', () => {
  it('C1 stopped or killed at any moment, it leaves no process and no half database', async (t) => {
    const folder = removedAfter(t);
    const data = join(folder, 'database');
    const env = { ...passwords, CLINIC_DATA: data };
    const start = (port: number): Process =>
      startProcess({ script: 'services/database.ts', port, env });
    // Asked to stop while initdb works.
    const first = start(await freePort());
    await until('initdb works', () => unfinished(data) !== undefined);
    assert.equal(await first.stop(), 0);
    assert.ok(!existsSync(join(data, 'pgdata')));
    // Killed while the new database is set up: its server lives on, until the next start.
    const second = start(await freePort());
    const orphan = await until('the setup runs', () => {
      const pidFile = join(data, unfinished(data) ?? 'none', 'postmaster.pid');
      const text = existsSync(pidFile) ? readFileSync(pidFile, 'utf8') : '';
      return Number(text.split('\n')[0]) || undefined;
    });
    await second.stop('SIGKILL');
    const third = start(await freePort());
    await until('it is in place', () =>
      third.output().includes('roles and schema are in place'),
    ).catch((error: unknown) => {
      throw new Error(`third start: ${third.output()}`, { cause: error });
    });
    assert.throws(() => process.kill(orphan, 0), { code: 'ESRCH' });
    assert.equal(await third.stop(), 0);
  });
});

describe('where the database may live', () => {
  it('Q1 a missing or refused PostgreSQL is one message with the fix, exit code 78', async (t) => {
    const folder = removedAfter(t);
    const attempt = async (home: string): Promise<string> => {
      const env = { ...passwords, CLINIC_DATA: join(folder, 'data'), CLINIC_POSTGRES_HOME: home };
      const run = startProcess({ script: 'services/database.ts', port: 1, env });
      assert.equal(await run.exit, 78);
      return run.output();
    };
    assert.match(
      await attempt(join(folder, 'absent')),
      /There is no .*"fix":|"fix":.*There is no /,
    );
    mkdirSync(join(folder, 'broken/bin'), { recursive: true });
    writeFileSync(join(folder, 'broken/bin/postgres'), '#!/bin/sh\nexit 126\n', { mode: 0o755 });
    assert.match(await attempt(join(folder, 'broken')), /refuses to run/);
  });

  it('U1 never runs as root', () => {
    const account = chooseAccount();
    assert.notEqual(account.uid, 0);
    assert.equal(account.switched, isRoot);
  });

  it('U2 U3 moves to a private folder of its own, and refuses one that is not', (t) => {
    if (!isRoot) return t.skip('only root hands over to another user');
    const folder = removedAfter(t);
    const account = chooseAccount();
    mkdirSync(join(folder, 'closed'), { mode: 0o700 });
    const wanted = join(folder, 'closed/state/database');
    assert.equal(canTraverse(folder, account), true);
    const home = prepareHome(wanted, account, folder);
    assert.match(home.path, new RegExp(`kintsugi-${account.uid}-[0-9a-f]{12}$`));
    assert.match(home.moved ?? '', /cannot reach/);
    assert.deepEqual(prepareHome(wanted, account, folder), home, 'the same place the next time');
    chmodSync(home.path, 0o755);
    assert.throws(() => prepareHome(wanted, account, folder), /not a private folder/);
    rmSync(home.path, { recursive: true });
    symlinkSync(folder, home.path);
    assert.throws(() => prepareHome(wanted, account, folder), /not a private folder/);
  });

  it('Q2 copies PostgreSQL for a user who cannot reach it, once', (t) => {
    if (!isRoot) return t.skip('only root hands over to another user');
    const folder = removedAfter(t);
    const account = chooseAccount();
    const { path } = prepareHome(join(folder, 'data'), account);
    const origin = join(prepareBinaries(path, account).postgres, '../..');
    const closed = join(folder, 'closed');
    mkdirSync(closed, { mode: 0o700 });
    symlinkSync(origin, join(closed, 'link'));
    for (const part of ['bin', 'lib', 'pg-symlinks.json']) {
      cpSync(join(origin, part), join(closed, 'native', part), { recursive: true });
    }
    const before = process.env['CLINIC_POSTGRES_HOME'];
    try {
      // The goal of a link can be read; what lies below the closed folder itself cannot.
      process.env['CLINIC_POSTGRES_HOME'] = join(closed, 'link');
      assert.equal(prepareBinaries(path, account).copied, false);
      process.env['CLINIC_POSTGRES_HOME'] = join(closed, 'native');
      const copy = prepareBinaries(path, account);
      assert.equal(copy.copied, true);
      const { ino } = lstatSync(copy.postgres);
      assert.equal(lstatSync(prepareBinaries(path, account).postgres).ino, ino, 'not again');
    } finally {
      if (before === undefined) delete process.env['CLINIC_POSTGRES_HOME'];
      else process.env['CLINIC_POSTGRES_HOME'] = before;
    }
  });

  it('O1 without an earlier run there is nothing to stop', async (t) => {
    const folder = removedAfter(t);
    assert.deepEqual(await stopOrphan(folder), { kind: 'none' });
  });
});
