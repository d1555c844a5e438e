// Does the test runner (scripts/test.ts, scripts/test/run-file.ts) tell the truth? A runner that
// says "passed" too easily makes every other test worthless.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants, getPriority, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const runner = fileURLToPath(new URL('../../scripts/test.ts', import.meta.url));
const HEAD = "import { test, describe } from 'node:test';\n";
const PASSES = `${HEAD}test('alpha', () => {});\n`;

interface Ran {
  readonly status: number | null;
  readonly said: string;
  readonly last: string;
}

function running(
  files: Readonly<Record<string, string>>,
  check: (ran: Ran, folder: string) => void,
  ...args: readonly string[]
): void {
  const folder = mkdtempSync(join(tmpdir(), 'kintsugi-runner-'));
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    const ended = spawnSync(process.execPath, [runner, '--root', folder, ...args], {
      encoding: 'utf8',
      env: { ...process.env, FOLDER: folder },
    });
    const said = ended.stdout + ended.stderr;
    const last = ended.stdout.trim().split('\n').at(-1) ?? '';
    check({ status: ended.status, said, last }, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

describe('the test runner', () => {
  test('T1: ends with one line of counts and status 0 when everything passes', () =>
    running(
      {
        'test/a.test.ts': PASSES,
        'packages/p/test/b.test.ts': `${HEAD}describe('s', () => {
          test('x', () => {}); test.skip('y', () => {});
        });`,
        'node_modules/c.test.ts': 'throw 1;',
      },
      ({ status, last, said }) => {
        assert.equal(last, '2 passed, 0 failed, 1 skipped', said);
        assert.equal(status, 0);
        assert.equal(said.match(/^\d+ passed, \d+ failed/gm)?.length, 1);
      },
    ));

  test('T1: shows what failed, counts it once, and ends with status 1', () =>
    running(
      {
        'test/a.test.ts': `${HEAD}describe('suite', () => {
            test('bad', () => { throw new Error('boo'); });
          });
          test('outer', async (t) => {
            await t.test('inner', () => { console.log('printed'); throw new Error('wah'); });
          });`,
      },
      ({ status, last, said }) => {
        assert.equal(last, '0 passed, 2 failed');
        assert.equal(status, 1);
        assert.match(said, /FAILED {3}suite › bad\n {6}Error: boo/);
        assert.match(said, /FAILED {3}outer › inner/);
        assert.match(said, /it printed:\n {6}printed/);
      },
    ));

  test('T2: fails when there is nothing to test, or nothing matches', () => {
    running({}, ({ status, last }) => {
      assert.equal(last, '0 passed, 1 failed');
      assert.equal(status, 1);
    });
    running({ 'test/a.test.ts': PASSES }, ({ last }) => assert.match(last, /^0 passed, 1/), 'zzz');
  });

  test('runs only the files that a word names, and the tests that a title names', () => {
    const files = {
      'test/a.test.ts': PASSES,
      'test/b.test.ts': `${PASSES}test('beta', () => {});`,
    };
    running(files, ({ last }) => assert.equal(last, '2 passed, 0 failed'), 'b.test');
    running(files, ({ last }) => assert.equal(last, '1 passed, 0 failed'), '--name', 'beta');
  });

  test('R1: ends a stuck file with the children that it started', () =>
    running(
      {
        'test/a.test.ts': `${HEAD}import { spawn } from 'node:child_process';
          import { writeFileSync } from 'node:fs';
          test('waits for ever', () => new Promise(() => {
            const child = spawn('sleep', ['300'], { stdio: 'inherit', detached: true });
            writeFileSync(process.env.FOLDER + '/pid', String(child.pid));
            setInterval(() => {}, 1000);
          }));`,
        'test/b.test.ts': PASSES,
      },
      ({ status, last, said }, folder) => {
        assert.equal(last, '1 passed, 1 failed', said);
        assert.equal(status, 1);
        assert.match(said, /\(stuck\)\n.*ended after 2 s, last begun: waits for ever/);
        assert.equal(isAlive(Number(readFileSync(join(folder, 'pid'), 'utf8'))), false);
      },
      '--limit-s',
      '2',
    ));

  test('R3: beside one that runs alone, what only computes steps back, and nothing else', () => {
    const tells = `${HEAD}import { getPriority } from 'node:os';
      test('priority ' + getPriority(), () => { console.log('at ' + getPriority()); throw 1; });`;
    running(
      {
        'test/e2e/a.test.ts': `// Runs alone.\n${tells}`,
        'test/loop/b.test.ts': tells,
        'test/c.test.ts': tells,
      },
      ({ said }) => {
        const own = getPriority();
        assert.match(said, new RegExp(`test/c\\.test\\.ts[^]*FAILED {3}priority ${own}\n`, 'u'));
        assert.match(said, new RegExp(`e2e/a\\.test\\.ts[^]*FAILED {3}priority ${own}\n`, 'u'));
        assert.match(
          said,
          new RegExp(`FAILED {3}priority ${constants.priority.PRIORITY_LOW}\n`, 'u'),
        );
      },
    );
  });

  const LIES = {
    'that ends the process in the middle': `${HEAD}test('a', () => process.exit(0));
      test('b', () => {});`,
    'that crashes after its tests': `${HEAD}test('a', () => {});
      process.on('exit', () => { process.exitCode = 3; });`,
    'that does not parse': 'const a: = 3;',
    'that contains no test': 'export {};',
    'whose hook fails': `import { after, test } from 'node:test';
      test('a', () => {}); after(() => { throw new Error('x'); });`,
  };
  for (const [name, text] of Object.entries(LIES))
    test(`R2: fails a file ${name}`, () =>
      running({ 'test/a.test.ts': text }, ({ status, last, said }) => {
        assert.match(last, /^\d passed, 1 failed$/, said);
        assert.equal(status, 1);
      }));

  test('R2: fails a file that leaves a process behind, and ends that process', (context) => {
    if (process.platform !== 'linux') {
      context.skip('needs /proc');
      return;
    }
    const leaves = `${HEAD}import { spawn } from 'node:child_process';
          import { writeFileSync } from 'node:fs';
      test('a', () => {
        const child = spawn('sleep', ['301'], {
          stdio: 'ignore', detached: true, env: { PATH: process.env.PATH } });
        child.unref();
        writeFileSync(process.env.FOLDER + '/pid', String(child.pid));
      });`;
    running({ 'test/a.test.ts': leaves }, ({ last, said }, folder) => {
      assert.equal(last, '1 passed, 1 failed', said);
      assert.match(said, /left processes behind\)\n +\d+ sleep 301/);
      assert.equal(isAlive(Number(readFileSync(join(folder, 'pid'), 'utf8'))), false);
    });
  });

  test('with --times it says what each file used, its children included', (context) => {
    if (process.platform !== 'linux') {
      context.skip('needs /proc');
      return;
    }
    const spin = (ms: number): string =>
      `for (const end = Date.now() + ${ms}; Date.now() < end; ) Math.sqrt(2);`;
    const burns = `import { spawnSync } from 'node:child_process';
      ${HEAD}test('burns', () => {
        spawnSync(process.execPath, ['-e', ${JSON.stringify(spin(800))}]);
      });`;
    running(
      { 'test/idle.test.ts': PASSES, 'test/burns.test.ts': burns },
      ({ said }) => {
        const used = (what: string): number =>
          Number(new RegExp(`^ +([\\d.]+)  ${what}$`, 'mu').exec(said)?.[1]);
        const [idle, burnt] = [used('test/idle\\.test\\.ts'), used('test/burns\\.test\\.ts')];
        assert.ok(burnt > idle, said);
        assert.ok(used('all 2 files') >= burnt, said);
      },
      '--times',
    );
  });

  test('files of one run share a folder for what is made once, and it is gone afterwards', () =>
    running(
      {
        'test/a.test.ts': `import { writeFileSync } from 'node:fs';
          ${HEAD}test('x', () => {
            const { KINTSUGI_TEST_TEMPLATES: dir, FOLDER } = process.env;
            writeFileSync(dir + '/made', '');
            writeFileSync(FOLDER + '/where', dir);
          });`,
      },
      ({ status, said }, folder) => {
        assert.equal(status, 0, said);
        assert.equal(existsSync(readFileSync(join(folder, 'where'), 'utf8')), false);
      },
    ));
});

/** A process that waits to be reaped is not alive. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return !/\) Z /.test(stat);
  } catch {
    return false;
  }
}
