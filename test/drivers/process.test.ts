// The process driver: the contract of every runtime, and what only processes of one machine have.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  accessSync,
  appendFileSync,
  chmodSync,
  chownSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { asReplicaId, type ReplicaId } from '../../src/model/ids.ts';
import { openMachine } from '../../src/drivers/process/machine.ts';
import { openCages } from '../../src/drivers/process/cgroups.ts';
import { parseStat } from '../../src/drivers/process/linux.ts';
import { msOfTime, parseFacts } from '../../src/drivers/process/macos.ts';
import { openPorts } from '../../src/drivers/process/ports.ts';
import { fileNameOf, parseRecord } from '../../src/drivers/process/record.ts';
import type { ReplicaOrder, Runtime, RuntimeEvent } from '../../src/world/runtime.ts';
import { ids, isUp, NOBODY, runtimeContract, serving, testReceipt } from '../contract/runtime.ts';
import { freeRange, isAlive, openBench, textsBelow, until, type ProcessBench } from './bench.ts';

const receipt = testReceipt();
const isInner = process.env['KINTSUGI_TEST_UNPRIVILEGED'] === '1';
const isLinux = process.platform === 'linux';

runtimeContract('process driver', openBench);

let bench: ProcessBench;
let runtime: Runtime;
const events: RuntimeEvent[] = [];

async function setUp(): Promise<void> {
  bench = await openBench();
  runtime = bench.runtime;
  events.length = 0;
  runtime.onEvent((event) => events.push(event));
}

async function start(
  order: ReplicaOrder,
): Promise<{ pid: number; endpoint: { host: string; port: number } }> {
  const answer = await runtime.start(order, receipt);
  isUp(answer);
  return answer;
}

interface Placed {
  readonly pid: number;
  readonly endpoint: { readonly host: string; readonly port: number };
}
const sorted = (all: readonly Placed[]): readonly string[] =>
  all.map(({ pid, endpoint }) => `${pid} at ${endpoint.port}`).toSorted();

const recordFile = (id: string): string => join(bench.dir, 'replicas', `${id}.json`);
const readRecord = (id: string): { [name: string]: unknown; state: { [name: string]: unknown } } =>
  JSON.parse(readFileSync(recordFile(id), 'utf8'));

