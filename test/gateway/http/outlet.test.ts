// How bytes leave: in order, with a drain where one was promised, and as the stream would where the
// handle cannot be used.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, test } from 'node:test';
import { Outlet } from '../../../src/gateway/http/outlet.ts';
import { Scratch, scratch } from '../../../src/gateway/http/scratch.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).toReversed()) await clean();
});

/** Two ends of one connection; the reader reads when it is told to. */
async function pair(): Promise<{ writer: Socket; reader: Socket }> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const reader = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [writer] = (await once(server, 'connection')) as [Socket];
  reader.pause();
  for (const socket of [writer, reader]) socket.on('error', () => undefined);
  cleanups.push(() => {
    writer.destroy();
    reader.destroy();
    server.close();
  });
  return { writer, reader };
}

async function readAll(reader: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  reader.on('data', (chunk: Buffer) => chunks.push(chunk));
  reader.resume();
  await once(reader, 'end');
  return Buffer.concat(chunks);
}

const block = (mark: number, bytes: number): Buffer => Buffer.alloc(bytes, mark);

test('OL1: whatever handle, queue and stream took, the order is that of the calls', async () => {
  const { writer, reader } = await pair();
  const outlet = new Outlet(writer, { onDrain: () => undefined });
  const sent: Buffer[] = [];
  for (let i = 0; i < 40; i += 1) {
    const bytes = block(65 + (i % 26), i % 5 === 0 ? 700_000 : 100 + i);
    sent.push(bytes);
    if (i % 7 === 3) writer.write(bytes);
    else outlet.write(bytes);
  }
  writer.end();
  assert.ok(outlet.writableLength > 0);
  const got = await readAll(reader);
  assert.ok(got.equals(Buffer.concat(sent)));
});

test('OL2: after false a drain follows, and then nothing is held any more', async () => {
  const { writer, reader } = await pair();
  let drains = 0;
  const outlet = new Outlet(writer, { onDrain: () => (drains += 1) });
  assert.equal(outlet.write(block(65, 10)), true);
  assert.equal(outlet.writableLength, 0);
  const drained = Promise.withResolvers<void>();
  const timer = setInterval(() => {
    if (drains > 0) drained.resolve();
  }, 5);
  cleanups.push(() => clearInterval(timer));
  assert.equal(outlet.write(block(66, 20_000_000)), false);
  assert.ok(outlet.writableLength > 0);
  // What is queued behind it is not out either.
  assert.equal(outlet.write(block(67, 10)), false);
  reader.resume();
  await drained.promise;
  assert.equal(outlet.writableLength, 0);
  assert.equal(drains, 1);
  assert.equal(outlet.write(block(68, 10)), true);
});

test('OL2 SC1: what is still held is not written over by the next message', async () => {
  const { writer, reader } = await pair();
  const outlet = new Outlet(writer, { onDrain: () => undefined });
  const scratch = new Scratch();
  const sent: string[] = [];
  for (let i = 0; i < 400; i += 1) {
    const text = String.fromCharCode(97 + (i % 26)).repeat(30_000);
    sent.push(text);
    scratch.begin().text(text).send(outlet);
  }
  assert.ok(outlet.writableLength > 0);
  writer.end();
  const got = await readAll(reader);
  assert.equal(got.toString('latin1'), sent.join(''));
});

test('OL3: before it is connected and after it was closed, the stream is written to', async () => {
  const server = createServer((socket) => {
    socket.pipe(socket);
    socket.on('error', () => undefined);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => server.close());
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const errors: Error[] = [];
  socket.on('error', (error) => errors.push(error));
  const outlet = new Outlet(socket, { onDrain: () => undefined });
  outlet.write(Buffer.from('early '));
  await once(socket, 'connect');
  outlet.write(Buffer.from('late'));
  let got = '';
  while (got !== 'early late') got += String((await once(socket, 'data'))[0]);
  socket.destroy();
  outlet.write(Buffer.from('gone'));
  await once(socket, 'close');
  outlet.write(Buffer.from('gone'));
});

test('OL3: a peer that has gone ends the socket with its error', async () => {
  const { writer, reader } = await pair();
  const outlet = new Outlet(writer, { onDrain: () => undefined });
  const closed = new Promise((resolve) => writer.once('close', resolve));
  reader.resetAndDestroy();
  await closed;
  outlet.write(Buffer.from('x'));
  assert.equal(writer.destroyed, true);
  assert.equal(outlet.writableLength, 0);
});

test('OL4 SC1 what waits leaves with the turn, before what is written after it', async () => {
  const { writer, reader } = await pair();
  const outlet = new Outlet(writer, { onDrain: () => undefined });
  scratch.begin().text('one ').send(outlet);
  scratch.begin().text('two ').send(outlet);
  outlet.write(Buffer.from('three '));
  scratch.begin().text('four ').send(outlet);
  assert.equal(outlet.writableLength, 5);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(outlet.writableLength, 0);
  scratch.begin().text('five').send(outlet);
  outlet.flush();
  writer.end();
  assert.equal((await readAll(reader)).toString(), 'one two three four five');
});

test('OL4 many that wait stay apart, and what waits for a gone socket is dropped', async () => {
  const pairs = await Promise.all(Array.from({ length: 70 }, () => pair()));
  const outlets = pairs.map(({ writer }) => new Outlet(writer, { onDrain: () => undefined }));
  for (const [i, outlet] of outlets.entries()) {
    scratch.begin().text(`${i} `).text('x'.repeat(3_000)).send(outlet);
  }
  pairs[69]?.writer.destroy();
  await new Promise((resolve) => setImmediate(resolve));
  for (const [i, { writer, reader }] of pairs.entries()) {
    if (i === 69) continue;
    writer.end();
    assert.equal((await readAll(reader)).toString(), `${i} ${'x'.repeat(3_000)}`);
  }
});

test('OL4 OL2 what could not leave whole is told to its owner, then drained', async () => {
  const { writer, reader } = await pair();
  const told: string[] = [];
  const owner = { onDrain: () => told.push('drain'), onStall: () => told.push('stall') };
  const outlet = new Outlet(writer, owner);
  let sent = '';
  for (let i = 0; i < 2_000 && !told.includes('stall'); i += 1) {
    const text = `${i} `.padEnd(30_000, 'y');
    sent += text;
    scratch.begin().text(text).send(outlet);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual(told, ['stall']);
  const got = readAll(reader);
  while (told.length < 2) await new Promise((resolve) => setImmediate(resolve));
  writer.end();
  assert.ok((await got).toString() === sent);
  assert.deepEqual(told, ['stall', 'drain']);
});
