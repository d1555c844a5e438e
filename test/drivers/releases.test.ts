// Releases: same bytes, same folder; nothing comes in from outside, nothing changes afterwards.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { mkdirSync, rmSync, symlinkSync, utimesSync } from 'node:fs';
import { mkdtemp, realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { serviceName } from '../../src/model/ids.ts';
import {
  createRelease,
  removeRelease,
  verifyRelease,
  type CreatedRelease,
} from '../../src/drivers/releases/releases.ts';
import { until } from './bench.ts';

const service = serviceName('records');
let base: string;
let source: string;
let root: string;
let nowMs: number;

function put(path: string, text = 'x', mode = 0o644): void {
  const file = join(source, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  chmodSync(file, mode);
}

const create = (limits?: { filesMax: number; bytesMax: number }): Promise<CreatedRelease> =>
  createRelease({
    source,
    root,
    service,
    command: ['node', 'server.js'],
    clock: { nowMs: () => nowMs },
    ...(limits === undefined ? {} : { limits }),
  });

const removeAll = (folder: string): void => {
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true }))
    if (entry.isDirectory()) chmodSync(join(entry.parentPath, entry.name), 0o700);
  rmSync(folder, { recursive: true, force: true });
};

describe('releases', () => {
  beforeEach(async () => {
    base = await realpath(await mkdtemp(join(tmpdir(), 'kintsugi-releases-')));
    source = join(base, 'source');
    root = join(base, 'state', 'releases');
    nowMs = 1000;
    put('server.js', 'console.log(1)');
    put('bin/run', '#!/bin/sh\n', 0o755);
  });
  afterEach(() => removeAll(base));

  it('is a read-only copy named by its digest', async () => {
    const release = await create();
    assert.match(release.id, /^r-[0-9a-f]{12}$/u);
    assert.equal(release.digest.slice(7, 19), release.id.slice(2));
    assert.equal(release.dir, join(root, 'records', release.id.slice(2), 'files'));
    assert.deepEqual([release.files, release.bytes, release.created], [2, 24, true]);
    assert.deepEqual(release.verdict, { kind: 'new' });
    assert.equal(readFileSync(join(release.dir, 'server.js'), 'utf8'), 'console.log(1)');
    for (const path of ['', 'bin', 'bin/run', 'server.js'])
      assert.equal(lstatSync(join(release.dir, path)).mode & 0o222, 0, path);
    assert.equal(lstatSync(join(release.dir, 'bin/run')).mode & 0o111, 0o111);
    assert.deepEqual(await verifyRelease(release.dir, release.digest), { kind: 'intact' });
  });

  it('RL1, RL6. the same content is the same release, whatever its times and umask', async () => {
    const first = await create();
    utimesSync(join(source, 'server.js'), 1, 1);
    chmodSync(join(source, 'server.js'), 0o600);
    nowMs = 9000;
    const second = await create();
    assert.deepEqual({ ...second, created: true }, first);
    assert.equal(second.created, false);
    assert.equal(second.createdAtMs, 1000);
  });

  it('RL1. a content, name, mode, link or empty folder makes it another release', async () => {
    const digests = [(await create()).digest];
    const then = async (change: () => void): Promise<void> => {
      change();
      digests.push((await create()).digest);
    };
    await then(() => put('server.js', 'console.log(2)'));
    await then(() => chmodSync(join(source, 'server.js'), 0o755));
    await then(() => put('other.js', ''));
    await then(() => symlinkSync('other.js', join(source, 'link.js')));
    await then(() => mkdirSync(join(source, 'empty')));
    assert.equal(new Set(digests).size, digests.length);
  });

  it('RL2. links inside are kept, links that lead out are refused', async () => {
    symlinkSync('../server.js', join(source, 'bin', 'inside'));
    const { dir } = await create();
    assert.equal(readFileSync(join(dir, 'bin', 'inside'), 'utf8'), 'console.log(1)');
    writeFileSync(join(base, 'secret'), 'secret');
    const bad = ['../../secret', '/etc/passwd', join(source, 'server.js'), 'nowhere', '../..'];
    for (const target of bad) {
      symlinkSync(target, join(source, 'bin', 'bad'));
      await assert.rejects(create(), { code: 'KIN_RELEASE_ESCAPES' }, target);
      rmSync(join(source, 'bin', 'bad'));
    }
    symlinkSync('bin', join(source, 'alias'));
    symlinkSync('alias/../../secret', join(source, 'bad'));
    await assert.rejects(create(), { code: 'KIN_RELEASE_ESCAPES' });
  });

  it('RL2. pipes, sockets and devices are refused', async () => {
    assert.equal(spawnSync('mkfifo', [join(source, 'pipe')]).status, 0);
    await assert.rejects(create(), { code: 'KIN_RELEASE_SPECIAL_FILE' });
  });

  it('leaves out what is not wanted, and never contains itself', async () => {
    put('.git/config');
    put('deep/.git/config');
    put('.kintsugi/secret');
    put('notes.log');
    put('deep/notes.log');
    put('deep/kept.txt');
    put('build/old.js');
    put('deep/build/kept.js');
    put('.kintsugiignore', '# comment\n*.log\n/build/\n');
    root = join(source, 'state', 'releases');
    const first = await create();
    const second = await create();
    assert.equal(second.created, false);
    const files = readdirSync(first.dir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => entry.name);
    assert.deepEqual(files.toSorted(), ['kept.js', 'kept.txt', 'run', 'server.js']);
    put('.kintsugiignore', '!x\n');
    await assert.rejects(create(), { code: 'KIN_RELEASE_IGNORE_INVALID' });
  });

  it('refuses an empty, a missing and a too large source', async () => {
    await assert.rejects(create({ filesMax: 2, bytesMax: 1000 }), {
      code: 'KIN_RELEASE_TOO_LARGE',
    });
    await assert.rejects(create({ filesMax: 9, bytesMax: 5 }), { code: 'KIN_RELEASE_TOO_LARGE' });
    rmSync(source, { recursive: true });
    await assert.rejects(create(), { code: 'KIN_RELEASE_SOURCE_MISSING' });
    mkdirSync(join(source, 'empty'), { recursive: true });
    await assert.rejects(create(), { code: 'KIN_RELEASE_EMPTY' });
  });

  it('RL5. a source that changes while it is copied gives no release at all', async () => {
    for (let file = 0; file < 300; file += 1) put(`many/${file}`, String(file));
    const making = create();
    const outcome = making.then(
      () => 'made',
      (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
    );
    const home = join(root, 'records');
    await until('the copy is under way', () =>
      existsSync(home) ? readdirSync(home).some((name) => name.startsWith('.tmp-')) : false,
    );
    put('many/299', 'changed');
    put('many/298', 'changed');
    assert.equal(await outcome, 'KIN_RELEASE_CHANGED');
    assert.deepEqual(readdirSync(home), []);
  });

  it('RL5. two that make the same release at once both get it', async () => {
    const [one, two] = await Promise.all([create(), create()]);
    assert.equal(one.dir, two.dir);
    assert.deepEqual(await verifyRelease(one.dir, two.digest), { kind: 'intact' });
    assert.deepEqual(readdirSync(join(root, 'records')), [one.id.slice(2)]);
  });

  it('RL6. a tampered release is noticed, and made anew', async () => {
    const release = await create();
    const file = join(release.dir, 'server.js');
    chmodSync(file, 0o644);
    writeFileSync(file, 'evil()');
    const check = await verifyRelease(release.dir, release.digest);
    assert.equal(check.kind, 'altered');
    const again = await create();
    assert.equal(again.created, true);
    assert.equal(readFileSync(file, 'utf8'), 'console.log(1)');
    chmodSync(release.dir, 0o755);
    writeFileSync(join(release.dir, '.git'), 'an extra file counts, also one that is never copied');
    assert.equal((await verifyRelease(release.dir, release.digest)).kind, 'altered');
    assert.deepEqual(await verifyRelease(join(base, 'none'), release.digest), { kind: 'missing' });
  });

  it('RL7. removes a release, and nothing else', async () => {
    const release = await create();
    for (const wrong of [source, base, root, dirname(release.dir), join(source, 'files')])
      await assert.rejects(removeRelease(root, wrong), { code: 'KIN_RELEASE_FOREIGN' }, wrong);
    await removeRelease(root, release.dir);
    await removeRelease(root, release.dir);
    assert.deepEqual(readdirSync(join(root, 'records')), []);
    assert.ok(existsSync(join(source, 'server.js')));
  });

  it('reads the schemas that a release can run on, and refuses nonsense', async () => {
    assert.equal((await create()).schema, undefined);
    put('kintsugi.release.json', '{"schema": {"min": 2, "max": 5}}');
    assert.deepEqual((await create()).schema, { min: 2, max: 5 });
    for (const bad of [
      '{',
      '[]',
      '{"schema": {"min": 2}}',
      '{"schema":{"min":3,"max":2}}',
      '{"a":1}',
    ]) {
      put('kintsugi.release.json', bad);
      await assert.rejects(create(), { code: 'KIN_RELEASE_FILE_INVALID' }, bad);
    }
  });
});

describe('releases and packages outside of them', () => {
  beforeEach(async () => {
    base = await realpath(await mkdtemp(join(tmpdir(), 'kintsugi-releases-')));
    source = join(base, 'repository', 'services', 'records');
    nowMs = 1000;
    put('server.mjs', 'import { name } from "dependency"; console.log(name);');
    const dependency = join(base, 'repository', 'node_modules', 'dependency');
    mkdirSync(dependency, { recursive: true });
    const about = { name: 'dependency', type: 'module', exports: './index.js' };
    writeFileSync(join(dependency, 'package.json'), JSON.stringify(about));
    writeFileSync(join(dependency, 'index.js'), 'export const name = "found";');
  });
  afterEach(() => removeAll(base));

  const run = (release: CreatedRelease): string =>
    spawnSync(process.execPath, [join(release.dir, 'server.mjs')], { encoding: 'utf8' }).stdout;

  it('RL3, RL4. below the packages they are inherited, their lockfile is on record', async () => {
    writeFileSync(join(base, 'repository', 'package-lock.json'), '{}');
    root = join(base, 'repository', '.kintsugi', 'releases');
    const release = await create();
    assert.equal(release.external.kind, 'inherited');
    assert.ok(release.external.kind === 'inherited');
    assert.match(release.external.lockfileDigest ?? '', /^sha256:[0-9a-f]{64}$/u);
    assert.match(release.description, /not covered by its digest/u);
    assert.equal(run(release), 'found\n');
  });

  it('RL3. elsewhere they are linked beside the release, again when need be', async () => {
    root = join(base, 'elsewhere', 'releases');
    const release = await create();
    assert.equal(release.external.kind, 'linked');
    assert.equal(run(release), 'found\n');
    rmSync(join(release.dir, '..', 'node_modules'));
    assert.equal((await create()).created, false);
    assert.equal(run(release), 'found\n');
    assert.deepEqual(await verifyRelease(release.dir, release.digest), { kind: 'intact' });
    await removeRelease(root, release.dir);
    assert.ok(existsSync(join(base, 'repository', 'node_modules', 'dependency', 'index.js')));
  });

  it('RL4. a release with nothing above it says that it is complete', async () => {
    rmSync(join(base, 'repository', 'node_modules'), { recursive: true });
    root = join(base, 'elsewhere', 'releases');
    const release = await create();
    if (release.external.kind === 'none') assert.match(release.description, /complete in itself/u);
    else assert.ok(!release.external.folder.startsWith(base));
  });
});