describe('process driver: starting', () => {
  beforeEach(async () => {
    await setUp();
    await runtime.adopt(NOBODY);
  });
  afterEach(async () => await bench.dispose());

  it('PD1, PD2. the record is private; no secret in it, in logs or arguments', async () => {
    const secret = 'correct-horse-battery-staple';
    const order = { ...bench.order('web-1', 'talk', '3'), env: { DB_PASSWORD: secret } };
    const { pid, endpoint } = await start(order);
    const seen = await serving(bench, endpoint);
    assert.equal(seen.env['DB_PASSWORD'], secret);
    assert.equal(statSync(recordFile('web-1')).mode & 0o777, 0o600);
    assert.equal(statSync(bench.dir).mode & 0o777, 0o700);
    assert.equal(readRecord('web-1').state['pid'], pid);
    const written = textsBelow(bench.dir);
    assert.ok(written.length >= 2);
    for (const { path, text } of written) assert.ok(!text.includes(secret), path);
    assert.ok(!JSON.stringify(bench.lines).includes(secret));
    if (isLinux) assert.ok(!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(secret));
  });

  it('PD3. the environment is the order’s, not the controller’s', async () => {
    process.env['KINTSUGI_TEST_LEAK'] = 'leaked';
    const order = { ...bench.order('web-1', 'serve'), env: { ONE: '1', 'odd.name': '2' } };
    const { env } = await serving(bench, (await start(order)).endpoint);
    delete process.env['KINTSUGI_TEST_LEAK'];
    assert.deepEqual(Object.keys(env).toSorted(), [
      'HOST',
      'KINTSUGI_INSTANCE',
      'KINTSUGI_OWNER',
      'KINTSUGI_REPLICA',
      'ONE',
      'PATH',
      'PORT',
      'odd.name',
    ]);
    assert.equal(env['KINTSUGI_INSTANCE'], 'test');
    assert.equal(env['KINTSUGI_REPLICA'], 'web-1');
  });

  it('puts the port into the command', async () => {
    const code = 'require("node:http").createServer((q, s) => s.end("{}")).listen(process.argv[1])';
    const order = { ...bench.order('web-1', 'serve'), command: ['node', '-e', code, '${port}'] };
    await serving(bench, (await start(order)).endpoint);
  });

  it('tells a mistake in the order from a replica that crashes', async () => {
    const file = join(bench.dir, 'not-executable');
    writeFileSync(file, '#!/bin/sh\n');
    const broken = join(bench.dir, 'no-interpreter');
    writeFileSync(broken, '#!/no/such/interpreter\n');
    chmodSync(broken, 0o755);
    const base = bench.order('web-1', 'serve');
    const wrong: readonly [ReplicaOrder, string][] = [
      [{ ...base, command: [file] }, 'KIN_COMMAND_NOT_EXECUTABLE'],
      [{ ...base, command: ['./nothing-here'] }, 'KIN_COMMAND_NOT_FOUND'],
      [{ ...base, command: [broken] }, 'KIN_COMMAND_NOT_FOUND'],
      [{ ...base, command: [bench.dir] }, 'KIN_COMMAND_NOT_EXECUTABLE'],
      [{ ...base, command: [] }, 'KIN_COMMAND_INVALID'],
      [{ ...base, command: ['node', 'a\0b'] }, 'KIN_COMMAND_INVALID'],
      [{ ...base, cwd: join(bench.dir, 'gone') }, 'KIN_CWD_MISSING'],
    ];
    for (const [order, code] of wrong) {
      const answer = await runtime.start(order, receipt);
      assert.ok(answer.kind === 'failed', code);
      assert.deepEqual([answer.code, answer.retryable], [code, false]);
    }
    assert.deepEqual(readdirSync(join(bench.dir, 'replicas')), []);
    await start(base);
  });

  it('PD1. without a record nothing is started, and it may be tried again', async () => {
    rmSync(join(bench.dir, 'replicas'), { recursive: true });
    const answer = await runtime.start(bench.order('web-1', 'serve'), receipt);
    assert.ok(answer.kind === 'failed' && answer.retryable, JSON.stringify(answer));
    assert.equal(answer.code, 'KIN_RECORD_NOT_WRITTEN');
    assert.deepEqual(runtime.list(), []);
    mkdirSync(join(bench.dir, 'replicas'));
    await start(bench.order('web-1', 'serve'));
  });

  it('a port that another program holds is refused, and may be tried again', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const address = other.address();
    assert.ok(typeof address === 'object' && address !== null);
    const order = { ...bench.order('web-1', 'serve'), port: address.port };
    const refused = await runtime.start(order, receipt);
    assert.ok(refused.kind === 'failed' && refused.retryable, JSON.stringify(refused));
    assert.equal(refused.code, 'KIN_PORT_TAKEN');
    other.close();
    await once(other, 'close');
    assert.equal((await start(order)).endpoint.port, address.port);
  });

  it('PD4. a port that has just been given up is not the next one', async () => {
    const range = await freeRange();
    const ports = openPorts('127.0.0.1', range);
    const first = await ports.take(0);
    assert.ok(first.kind === 'port');
    ports.release(first.port);
    const second = await ports.take(0);
    assert.ok(second.kind === 'port' && second.port !== first.port);
    const tiny = openPorts('127.0.0.1', { from: first.port, to: first.port });
    assert.equal((await tiny.take(0)).kind, 'port');
    assert.equal((await tiny.take(0)).kind, 'taken');
  });
});

