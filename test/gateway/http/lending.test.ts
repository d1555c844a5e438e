// Bytes that are lent and not copied: does anybody ever get another one's? Large bodies with a
// pattern of their own each, both ways, to readers of different speed.
import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { forwardTo, openRig } from './rig.ts';

const BYTES = 3_000_000;
const CLIENTS = 12;

/** Which byte stands where, for this seed. */
function pattern(seed: number, from: number, count: number): Buffer {
  const bytes = Buffer.allocUnsafe(count);
  for (let i = 0; i < count; i += 1) bytes[i] = ((from + i) * 31 + ((from + i) >> 8) + seed) & 255;
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
