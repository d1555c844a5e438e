// The supervisor of the control plane, with real children.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { backoffAfter, CAP_MS } from '../../src/init/backoff.ts';
import { parseConfig, readConfig, type ChildSpec } from '../../src/init/config.ts';
import { trimLog } from '../../src/init/files.ts';
import { identityOf, markedLeaders } from '../../src/init/identity.ts';
import type { ChildStatus, InitStatus } from '../../src/init/status.ts';

const INIT = fileURLToPath(new URL('../../src/init/init.ts', import.meta.url));
const CHILD = fileURLToPath(new URL('programs/child.ts', import.meta.url));

let state: string;
let configFile: string;
let journal: string;
let inits: ChildProcess[];
const seenPids = new Set<number>();

const spec = (name: string, habit = 'stay', detail = ''): ChildSpec => ({
  name,
  argv: [process.execPath, CHILD, journal, name, habit, detail],
  env: { SECRET: 'do-not-show' },
  logFile: join(state, 'logs', `${name}.log`),
});

function configure(...children: readonly ChildSpec[]): void {
  writeFileSync(configFile, JSON.stringify({ children }), { mode: 0o600 });
}

function run(): ChildProcess {
  const init = spawn(process.execPath, [INIT, configFile], { stdio: ['ignore', 'ignore', 'pipe'] });
  inits.push(init);
  return init;
}

function status(): InitStatus | undefined {
  try {
    return JSON.parse(readFileSync(join(state, 'init-status.json'), 'utf8')) as InitStatus;
  } catch {
    return undefined;
  }
}

const lines = (): readonly string[] =>
  existsSync(journal) ? readFileSync(journal, 'utf8').trim().split('\n').filter(Boolean) : [];

async function until<T>(what: string, find: () => T | undefined | false): Promise<T> {
  const deadlineMs = Date.now() + 20_000;
  // Bound: the deadline.
  while (true) {
    const found = find();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > deadlineMs) throw new Error(`waited in vain: ${what}; ${lines().join(', ')}`);
    await sleep(10);
  }
}

/** Running according to the status of the init that is running now, and heard of itself. */
const running = (name: string, not?: number): Promise<ChildStatus & { pid: number }> =>
  until(`${name} runs`, () => {
    const child = status()?.children.find((each) => each.name === name);
    const { pid } = child ?? {};
    if (child?.state !== 'running' || typeof pid !== 'number' || pid === not) return undefined;
    if (!lines().includes(`${name} start ${pid}`)) return undefined;
    seenPids.add(pid);
    return { ...child, pid };
  });

const isAlive = (pid: number): boolean => identityOf(pid) !== undefined;
const ended = async (init: ChildProcess): Promise<unknown> =>
  init.exitCode ?? init.signalCode ?? (await once(init, 'exit'))[0];

function clean(): void {
  for (const init of inits) init.kill('SIGKILL');
  const known = (status()?.children ?? []).flatMap(({ pid }) => pid ?? []);
  const started = lines().map((line) => Number(line.split(' ')[2]));
  for (const pid of new Set([...seenPids, ...known, ...started])) {
    const text = existsSync(`/proc/${pid}/cmdline`)
      ? readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      : '';
    if (text.includes(state) && isAlive(pid)) process.kill(pid, 'SIGKILL');
  }
  rmSync(state, { recursive: true, force: true });
}

