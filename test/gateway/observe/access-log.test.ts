import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { AccessLog, accessLogPath } from '../../../src/gateway/observe/access-log.ts';
import { LogFile, olderPath } from '../../../src/gateway/observe/log-file.ts';
import type { AccessLogRule } from '../../../src/model/routing.ts';
import { until } from '../rig.ts';
import { factsOf, logRule, parsed } from './samples.ts';

interface Bench {
  readonly folder: string;
  readonly path: string;
  readonly warnings: string[];
  readonly clock: { nowMs: number };
}

function bench(t: TestContext): Bench {
  const folder = mkdtempSync(join(tmpdir(), 'kin-log-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return { folder, path: join(folder, 'access-w.ndjson'), warnings: [], clock: { nowMs: 0 } };
}

function fileOf(b: Bench, limits: { maxBytes: number; files: number }): LogFile {
  return new LogFile(
    {
      path: b.path,
      warn: (text) => b.warnings.push(text),
      monotonicMs: () => b.clock.nowMs,
      onFree: () => undefined,
    },
    limits,
  );
}

function logOf(b: Bench, change: Partial<AccessLogRule> = {}): AccessLog {
  const setup = {
    folder: b.folder,
    worker: 'w',
    warn: (text: string) => b.warnings.push(text),
    monotonicMs: () => b.clock.nowMs,
  };
  return new AccessLog(setup, logRule(change));
}

async function put(file: LogFile, text: string): Promise<void> {
  const bytes = Buffer.from(text);
  file.write(bytes, bytes.length, text.split('\n').length - 1);
  await file.settled();
}

/** Oldest first. */
function all(b: Bench): string {
  const age = (name: string): number => Number(/\.(\d+)\.ndjson$/u.exec(name)?.[1] ?? 0);
  const names = readdirSync(b.folder).sort((x, y) => age(y) - age(x));
  return names.map((name) => readFileSync(join(b.folder, name), 'utf8')).join('');
}

test('LF1: the file is for this user only, also one that was open to others', async (t) => {
  const b = bench(t);
  writeFileSync(b.path, 'old\n', { mode: 0o644 });
  chmodSync(b.path, 0o644);
  const file = fileOf(b, { maxBytes: 1_000, files: 2 });
  await put(file, 'new\n');
  await file.close();
  assert.equal(statSync(b.path).mode & 0o777, 0o600);
  assert.equal(readFileSync(b.path, 'utf8'), 'old\nnew\n');
});

for (const [what, place] of [
  ['a link', (b: Bench) => symlinkSync(join(b.folder, 'elsewhere'), b.path)],
  ['a folder', (b: Bench) => mkdirSync(b.path)],
] as const) {
  test(`LF1, LF3: ${what} in its place is refused, told once, and tried again later`, async (t) => {
    const b = bench(t);
    place(b);
    const file = fileOf(b, { maxBytes: 1_000, files: 2 });
    await put(file, 'a\nb\n');
    await put(file, 'c\n');
    b.clock.nowMs += 1_001;
    await put(file, 'd\n');
    assert.equal(file.dropped, 4);
    assert.equal(b.warnings.length, 1);
    assert.match(b.warnings[0] ?? '', /^KIN_GATEWAY_LOG: /u);
    rmSync(b.path, { recursive: true });
    b.clock.nowMs += 1_001;
    await put(file, 'too early: the pause has grown\n');
    b.clock.nowMs += 1_001;
    await put(file, 'e\n');
    await file.close();
    assert.equal(readFileSync(b.path, 'utf8'), 'e\n');
    assert.equal(file.written, 1);
    assert.equal(file.dropped, 5);
    assert.match(b.warnings[1] ?? '', /written again; 5 lines are missing/u);
  });
}

test('LF2: no file grows past its limit, only so many are kept, and no line is lost', async (t) => {
  const b = bench(t);
  const file = fileOf(b, { maxBytes: 100, files: 3 });
  const lines = Array.from(
    { length: 23 },
    (_, i) => `${'x'.repeat(20)} ${String(i).padStart(3)}\n`,
  );
  for (const line of lines) await put(file, line);
  await file.close();
  const names = readdirSync(b.folder).sort();
  assert.deepEqual(names, ['access-w.1.ndjson', 'access-w.2.ndjson', 'access-w.ndjson']);
  for (const name of names) {
    const { size, mode } = statSync(join(b.folder, name));
    assert.ok(size <= 100, `${name}: ${size}`);
    assert.equal(mode & 0o777, 0o600);
  }
  assert.equal(all(b), lines.slice(-11).join(''));
  assert.equal(file.written, 23);
});

test('LF2: one batch that is larger than a file gets a file of its own', async (t) => {
  const b = bench(t);
  const file = fileOf(b, { maxBytes: 10, files: 2 });
  await put(file, 'first\n');
  await put(file, `${'y'.repeat(30)}\n`);
  await put(file, 'last\n');
  await file.close();
  assert.equal(readFileSync(olderPath(b.path, 1), 'utf8'), `${'y'.repeat(30)}\n`);
  assert.equal(readFileSync(b.path, 'utf8'), 'last\n');
});

test('LF2: with one file there is never a second', async (t) => {
  const b = bench(t);
  const file = fileOf(b, { maxBytes: 10, files: 1 });
  for (const text of ['aaaaaa\n', 'bbbbbb\n', 'cccccc\n']) await put(file, text);
  await file.close();
  assert.deepEqual(readdirSync(b.folder), ['access-w.ndjson']);
  assert.equal(all(b), 'cccccc\n');
});

test('a file that somebody moves or removes is made anew', async (t) => {
  const b = bench(t);
  const file = fileOf(b, { maxBytes: 1_000, files: 2 });
  await put(file, 'a\n');
  renameSync(b.path, join(b.folder, 'moved'));
  b.clock.nowMs += 1_001;
  await put(file, 'b\n');
  unlinkSync(b.path);
  b.clock.nowMs += 1_001;
  await put(file, 'c\n');
  await file.close();
  assert.equal(readFileSync(join(b.folder, 'moved'), 'utf8'), 'a\n');
  assert.equal(readFileSync(b.path, 'utf8'), 'c\n');
});

test('after a crash the half line stays alone', async (t) => {
  const b = bench(t);
  writeFileSync(b.path, '{"a":1}\n{"b":', { mode: 0o600 });
  const file = fileOf(b, { maxBytes: 1_000, files: 2 });
  await put(file, '{"c":3}\n');
  await file.close();
  assert.equal(readFileSync(b.path, 'utf8'), '{"a":1}\n{"b":\n{"c":3}\n');
});

test('LF3: a disk that is full in the middle of a batch leaves whole lines only', async (t) => {
  const b = bench(t);
  // The limit of a process on the size of its files fails as a full disk does: short, then not at
  // all.
  const module = join(import.meta.dirname, '../../../src/gateway/observe/log-file.ts');
  const script = `
    import { LogFile } from ${JSON.stringify(module)};
    process.on('SIGXFSZ', () => undefined);
    const file = new LogFile({ path: process.argv[1], warn: (t) => console.log(t),
      monotonicMs: () => performance.now(), onFree: () => undefined }, { maxBytes: 1e9, files: 2 });
    const bytes = Buffer.from('0123456789abcde\\n'.repeat(100));
    for (let i = 0; i < 12; i += 1) { file.write(bytes, bytes.length, 100); await file.settled(); }
    console.log(file.written, file.dropped);
    await file.close();`;
  const shell = 'ulimit -f 8; exec "$0" --input-type=module -e "$1" "$2"';
  const child = spawn('bash', ['-c', shell, process.execPath, script, b.path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await once(child, 'close');
  const text = readFileSync(b.path, 'utf8');
  assert.equal(text, '0123456789abcde\n'.repeat(500), 'five whole batches fit into 8 KiB');
  assert.match(said, /KIN_GATEWAY_LOG[^\n]*\n500 700\n$/u);
});

test('AL1: failures always have a line, of the rest an even share', async (t) => {
  const b = bench(t);
  const log = logOf(b, { sample: 0.1 });
  for (let i = 0; i < 1_000; i += 1) {
    log.add(factsOf({ requestId: `good-${i}` }));
    if (i % 100 === 0) log.add(factsOf({ status: 500, requestId: `bad-${i}` }));
    if (i % 100 === 1) log.add(factsOf({ kind: 'cut', requestId: `cut-${i}` }));
  }
  await log.close();
  const lines = parsed(readFileSync(accessLogPath(b.folder, 'w'), 'utf8'));
  const count = (start: string): number =>
    lines.filter((line) => String(line['http.request.id']).startsWith(start)).length;
  assert.deepEqual([count('good'), count('bad'), count('cut')], [100, 10, 10]);
  const sampleOf = (start: string): unknown =>
    lines.find((line) => String(line['http.request.id']).startsWith(start))?.['kintsugi.sample'];
  assert.deepEqual(
    [sampleOf('good'), sampleOf('bad'), sampleOf('cut')],
    [0.1, undefined, undefined],
  );
});

test('AL2: without a free buffer a line is dropped and counted, and nobody waits', async (t) => {
  const b = bench(t);
  const log = logOf(b, { maxBytes: 100_000_000 });
  const facts = factsOf();
  // Nothing can be written within one turn of the loop: at some moment all buffers are under way.
  const many = 6_000;
  for (let i = 0; i < many; i += 1) log.add(facts);
  assert.ok(log.dropped > 0);
  await log.close();
  assert.equal(log.written + log.dropped, many);
  assert.equal(parsed(readFileSync(b.path, 'utf8')).length, log.written);
});

test('AL3: what was accepted is on disk at the end, in order, over rotations', async (t) => {
  const b = bench(t);
  const log = logOf(b, { maxBytes: 200_000, files: 100 });
  for (let i = 0; i < 5_000; i += 1) {
    log.add(factsOf({ requestId: `req-${i}` }));
    if (i % 500 === 499) await new Promise((resolve) => setImmediate(resolve));
  }
  await log.close();
  const ids = parsed(all(b)).map((line) => Number(String(line['http.request.id']).slice(4)));
  assert.equal(ids.length, log.written);
  assert.equal(ids.length + log.dropped, 5_000);
  assert.deepEqual(
    ids,
    ids.toSorted((x, y) => x - y),
  );
  assert.ok(readdirSync(b.folder).length > 3);
});

test('a line is on disk soon, without a full buffer, and a new rule holds at once', async (t) => {
  const b = bench(t);
  const log = logOf(b);
  log.add(factsOf());
  await until('it is flushed', () => log.written === 1);
  log.use(logRule({ paths: 'route' }));
  log.add(factsOf());
  await log.close();
  const lines = parsed(readFileSync(b.path, 'utf8'));
  assert.deepEqual(
    lines.map((line) => line['url.path']),
    ['/api/patients/:id/notes', '/api'],
  );
});

test('a worker cannot name a file outside the folder', () => {
  assert.equal(accessLogPath('/logs', '../../etc/x'), '/logs/access-______etc_x.ndjson');
});

test('LF3: a folder that cannot be made costs lines and nothing else', async (t) => {
  const b = bench(t);
  writeFileSync(join(b.folder, 'file'), '');
  const inner: Bench = { ...b, folder: join(b.folder, 'file', 'logs') };
  const log = logOf(inner);
  log.add(factsOf());
  await log.close();
  assert.equal(log.dropped, 1);
  assert.equal(b.warnings.filter((text) => text.startsWith('KIN_GATEWAY_LOG')).length, 1);
});
