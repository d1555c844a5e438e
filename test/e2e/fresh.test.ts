// Does the first command on a fresh machine work? A copy of what a clone holds is whole and says
// what it lacks; and `npm start` brings the example up for an ordinary user whose home cannot be
// used.
//
// With KINTSUGI_TEST_FRESH=1 that start happens in the copy, which has no node_modules: it installs
// everything first, from the registry. Otherwise it happens in this repository.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { signalProcess } from '../../src/cli/processes.ts';
import { ownProcesses } from '../../src/cli/up/own.ts';
import { environment, kintsugi, REPOSITORY, run } from './bad/run.ts';
import { freePort, until } from './bad/wait.ts';

const NOBODY = 65_534;
const START_LIMIT_MS = 150_000;
const STOP_LIMIT_MS = 30_000;
const isRoot = process.getuid?.() === 0;
const isFresh = process.env['KINTSUGI_TEST_FRESH'] === '1';
const base = mkdtempSync(join(tmpdir(), 'kintsugi-fresh-'));
chmodSync(base, 0o755);
const clone = join(base, 'clone');
const state = join(base, 'home', 'state');

after(() => {
  for (const own of ownProcesses(state)) signalProcess(own.id, 'SIGKILL');
  rmSync(base, { recursive: true, force: true, maxRetries: 5 });
});

/** What a commit of this tree would hold; undefined where this is no clone. */
async function copyTree(): Promise<readonly string[] | undefined> {
  if (existsSync(clone)) rmSync(clone, { recursive: true });
  // Run by root in the folder of another user, git asks for this.
  const safe = ['-c', `safe.directory=${REPOSITORY}`];
  const args = [...safe, 'ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  const listed = await run('git', args, { cwd: REPOSITORY }).catch(() => undefined);
  if (listed?.code !== 0) return undefined;
  const files = listed.out.split('\0').filter((path) => existsSync(join(REPOSITORY, path)));
  for (const path of files.filter((each) => each !== '')) {
    cpSync(join(REPOSITORY, path), join(clone, path));
  }
  return files;
}

const IMPORT = /^(?:import|export)\b[^;'`]*?\bfrom '(\.[^']+)'/gmu;
const PROGRAM = /^(?:src|packages|bin|scripts|examples)\/.+\.(?:ts|mjs)$/u;
const FILES_MIN = 250;

test('a clone holds every file that its programs import', async (t) => {
  const files = await copyTree();
  if (files === undefined) {
    t.skip('this folder is no git clone');
    return;
  }
  const programs = files.filter((path) => PROGRAM.test(path));
  assert.ok(programs.length >= FILES_MIN, `only ${programs.length} programs were seen`);
  const missing = programs.flatMap((path) =>
    [...readFileSync(join(clone, path), 'utf8').matchAll(IMPORT)]
      .map(([, specifier = '']) => specifier)
      .filter((specifier) => !existsSync(join(clone, dirname(path), specifier)))
      .map((specifier) => `${path}: ${specifier}`),
  );
  assert.deepEqual(missing, []);
});

test('without its packages the command says so, and how to get them', async (t) => {
  if (!existsSync(clone)) {
    t.skip('this folder is no git clone');
    return;
  }
  const launcher = join(clone, 'bin/kintsugi.mjs');
  const ran = await run(process.execPath, [launcher, 'status'], { cwd: clone });
  // The set-up scripts run before anything of Kintsugi does, and have a form of their own.
  assert.match(ran.err, /^error KIN_SETUP_NOT_INSTALLED$/mu);
  assert.match(ran.err, /^ +cause: .+ are not installed in .+clone/mu);
  assert.match(ran.err, /^ +fix: +run "npm install" in .+clone$/mu);
  assert.equal(ran.code, 78);
});

/** Why `npm start` cannot be tried here, or undefined. */
async function obstacle(folder: string): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'looks for leftovers in /proc';
  if ((await run('npm', ['--version']).catch(() => undefined))?.code !== 0) {
    return 'npm is not on the PATH';
  }
  if (isFresh) return existsSync(folder) ? undefined : 'this folder is no git clone';
  if (!existsSync(join(folder, 'node_modules/.kintsugi-stamp'))) {
    return 'node_modules was never prepared: run npm test once';
  }
  if (!isRoot) return undefined;
  const probe = ['-e', `require('node:fs').accessSync(${JSON.stringify(folder)}, 5)`];
  const reached = await run(process.execPath, probe, { uid: NOBODY }).catch(() => undefined);
  return reached?.code === 0 ? undefined : 'uid nobody cannot reach this repository';
}

test('npm start works for an ordinary user without a home; Ctrl-C ends all of it', async (t) => {
  const folder = isFresh ? clone : REPOSITORY;
  const why = await obstacle(folder);
  if (why !== undefined) {
    t.skip(why);
    return;
  }
  mkdirSync(dirname(state));
  if (isRoot) {
    chownSync(dirname(state), NOBODY, NOBODY);
    if (isFresh) assert.equal((await run('chown', ['-R', String(NOBODY), clone])).code, 0);
  }
  const child = spawn('npm', ['start'], {
    cwd: folder,
    // A group of its own: like a terminal, Ctrl-C then reaches npm and all below it.
    detached: true,
    env: environment({
      HOME: '/nonexistent',
      XDG_RUNTIME_DIR: dirname(state),
      KINTSUGI_STATE: state,
      KINTSUGI_GATEWAY_PORT: String(await freePort()),
      KINTSUGI_CONTROL_PORT: String(await freePort()),
    }),
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(isRoot ? { uid: NOBODY, gid: NOBODY } : {}),
  });
  const { pid } = child;
  assert.ok(pid !== undefined);
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const closed = once(child, 'close');
  try {
    const isUp = (): boolean => said.includes('clinic is up after') || child.exitCode !== null;
    await until('the clinic is up', isUp, START_LIMIT_MS).catch(() => undefined);
    assert.match(said, /clinic is up after .+: 4 services, .+ 3 tenants/u, said);
    assert.equal(said.match(/kin_clinic_\w+/gu)?.length, 4, 'three keys, and one in an example');
    if (isRoot)
      assert.equal((await kintsugi(['--state', state, 'status'], { uid: NOBODY })).code, 0);
    process.kill(-pid, 'SIGINT');
    await until('it has stopped', () => said.includes('stopped after'), STOP_LIMIT_MS);
    await closed;
    assert.deepEqual(ownProcesses(state), [], said);
  } finally {
    endGroup(pid);
  }
});

/** Nothing to do when the test went well. */
function endGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // All of it is gone.
  }
}
