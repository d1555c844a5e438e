// Bytes that are lent and not copied: does anybody ever get another one's? Large bodies with a
// pattern of their own each, both ways, to readers of different speed.
import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { connect, createServer as listener } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, test } from 'node:test';
import { adopt } from '../../../src/gateway/http/adopt.ts';
import { Outlet } from '../../../src/gateway/http/outlet.ts';
import {
  NOBODY,
  ReadBuffer,
  SHARED_BYTES,
  sharedBytes,
} from '../../../src/gateway/http/read-buffer.ts';
import { forwardTo, openRig, until } from './rig.ts';

const BYTES = 3_000_000;
const CLIENTS = 12;

/** Which byte stands where, for this seed. It does not repeat itself at any buffer's length. */
function pattern(seed: number, from: number, count: number): Buffer {
  const bytes = Buffer.allocUnsafe(count);
  for (let i = 0; i < count; i += 1)
    bytes[i] = Math.imul(from + i + seed * 7919, 0x9e3779b1) >>> 24;
  return bytes;
}

async function check(message: IncomingMessage, seed: number, isSlow: boolean): Promise<number> {
  let at = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    if (!chunk.equals(pattern(seed, at, chunk.length))) return -1 - at;
    at += chunk.length;
    if (isSlow) await new Promise((resolve) => setImmediate(resolve));
  }
  return at;
}