describe('process driver: endings', () => {
  beforeEach(async () => {
    await setUp();
    await runtime.adopt(NOBODY);
  });
  afterEach(async () => await bench.dispose());

  it('a stopped (SIGSTOP) process is ended too', async () => {
    const { pid, endpoint } = await start(bench.order('web-1', 'serve'));
    await serving(bench, endpoint);
    process.kill(pid, 'SIGSTOP');
    const stopped = await runtime.stop(asReplicaId('web-1'), 100, receipt);
    assert.deepEqual(stopped, {
      kind: 'stopped',
      exit: { kind: 'signal', signal: 'SIGKILL' },
      forced: true,
    });
    assert.ok(!isAlive(pid));
  });

  it('PD9. a killed replica is told with the signal, once, and its files are tidied', async () => {
    const { pid, endpoint } = await start(bench.order('web-1', 'serve'));
    await serving(bench, endpoint);
    process.kill(pid, 'SIGKILL');
    await until('it is told', () => events.length > 0);
    const exit = { kind: 'signal', signal: 'SIGKILL' };
    assert.deepEqual(events, [{ kind: 'exited', replica: 'web-1', exit }]);
    assert.ok(!existsSync(recordFile('web-1')));
    assert.ok(existsSync(join(bench.dir, 'ended', 'web-1.json')));
  });

  it('PD9. a death is told even when its tombstone cannot be written', async () => {
    const { pid, endpoint } = await start(bench.order('web-1', 'serve'));
    await serving(bench, endpoint);
    rmSync(join(bench.dir, 'ended'), { recursive: true });
    process.kill(pid, 'SIGKILL');
    await until('it is told', () => events.length > 0);
    assert.equal(runtime.look(asReplicaId('web-1')), 'ended');
    assert.ok(bench.lines.some(({ text }) => text === 'tombstone not written'));
  });

  it('RT4. in a cage, also what fled and dropped its mark is found', async (t) => {
    if (runtime.limits().kind === 'none') return t.skip(`no cage: ${runtime.limits().detail}`);
    const { endpoint, id } = await fled();
    const [child = 0] = (await serving(bench, endpoint)).children;
    assert.ok(isAlive(child));
    const stopped = await runtime.stop(id, 5000, receipt);
    assert.equal(stopped.kind, 'stopped', JSON.stringify(stopped));
    assert.ok(!isAlive(child));
  });

  it('RT3, RT4. in a cage, also what fled from a leader that died unseen is ended', async (t) => {
    if (runtime.limits().kind === 'none') return t.skip(`no cage: ${runtime.limits().detail}`);
    const { endpoint, id, pid } = await fled();
    const [child = 0] = (await serving(bench, endpoint)).children;
    await runtime.close();
    process.kill(pid, 'SIGKILL');
    await until('the leader is dead', () => !isAlive(pid));
    const next = await bench.reopen();
    const report = await next.adopt(ids(id));
    assert.deepEqual(report.reaped, [{ pid: child, replica: id }]);
    assert.deepEqual(
      report.ended.map((each) => each.id),
      [id],
    );
    assert.ok(!isAlive(child));
  });

  /** A replica whose child has another session and an empty environment. */
  async function fled(): Promise<Placed & { readonly id: ReplicaId }> {
    const flee =
      'const { spawn } = require("node:child_process");' +
      'const c = spawn(process.execPath, ["-e", "setInterval(()=>{},1e3)"],' +
      ' { detached: true, stdio: "ignore", env: {} });' +
      'require("node:http").createServer((q, s) => s.end(JSON.stringify({ children: [c.pid] })))' +
      '.listen(process.env.PORT, process.env.HOST)';
    const order = { ...bench.order('web-1', 'serve'), command: ['node', '-e', flee] };
    return { ...(await start(order)), id: order.id };
  }
});

interface Controller {
  readonly replicas: readonly {
    id: string;
    pid: number;
    endpoint: { host: string; port: number };
  }[];
  kill(): Promise<void>;
}

