import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { makeStateFolder, readRunFile } from '../../src/api/state-folder.ts';
import { processContext } from '../../src/cli/context.ts';
import { identify, isAlive } from '../../src/cli/processes.ts';
import { ownProcesses, partEnvironment } from '../../src/cli/up/own.ts';
import { stopEverything } from '../../src/cli/up/stop.ts';
import { cleanEnvironment, ROOT, startCli, tempFolder } from './harness.ts';

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 1_500; i += 1) {
    if (holds()) return;
    await sleep(10);
  }
  throw new Error(`did not happen: ${what}`);
}

interface Up {
  readonly stateDir: string;
  readonly env: Record<string, string>;
  readonly pids: () => readonly number[];
}

/** The real init over a stand-in for the controller. */
async function bringUp(t: TestContext, mode: string): Promise<Up> {
  const dir = tempFolder(t);
  const env = cleanEnvironment(dir);
  const stateDir = join(dir, '.kintsugi');
  makeStateFolder(stateDir);
  const child = {
    name: 'controller',
    argv: [process.execPath, join(import.meta.dirname, 'fake-controller.ts'), stateDir],
    env: { ...env, FAKE_MODE: mode, ...partEnvironment(stateDir, 'controller') },
    logFile: join(stateDir, 'logs', 'controller.log'),
  };
  writeFileSync(join(stateDir, 'init.json'), JSON.stringify([child]), { mode: 0o600 });
  const init = spawn(
    process.execPath,
    [join(ROOT, 'src', 'init', 'init.ts'), join(stateDir, 'init.json')],
    { detached: true, stdio: 'ignore', env: { ...env, ...partEnvironment(stateDir, 'init') } },
  );
  t.after(() => {
    for (const own of ownProcesses(stateDir)) process.kill(own.id.pid, 'SIGKILL');
  });
  await until('the controller runs', () => readRunFile(stateDir) !== undefined);
  const replica = Number(readFileSync(join(stateDir, 'replica.pid'), 'utf8'));
  const pids = [init.pid ?? 0, readRunFile(stateDir)?.pid ?? 0, replica];
  return { stateDir, env, pids: () => pids.filter((pid) => isAlive(identify(pid))) };
}

const linux = { skip: process.platform === 'linux' ? false : 'reads /proc' };

test('STOP2. down answers when replicas, controller and init are all gone', linux, async (t) => {
  const up = await bringUp(t, 'good');
  assert.equal(up.pids().length, 3);
  assert.deepEqual(
    ownProcesses(up.stateDir)
      .map((own) => own.part)
      .toSorted(),
    ['controller', 'init', 'records-1'],
  );
  const down = startCli(t, ['down', '--state', up.stateDir, '--json'], { env: up.env });
  const ended = await down.ended;
  assert.equal(ended.code, 0, ended.err);
  assert.deepEqual(up.pids(), []);
  assert.equal((JSON.parse(ended.out) as { forced: number }).forced, 0);
  assert.ok(!existsSync(join(up.stateDir, 'run.json')));
  const again = await startCli(t, ['down', '--state', up.stateDir], { env: up.env }).ended;
  assert.equal(again.code, 3);
});

test(
  'STOP1. what does not end is ended by force, and nothing else is touched',
  linux,
  async (t) => {
    const up = await bringUp(t, 'stubborn');
    const bystander = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {
      stdio: 'ignore',
      env: { KINTSUGI_REPLICA: 'records-1', KINTSUGI_SOCKET: '/elsewhere/control.sock' },
    });
    t.after(() => bystander.kill('SIGKILL'));
    const context = processContext({
      json: false,
      state: up.stateDir,
      manifest: undefined,
      gatewayPort: undefined,
      controlPort: undefined,
    });
    const said: string[] = [];
    const force = new AbortController();
    const forced = await stopEverything(context, up.stateDir, {
      replicasMs: 200,
      initMs: 10_000,
      force: force.signal,
      say: (text) => {
        said.push(text);
        if (text.startsWith('ending')) force.abort();
      },
    });
    assert.equal(forced, 1);
    assert.match(said.join('\n'), /some replicas do not end in their time/u);
    assert.match(said.join('\n'), /ending what is left: records-1/u);
    assert.deepEqual(up.pids(), []);
    assert.equal(bystander.exitCode, null);
    assert.ok(isAlive(identify(bystander.pid ?? 0)));
  },
);

test('PRC1. a process is told apart from another that got its pid', () => {
  const own = identify(process.pid);
  assert.ok(isAlive(own));
  if (process.platform === 'linux') assert.ok(!isAlive({ ...own, start: '1' }));
  assert.ok(!isAlive({ pid: 0, start: undefined }));
  assert.ok(!isAlive({ pid: Number.NaN, start: undefined }));
});

test('OWN1. only processes with the mark of exactly this folder are ours', linux, async (t) => {
  const dir = tempFolder(t);
  const marked = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {
    stdio: 'ignore',
    env: partEnvironment(`${dir}/a`, 'gateway-1'),
  });
  t.after(() => marked.kill('SIGKILL'));
  await until('it runs', () => ownProcesses(`${dir}/a`).length === 1);
  assert.equal(ownProcesses(`${dir}/a`)[0]?.part, 'gateway-1');
  assert.deepEqual(ownProcesses(dir), []);
  assert.deepEqual(ownProcesses(`${dir}/ab`), []);
});
