// An upstream for machines without nginx: answers each read with one fixed answer.
//   node upstream.ts PORT
import { createServer } from 'node:net';

const body = JSON.stringify({ items: 'x'.repeat(188) });
const type = 'Content-Type: application/json\r\nServer: bench\r\nConnection: keep-alive\r\n';
const answer = `HTTP/1.1 200 OK\r\n${type}Content-Length: ${body.length}\r\n\r\n${body}`;
createServer({ noDelay: true }, (socket) => {
  socket.on('data', () => socket.write(answer, 'latin1'));
  socket.on('error', () => undefined);
}).listen(Number(process.argv[2]), '127.0.0.1');