/** Starts a controller in a process of its own, which can then be killed like any other. */
async function controller(...replicas: readonly string[]): Promise<Controller> {
  const file = fileURLToPath(new URL('programs/controller.ts', import.meta.url));
  const { from, to } = bench.options.portRange;
  const args = [file, bench.dir, String(from), String(to), ...replicas];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const [line] = await once(child.stdout, 'data');
  return {
    replicas: JSON.parse(String(line)),
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

describe('process driver: after the death of the controller', () => {
  beforeEach(setUp);
  afterEach(async () => await bench.dispose());

  it('RT3, RT5. replicas live through kill -9 of the controller, and go on writing', async () => {
    const old = await controller('web-1:serve', 'web-2:family');
    const [one, two] = old.replicas;
    assert.ok(one !== undefined && two !== undefined);
    await serving(bench, one.endpoint);
    const { children } = await serving(bench, two.endpoint);
    await old.kill();
    await bench.ask(one.endpoint, '/talk');
    const report = await runtime.adopt(ids('web-1', 'web-2'));
    assert.deepEqual(sorted(report.adopted), sorted([one, two]));
    assert.deepEqual([report.ended, report.reaped], [[], []]);
    assert.match(await runtime.logs(asReplicaId('web-1'), 10_000), /^y{1000}$/mu);
    assert.ok((runtime.usage(asReplicaId('web-1'))?.rssBytes ?? 0) > 1_000_000);
    assert.equal((await runtime.stop(asReplicaId('web-2'), 5000, receipt)).kind, 'stopped');
    for (const child of children) assert.ok(!isAlive(child));
    assert.deepEqual(await runtime.stop(asReplicaId('web-1'), 0, receipt), {
      kind: 'stopped',
      exit: { kind: 'signal', signal: 'SIGKILL' },
      forced: true,
    });
  });

  it('PD1. a crash between spawn and record: the replica is found by its mark', async () => {
    const old = await controller('web-1:serve', 'web-2:serve', 'web-3:serve');
    const [one, two, three] = old.replicas;
    assert.ok(one !== undefined && two !== undefined && three !== undefined);
    await old.kill();
    writeFileSync(
      recordFile('web-1'),
      JSON.stringify({ ...readRecord('web-1'), state: { kind: 'intent' } }),
    );
    rmSync(recordFile('web-2'));
    truncateSync(recordFile('web-3'), 20);
    const report = await runtime.adopt(ids('web-1', 'web-2'));
    assert.deepEqual(sorted(report.adopted), sorted([one, two]));
    assert.deepEqual(report.reaped, [{ pid: three.pid, replica: 'web-3' }]);
    assert.equal(readRecord('web-2').state['pid'], two.pid);
    assert.ok(!isAlive(three.pid));
  });

  it('PD1. a crash before the spawn: the start may be repeated', async () => {
    const order = bench.order('web-1', 'serve');
    const { bootId } = openMachine();
    const { id, service, release, logBytes } = order;
    const state = { kind: 'intent' };
    writeFileSync(
      recordFile('web-1'),
      JSON.stringify({ version: 1, id, service, release, bootId, port: 1, logBytes, state }),
    );
    assert.deepEqual((await runtime.adopt(ids('web-1'))).adopted, []);
    assert.equal(runtime.look(order.id), 'unknown');
    await start(order);
  });

  it('M2, PD10. a pid that has a new owner is left alone', async (t) => {
    const stranger = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' });
    const { pid } = stranger;
    assert.ok(pid !== undefined);
    t.after(() => stranger.kill('SIGKILL'));
    const { id, service, release, logBytes } = bench.order('web-1', 'serve');
    const running = { kind: 'running', pid, start: '1', startedAtMs: 1, cage: [] };
    const record = { version: 1, id, service, release, port: 1, logBytes, state: running };
    const write = (bootId: string, start: string): void =>
      writeFileSync(
        recordFile('web-1'),
        JSON.stringify({ ...record, bootId, state: { ...running, start } }),
      );
    const machine = openMachine();
    write(machine.bootId, '1');
    const report = await runtime.adopt(ids('web-1'));
    assert.deepEqual([report.adopted, report.reaped], [[], []]);
    assert.deepEqual(report.ended, [{ id, exit: { kind: 'unknown' } }]);
    rmSync(join(bench.dir, 'ended', 'web-1.json'));
    // The same pid and start time, of an earlier boot.
    write('another-boot', machine.facts(pid)?.start ?? '');
    const next = await bench.reopen();
    assert.deepEqual((await next.adopt(NOBODY)).adopted, []);
    assert.ok(isAlive(pid));
  });

  it('M1. a zombie is not mistaken for life', { skip: !isLinux && 'needs /proc' }, async (t) => {
    // A shell that never waits for its child: the dead child stays a zombie. The child lives until
    // the shell has become something that does not wait.
    const parent = spawn('sh', ['-c', 'sleep 1 & echo $!; exec sleep 60']);
    t.after(() => parent.kill('SIGKILL'));
    const [text] = await once(parent.stdout, 'data');
    const pid = Number(String(text));
    const machine = openMachine();
    await until('the child is a zombie', () => machine.facts(pid)?.state === 'dead');
    assert.ok(process.kill(pid, 0), 'a zombie still answers the usual question');
    const { id, service, release, logBytes } = bench.order('web-1', 'serve');
    const start = machine.facts(pid)?.start ?? '';
    const state = { kind: 'running', pid, start, startedAtMs: 1, cage: [] };
    const { bootId } = machine;
    writeFileSync(
      recordFile('web-1'),
      JSON.stringify({ version: 1, id, service, release, bootId, port: 1, logBytes, state }),
    );
    const report = await runtime.adopt(ids('web-1'));
    assert.deepEqual([report.adopted.length, report.ended.length], [0, 1]);
  });

  it('another instance’s replicas are not touched', async () => {
    const other = await openBench();
    await other.runtime.adopt(NOBODY);
    const answer = await other.runtime.start(other.order('web-1', 'serve'), receipt);
    isUp(answer);
    assert.deepEqual(await runtime.adopt(NOBODY), { adopted: [], ended: [], reaped: [] });
    assert.ok(isAlive(answer.pid));
    await other.dispose();
    assert.ok(!isAlive(answer.pid));
  });
});

describe('process driver: limits', () => {
  beforeEach(async () => {
    await setUp();
    await runtime.adopt(NOBODY);
  });
  afterEach(async () => await bench.dispose());

  it('a replica over its memory limit ends with the cause “memory”', async (t) => {
    const { kind, detail } = runtime.limits();
    if (kind === 'none') return t.skip(`no memory limits here: ${detail}`);
    await start({ ...bench.order('web-1', 'hog'), memoryBytes: 128 * 1024 * 1024, cpuCores: 1 });
    await until('it is told', () => events.length > 0);
    assert.deepEqual(events, [{ kind: 'exited', replica: 'web-1', exit: { kind: 'memory' } }]);
  });

  it('the limits are those of the order, survive adoption, and leave nothing behind', async (t) => {
    const { kind, detail } = runtime.limits();
    if (kind !== 'cgroup-v1') return t.skip(`needs cgroup v1 here: ${kind}, ${detail}`);
    const order = { ...bench.order('web-1', 'serve'), memoryBytes: 2 ** 28, cpuCores: 0.5 };
    const { pid } = await start(order);
    const [memory = '', cpu = ''] = readRecord('web-1').state['cage'] as readonly string[];
    const read = (folder: string, name: string): string =>
      readFileSync(join(folder, name), 'utf8').trim();
    assert.equal(read(memory, 'memory.limit_in_bytes'), String(2 ** 28));
    assert.equal(read(cpu, 'cpu.cfs_quota_us'), '50000');
    assert.ok(read(memory, 'cgroup.procs').split('\n').includes(String(pid)));
    const next = await bench.reopen();
    await next.adopt(ids('web-1'));
    assert.ok(existsSync(memory) && existsSync(cpu));
    assert.equal((await next.stop(order.id, 5000, receipt)).kind, 'stopped');
    assert.ok(!existsSync(memory) && !existsSync(cpu));
    await next.close();
    assert.ok(!existsSync(join(memory, '..')) && !existsSync(join(cpu, '..')));
  });

  it('without control groups it says why, and works', () => {
    const none = openCages('x', { mounts: '', self: '', isRoot: false });
    assert.equal(none.kind, 'none');
    assert.match(none.detail, /no control groups are mounted/u);
    const mounts = '30 20 0:1 / /nowhere/at/all rw - cgroup2 cgroup2 rw';
    const undelegated = openCages('x', { mounts, self: '0::/user.slice', isRoot: false });
    assert.match(undelegated.detail, /not delegated/u);
  });

  it('cgroup v2: uses the delegated subtree, and writes the limits of its files', async () => {
    // The kernel's files are played by plain ones: what is written where is what is tested.
    const root = join(bench.dir, 'v2');
    const unit = join(root, 'kintsugi.service');
    const own = join(unit, 'control');
    const base = join(unit, 'kintsugi', 'x');
    for (const folder of [own, join(base, 'web-1')]) mkdirSync(folder, { recursive: true });
    for (const folder of [unit, join(unit, 'kintsugi'), base])
      writeFileSync(join(folder, 'cgroup.subtree_control'), '');
    const mounts = `30 20 0:1 / ${root} rw - cgroup2 cgroup2 rw`;
    const self = '0::/kintsugi.service/control';
    const cages = openCages('x', { mounts, self, isRoot: false });
    assert.equal(cages.kind, 'cgroup-v2', cages.detail);
    const cage = cages.build('web-1', { memoryBytes: 1000, cpuCores: 0.25 });
    assert.ok(cage !== undefined);
    await cage.enter(4242);
    const written = (name: string): string => readFileSync(join(base, 'web-1', name), 'utf8');
    assert.equal(written('memory.max'), '1000');
    assert.equal(written('memory.oom.group'), '1');
    assert.equal(written('cpu.max'), '25000 100000');
    assert.equal(written('cgroup.procs'), '4242');
    writeFileSync(join(base, 'web-1', 'memory.events'), 'low 0\noom 3\noom_kill 2\n');
    assert.equal(cage.memoryKills(), 2);
    assert.equal(cages.reopen([root]), undefined, 'a foreign group is not believed');
    assert.ok(cages.reopen([join(base, 'web-1')]) !== undefined);
  });

  it('PD7. below a limited group of its own, nothing is made outside of it', () => {
    const root = join(bench.dir, 'v1');
    const own = join(root, 'container', 'kin');
    mkdirSync(join(own, 'kintsugi', 'x'), { recursive: true });
    mkdirSync(join(root, 'kintsugi', 'x'), { recursive: true });
    for (const folder of [own, root]) {
      writeFileSync(join(folder, 'memory.limit_in_bytes'), '9223372036854771712');
      writeFileSync(join(folder, 'kintsugi', 'x', 'memory.limit_in_bytes'), '');
    }
    const mounts = `30 20 0:1 / ${root} rw - cgroup cgroup rw,memory`;
    const build = (): string =>
      openCages('x', { mounts, self: '4:memory:/container/kin', isRoot: true }).build('web-1', {
        memoryBytes: undefined,
        cpuCores: undefined,
      })?.folders[0] ?? '';
    assert.equal(build(), join(root, 'kintsugi', 'x', 'web-1'));
    writeFileSync(join(root, 'container', 'memory.limit_in_bytes'), '1073741824');
    assert.equal(build(), join(own, 'kintsugi', 'x', 'web-1'));
  });

  it('PD8. children that were forked before the cage closed are inside', async (t) => {
    if (runtime.limits().kind !== 'cgroup-v1') return t.skip(runtime.limits().detail);
    const command = ['sh', '-c', 'sleep 60 & sleep 60 & wait'];
    const { pid } = await start({ ...bench.order('web-1', 'serve'), command });
    const [memory = ''] = readRecord('web-1').state['cage'] as readonly string[];
    const group = (): readonly number[] =>
      openMachine()
        .all()
        .filter((facts) => facts.pgid === pid)
        .map((facts) => facts.pid);
    await until('it has forked', () => group().length === 3);
    const inside = readFileSync(join(memory, 'cgroup.procs'), 'utf8')
      .trim()
      .split('\n')
      .map(Number);
    assert.deepEqual(
      inside.toSorted((a, b) => a - b),
      group().toSorted((a, b) => a - b),
    );
  });
});

describe('process driver: logs', () => {
  beforeEach(async () => {
    await setUp();
    await runtime.adopt(NOBODY);
  });
  afterEach(async () => await bench.dispose());

  it('PD5. a growing log is rotated, and read across its parts in order', async () => {
    const order = { ...bench.order('web-1', 'serve'), logBytes: 20_000 };
    const { endpoint } = await start(order);
    await serving(bench, endpoint);
    const log = join(bench.dir, 'logs', 'web-1.log');
    const feed = async (letter: string, parts: number): Promise<void> => {
      appendFileSync(log, `${letter.repeat(5999)}\n`);
      await until(`rotation ${parts}`, () => statSync(log).size === 0);
      assert.ok(existsSync(`${log}.${parts}`));
    };
    await feed('a', 1);
    await feed('b', 2);
    await bench.ask(endpoint, '/talk');
    assert.equal(
      await runtime.logs(order.id, 100_000),
      `${'a'.repeat(5999)}\n${'b'.repeat(5999)}\n${'y'.repeat(1000)}\n`,
    );
    assert.deepEqual(events, []);
  });

  it('PD5. a flood is dropped, counted and marked', async () => {
    const order = { ...bench.order('web-1', 'talk', '20000'), logBytes: 20_000 };
    const { endpoint } = await start(order);
    await serving(bench, endpoint);
    // A look in the middle of the flood drops its first part alone.
    await until('the last of it is told', async () => {
      const { size } = statSync(join(bench.dir, 'logs', 'web-1.log'));
      const event = events.at(-1);
      if (size >= 20_000 || event === undefined) return false;
      assert.ok(event.kind === 'log-dropped' && event.bytes > 20_000);
      const kept = await runtime.logs(order.id, 100_000);
      assert.ok(kept.length < 20_000);
      return kept.startsWith(`[kintsugi: ${event.bytes} bytes dropped here`);
    });
  });

  it('PD6. a log that was replaced by a link is neither read nor truncated', async () => {
    const order = { ...bench.order('web-1', 'serve'), logBytes: 4 };
    await start(order);
    const secret = join(bench.dir, 'secret');
    writeFileSync(secret, 'do not show');
    const log = join(bench.dir, 'logs', 'web-1.log');
    rmSync(log);
    symlinkSync(secret, log);
    assert.equal(await runtime.logs(order.id, 1000), '');
    const before = Date.now();
    await until('a check has passed', () => Date.now() - before > 1100);
    assert.equal(readFileSync(secret, 'utf8'), 'do not show');
    assert.equal(existsSync(`${log}.1`), false);
  });
});

describe('process driver: reading the system', () => {
  it('M2. a command name with spaces and parentheses does not shift the fields', () => {
    const rest = Array.from({ length: 30 }, (_, at) => String(at + 4)).join(' ');
    const facts = parseStat(7, `7 (a) Z (b) c) S ${rest}`);
    assert.equal(facts?.state, 'alive');
    assert.deepEqual([facts.ppid, facts.pgid, facts.start], [4, 5, '22']);
    assert.equal(parseStat(7, '7 (a'), undefined);
  });

  it('reads what ps prints on macOS', () => {
    assert.deepEqual(parseFacts('  501   1   501 Ss+  Fri Nov 20 12:53:33 2026'), {
      pid: 501,
      ppid: 1,
      pgid: 501,
      start: 'Fri Nov 20 12:53:33 2026',
      state: 'alive',
    });
    assert.equal(parseFacts(' 501 1 501 Z Fri Nov 20 12:53:33 2026')?.state, 'dead');
    assert.equal(msOfTime('1-02:03:04'), 93_784_000);
    assert.equal(msOfTime('0:01.25'), 1250);
  });

  it('refuses a platform that it cannot supervise', () => {
    assert.throws(() => openMachine('win32'), { code: 'KIN_PLATFORM_UNSUPPORTED' });
  });

  it('PD2. records are checked when read; ids become safe and different file names', () => {
    assert.equal(parseRecord({ version: 2 }), undefined);
    assert.equal(parseRecord('x'), undefined);
    assert.equal(fileNameOf(asReplicaId('web-1')), 'web-1');
    const odd = ['..', '../x', 'a/b', 'a.b', '-x'].map((id) => fileNameOf(asReplicaId(id)));
    for (const name of odd) assert.match(name, /^x\.[0-9a-f]{40}$/u);
    assert.equal(new Set(odd).size, odd.length);
  });
});

describe('process driver: as an ordinary user', { skip: isInner && 'this is that run' }, () => {
  it('the whole file passes without privileges', async (t) => {
    if (process.getuid?.() !== 0) return t.skip('this run is unprivileged already');
    const uid = 65_534;
    const file = fileURLToPath(import.meta.url);
    const canRead = await new Promise<boolean>((done) => {
      const options = { uid, gid: uid, stdio: 'ignore' } as const;
      const probe = spawn(
        process.execPath,
        ['-e', `fs.readFileSync(${JSON.stringify(file)})`],
        options,
      );
      probe.once('error', () => done(false));
      probe.once('exit', (code) => done(code === 0));
    });
    if (!canRead) return t.skip('an ordinary user may not read this checkout');
    accessSync('/tmp', constants.W_OK);
    // Its own: the one of this run belongs to root.
    const cache = mkdtempSync('/tmp/kintsugi-compiled-');
    t.after(() => rmSync(cache, { recursive: true, force: true }));
    chownSync(cache, uid, uid);
    const env = {
      PATH: process.env['PATH'],
      KINTSUGI_TEST_UNPRIVILEGED: '1',
      TMPDIR: '/tmp',
      NODE_COMPILE_CACHE: cache,
    };
    const run = spawn(
      process.execPath,
      ['--test', '--test-reporter=spec', '--test-skip-pattern=PD[56]', file],
      {
        uid,
        gid: uid,
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    let output = '';
    run.stdout.on('data', (chunk) => (output += String(chunk)));
    run.stderr.on('data', (chunk) => (output += String(chunk)));
    const [code] = await once(run, 'exit');
    assert.equal(code, 0, output);
    assert.match(output, /pass [2-9]\d/u);
    for (const line of output.split('\n').filter((each) => each.includes('# '))) t.diagnostic(line);
  });
});
