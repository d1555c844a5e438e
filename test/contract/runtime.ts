// Does a runtime driver keep the contract of `world/runtime.ts`? One suite for every driver: the
// driver brings a bench, the suite brings the questions. Titles cite the invariants.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { asReplicaId } from '../../src/model/ids.ts';
import type { ReplicaId } from '../../src/model/ids.ts';
import { planId } from '../../src/model/ids.ts';
import { mintReceipt, type Receipt } from '../../src/model/receipt.ts';
import type { Endpoint } from '../../src/model/replica.ts';
import type { ReplicaOrder, Runtime, RuntimeEvent, StartAnswer } from '../../src/world/runtime.ts';

/** What the replica does: `serve` answers; the others answer too, and have a bad habit. */
export type Habit = 'serve' | 'exit' | 'deaf' | 'family' | 'talk' | 'hog';

/** What the replica tells about itself when it is asked. */
export interface Answer {
  readonly pid: number;
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly children: readonly number[];
}

export interface RuntimeBench {
  /** The driver that is open now; `adopt` has been called by the suite. */
  readonly runtime: Runtime;
  /** The control plane went away and comes back: another driver over the same things. */
  reopen(): Promise<Runtime>;
  order(id: string, habit: Habit, detail?: string): ReplicaOrder;
  /** One GET on this path; undefined when nobody answers. */
  ask(endpoint: Endpoint, path: string): Promise<Answer | undefined>;
  isAlive(pid: number): boolean;
  until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void>;
  dispose(): Promise<void>;
}

export const testReceipt = (): Receipt =>
  mintReceipt(planId('plan-test'), 'sha256:test', 0, Buffer.alloc(32).toString('base64'));

export const NOBODY: ReadonlySet<ReplicaId> = new Set();
export const ids = (...names: readonly string[]): ReadonlySet<ReplicaId> =>
  new Set(names.map(asReplicaId));

type Running = Extract<StartAnswer, { kind: 'started' | 'already' }>;

export function isUp(answer: StartAnswer): asserts answer is Running {
  assert.ok(answer.kind === 'started' || answer.kind === 'already', JSON.stringify(answer));
}

export async function serving(bench: RuntimeBench, endpoint: Endpoint): Promise<Answer> {
  let answer: Answer | undefined;
  await bench.until('the replica answers', async () => {
    answer = await bench.ask(endpoint, '/');
    return answer !== undefined;
  });
  assert.ok(answer !== undefined);
  return answer;
}

export function runtimeContract(name: string, open: () => Promise<RuntimeBench>): void {
  describe(`runtime contract: ${name}`, () => {
    let bench: RuntimeBench;
    let runtime: Runtime;
    const receipt = testReceipt();
    const events: RuntimeEvent[] = [];
    const exits = (id: string): readonly RuntimeEvent[] =>
      events.filter((event) => event.kind === 'exited' && event.replica === id);
    const start = async (id: string, habit: Habit, detail?: string): Promise<Running> => {
      const answer = await runtime.start(bench.order(id, habit, detail), receipt);
      isUp(answer);
      return answer;
    };
    beforeEach(async () => {
      bench = await open();
      runtime = bench.runtime;
      events.length = 0;
      runtime.onEvent((event) => events.push(event));
      await runtime.adopt(NOBODY);
    });
    afterEach(async () => await bench.dispose());
    const suite = { bench: () => bench, runtime: () => runtime, start, exits, receipt };
    acts(suite);
    adoption(suite);
    endings(suite);
    logging(suite);
  });
}

interface Suite {
  readonly bench: () => RuntimeBench;
  readonly runtime: () => Runtime;
  readonly start: (id: string, habit: Habit, detail?: string) => Promise<Running>;
  readonly exits: (id: string) => readonly RuntimeEvent[];
  readonly receipt: Receipt;
}

