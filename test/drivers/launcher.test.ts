// The launcher: one answer a launch, one end a process, nothing secret in sight, and no harm when
// it dies.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openLauncher } from '../../src/drivers/process/launcher.ts';
import type { LaunchAnswer, Launcher } from '../../src/drivers/process/launcher.ts';
import { until } from './bench.ts';

const dir = mkdtempSync(join(tmpdir(), 'kin-launcher-'));
const launchers: Launcher[] = [];
const pids: number[] = [];
after(() => {
  for (const launcher of launchers) launcher.close();
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // Ended already.
    }
  }
  rmSync(dir, { recursive: true, force: true });
});

function open(): Launcher {
  const launcher = openLauncher();
  launchers.push(launcher);
  return launcher;
}

async function run(launcher: Launcher, script: string, env = {}): Promise<LaunchAnswer> {
  const log = join(dir, 'log');
  writeFileSync(log, '', { flag: 'a' });
  const args = ['-c', script];
  const answer = await launcher.launch({ file: '/bin/sh', args, cwd: dir, env, log });
  if (answer.kind === 'launched') pids.push(answer.pid);
  return answer;
}

const parentOf = (pid: number): number =>
  Number(/^PPid:\s+(\d+)/mu.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
const linux = process.platform === 'linux' ? false : 'reads /proc';

test('LA2: each launch has one answer and each process one end, with its status', async () => {
  const launcher = open();
  const answers = await Promise.all([
    run(launcher, 'exit 7'),
    run(launcher, 'kill -TERM $$'),
    launcher.launch({ file: '/no/such', args: [], cwd: dir, env: {}, log: join(dir, 'log') }),
    launcher.launch({ file: '/bin/true', args: [], cwd: dir, env: {}, log: join(dir, 'none') }),
  ]);
  assert.deepEqual(
    answers.map((a) => (a.kind === 'refused' ? a.code : a.kind)),
    ['launched', 'launched', 'ENOENT', 'ENOENT'],
  );
  const ends = await Promise.all(answers.flatMap((a) => (a.kind === 'launched' ? [a.end] : [])));
  assert.deepEqual(ends, [
    { kind: 'exit', code: 7, signal: null },
    { kind: 'exit', code: null, signal: 'SIGTERM' },
  ]);
});

test('LA1: neither its arguments nor its environment hold a secret', { skip: linux }, async () => {
  const launcher = open();
  const answer = await run(launcher, 'echo "got $SECRET"; exec sleep 60', { SECRET: 'hush-hush' });
  assert.ok(answer.kind === 'launched');
  await until('it wrote', () => readFileSync(join(dir, 'log'), 'utf8').includes('got hush-hush'));
  const launcherPid = parentOf(answer.pid);
  for (const file of ['cmdline', 'environ']) {
    assert.ok(!readFileSync(`/proc/${launcherPid}/${file}`, 'utf8').includes('hush-hush'), file);
  }
});

test(
  'LA3: when it dies its processes go on as lost, and the next launch works',
  {
    skip: linux,
  },
  async () => {
    const launcher = open();
    const answer = await run(launcher, 'exec sleep 60');
    assert.ok(answer.kind === 'launched');
    process.kill(parentOf(answer.pid), 'SIGKILL');
    assert.deepEqual(await answer.end, { kind: 'lost' });
    assert.doesNotThrow(() => process.kill(answer.pid, 0));
    assert.equal((await run(launcher, 'exit 0')).kind, 'launched');
  },
);
