// A small closed-loop generator for machines without wrk:
//   node load.ts PORT CONNECTIONS SECONDS [FIELD…]
import { connect } from 'node:net';
import { FIELDS, PATH } from './closed.ts';

const [port = 0, connections = 30, seconds = 4] = process.argv.slice(2, 5).map(Number);
const given = process.argv.slice(5);
const lines = (given.length === 0 ? FIELDS : given).join('\r\n');
const text = `GET ${PATH} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${lines}\r\n\r\n`;
let requests = 0;
let failed = 0;

function lane(): void {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  let held = '';
  socket.on('connect', () => socket.write(text, 'latin1'));
  socket.on('error', () => {
    failed += 1;
  });
  socket.on('data', (chunk) => {
    held += chunk.toString('latin1');
    const headEnd = held.indexOf('\r\n\r\n');
    if (headEnd < 0) return;
    const length = /content-length: (\d+)/iu.exec(held.slice(0, headEnd));
    if (held.length < headEnd + 4 + Number(length?.[1] ?? 0)) return;
    if (held.startsWith('HTTP/1.1 200')) requests += 1;
    else failed += 1;
    held = '';
    socket.write(text, 'latin1');
  });
}

for (let i = 0; i < connections; i += 1) lane();
setTimeout(() => {
  process.stdout.write(JSON.stringify({ requests, seconds, failed }));
  process.exit(0);
}, seconds * 1_000);
