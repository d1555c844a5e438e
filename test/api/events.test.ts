import assert from 'node:assert/strict';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { controlClient, followEvents } from '../../src/api/client.ts';
import type { StreamItem } from '../../src/api/client.ts';
import { EVENT_LIMITS } from '../../src/api/events.ts';
import { sseMessages } from '../../src/api/sse.ts';
import { fakeControl, status, storyEvent, T0 } from './fake.ts';
import { rig } from './harness.ts';
import type { Rig } from './harness.ts';

const FAST = { ...EVENT_LIMITS, tickMs: 15, heartbeatTicks: 2 };

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500; i += 1) {
    if (holds()) return;
    await sleep(10);
  }
  throw new Error(`did not happen: ${what}`);
}

interface Listening {
  readonly items: StreamItem[];
  readonly stop: () => Promise<void>;
}

function listen(from: Rig, after: number | undefined): Listening {
  const client = controlClient({ url: from.api.url, token: from.token });
  const ending = new AbortController();
  const items: StreamItem[] = [];
  const done = (async () => {
    for await (const item of client.stream(after, ending.signal)) items.push(item);
  })();
  done.catch(() => undefined);
  return {
    items,
    stop: async () => {
      ending.abort();
      await done.catch(() => undefined);
    },
  };
}

const seqs = (items: readonly StreamItem[]): number[] =>
  items.flatMap((item) => (item.kind === 'story' ? [item.event.seq] : []));

async function raw(from: Rig, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const { port } = from.api;
  return new Promise((resolve, reject) => {
    const authorization = `Bearer ${from.token}`;
    const out = request({
      host: '127.0.0.1',
      port,
      path: '/v1/events',
      headers: { authorization, ...headers },
    });
    out.on('response', resolve).on('error', reject).end();
  });
}

test('a stream begins with the status and tells what happens from now on', async (t) => {
  const from = await rig(t, { eventLimits: FAST });
  from.control.tell(storyEvent(1));
  const heard = listen(from, undefined);
  await until('status', () => heard.items.some((item) => item.kind === 'status'));
  from.control.tell(storyEvent(2));
  await until('event 2', () => seqs(heard.items).includes(2));
  assert.deepEqual(seqs(heard.items), [2]);
  await heard.stop();
  await until('unsubscribed with the last stream', () => from.control.listeners() === 0);
});

test('EV1. CL3. a client that was cut off gets every event once and in order', async (t) => {
  const from = await rig(t, { eventLimits: { ...FAST, replayPage: 3 } });
  for (let seq = 1; seq <= 4; seq += 1) from.control.tell(storyEvent(seq));
  const first = listen(from, 0);
  await until('4 events', () => seqs(first.items).length === 4);
  await first.stop();
  for (let seq = 5; seq <= 12; seq += 1) from.control.tell(storyEvent(seq));
  const second = listen(from, 4);
  await until('the missed ones', () => seqs(second.items).includes(12));
  from.control.tell(storyEvent(13));
  await until('the new one', () => seqs(second.items).includes(13));
  assert.deepEqual(seqs(second.items), [5, 6, 7, 8, 9, 10, 11, 12, 13]);
  await second.stop();
});

test('EV1. what happens while stored events are read is neither lost nor doubled', async (t) => {
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let asked = false;
  const control = fakeControl({
    story: async (after, limit) => {
      const page = control.events.filter((event) => event.seq > after).slice(0, limit);
      asked = true;
      await held;
      return page;
    },
  });
  const from = await rig(t, { control, eventLimits: FAST });
  for (let seq = 1; seq <= 3; seq += 1) control.tell(storyEvent(seq));
  const heard = listen(from, 0);
  await until('the replay has begun', () => asked);
  // 3 is in the page and told again; 4 and 5 happen in between.
  for (let seq = 3; seq <= 5; seq += 1) control.tell(storyEvent(seq));
  release();
  await until('all', () => seqs(heard.items).includes(5));
  assert.deepEqual(seqs(heard.items), [1, 2, 3, 4, 5]);
  await heard.stop();
});

test('EV2. a client that does not read is cut off, and the others hear everything', async (t) => {
  const from = await rig(t, { eventLimits: { ...FAST, bufferBytes: 65_536 } });
  const slow = await raw(from);
  slow.pause();
  slow.on('error', () => undefined);
  const heard = listen(from, 0);
  await until('both streams', () => heard.items.length > 0);
  const big = 'x'.repeat(20_000);
  let seq = 0;
  const socket = slow.socket;
  for (let round = 0; round < 400 && !socket.destroyed; round += 1) {
    from.control.tell(storyEvent((seq += 1), big));
    if (round % 3 === 0) await sleep(1);
    if (round > 300) slow.resume();
  }
  slow.resume();
  await until('the slow one is cut off', () => socket.destroyed);
  await until('the other one heard all', () => seqs(heard.items).length === seq);
  assert.equal(from.control.listeners(), 1);
  await heard.stop();
});

