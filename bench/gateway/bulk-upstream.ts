// Large bodies at the far end: node bulk-upstream.ts PORT. GET …/N sends N bytes; a POST is read to
// its last byte and then answered. Bare sockets, so that this end is not what is measured.
import { createServer } from 'node:net';
import type { Socket } from 'node:net';

const BLOCK = Buffer.alloc(262_144, 'x');
const OK = 'HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n';

/** Writes so many bytes, as fast as they are taken. */
function pour(socket: Socket, total: number): void {
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

function serve(socket: Socket): void {
  let head = '';
  let left = 0;
  socket.on('error', () => undefined);
  socket.on('data', (bytes: Buffer) => {
    if (left > 0) {
      left -= bytes.length;
      if (left === 0) socket.write(`${OK}Content-Length: 2\r\n\r\nok`);
      return;
    }
    head += bytes.toString('latin1');
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    const length = Number(/\r\ncontent-length: *(\d+)/iu.exec(head.slice(0, end))?.[1] ?? 0);
    const asked = Number(/\/(\d+) HTTP/u.exec(head)?.[1] ?? 2);
    left = length - (head.length - end - 4);
    const isGet = head.startsWith('GET');
    head = '';
    if (isGet) {
      left = 0;
      socket.write(`${OK}Content-Length: ${asked}\r\n\r\n`);
      pour(socket, asked);
    } else if (left === 0) socket.write(`${OK}Content-Length: 2\r\n\r\nok`);
  });
}

createServer({ noDelay: true, highWaterMark: 262_144 }, serve).listen(
  Number(process.argv[2]),
  '127.0.0.1',
);
process.on('disconnect', () => process.exit(0));
