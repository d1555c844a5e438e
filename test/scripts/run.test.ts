// Does the pinned Node really get the work? These are the promises of bin/pinned-node.mjs and of
// the two scripts that use it (scripts/run.mjs, bin/kintsugi.mjs).

import assert from 'node:assert/strict';
import { type ChildProcess, fork, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const RUN = join(repository, 'scripts/run.mjs');
const ECHO = `console.log(JSON.stringify({ node: process.versions.node, args: process.argv.slice(2),
  cache: process.env.NODE_COMPILE_CACHE, pid: process.pid }));
process.exitCode = 7;`;
/** Counts what arrives, and ends itself a little after the first. */
const SIGNALS = `let n = 0;
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => {
  n++;
  setTimeout(() => { console.log(signal + ' ' + n); process.exit(9); }, 200);
});
setInterval(() => {}, 1000);
console.log('ready');`;

async function inFolder(check: (folder: string) => Promise<void> | void): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'kintsugi-run-'));
  try {
    await check(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function file(folder: string, text: string): string {
  const path = join(folder, 'x.ts');
  writeFileSync(path, text);
  return path;
}

describe('run.mjs', () => {
  test('N1, N2: runs TypeScript on Node 26 and passes arguments and the exit code on', () =>
    inFolder((folder) => {
      const ended = spawnSync(process.execPath, [RUN, file(folder, ECHO), 'a b', '--c=$d', ''], {
        encoding: 'utf8',
      });
      assert.equal(ended.status, 7, ended.stderr);
      const said = JSON.parse(ended.stdout);
      assert.match(said.node, /^26\./);
      assert.deepEqual(said.args, ['a b', '--c=$d', '']);
      assert.equal(ended.stderr, '');
    }));

  test('N2: becomes the program, so that a signal to it reaches the program once', () =>
    inFolder(async (folder) => {
      const child = spawn(process.execPath, [RUN, file(folder, SIGNALS)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      assert.deepEqual(await signalled(child, 'SIGINT'), { status: 9, last: 'SIGINT 1' });
    }));

  test('N2: as a parent (an older Node, an IPC channel) passes a signal on once', () =>
    inFolder(async (folder) => {
      const child = fork(RUN, [file(folder, SIGNALS)], {
        stdio: ['ignore', 'pipe', 'ignore', 'ipc'],
        execArgv: [],
      });
      assert.deepEqual(await signalled(child, 'SIGTERM'), { status: 9, last: 'SIGTERM 1' });
    }));

  test('N2: dies of the signal that its program died of', () =>
    inFolder(async (folder) => {
      const child = fork(RUN, [file(folder, 'process.kill(process.pid, "SIGKILL");')], {
        stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
        execArgv: [],
      });
      const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
      assert.deepEqual([code, signal], [null, 'SIGKILL']);
    }));

  test('N4: works where no cache can be kept, and respects one that is set', () =>
    inFolder((folder) => {
      const path = file(folder, ECHO);
      const env = { ...process.env, NODE_COMPILE_CACHE: join(folder, 'mine') };
      const ended = spawnSync(process.execPath, [RUN, path], { encoding: 'utf8', env });
      assert.equal(JSON.parse(ended.stdout).cache, join(folder, 'mine'));
      const without: NodeJS.ProcessEnv = { ...process.env, NODE_DISABLE_COMPILE_CACHE: '1' };
      delete without['NODE_COMPILE_CACHE'];
      const bare = spawnSync(process.execPath, [RUN, path], { encoding: 'utf8', env: without });
      assert.equal(JSON.parse(bare.stdout).cache, undefined);
    }));

  test('says how it is used', () => {
    const ended = spawnSync(process.execPath, [RUN], { encoding: 'utf8' });
    assert.equal(ended.status, 64);
    assert.match(ended.stderr, /usage:/);
  });
});

async function signalled(
  child: ChildProcess,
  signal: NodeJS.Signals,
): Promise<{ readonly status: number | null; readonly last: string }> {
  let said = '';
  const { promise: ready, resolve } = Promise.withResolvers<void>();
  child.stdout?.on('data', (chunk: Buffer) => {
    said += chunk.toString('utf8');
    if (said.includes('ready')) resolve();
  });
  await ready;
  child.kill(signal);
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, last: said.trim().split('\n').at(-1) ?? '' };
}

describe('kintsugi.mjs', () => {
  test('N3: without node_modules tells to install, with code, cause and fix', () =>
    inFolder((folder) => {
      cpSync(join(repository, 'bin'), join(folder, 'bin'), { recursive: true });
      mkdirSync(join(folder, 'src/cli'), { recursive: true });
      writeFileSync(join(folder, 'src/cli/kintsugi.ts'), ECHO);
      const ended = spawnSync(process.execPath, [join(folder, 'bin/kintsugi.mjs'), 'status'], {
        encoding: 'utf8',
      });
      assert.equal(ended.status, 78);
      assert.match(
        ended.stderr,
        /error KIN_SETUP_NOT_INSTALLED\n {2}cause: .*\n {2}fix: {3}run "npm install"/,
      );
    }));

  test('N1: runs the source in a clone, the built file in a package, through a link too', () =>
    inFolder((folder) => {
      cpSync(join(repository, 'bin'), join(folder, 'bin'), { recursive: true });
      mkdirSync(join(folder, 'dist/cli'), { recursive: true });
      writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
      writeFileSync(join(folder, 'dist/cli/kintsugi.js'), `console.log('built'); ${ECHO}`);
      symlinkSync(join(folder, 'bin/kintsugi.mjs'), join(folder, 'kintsugi'));
      const built = spawnSync(process.execPath, [join(folder, 'kintsugi'), 'x'], {
        encoding: 'utf8',
      });
      assert.match(built.stdout, /^built\n/, built.stderr);
      assert.equal(built.status, 7);
    }));
});

describe('a Node that cannot be started', () => {
  const code = (folder: string, text: string, mode: number): string => {
    const path = join(folder, 'node');
    writeFileSync(path, text, { mode });
    const url = pathToFileURL(join(repository, 'bin/pinned-node.mjs')).href;
    const script = `import { whyUnusable } from ${JSON.stringify(url)};
      const problem = whyUnusable(${JSON.stringify(path)});
      console.log(problem?.code, problem?.fix.length > 10);`;
    const args = ['--input-type=module', '-e', script];
    return spawnSync(process.execPath, args, { encoding: 'utf8' }).stdout.trim();
  };
  const cases = {
    'KIN_SETUP_LIBC true': ['its loader is missing, as on Alpine', '#!/no/such/loader\n', 0o755],
    'KIN_SETUP_NOEXEC true': ['it may not be executed', '#!/bin/sh\n', 0o644],
    'KIN_SETUP_NODE_BROKEN true': ['it is another program', '#!/bin/sh\necho hello\n', 0o755],
    'undefined false': ['(it can)', '#!/bin/sh\necho v26.1.2\n', 0o755],
  } as const;
  for (const [wanted, [name, text, mode]] of Object.entries(cases))
    test(`N3: is explained when ${name}`, () =>
      inFolder((folder) => assert.equal(code(folder, text, mode), wanted)));

  test('N3: is explained when its C library is too old', () =>
    inFolder((folder) => {
      const text = "#!/bin/sh\necho 'x: version `GLIBC_2.28 not found' >&2\nexit 1\n";
      assert.equal(code(folder, text, 0o755), 'KIN_SETUP_LIBC true');
    }));
});