function acts({ bench, runtime, start, receipt }: Suite): void {
  it('RT1. neither starts nor stops anything without a genuine receipt', async () => {
    const forged = { ...receipt };
    await assert.rejects(runtime().start(bench().order('web-1', 'serve'), forged), /receipt/u);
    assert.equal(runtime().look(asReplicaId('web-1')), 'unknown');
    const { pid } = await start('web-2', 'serve');
    await assert.rejects(runtime().stop(asReplicaId('web-2'), 0, forged), /receipt/u);
    assert.ok(bench().isAlive(pid));
  });

  it('starts a replica with its environment, on a port that it is told', async () => {
    const order = { ...bench().order('web-1', 'serve'), env: { COLOUR: 'gold' } };
    const answer = await runtime().start(order, receipt);
    isUp(answer);
    const seen = await serving(bench(), answer.endpoint);
    assert.equal(seen.env['COLOUR'], 'gold');
    assert.equal(Number(seen.env['PORT']), answer.endpoint.port);
    assert.equal(runtime().list()[0]?.pid, answer.pid);
    assert.ok((runtime().usage(order.id)?.rssBytes ?? 0) > 1_000_000);
  });

  it('RT2. a repeated start, even at the same moment, makes no second process', async () => {
    const order = bench().order('web-1', 'serve');
    const answers = await Promise.all([
      runtime().start(order, receipt),
      runtime().start(order, receipt),
    ]);
    const third = await runtime().start(order, receipt);
    const pids = [...answers, third].map((answer) => (isUp(answer), answer.pid));
    assert.equal(new Set(pids).size, 1);
    assert.equal(third.kind, 'already');
    assert.equal(runtime().list().length, 1);
  });

  it('RT2. an id that has ended is never started again, also by the next controller', async () => {
    await start('web-1', 'serve');
    const id = asReplicaId('web-1');
    assert.equal((await runtime().stop(id, 5000, receipt)).kind, 'stopped');
    assert.equal((await runtime().stop(id, 5000, receipt)).kind, 'not-running');
    assert.equal((await runtime().start(bench().order('web-1', 'serve'), receipt)).kind, 'ended');
    const next = await bench().reopen();
    await next.adopt(NOBODY);
    assert.equal(next.look(id), 'ended');
    assert.equal((await next.start(bench().order('web-1', 'serve'), receipt)).kind, 'ended');
  });

  it('gives every replica a port of its own', async () => {
    const started = await Promise.all(['a-1', 'a-2', 'a-3'].map((id) => start(id, 'serve')));
    assert.equal(new Set(started.map((each) => each.endpoint.port)).size, 3);
  });

  it('a command that does not exist is a failure that no repeat can cure', async () => {
    const order = { ...bench().order('web-1', 'serve'), command: ['no-such-command-here'] };
    const answer = await runtime().start(order, receipt);
    assert.ok(answer.kind === 'failed' && !answer.retryable, JSON.stringify(answer));
    assert.equal(answer.code, 'KIN_COMMAND_NOT_FOUND');
    assert.equal(runtime().look(order.id), 'unknown');
  });
}

function adoption({ bench, runtime, start, receipt }: Suite): void {
  it('RT3. replicas outlive the controller and are found again, the same ones', async () => {
    const before = await start('web-1', 'serve');
    await serving(bench(), before.endpoint);
    const next = await bench().reopen();
    const report = await next.adopt(ids('web-1'));
    assert.deepEqual(
      report.adopted.map(({ id, pid, endpoint }) => ({ id, pid, endpoint })),
      [{ id: asReplicaId('web-1'), pid: before.pid, endpoint: before.endpoint }],
    );
    assert.equal((await serving(bench(), before.endpoint)).pid, before.pid);
    assert.equal((await next.start(bench().order('web-1', 'serve'), receipt)).kind, 'already');
    const stopped = await next.stop(asReplicaId('web-1'), 5000, receipt);
    assert.equal(stopped.kind, 'stopped', JSON.stringify(stopped));
    assert.ok(!bench().isAlive(before.pid));
  });

  it('RT3. what is in nobody’s book is ended, and what ended meanwhile is reported', async () => {
    const stray = await start('web-1', 'serve');
    const dead = await start('web-2', 'serve');
    await serving(bench(), dead.endpoint);
    await serving(bench(), stray.endpoint);
    await runtime().close();
    await bench().ask(dead.endpoint, '/exit');
    await bench().until('web-2 is dead', () => !bench().isAlive(dead.pid));
    const next = await bench().reopen();
    const report = await next.adopt(ids('web-2'));
    assert.deepEqual(report.adopted, []);
    assert.deepEqual(report.reaped, [{ pid: stray.pid, replica: 'web-1' }]);
    assert.deepEqual(
      report.ended.map(({ id }) => id),
      ['web-2'],
    );
    assert.ok(!bench().isAlive(stray.pid));
  });

  it('RT3. the end of an adopted replica is noticed', async () => {
    const { endpoint } = await start('web-1', 'serve');
    await serving(bench(), endpoint);
    const next = await bench().reopen();
    await next.adopt(ids('web-1'));
    const seen: RuntimeEvent[] = [];
    next.onEvent((event) => seen.push(event));
    await bench().ask(endpoint, '/exit');
    await bench().until('it is told', () => seen.length > 0);
    assert.equal(seen[0]?.kind, 'exited');
    assert.equal(next.look(asReplicaId('web-1')), 'ended');
  });
}

