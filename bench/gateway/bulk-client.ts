// Moves large bodies: node bulk-client.ts PORT down|up BYTES LANES ROUNDS, with the key in
// BENCH_KEY. Each lane does so many one after another; tells its parent bytes, seconds, failures.
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { nowMs } from '../heal/clock.ts';

const [port = 0, size = 0, lanes = 1, rounds = 1] = [2, 4, 5, 6].map((i) =>
  Number(process.argv[i]),
);
const isUp = process.argv[3] === 'up';
const credential = `Authorization: Bearer ${process.env['BENCH_KEY'] ?? ''}\r\n`;
const BLOCK = Buffer.alloc(262_144, 'y');
const READ = 262_144;

function fill(socket: Socket, total: number): void {
  let left = total;
  const more = (): void => {
    while (left > 0 && !socket.destroyed) {
      const bytes = left >= BLOCK.length ? BLOCK : BLOCK.subarray(0, left);
      left -= bytes.length;
      if (!socket.write(bytes)) {
        socket.once('drain', more);
        return;
      }
    }
  };
  more();
}

let moved = 0;
let failed = 0;

function lane(): Promise<void> {
  return new Promise((resolve) => {
    let done = 0;
    let left = -1;
    const ask = (): void => {
      const line = isUp ? 'POST /api/sink' : `GET /api/bytes/${size}`;
      const length = isUp ? `Content-Length: ${size}\r\n` : '';
      left = -1;
      socket.write(`${line} HTTP/1.1\r\nHost: 127.0.0.1\r\n${credential}${length}\r\n`, 'latin1');
      if (isUp) fill(socket, size);
    };
    const take = (count: number, bytes: Uint8Array): boolean => {
      let taken = count;
      if (left < 0) {
        // Heads come in one piece here: they are small, and nothing is before them.
        const text = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(count, 4_096)).toString(
          'latin1',
        );
        const end = text.indexOf('\r\n\r\n') + 4;
        if (!text.startsWith('HTTP/1.1 200')) {
          failed += 1;
          socket.destroy();
          return true;
        }
        const length = /\r\ncontent-length: *(\d+)/iu.exec(text.slice(0, end));
        left = Number(length?.[1] ?? 0);
        taken -= end;
      }
      left -= taken;
      if (left > 0) return true;
      moved += size;
      done += 1;
      if (done < rounds) ask();
      else socket.end();
      return true;
    };
    const buffer = Buffer.allocUnsafeSlow(READ);
    const onread = { buffer, callback: take };
    const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true, onread });
    socket.once('connect', ask);
    socket.once('error', () => {
      failed += 1;
    });
    socket.once('close', () => {
      if (done < rounds) failed += 1;
      resolve();
    });
  });
}

const startMs = nowMs();
await Promise.all(Array.from({ length: lanes }, lane));
process.send?.({ bytes: moved, seconds: (nowMs() - startMs) / 1_000, failed });
process.disconnect?.();
