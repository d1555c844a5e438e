import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { loadSecrets } from '../../src/manifest/index.ts';
import type { SecretSource } from '../../src/model/manifest.ts';
import { KinError } from '../../src/model/errors.ts';
import { folder } from './fixture.ts';

async function setup(t: TestContext): Promise<{
  readonly dir: string;
  readonly state: string;
  load(source: SecretSource, env?: Record<string, string>): Promise<string | undefined>;
  fails(source: SecretSource, env?: Record<string, string>): Promise<KinError>;
}> {
  const { dir } = await folder(t);
  const state = join(dir, 'state');
  const load = async (source: SecretSource, env = {}): Promise<string | undefined> => {
    const secrets = new Map([['tok', source]]);
    return (await loadSecrets({ secrets, baseDir: dir }, state, env)).get('tok');
  };
  const fails = async (source: SecretSource, env = {}): Promise<KinError> => {
    const error: unknown = await load(source, env).catch((e: unknown) => e);
    assert.ok(error instanceof KinError, 'it fails with a KinError');
    return error;
  };
  return { dir, state, load, fails };
}

const GENERATE = { kind: 'generate', bytes: 32 } as const;

test('SE1: a generated secret is made once, readable by its owner only, and kept', async (t) => {
  const { state, load } = await setup(t);
  const [one, two] = await Promise.all([load(GENERATE), load(GENERATE)]);
  assert.equal(one, two, 'two starts at once agree');
  assert.match(one ?? '', /^[A-Za-z0-9_-]{43}$/u);
  assert.equal(await load({ kind: 'generate', bytes: 64 }), one);
  assert.equal(await readFile(join(state, 'secrets/tok'), 'utf8'), one);
  assert.equal((await stat(join(state, 'secrets/tok'))).mode & 0o777, 0o600);
  assert.equal((await stat(join(state, 'secrets'))).mode & 0o777, 0o700);
  assert.deepEqual(await readdir(join(state, 'secrets')), ['tok'], 'no draft is left behind');
});

test('SE2: a symbolic link in the state folder is refused, its target is kept', async (t) => {
  const { dir, state, fails } = await setup(t);
  await mkdir(join(state, 'secrets'), { recursive: true, mode: 0o700 });
  await writeFile(join(dir, 'victim'), 'keep', { mode: 0o600 });
  await symlink(join(dir, 'victim'), join(state, 'secrets/tok'));
  assert.equal((await fails(GENERATE)).code, 'KIN_SECRET_UNREADABLE');
  assert.equal(await readFile(join(dir, 'victim'), 'utf8'), 'keep');
  const linked = join(dir, 'linked');
  await mkdir(linked);
  await symlink(join(state, 'secrets'), join(linked, 'secrets'));
  const secrets = new Map([['a', GENERATE]]);
  const act = loadSecrets({ secrets, baseDir: dir }, linked, {});
  await assert.rejects(act, { code: 'KIN_SECRET_UNREADABLE' });
});

test('SE2: permissions too open are refused with the command that mends them', async (t) => {
  const { dir, state, load, fails } = await setup(t);
  await load(GENERATE);
  const path = join(state, 'secrets/tok');
  await chmod(path, 0o644);
  const error = await fails(GENERATE);
  assert.equal(error.code, 'KIN_SECRET_PERMISSIONS');
  assert.equal(error.fix, `Run: chmod 600 ${path}`);
  await chmod(path, 0o600);
  await chmod(join(state, 'secrets'), 0o755);
  assert.match((await fails(GENERATE)).fix, /chmod 700/);
  await writeFile(join(dir, 'x'), 'v');
  await chmod(join(dir, 'x'), 0o644);
  assert.equal((await fails({ kind: 'file', path: './x' })).code, 'KIN_SECRET_PERMISSIONS');
});

test('file and environment are read; what is missing or empty is told with its fix', async (t) => {
  const { dir, load, fails } = await setup(t);
  const file = { kind: 'file', path: './x' } as const;
  assert.equal((await fails(file)).code, 'KIN_SECRET_MISSING');
  await writeFile(join(dir, 'x'), 'va lue\n', { mode: 0o600 });
  assert.equal(await load(file), 'va lue');
  await writeFile(join(dir, 'x'), '\n');
  assert.equal((await fails(file)).code, 'KIN_SECRET_MISSING');
  await writeFile(join(dir, 'x'), 'x'.repeat(70_000));
  assert.equal((await fails(file)).code, 'KIN_SECRET_UNREADABLE');
  assert.equal((await fails({ kind: 'file', path: '.' })).code, 'KIN_SECRET_UNREADABLE');
  const env = { kind: 'env', name: 'TOK' } as const;
  assert.equal(await load(env, { TOK: 'v' }), 'v');
  assert.match((await fails(env, { TOK: '' })).message, /TOK is not set/);
});

test('SE3: no error of a secret holds its value', async (t) => {
  const { dir, fails } = await setup(t);
  await writeFile(join(dir, 'x'), 'hunter2\0hunter2', { mode: 0o600 });
  const open = await fails({ kind: 'file', path: './x' });
  assert.ok(!`${open.message}${open.fix}`.includes('hunter2'));
});