describe('init', () => {
  beforeEach(async () => {
    state = await mkdtemp(join(tmpdir(), 'kintsugi-init-'));
    configFile = join(state, 'init.json');
    journal = join(state, 'journal');
    inits = [];
    seenPids.clear();
  });
  afterEach(clean);

  it('starts its children and shows them, without their environment', async () => {
    configure(spec('controller'), spec('gateway-1'));
    const init = run();
    const { pid } = await running('controller');
    await running('gateway-1');
    assert.ok(isAlive(pid));
    const pidFile = readFileSync(join(state, 'init.pid'), 'utf8').trim().split(' ');
    assert.equal(Number(pidFile[0]), init.pid);
    assert.equal(pidFile.slice(1).join(' '), identityOf(init.pid ?? 0)?.start);
    for (const name of ['init-status.json', 'init.log']) {
      assert.ok(!readFileSync(join(state, name), 'utf8').includes('do-not-show'));
      assert.equal(statSync(join(state, name)).mode & 0o777, 0o600);
    }
  });

  it('IN1. a killed child is back at once, again and again', async () => {
    configure(spec('controller'));
    run();
    let last: number | undefined;
    for (let round = 0; round < 3; round += 1) {
      const child = await running('controller', last);
      assert.equal(child.restarts, round);
      last = child.pid;
      process.kill(last, 'SIGKILL');
    }
    const { lastEnd } = await running('controller', last);
    assert.equal(lastEnd?.how, 'ended by SIGKILL');
  });

  it('IN1. delays: none, then doubling up to the cap, forgiven after a long life', () => {
    const after = (failures: number, livedMs: number, jitter: number): number =>
      backoffAfter({ code: 1, hasRun: true, livedMs, failures }, jitter).delayMs;
    const full = [0, 1, 2, 3, 4, 5, 6, 7, 1000].map((failures) => after(failures, 10, 1));
    assert.deepEqual(full, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    assert.equal(after(3, 10, 0), 200);
    assert.equal(after(9, 10_000, 1), 0);
    assert.equal(
      backoffAfter({ code: 0, hasRun: true, livedMs: 99_999, failures: 5 }, 0).failures,
      1,
    );
  });

  it('IN2. an exit for a wrong configuration is remembered and retried slowly', async () => {
    for (const code of [69, 78]) {
      const backoff = backoffAfter({ code, hasRun: true, livedMs: 5, failures: 0 }, 0.5);
      assert.deepEqual([backoff.delayMs, backoff.isConfiguration], [CAP_MS, true]);
    }
    const absent = { ...spec('gateway-1'), argv: ['/no/such/program'] };
    configure(spec('controller', 'exit', '78'), absent);
    run();
    const waiting = (name: string): Promise<ChildStatus> =>
      until(`${name} waits`, () =>
        status()?.children.find((each) => each.name === name && each.state === 'waiting'),
      );
    const controller = await waiting('controller');
    assert.deepEqual(
      [controller.lastEnd?.how, controller.lastEnd?.isConfiguration],
      ['exit code 78', true],
    );
    assert.ok((controller.nextStartAtMs ?? 0) > Date.now());
    assert.equal((await waiting('gateway-1')).lastEnd?.how, 'not started (ENOENT)');
  });

  it('IN4. SIGTERM ends the controller first, then the others, then itself with 0', async () => {
    configure(spec('gateway-1'), spec('controller'), spec('gateway-2'));
    const init = run();
    for (const name of ['controller', 'gateway-1', 'gateway-2']) await running(name);
    init.kill('SIGTERM');
    assert.equal(await ended(init), 0);
    const order = lines().map((line) => line.split(' ').slice(0, 2).join(' '));
    const end = order.indexOf('controller end');
    assert.ok(end >= 0);
    for (const name of ['gateway-1', 'gateway-2']) {
      assert.ok(order.indexOf(`${name} term`) > end, order.join(', '));
      assert.ok(order.includes(`${name} end`));
    }
    assert.ok(!existsSync(join(state, 'init.pid')));
    assert.equal(status()?.phase, 'stopped');
  });

  it('IN4. a second SIGTERM does not wait for a deaf child', async () => {
    configure(spec('controller', 'deaf'));
    const init = run();
    const { pid } = await running('controller');
    init.kill('SIGTERM');
    await until('the child was asked', () => lines().some((line) => line.includes('term')));
    init.kill('SIGTERM');
    assert.equal(await ended(init), 0);
    assert.ok(!isAlive(pid));
  });

  it('IN3. children live through kill -9 of init; the next one adopts them', async () => {
    configure(spec('controller'), spec('gateway-1'));
    const first = run();
    const before = [await running('controller'), await running('gateway-1')].map(({ pid }) => pid);
    first.kill('SIGKILL');
    await ended(first);
    const second = run();
    await until('the second init shows', () => status()?.pid === second.pid);
    const after = [await running('controller'), await running('gateway-1')].map(({ pid }) => pid);
    assert.deepEqual(after, before);
    process.kill(before[0] ?? 0, 'SIGKILL');
    const reborn = await running('controller', before[0]);
    assert.equal(reborn.lastEnd?.how, 'ended (status not seen)');
    second.kill('SIGTERM');
    assert.equal(await ended(second), 0);
    for (const pid of [...before, reborn.pid]) assert.ok(!isAlive(pid));
  });

  it('IN3. a child in no status file is adopted by its mark, or ended', async (t) => {
    if (process.platform !== 'linux') return t.skip('marks are read from /proc');
    configure(spec('controller'), spec('gateway-1'));
    const first = run();
    const controller = await running('controller');
    const gateway = await running('gateway-1');
    first.kill('SIGKILL');
    await ended(first);
    rmSync(join(state, 'init-status.json'));
    configure(spec('controller'));
    run();
    assert.equal((await running('controller')).pid, controller.pid);
    await until('the unwanted one has ended', () => !isAlive(gateway.pid));
    assert.deepEqual(
      status()?.children.map(({ name }) => name),
      ['controller'],
    );
    assert.equal(markedLeaders('another').size, 0);
  });

  it('IN3. a pid with another start time is not adopted', async () => {
    configure(spec('controller'));
    const first = run();
    await running('controller');
    first.kill('SIGTERM');
    await ended(first);
    const old = status();
    const [child] = old?.children ?? [];
    assert.ok(old !== undefined && child !== undefined);
    const forged = { ...old, children: [{ ...child, pid: process.pid, start: '1' }] };
    writeFileSync(join(state, 'init-status.json'), JSON.stringify(forged));
    run();
    const { pid } = await running('controller');
    assert.notEqual(pid, process.pid);
  });

  it('IN5. there is one init a state folder, and a dead one’s file is no obstacle', async () => {
    writeFileSync(join(state, 'init.pid'), `${process.pid} 1\n`);
    configure(spec('controller'));
    const first = run();
    await running('controller');
    const second = run();
    let said = '';
    second.stderr?.on('data', (chunk) => (said += String(chunk)));
    assert.equal(await ended(second), 69);
    await until('it says why', () => said.includes('KIN_INIT_RUNNING'));
    assert.ok(said.includes(String(first.pid)));
    assert.equal(lines().length, 1);
  });

  it('SIGHUP starts the new, stops the removed and leaves the others alone', async () => {
    configure(spec('controller'), spec('gateway-1'));
    const init = run();
    const controller = await running('controller');
    const gone = await running('gateway-1');
    configure({ ...spec('controller'), env: { CHANGED: 'yes' } }, spec('gateway-2'));
    init.kill('SIGHUP');
    await running('gateway-2');
    await until('the removed one has ended', () => !isAlive(gone.pid));
    const same = await running('controller');
    assert.deepEqual([same.pid, same.isStale], [controller.pid, true]);
    writeFileSync(configFile, '{"children": []}', { mode: 0o600 });
    init.kill('SIGHUP');
    await until('it is refused', () => status()?.configProblem ?? undefined);
    assert.ok(isAlive(controller.pid));
    await until('the removed one is forgotten', () => status()?.children.length === 2);
  });

  it('refuses a configuration that others may write to, or that makes no sense', async () => {
    configure(spec('controller'));
    chmodSync(configFile, 0o666);
    const init = run();
    assert.equal(await ended(init), 78);
    assert.equal(readConfig(join(state, 'none')).kind, 'invalid');
    writeFileSync(configFile, '{"env": "do-not-show"', { mode: 0o600 });
    chmodSync(configFile, 0o600);
    assert.ok(!JSON.stringify(readConfig(configFile)).includes('do-not-show'));
    const good = spec('a');
    const bad: readonly unknown[] = [
      [],
      {},
      [1],
      [{ ...good, name: 'A b' }],
      [{ ...good, argv: [] }],
      [{ ...good, argv: ['node'] }],
      [{ ...good, env: { A: 1 } }],
      [{ ...good, logFile: 'x' }],
      [good, good],
    ];
    for (const each of bad) assert.equal(parseConfig(each).kind, 'invalid', JSON.stringify(each));
    assert.equal(parseConfig([good]).kind, 'config');
  });

  it('keeps logs bounded while a child appends to them', () => {
    mkdirSync(join(state, 'logs'));
    const log = join(state, 'logs', 'x.log');
    appendFileSync(log, 'a'.repeat(500));
    trimLog(log, 1000);
    assert.equal(statSync(log).size, 500);
    appendFileSync(log, 'b'.repeat(1000));
    trimLog(log, 1000);
    assert.equal(statSync(log).size, 0);
    assert.equal(readFileSync(`${log}.1`, 'utf8'), 'b'.repeat(1000));
  });
});
