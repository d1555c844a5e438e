// Does anchoring go on whatever happens to the medium, without anybody waiting for it?
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type Anchor,
  type AnchoredHead,
  type AnchorReceipt,
  receiptBase,
} from '../../src/drivers/anchors/anchor.ts';
import type { AnchorBook } from '../../src/drivers/anchors/book.ts';
import { AnchorError } from '../../src/drivers/anchors/errors.ts';
import {
  type AnchorSchedule,
  type AnchorState,
  openAnchorSchedule,
  type ScheduleLimits,
} from '../../src/drivers/anchors/schedule.ts';
import { openRandom } from '../../src/world/real/random.ts';
import { openSimClock, type SimClock } from '../../src/world/sim/clock.ts';
import { linesLog, makeHead, until } from './stage.ts';

const MINUTE = 60_000;

type Answer = (head: AnchoredHead, signal?: AbortSignal) => Promise<AnchorReceipt>;

function memoryBook(): AnchorBook & { readonly all: AnchorReceipt[]; fails: boolean } {
  const all: AnchorReceipt[] = [];
  const receipts = (anchor: string, limit: number): readonly AnchorReceipt[] => {
    const bySize = new Map(
      all.filter((one) => one.anchor === anchor).map((one) => [one.size, one]),
    );
    return [...bySize.values()].slice(-limit).toReversed();
  };
  const book = {
    all,
    fails: false,
    droppedBytes: 0,
    append: async (receipt: AnchorReceipt) => {
      if (book.fails) throw new AnchorError('KIN_ANCHOR_IO', 'disk');
      all.push(receipt);
    },
    receipts,
    newest: (anchor: string) => receipts(anchor, 1)[0],
    close: async () => {},
  };
  return book;
}

interface Setting {
  readonly schedule: AnchorSchedule;
  readonly clock: SimClock;
  readonly book: ReturnType<typeof memoryBook>;
  readonly states: AnchorState[];
  readonly tries: { readonly size: number; readonly atMs: number }[];
  run(ms: number): Promise<void>;
  answer: Answer;
}

function open(
  limits: Partial<ScheduleLimits> = {},
  extra: Partial<Anchor> = {},
  had = memoryBook(),
): Setting {
  const clock = openSimClock({
    startMs: 0,
    wallMs: 1_800_000_000_000,
    settle: () => new Promise((resolve) => setImmediate(() => setImmediate(resolve))),
  });
  const receiptFor = (head: AnchoredHead): AnchorReceipt => ({
    kind: 'file',
    ...receiptBase('a', head, clock.nowMs()),
    layout: 'append',
  });
  const setting: Omit<Setting, 'schedule'> = {
    clock,
    book: had,
    states: [],
    tries: [],
    run: (ms) => clock.runUntil(clock.monotonicMs() + ms),
    answer: async (head) => receiptFor(head),
  };
  const anchor: Anchor = {
    name: 'a',
    anchor: (head, signal) => {
      setting.tries.push({ size: head.size, atMs: clock.monotonicMs() });
      return setting.answer(head, signal);
    },
    verify: async () => ({ kind: 'unreachable', detail: '' }),
    ...extra,
  };
  const schedule = openAnchorSchedule({
    anchors: [anchor],
    book: had,
    clock,
    random: openRandom('anchors'),
    log: linesLog(),
    limits: { anchorEveryMs: 10 * MINUTE, retryFirstMs: 1_000, retryMaxMs: MINUTE, ...limits },
    onState: (_name, state) => setting.states.push(state),
  });
  return Object.assign(setting, { schedule });
}

const stateOf = ({ schedule }: Setting): AnchorState => {
  const state = schedule.states().get('a');
  assert.ok(state);
  return state;
};

async function stop(setting: Setting): Promise<void> {
  const stopped = setting.schedule.stop();
  await setting.run(10_000);
  await stopped;
}