test('RB1 large bodies arrive as they were sent, both ways, beside each other', async () => {
  const server = createServer((message, response) => {
    const seed = Number(message.headers['x-seed']);
    void check(message, seed, seed % 3 === 0).then((count) => {
      response.writeHead(200, { 'x-count': count, 'content-length': BYTES });
      for (let at = 0; at < BYTES; at += 100_000) response.write(pattern(seed + 1, at, 100_000));
      response.end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const rig = await openRig({ onRequestHead: (_exchange, gate) => forwardTo(gate.pool(port)) });
  const one = async (seed: number): Promise<void> => {
    for (let round = 0; round < 2; round += 1) {
      const headers = { 'x-seed': seed, 'content-length': BYTES };
      const sent = request({ port: rig.port, host: '127.0.0.1', method: 'POST', headers });
      const answered = once(sent, 'response') as Promise<[IncomingMessage]>;
      for (let at = 0; at < BYTES; at += 250_000) sent.write(pattern(seed, at, 250_000));
      sent.end();
      const [answer] = await answered;
      assert.equal(answer.headers['x-count'], String(BYTES));
      assert.equal(await check(answer, seed + 1, seed % 2 === 0), BYTES);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, (_, i) => one(i)));
  await rig.close();
  server.closeAllConnections();
  server.close();
  assert.deepEqual(rig.bugs, []);
});

const readers: ReadBuffer[] = [];
afterEach(() => {
  for (const read of readers.splice(0)) read.drop();
});

/** One that has a buffer of its own. */
function flowing(): ReadBuffer {
  const read = new ReadBuffer();
  readers.push(read);
  read.after(SHARED_BYTES, NOBODY, 0);
  assert.ok(read.take() !== undefined && read.isOwn);
  return read;
}

test('RB1 a lent buffer goes to nobody until its borrower has sent everything', () => {
  const read = flowing();
  const lent = read.bytes;
  const borrower = { writableLength: 1 };
  read.after(SHARED_BYTES, borrower, 0);
  assert.ok(read.take() !== undefined);
  assert.notEqual(read.bytes, lent);
  const others = Array.from({ length: 24 }, flowing);
  assert.ok(others.every((other) => other.bytes !== lent));
  borrower.writableLength = 0;
  others.push(...Array.from({ length: 24 }, flowing));
  assert.equal(others.filter((other) => other.bytes === lent).length, 1);
});

test('RB1 a buffer of which it is not known who holds it is never read into again', () => {
  const read = flowing();
  const seen = new Set([read.bytes]);
  for (let i = 0; i < 20; i += 1) {
    if (i % 2 === 0) read.after(SHARED_BYTES, undefined, 0);
    else read.rest(undefined);
    read.take();
    assert.ok(read.bytes === sharedBytes || !seen.has(read.bytes));
    seen.add(read.bytes);
    read.after(SHARED_BYTES, NOBODY, 0);
    read.take();
    seen.add(read.bytes);
  }
});

test('RB1 what all was sent may be read into again, by one at a time', () => {
  const first = Array.from({ length: 8 }, flowing);
  assert.equal(new Set(first.map((read) => read.bytes)).size, first.length);
  for (const read of first) {
    const own = read.bytes;
    read.after(SHARED_BYTES, NOBODY, 0);
    assert.equal(read.take(), undefined);
    assert.equal(read.bytes, own);
    read.rest(NOBODY);
    read.take();
  }
  const again = Array.from({ length: 8 }, flowing);
  assert.equal(new Set(again.map((read) => read.bytes)).size, again.length);
});

test('RB2 who rests, trickles or is gone has none of its own, and all together have few', () => {
  const resting = flowing();
  resting.rest(NOBODY);
  resting.take();
  assert.equal(resting.bytes, sharedBytes);
  const slow = flowing();
  slow.after(100, NOBODY, 1_000_000);
  slow.take();
  assert.equal(slow.bytes, sharedBytes);
  const many = Array.from({ length: 100 }, () => new ReadBuffer());
  readers.push(...many);
  for (const read of many) {
    read.after(SHARED_BYTES, NOBODY, 0);
    read.take();
  }
  assert.equal(many.filter((read) => read.isOwn).length, 64);
  for (const read of many) read.drop();
  for (const read of many) read.drop();
  assert.ok(flowing().isOwn);
});

test('RB1 what waits for a slow socket is not read over, though reading goes on', async () => {
  const bytes = 16_000_000;
  const target = Promise.withResolvers<Socket>();
  const far = listener((socket) => target.resolve(socket.pause())).listen(0, '127.0.0.1');
  await once(far, 'listening');
  const slow = connect((far.address() as AddressInfo).port, '127.0.0.1');
  await once(slow, 'connect');
  const outlet = new Outlet(slow, { onDrain: () => undefined });
  const got = Promise.withResolvers<void>();
  let count = 0;
  let mostHeld = 0;
  const near = listener({ pauseOnConnect: true }, (accepted) => {
    const read = new ReadBuffer();
    const onBytes = (length: number): void => {
      const part = read.bytes.subarray(0, length);
      outlet.write(read.isOwn ? part : Buffer.from(part));
      read.after(length, outlet, bytes - (count += length));
      mostHeld = Math.max(mostHeld, outlet.writableLength);
      if (count === bytes) got.resolve();
    };
    adopt(accepted, { read, onBytes, onGone: () => undefined })?.resume();
  }).listen(0, '127.0.0.1');
  await once(near, 'listening');
  const source = connect((near.address() as AddressInfo).port, '127.0.0.1');
  for (let at = 0; at < bytes; at += 1_000_000) source.write(pattern(7, at, 1_000_000));
  await got.promise;
  assert.ok(mostHeld > 1_000_000, 'everything was taken at once: this shows nothing');
  const reader = await target.promise;
  let at = 0;
  for await (const chunk of reader as AsyncIterable<Buffer>) {
    assert.ok(chunk.equals(pattern(7, at, chunk.length)), `other bytes than were sent, near ${at}`);
    at += chunk.length;
    if (at === bytes) break;
  }
  for (const socket of [source, slow, reader]) socket.destroy();
  far.close();
  near.close();
});

const QUICK = 99;
const ANSWERS = 20;
const sizeOf = (seed: number, i: number): number =>
  300_000 + ((seed * 7_919 + i * 104_729) % 400_000);

test('RB1 the answer whose end waits for its client is not read over by others', async () => {
  let served = 0;
  const server = createServer((message, response) => {
    const [seed = 0, size = 0] = (message.url ?? '').slice(1).split('-').map(Number);
    response.writeHead(200, { 'content-length': size });
    response.end(pattern(seed, 0, size));
    served += 1;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const rig = await openRig({ onRequestHead: (_exchange, gate) => forwardTo(gate.pool(port)) });
  const ask = (seed: number, count: number): Socket => {
    const socket = connect(rig.port, '127.0.0.1');
    for (let i = 0; i < count; i += 1) {
      socket.write(`GET /${seed}-${sizeOf(seed, i)} HTTP/1.1\r\nHost: h\r\n\r\n`);
    }
    return socket;
  };
  const stalled = Array.from({ length: 10 }, (_, seed) => ask(seed, ANSWERS).pause());
  let before = -1;
  // Until nothing more comes: each of them has an answer that does not go on.
  await until(() => {
    const isSame = served === before && served > stalled.length;
    before = served;
    return isSame;
  });
  const all = [...stalled.keys()];
  const quick = ask(99, ANSWERS);
  await readAnswers(quick, 99);
  for (const seed of all) await readAnswers(stalled[seed] as Socket, seed);
  for (const socket of [quick, ...stalled]) socket.destroy();
  await rig.close();
  server.closeAllConnections();
  server.close();
});

async function readAnswers(socket: Socket, seed: number): Promise<void> {
  const sizes = Array.from({ length: ANSWERS }, (_, i) => sizeOf(seed, i));
  const bodies = sizes.reduce((sum, size) => sum + size, 0);
  const parts: Buffer[] = [];
  let length = 0;
  let heads = 0;
  const last = Promise.withResolvers<void>();
  socket.on('data', (chunk: Buffer) => {
    parts.push(chunk);
    length += chunk.length;
    // Their sizes all have six digits, so that their heads are of one length.
    if (heads === 0) heads = (Buffer.concat(parts).indexOf('\r\n\r\n') + 4) * ANSWERS;
    if (length >= bodies + heads) last.resolve();
  });
  socket.once('close', () => last.resolve());
  socket.resume();
  await last.promise;
  const got = Buffer.concat(parts);
  let at = 0;
  for (const [i, size] of sizes.entries()) {
    at = got.indexOf('\r\n\r\n', at) + 4;
    const isRight = got.subarray(at, at + size).equals(pattern(seed, 0, size));
    assert.ok(isRight, `answer ${i} of client ${seed} has bytes of another one`);
    at += size;
  }
}

test('RB1 the request whose end waits for its replica is not read over by others', async () => {
  const held: IncomingMessage[] = [];
  const server = createServer((message, response) => {
    const seed = Number(message.headers['x-seed']);
    const answer = (): void => {
      void check(message, seed, false).then((count) => response.end(String(count)));
    };
    if (seed === QUICK) answer();
    else {
      held.push(message);
      message.once('go', answer);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const rig = await openRig({ onRequestHead: (_exchange, gate) => forwardTo(gate.pool(port)) });
  const put = async (seed: number, size: number): Promise<void> => {
    const headers = { 'x-seed': seed, 'content-length': size };
    const sent = request({ port: rig.port, host: '127.0.0.1', method: 'POST', headers });
    const answered = once(sent, 'response') as Promise<[IncomingMessage]>;
    sent.end(pattern(seed, 0, size));
    const [answer] = await answered;
    let text = '';
    for await (const chunk of answer as AsyncIterable<Buffer>) text += chunk.toString();
    assert.equal(text, String(size));
  };
  // One of them is of such a length that its last piece is what its replica does not take.
  const slow = Array.from({ length: 25 }, (_, i) => put(i, 1_000_000 + i * 200_000));
  await until(() => held.length === slow.length);
  for (let i = 0; i < 5; i += 1) await put(QUICK, 3_000_000);
  for (const message of held) message.emit('go');
  await Promise.all(slow);
  await rig.close();
  server.closeAllConnections();
  server.close();
});
