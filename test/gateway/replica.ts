// A small upstream for the gateway's tests: an HTTP server with fault switches, told its faults on
// its own port (never through the gateway).
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';

const name = process.env['NAME'] ?? 'replica';
let mode = 'ok';
let served = 0;
let slowMs = 0;

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function stream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  let n = 0;
  const timer = setInterval(() => {
    n += 1;
    response.write(`data: ${n}\n\n`);
    if (n === 5) {
      clearInterval(timer);
      response.end();
    }
  }, 20);
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://x');
  if (url.pathname === '/fault') {
    mode = url.searchParams.get('mode') ?? 'ok';
    slowMs = Number(url.searchParams.get('ms') ?? '0');
    json(response, 200, { mode });
    return;
  }
  if (url.pathname === '/served') {
    json(response, 200, { served });
    return;
  }
  if (url.pathname === '/healthz') {
    json(response, 200, { ok: true });
    return;
  }
  served += 1;
  if (url.pathname.startsWith('/api/poison')) process.kill(process.pid, 'SIGKILL');
  const body = await bodyOf(request);
  if (mode === 'errors') {
    json(response, 500, { name });
    return;
  }
  if (mode === 'slow') await new Promise((r) => setTimeout(r, slowMs));
  if (url.pathname === '/api/stream') {
    stream(response);
    return;
  }
  const waitMs = Number(url.searchParams.get('wait') ?? '2');
  if (waitMs > 0) await new Promise((r) => setTimeout(r, waitMs));
  const { method } = request;
  json(response, 200, { name, method, bytes: body.length, headers: request.headersDistinct });
}

const server = createServer((request, response) => {
  // A client that breaks off in the middle of its body is no reason to die.
  serve(request, response).catch(() => response.destroy());
});
// A WebSocket as far as the gateway is concerned: a switch, then bytes both ways.
server.on('upgrade', (request: IncomingMessage, socket) => {
  const tenant = String(request.headers['x-kintsugi-tenant']);
  const lines = 'HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket';
  socket.write(`${lines}\r\nx-seen: ${tenant}\r\n\r\n`);
  socket.on('error', () => undefined);
  socket.pipe(socket);
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (typeof address === 'object' && address !== null) process.stdout.write(`${address.port}\n`);
});