function endings({ bench, runtime, start, exits, receipt }: Suite): void {
  it('tells each end once, with its code', async () => {
    const { endpoint } = await start('web-1', 'serve');
    await serving(bench(), endpoint);
    await bench().ask(endpoint, '/exit');
    await bench().until('the end is told', () => exits('web-1').length > 0);
    assert.equal((await runtime().stop(asReplicaId('web-1'), 0, receipt)).kind, 'not-running');
    assert.deepEqual(exits('web-1'), [
      { kind: 'exited', replica: 'web-1', exit: { kind: 'code', code: 7 } },
    ]);
  });

  it('a polite stop lets the replica finish, and says so', async () => {
    const { endpoint } = await start('web-1', 'serve');
    await serving(bench(), endpoint);
    const stopped = await runtime().stop(asReplicaId('web-1'), 10_000, receipt);
    assert.deepEqual(stopped, { kind: 'stopped', exit: { kind: 'code', code: 0 }, forced: false });
    assert.equal(exits('web-1').length, 1);
    assert.equal(runtime().look(asReplicaId('web-1')), 'ended');
  });

  it('a replica that ignores SIGTERM is killed at its deadline', async () => {
    const { endpoint, pid } = await start('web-1', 'deaf');
    await serving(bench(), endpoint);
    const stopped = await runtime().stop(asReplicaId('web-1'), 200, receipt);
    assert.ok(stopped.kind === 'stopped' && stopped.forced, JSON.stringify(stopped));
    assert.ok(!bench().isAlive(pid));
  });

  it('a second stop that may not wait makes the first one hurry', async () => {
    const { endpoint } = await start('web-1', 'deaf');
    await serving(bench(), endpoint);
    const id = asReplicaId('web-1');
    const slow = runtime().stop(id, 3_600_000, receipt);
    const fast = runtime().stop(id, 0, receipt);
    for (const answer of await Promise.all([slow, fast])) assert.equal(answer.kind, 'stopped');
  });

  it('RT4. stopping a replica leaves none of its children, not even stubborn ones', async () => {
    const { endpoint } = await start('web-1', 'family');
    const { children } = await serving(bench(), endpoint);
    assert.equal(children.length, 2);
    const stopped = await runtime().stop(asReplicaId('web-1'), 10_000, receipt);
    assert.equal(stopped.kind, 'stopped', JSON.stringify(stopped));
    for (const child of children) assert.ok(!bench().isAlive(child));
  });

  it('RT4. a replica that dies by itself takes its children along', async () => {
    const { endpoint } = await start('web-1', 'family');
    const { children } = await serving(bench(), endpoint);
    await bench().ask(endpoint, '/exit');
    await bench().until('no child is left', () => !children.some((each) => bench().isAlive(each)));
    assert.equal(exits('web-1').length, 1);
  });
}

function logging({ bench, runtime, start }: Suite): void {
  it('RT5. a replica that writes much into a log that nobody reads still answers', async () => {
    const { endpoint } = await start('web-1', 'talk', '20000');
    await serving(bench(), endpoint);
  });

  it('shows the end of what a replica wrote, also after its death', async () => {
    const { endpoint } = await start('web-1', 'talk', '50');
    await serving(bench(), endpoint);
    const id = asReplicaId('web-1');
    assert.match(await runtime().logs(id, 100_000), /^line 0 [^]*line 49 x+\n$/u);
    const tail = await runtime().logs(id, 40);
    assert.equal(Buffer.byteLength(tail), 40);
    await bench().ask(endpoint, '/exit');
    await bench().until('it has ended', () => runtime().look(id) === 'ended');
    assert.match(await runtime().logs(id, 100_000), /line 49/u);
    assert.equal(await runtime().logs(asReplicaId('web-99'), 100), '');
  });
}
