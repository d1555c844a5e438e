// The real clock, chance, ids, log and process identity: src/world/real/{clock,random,ids,log,
// identity,redact}.ts.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { openClock } from '../../src/world/real/clock.ts';
import { identityFrom, livenessOf, ownIdentity, startOf } from '../../src/world/real/identity.ts';
import { openIds } from '../../src/world/real/ids.ts';
import { openLog } from '../../src/world/real/log.ts';
import { openRandom } from '../../src/world/real/random.ts';
import { redact, redactUrl } from '../../src/world/real/redact.ts';

test('CL1: a sleep leaves no listener behind, ended or aborted', async () => {
  const clock = openClock();
  const stop = new AbortController();
  await clock.sleep(1, stop.signal);
  assert.equal(getEventListeners(stop.signal, 'abort').length, 0);
  const sleeping = clock.sleep(1e12, stop.signal);
  assert.equal(getEventListeners(stop.signal, 'abort').length, 1);
  const reason = new Error('enough');
  stop.abort(reason);
  await assert.rejects(sleeping, reason);
  assert.equal(getEventListeners(stop.signal, 'abort').length, 0);
  await assert.rejects(clock.sleep(5, stop.signal), reason);
  await assert.rejects(clock.sleep(0, stop.signal), reason);
});

test('the monotonic clock is the same for every process of the machine', async () => {
  const clock = openClock();
  const earlierMs = clock.monotonicMs();
  const code = 'process.stdout.write(String(process.hrtime.bigint()))';
  const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk) => (text += String(chunk)));
  await once(child, 'close');
  const theirsMs = Number(BigInt(text) / 1000n) / 1000;
  assert.ok(earlierMs <= theirsMs && theirsMs <= clock.monotonicMs());
});

test('RN1: streams are named, seeded, independent and spread over 0–1', () => {
  const [a, b, other] = [openRandom('7'), openRandom('7'), openRandom('8')];
  const draw = (from: typeof a, name: string): number[] =>
    Array.from({ length: 1000 }, () => from.next(name));
  b.next('elsewhere');
  const numbers = draw(a, 'jitter');
  assert.deepEqual(draw(b, 'jitter'), numbers);
  assert.notDeepEqual(draw(other, 'jitter'), numbers);
  assert.notDeepEqual(draw(a, 'jitter2'), numbers);
  assert.ok(numbers.every((x) => x >= 0 && x < 1));
  const mean = numbers.reduce((x, y) => x + y, 0) / numbers.length;
  assert.ok(mean > 0.45 && mean < 0.55);
});

test('ID3: ids have 26 characters and sort by making, also when the clock goes back', () => {
  let nowMs = 1_795_000_000_000;
  const ids = openIds({ nowMs: () => nowMs });
  const made = Array.from({ length: 5000 }, (_, i) => {
    nowMs += i % 7 === 0 ? -3 : 1;
    return ids.next('inc');
  });
  assert.match(made[0] ?? '', /^inc_[0-9a-hjkmnp-tv-z]{26}$/u);
  assert.deepEqual(made.toSorted(), made);
  assert.equal(new Set(made).size, made.length);
  assert.throws(() => ids.next('Bad_'), /prefix/u);
});

test('LG1: no secret reaches the log; LG2: a closed log hurts nobody', () => {
  const dir = mkdtempSync(join(tmpdir(), 'kintsugi-log-'));
  const file = join(dir, 'sub', 'c.log');
  const log = openLog({ file, level: 'info' });
  log.debug('too quiet');
  log.info('at postgres://u:sesame@h/x', {
    password: 'sesame',
    nested: { apiKey: 'sesame', DATABASE_URL: 'postgres://u:sesame@h', kept: 1 },
    error: new Error('postgres://u:sesame@h broke'),
  });
  log.close();
  log.error('after the end', { token: 'sesame' });
  const text = readFileSync(file, 'utf8');
  assert.doesNotMatch(text, /sesame|too quiet/u);
  const [line] = text.split('\n').map((row) => (row === '' ? {} : (JSON.parse(row) as object)));
  assert.ok(line !== undefined && 'nested' in line && 'msg' in line);
  assert.equal((line.nested as { kept: number }).kept, 1);
  assert.equal(statSync(file).mode & 0o077, 0);
  rmSync(dir, { recursive: true });
});

test('RD1: the password of a URL never survives; RD2: nor does a value under a secret name', () => {
  for (const url of [
    'postgres://u:sesame@h/x',
    'x postgres://u:sesa/me@h:5/x?password=sesame y',
    'https://:sesame@h',
    'not a url but a://b:sesame@',
    'http://u:sesame@h/x',
  ]) {
    assert.doesNotMatch(redactUrl(url), /sesame|sesa/u, url);
  }
  assert.equal(redactUrl('http://h:80/@me http://h/a:b'), 'http://h:80/@me http://h/a:b');
  const loop: Record<string, unknown> = {};
  loop['loop'] = loop;
  assert.doesNotMatch(
    JSON.stringify(redact({ a: [{ clientSecret: 'sesame' }], 'x-token': 'sesame', loop })),
    /sesame/u,
  );
  assert.deepEqual(redact({ key: 'do:0', tokens: 3 }), { key: 'do:0', tokens: 3 });
});

test(
  'ID1: a pid alone is nobody; ID2: a zombie is dead',
  { skip: process.platform !== 'linux' },
  async () => {
    const self = ownIdentity();
    assert.equal(livenessOf(self), 'alive');
    assert.equal(livenessOf({ ...self, startedAt: '1' }), 'dead');
    assert.equal(livenessOf({ ...self, boot: 'earlier' }), 'dead');
    assert.equal(livenessOf({ ...self, boot: 'other', host: 'elsewhere' }), 'unknowable');
    assert.equal(livenessOf({ ...self, pidSpace: 'pid:[1]' }), 'unknowable');
    assert.deepEqual(identityFrom(JSON.stringify(self)), self);
    assert.equal(identityFrom('{"pid":1}'), undefined);
    assert.equal(identityFrom('nonsense'), undefined);
    assert.equal(startOf(2 ** 30), undefined);
    // The shell's child ends and is not waited for: the shell became `sleep`.
    const parent = spawn('sh', ['-c', 'sleep 1 & echo $!; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [chunk] = (await once(parent.stdout, 'data')) as [Buffer];
    const zombie = Number(String(chunk));
    const stateOf = (): string | undefined =>
      /\) (\w)/u.exec(readFileSync(`/proc/${zombie}/stat`, 'utf8'))?.[1];
    for (let i = 0; stateOf() !== 'Z'; i += 1) {
      assert.ok(i < 4000, 'it never became a zombie');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    process.kill(zombie, 0);
    assert.equal(startOf(zombie), undefined);
    parent.kill('SIGKILL');
    await once(parent, 'exit');
  },
);