test('EV2. a slow client that still reads is told why it is cut off', async (t) => {
  const control = fakeControl();
  const from = await rig(t, { control, eventLimits: { ...FAST, bufferBytes: 8_192 } });
  control.current = status({ services: [] });
  const slow = await raw(from);
  let text = '';
  slow.setEncoding('utf8');
  slow.on('data', (chunk: string) => (text += chunk));
  await until('open', () => text.includes('event: status'));
  control.tell(storyEvent(1, 'x'.repeat(10_000)));
  await until('closed', () => slow.destroyed);
  assert.match(text, /event: closed\ndata: \{"reason":"too-slow"\}/u);
});

test('EV3. one stream too many is refused with 503 and a code', async (t) => {
  const from = await rig(t, { eventLimits: { ...FAST, streamsMax: 1 } });
  const heard = listen(from, undefined);
  await until('open', () => heard.items.length > 0);
  const answer = await from.call('GET', '/v1/events');
  assert.equal(answer.status, 503);
  assert.match(answer.text, /KIN_API_TOO_MANY_STREAMS/u);
  await heard.stop();
});

test('a quiet stream carries heartbeats, and the status only when it changed', async (t) => {
  const from = await rig(t, { eventLimits: FAST });
  const stream = await raw(from);
  let text = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => (text += chunk));
  await until('two heartbeats', () => text.split(': beat').length > 2);
  from.control.current = status({ atMs: T0 + 5_000 });
  await until('another heartbeat', () => text.split(': beat').length > 4);
  assert.equal(text.split('event: status').length - 1, 1, 'only the time changed');
  from.control.current = status({ overall: { kind: 'healthy' } });
  await until('the new status', () => text.split('event: status').length === 3);
  stream.destroy();
});

test('a nonsense Last-Event-ID is refused, not guessed', async (t) => {
  const from = await rig(t);
  for (const id of ['abc', '-1', '1.5', '99999999999999999999']) {
    const answer = await from.call('GET', '/v1/events', { headers: { 'last-event-id': id } });
    assert.equal(answer.status, 400, id);
  }
});

test('the end of the server is told to its streams', async (t) => {
  const from = await rig(t, { eventLimits: FAST });
  const heard = listen(from, undefined);
  await until('open', () => heard.items.length > 0);
  await from.api.close();
  await until('told', () => heard.items.some((item) => item.kind === 'closed'));
  await heard.stop();
});

test('CL3. following goes on after the controller was killed, from the last event', async () => {
  const tries: (number | undefined)[] = [];
  const ending = new AbortController();
  const client = {
    stream: async function* (after: number | undefined): AsyncGenerator<StreamItem> {
      tries.push(after);
      await Promise.resolve();
      const seq = (after ?? 0) + 1;
      yield { kind: 'story', event: storyEvent(seq) };
      if (tries.length === 3) ending.abort();
    },
  };
  const heard: number[] = [];
  const waits: number[] = [];
  const following = followEvents(client, {
    after: 7,
    signal: ending.signal,
    sleep: (ms) => {
      waits.push(ms);
      return Promise.resolve();
    },
    onLost: () => undefined,
  });
  for await (const item of following) if (item.kind === 'story') heard.push(item.event.seq);
  assert.deepEqual(tries, [7, 8, 9]);
  assert.deepEqual(heard, [8, 9, 10]);
  assert.equal(waits.length, 2);
});

test('SSE1. messages come out whole wherever the bytes are cut', async () => {
  const text = 'retry: 1\n\nid: 4\nevent: story\ndata: {"a":"ü"}\n\n: beat\n\ndata: x\ndata: y\n\n';
  const bytes = new TextEncoder().encode(text);
  for (let size = 1; size <= bytes.length; size += 1) {
    const chunks = async function* () {
      await Promise.resolve();
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    };
    const messages = [];
    for await (const message of sseMessages(chunks())) messages.push(message);
    assert.deepEqual(messages, [
      { id: '4', event: 'story', data: '{"a":"ü"}' },
      { id: undefined, event: 'message', data: 'x\ny' },
    ]);
  }
});
