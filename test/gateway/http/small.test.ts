// The small parts alone: deadlines, adoption of accepted sockets.
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import { NO_WORDS, valueEndsAt, wordsOf } from '../../../src/gateway/http/chars.ts';
import { adopt } from '../../../src/gateway/http/adopt.ts';
import { Deadlines, type Watched } from '../../../src/gateway/http/deadlines.ts';
import { ReadBuffer } from '../../../src/gateway/http/read-buffer.ts';
import { Scratch } from '../../../src/gateway/http/scratch.ts';
import { beginTurn, endTurn, turnClock } from '../../../src/gateway/http/turn.ts';
import { dice } from './grammar.ts';

interface Probe extends Watched {
  fired: number;
}

function probe(deadlineMs: number): Probe {
  const one: Probe = {
    deadlineMs,
    place: -1,
    fired: 0,
    onDeadline() {
      one.fired += 1;
    },
  };
  return one;
}

test('DL1 a deadline fires once, never early, whatever is watched and forgotten between', () => {
  let nowMs = 0;
  const deadlines = new Deadlines(() => nowMs);
  const roll = dice(3);
  const probes: Probe[] = [];
  for (let i = 0; i < 200; i += 1) {
    const one = probe(roll.below(1_000));
    probes.push(one);
    deadlines.watch(one);
  }
  const forgotten = new Set<Probe>();
  for (nowMs = 0; nowMs <= 1_000; nowMs += 50) {
    const due = probes.filter((one) => one.deadlineMs <= nowMs && !forgotten.has(one));
    const early = probes.filter((one) => one.fired === 0 && one.deadlineMs > nowMs);
    deadlines.tick();
    for (const one of due) assert.equal(one.fired, 1);
    for (const one of early) assert.equal(one.fired, 0);
    const gone = roll.one(probes);
    forgotten.add(gone);
    deadlines.forget(gone);
  }
  for (const one of probes) assert.ok(one.fired === 1 || forgotten.has(one));
  for (const one of probes) deadlines.forget(one);
  assert.equal(deadlines.size, 0);
});

test('DL1 after the process itself was held up, one more tick is given, and only one', () => {
  let nowMs = 0;
  const deadlines = new Deadlines(() => nowMs);
  const one = probe(100);
  deadlines.watch(one);
  nowMs = 900;
  deadlines.tick();
  assert.equal(one.fired, 0, 'what it waits for may lie there unread');
  nowMs = 1_800;
  deadlines.tick();
  assert.equal(one.fired, 1);
  deadlines.forget(one);
});

test('DL2 with nothing to watch no timer runs', () => {
  const timers = (): number =>
    process.getActiveResourcesInfo().filter((r) => r === 'Timeout').length;
  const before = timers();
  const deadlines = new Deadlines(() => 0);
  const one = probe(10);
  deadlines.watch(one);
  assert.equal(timers(), before + 1);
  deadlines.forget(one);
  deadlines.forget(one);
  assert.equal(timers(), before);
});

test('AD4 an adopted socket reads into the one buffer, and its server counts right', async () => {
  const got: string[] = [];
  const server = createServer({ pauseOnConnect: true }, (accepted) => {
    const read = new ReadBuffer();
    const reader = {
      read,
      onBytes: (count: number) => {
        got.push(read.bytes.toString('latin1', 0, count));
        socket?.write('pong');
      },
      onGone: () => socket?.destroy(),
    };
    const socket = adopt(accepted, reader);
    assert.ok(socket !== undefined, 'this Node has changed inside: data events are used instead');
    socket.resume();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.write('ping');
  const [answer] = (await once(client, 'data')) as [Buffer];
  assert.equal(answer.toString(), 'pong');
  client.destroy();
  server.close();
  await once(server, 'close');
  assert.deepEqual(got, ['ping']);
});

test('AD4 where the inside of Node looks otherwise, nothing is adopted', () => {
  const read = new ReadBuffer();
  const reader = { read, onBytes: () => undefined, onGone: () => undefined };
  assert.equal(adopt({} as Socket, reader), undefined);
  assert.equal(adopt({ _handle: {} } as unknown as Socket, reader), undefined);
});

test('SC1 what a socket did not take at once is not overwritten by the next message', async () => {
  const got: Buffer[] = [];
  const server = createServer((socket) => socket.on('data', (chunk: Buffer) => got.push(chunk)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const out = new Scratch();
  // Not connected yet: every one of them waits inside the socket.
  for (const mark of ['a', 'b', 'c']) out.begin().text(mark.repeat(20_000)).send(socket);
  socket.end();
  await once(socket, 'close');
  server.close();
  await once(server, 'close');
  const text = Buffer.concat(got).toString();
  assert.equal(text, ['a', 'b', 'c'].map((mark) => mark.repeat(20_000)).join(''));
});

test('SC2 a message of any length and of short and long parts is put together right', () => {
  const roll = dice(4);
  const out = new Scratch();
  for (let n = 0; n < 300; n += 1) {
    out.begin();
    let wanted = '';
    for (let i = roll.below(8); i > 0; i -= 1) {
      const part = String.fromCharCode(97 + roll.below(26), 233).repeat(roll.below(9_000));
      const short = part.slice(0, roll.chance(0.5) ? roll.below(60) : part.length);
      const bytes = Buffer.from(`<${short}>`, 'latin1');
      if (roll.chance(0.5)) out.text(short);
      else out.range(bytes, 1, bytes.length - 1);
      wanted += short;
    }
    assert.equal(out.length, wanted.length);
    assert.ok(out.toString() === wanted);
  }
});

test('HP4 a value ends at the same byte, whether it is read four at a time or one by one', () => {
  const buf = Buffer.alloc(64);
  const words = wordsOf(buf);
  for (let code = 0; code < 256; code += 1) {
    for (const [filler, other] of [
      [0x20, 0x7e],
      [0x41, 0x09],
      [0xff, 0x80],
    ] as const) {
      for (let place = 0; place < 24; place += 1) {
        buf.fill(filler);
        buf[30] = other;
        buf[13 + place] = code;
        for (const end of [36, 37, 39, 64]) {
          const at = 11 + (place & 3);
          const want = valueEndsAt(buf, NO_WORDS, at, end);
          assert.equal(valueEndsAt(buf, words, at, end), want, `${code} ${place} ${end}`);
        }
      }
    }
  }
});

test('TU1 the time stands still in a turn and goes on after it', () => {
  const later = (fromMs: number): void => {
    while (performance.now() < fromMs + 3) hash('sha256', 'time goes by');
  };
  const beforeMs = turnClock.monotonicMs();
  beginTurn();
  const [insideMs, wallMs] = [turnClock.monotonicMs(), turnClock.nowMs()];
  later(insideMs);
  assert.equal(turnClock.monotonicMs(), insideMs);
  assert.equal(turnClock.nowMs(), wallMs);
  endTurn();
  assert.ok(insideMs >= beforeMs);
  assert.ok(turnClock.monotonicMs() >= insideMs + 3);
  beginTurn();
  assert.ok(turnClock.monotonicMs() >= insideMs + 3);
  endTurn();
});
