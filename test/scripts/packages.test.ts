// Can others install what `npm run build` makes? The tarballs of the ledger and the sdk are
// installed into an empty folder without a network, and run as the plain JavaScript that they are.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const repository = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
const out = mkdtempSync(join(tmpdir(), 'kintsugi-build-'));
after(() => rmSync(out, { recursive: true, force: true }));

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly said: string;
}

function run(file: string, args: readonly string[], cwd: string): Ran {
  const env: NodeJS.ProcessEnv = { ...process.env, npm_config_cache: join(out, 'npm-cache') };
  const ended = spawnSync(file, [...args], { cwd, env, encoding: 'utf8' });
  return { status: ended.status, stdout: ended.stdout, said: `${ended.stdout}${ended.stderr}` };
}

function tarball(name: string): string {
  const file = readdirSync(out).find((entry) => new RegExp(`^${name}-\\d.*\\.tgz$`).test(entry));
  assert.ok(file !== undefined, `${name} is among ${readdirSync(out).join(', ')}`);
  return join(out, file);
}

function contents(name: string): readonly string[] {
  const { stdout } = run('tar', ['-tzf', tarball(name)], out);
  return stdout
    .trim()
    .split('\n')
    .map((path) => path.replace(/^package\//, ''));
}

function unpack(name: string, into: string): string {
  mkdirSync(into, { recursive: true });
  const { status, said } = run('tar', ['-xzf', tarball(name), '-C', into], out);
  assert.equal(status, 0, said);
  return join(into, 'package');
}

function build(...names: readonly string[]): void {
  const args = ['scripts/build.ts', '--out', out, ...names];
  const { status, said } = run(process.execPath, args, repository);
  assert.equal(status, 0, said);
}

describe('the built libraries', () => {
  before(() => build('ledger', 'sdk'));

  for (const name of ['ledger', 'sdk'])
    test(`B1: @kintsugi/${name} installs from its tarball alone, without a network`, () => {
      const folder = join(out, `uses-${name}`);
      mkdirSync(folder);
      writeFileSync(join(folder, 'package.json'), '{"private":true,"type":"module"}');
      const flags = ['--offline', '--ignore-scripts', '--no-audit', '--no-fund'];
      const installed = run('npm', ['install', ...flags, tarball(`kintsugi-${name}`)], folder);
      assert.equal(installed.status, 0, installed.said);
      const script = `import * as all from '@kintsugi/${name}';
        console.log(Object.keys(all).length);`;
      // Type stripping is switched off: what runs is JavaScript, for any Node that has ESM.
      const args = ['--no-strip-types', '--input-type=module', '-e', script];
      const used = run(process.execPath, args, folder);
      assert.equal(used.status, 0, used.said);
      assert.ok(Number(used.stdout) > 0, used.stdout);
    });

  test('B1: every export of a library has its JavaScript and its declarations', () => {
    for (const name of ['kintsugi-ledger', 'kintsugi-sdk']) {
      const folder = unpack(name, join(out, `look-${name}`));
      const json = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
      const paths = Object.values(json.exports as Record<string, Record<string, string>>).flatMap(
        (entry) => Object.values(entry),
      );
      assert.ok(paths.length >= 2);
      for (const path of paths) assert.ok(existsSync(join(folder, path)), `${name} ${path}`);
    }
  });

  test('B1: no library carries source, tests, or the build', () => {
    for (const name of ['kintsugi-ledger', 'kintsugi-sdk']) assertLean(name);
  });
});

function assertLean(name: string): void {
  const paths = contents(name);
  const odd = paths.filter((path) => /(?<!\.d)\.ts$|(^|\/)test\/|tsconfig|\.map$/.test(path));
  assert.deepEqual(odd, [], name);
  for (const needed of ['LICENSE', 'NOTICE', 'package.json'])
    assert.ok(paths.includes(needed), `${name} lacks ${needed}`);
}

describe('the built control plane', () => {
  // Carries the ledger that the libraries' build has left beside it.
  before(() => build('kintsugi'));

  test('B1: carries no source, no tests, and nothing of the build', () => assertLean('kintsugi'));

  test('B2, B3: the control plane carries the ledger, and no Node of its own', () => {
    const folder = unpack('kintsugi', join(out, 'look-kintsugi'));
    const json = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    assert.ok(existsSync(join(folder, 'node_modules/@kintsugi/ledger/dist/index.js')));
    assert.deepEqual(json.bundleDependencies, ['@kintsugi/ledger']);
    assert.equal(json.optionalDependencies, undefined);
    assert.equal(json.engines.node, '>=26');
    assert.equal(json.scripts, undefined);
    assert.ok(existsSync(join(folder, json.bin.kintsugi)));
  });

  test('the command of the control plane runs from its tarball', () => {
    const home = join(out, 'runs');
    const folder = unpack('kintsugi', home);
    // Its dependencies stand beside it, as an install would put them.
    symlinkSync(join(repository, 'node_modules'), join(home, 'node_modules'));
    const { status, stdout, said } = run(
      process.execPath,
      [join(folder, 'bin/kintsugi.mjs'), '--version'],
      home,
    );
    assert.equal(status, 0, said);
    assert.match(stdout, /\d+\.\d+\.\d+/);
  });
});
