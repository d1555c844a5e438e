// Many connections that ask once and then stay: node idle-clients.ts PORT COUNT LOCAL_ADDRESS,
// with the key in BENCH_KEY. Tells its parent how many are open once all have had their answer.
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { PATH } from './closed.ts';

const [port = 0, count = 0] = process.argv.slice(2, 4).map(Number);
const localAddress = process.argv[4] ?? '127.0.0.1';
const key = process.env['BENCH_KEY'] ?? '';
const text = `GET ${PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${key}\r\n\r\n`;
/** Opened at the same time at most. */
const LANES = 50;
const sockets: Socket[] = [];

function open(): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    socket.once('connect', () => socket.write(text));
    socket.once('data', (bytes: Buffer) => {
      if (bytes.toString('latin1', 0, 12) === 'HTTP/1.1 200') sockets.push(socket);
      resolve();
    });
    socket.once('error', () => resolve());
    socket.once('close', () => {
      const at = sockets.indexOf(socket);
      if (at >= 0) sockets.splice(at, 1);
    });
    socket.on('data', () => undefined);
  });
}

let left = count;
async function lane(): Promise<void> {
  while (left > 0) {
    left -= 1;
    await open();
  }
}
await Promise.all(Array.from({ length: LANES }, lane));
process.send?.(sockets.length);
process.on('disconnect', () => process.exit(0));