describe('the schedule of anchors', () => {
  test('the first head goes at once, then only the newest of each interval', async () => {
    const setting = open();
    setting.schedule.offer(makeHead(5));
    await setting.run(MINUTE);
    for (let size = 6; size < 60; size += 1) {
      setting.schedule.offer(makeHead(size));
      await setting.run(MINUTE / 2);
    }
    assert.deepEqual(setting.tries.map(({ size }) => size).slice(0, 3), [5, 23, 43]);
    assert.equal(stateOf(setting).kind, 'anchored');
    await setting.run(60 * MINUTE);
    assert.equal(stateOf(setting).size, 59);
    assert.equal(setting.schedule.anchoredSize(1), 59);
    assert.equal(setting.schedule.anchoredSize(2), 0);
    const { length } = setting.tries;
    await setting.run(600 * MINUTE);
    assert.equal(setting.tries.length, length, 'nothing new, nothing asked');
    await stop(setting);
  });

  test('enough entries do not wait for the interval', async () => {
    const setting = open({ anchorEveryEntries: 100 });
    setting.schedule.offer(makeHead(5));
    await setting.run(1_000);
    setting.schedule.offer(makeHead(104));
    await setting.run(1_000);
    setting.schedule.offer(makeHead(105));
    await setting.run(1_000);
    assert.deepEqual(
      setting.tries.map(({ size }) => size),
      [5, 105],
    );
    await stop(setting);
  });

  test('AS1 a medium that never answers holds up neither offers nor the stop', async () => {
    const setting = open();
    setting.answer = () => new Promise(() => {});
    setting.schedule.offer(makeHead(5));
    await setting.run(MINUTE);
    for (let size = 6; size < 2_000; size += 1) setting.schedule.offer(makeHead(size));
    assert.equal(setting.tries.length, 1);
    await stop(setting);
  });

  test('AS2 what the book could not keep does not count as anchored', async () => {
    const setting = open();
    setting.book.fails = true;
    setting.schedule.offer(makeHead(5));
    await setting.run(100);
    assert.deepEqual([stateOf(setting).kind, stateOf(setting).size], ['pending', 0]);
    setting.book.fails = false;
    await setting.run(MINUTE);
    assert.deepEqual([stateOf(setting).kind, stateOf(setting).size], ['anchored', 5]);
    await stop(setting);
  });

  test('AS3 retries pause up to the cap, with jitter, and never end', async () => {
    const setting = open();
    setting.answer = async () => {
      throw new AnchorError('KIN_ANCHOR_UNREACHABLE', 'away');
    };
    setting.schedule.offer(makeHead(5));
    await setting.run(240 * MINUTE);
    const times = setting.tries.map(({ atMs }) => atMs);
    const pauses = times.slice(1).map((atMs, index) => atMs - (times[index] ?? 0));
    for (const [index, pause] of pauses.entries()) {
      const fullMs = Math.min(MINUTE, 1_000 * 2 ** index);
      assert.ok(pause >= fullMs / 2 && pause <= fullMs + 1, `${index}: ${pause} of ${fullMs}`);
    }
    assert.ok(pauses.length > 200, 'it never gave up');
    assert.ok(new Set(pauses.slice(10)).size > 20, 'jitter');
    assert.equal(stateOf(setting).kind, 'failed');
    assert.match(stateOf(setting).reason, /KIN_ANCHOR_UNREACHABLE: away/);
    setting.answer = async (head) => ({
      kind: 'file',
      ...receiptBase('a', head, 1),
      layout: 'append',
    });
    await setting.run(2 * MINUTE);
    assert.equal(stateOf(setting).kind, 'anchored');
    await stop(setting);
  });

  test('AS3 a fork is told at the first look', async () => {
    const setting = open();
    setting.answer = async () => {
      throw new AnchorError('KIN_ANCHOR_FORK', 'other root');
    };
    setting.schedule.offer(makeHead(5));
    await setting.run(10);
    assert.equal(stateOf(setting).kind, 'failed');
    assert.match(stateOf(setting).reason, /KIN_ANCHOR_FORK/);
    await stop(setting);
  });

  test('AS4 since and reason follow the state: pending, failed, anchored', async () => {
    const setting = open();
    setting.answer = async () => {
      throw new AnchorError('KIN_ANCHOR_UNREACHABLE', 'away');
    };
    assert.equal(stateOf(setting).reason, 'nothing anchored yet');
    setting.schedule.offer(makeHead(5));
    await setting.run(10 * MINUTE);
    const failed = stateOf(setting);
    assert.ok(
      failed.sinceMs < setting.clock.nowMs() - 9 * MINUTE,
      'since the first failure of all',
    );
    assert.deepEqual(
      setting.states.map(({ kind }) => kind),
      ['pending', 'failed'],
    );
    await stop(setting);
  });

  test('after a restart the book says what is anchored already', async () => {
    const first = open();
    first.schedule.offer(makeHead(5));
    await first.run(100);
    await stop(first);
    const second = open({}, {}, first.book);
    assert.deepEqual([stateOf(second).kind, stateOf(second).size], ['anchored', 5]);
    assert.equal(second.schedule.anchoredSize(1), 5);
    second.schedule.offer(makeHead(5));
    await second.run(60 * MINUTE);
    assert.equal(second.tries.length, 0);
    await stop(second);
  });

  test('a promise is upgraded at each interval until it is kept', async () => {
    let upgrades = 0;
    const base = { kind: 'opentimestamps', proof: 'AA==' } as const;
    const upgrade = async (receipt: AnchorReceipt): Promise<AnchorReceipt> => {
      upgrades += 1;
      if (upgrades < 4 || receipt.kind !== 'opentimestamps') return receipt;
      return { ...receipt, proof: 'AQ==', state: 'attested' };
    };
    const setting = open({}, { upgrade } as Partial<Anchor>);
    setting.answer = async (head) => ({ ...base, ...receiptBase('a', head, 1), state: 'pending' });
    setting.schedule.offer(makeHead(5));
    await setting.run(1_000);
    assert.deepEqual([stateOf(setting).kind, stateOf(setting).size], ['pending', 5]);
    assert.equal(setting.schedule.anchoredSize(1), 0, 'a promise is no anchor');
    await setting.run(60 * MINUTE);
    assert.equal(stateOf(setting).kind, 'anchored');
    assert.equal(setting.schedule.anchoredSize(1), 5);
    assert.equal(upgrades, 4, 'and then it is left alone');
    assert.equal(setting.tries.length, 1);
    await stop(setting);
  });

  test('a long wait inside of an anchor ends with the stop', async () => {
    const setting = open();
    let isAborted = false;
    setting.answer = (_head, signal) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => {
          isAborted = true;
          reject(signal.reason as Error);
        });
      });
    setting.schedule.offer(makeHead(5));
    await setting.run(100);
    await setting.schedule.stop();
    await until('aborted', () => isAborted);
    assert.deepEqual(setting.states, [], 'a stop is no failure');
  });

  test('two anchors of one name are refused', () => {
    const anchor: Anchor = {
      name: 'a',
      anchor: () => Promise.reject(new Error('never')),
      verify: async () => ({ kind: 'unreachable', detail: '' }),
    };
    const { clock, book } = open();
    assert.throws(
      () =>
        openAnchorSchedule({
          anchors: [anchor, anchor],
          book,
          clock,
          random: openRandom('x'),
          log: linesLog(),
        }),
      /KIN_ANCHOR_CONFIG|same name/,
    );
  });
});
