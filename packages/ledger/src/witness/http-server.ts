// How does the witness protocol travel over HTTP? Two routes on node:http with a limit on
// everything a stranger can make large, slow or numerous.
// WH1. A body above the limit is refused while it arrives; it is never held in memory as a whole.
// WH2. Closing answers what was taken, refuses what is new and leaves no socket open.

import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { fromUtf8 } from '../bytes.ts';
import { LedgerError } from '../errors.ts';
import { REQUEST_BYTES_MAX } from './request.ts';
import type { Witness } from './witness.ts';

export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  readonly connectionsMax: number;
}

export interface Listening {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

const CLOSE_GRACE_MS = 5000;

export async function listen(witness: Witness, options: ListenOptions): Promise<Listening> {
  const server = createServer(
    {
      maxHeaderSize: 8192,
      headersTimeout: 5000,
      requestTimeout: 10_000,
      keepAliveTimeout: 60_000,
      connectionsCheckingInterval: 2000,
    },
    (request, response) => {
      // A stranger who hangs up while we write is no failure of ours.
      response.on('error', () => undefined);
      // WH2: a connection that stays open after its answer would keep the server from closing.
      response.on('finish', () => {
        if (!server.listening) setImmediate(() => server.closeIdleConnections());
      });
      serve(witness, request, response).catch(() => response.destroy());
    },
  );
  server.maxConnections = options.connectionsMax;
  server.maxRequestsPerSocket = 10_000;
  server.on('clientError', (_cause, socket) => {
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
    else socket.destroy();
  });
  await bind(server, options);
  const address = server.address();
  if (address === null || typeof address === 'string') {
    throw new LedgerError('KIN_LEDGER_IO', 'the witness has no TCP address');
  }
  return {
    host: address.address,
    port: address.port,
    close: () => closeServer(server, witness),
  };
}

function bind(server: Server, { host, port }: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new LedgerError('KIN_LEDGER_IO', `cannot listen on ${host}:${port}`, { cause }));
    });
    server.listen({ host, port }, () => resolve());
  });
}

/** WH2. */
async function closeServer(server: Server, witness: Witness): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
  await closed;
  clearTimeout(timer);
  await witness.settled();
}

const PATH = /^\/(?:add-checkpoint|([0-9a-f]{64})\/checkpoint)$/;

async function serve(
  witness: Witness,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const match = PATH.exec((request.url ?? '').split('?', 1)[0] ?? '');
  if (match === null) return reply(request, response, 404, 'no such path\n');
  const hash = match[1];
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  const isAllowed = hash === undefined ? request.method === 'POST' : isRead;
  if (!isAllowed) {
    response.setHeader('allow', hash === undefined ? 'POST' : 'GET, HEAD');
    return reply(request, response, 405, 'no such method\n');
  }
  if (hash !== undefined) {
    const { status, body, contentType } = await witness.checkpoint(hash);
    return reply(request, response, status, body, contentType);
  }
  const body = await readBody(request);
  if (body === undefined) return reply(request, response, 413, 'the body is too large\n');
  const text = fromUtf8(body);
  if (text === undefined) return reply(request, response, 400, 'the body is not UTF-8\n');
  const answer = await witness.addCheckpoint(text);
  return reply(request, response, answer.status, answer.body, answer.contentType);
}

/** WH1. Undefined when it is too large; the rest is not read. */
async function readBody(request: IncomingMessage): Promise<Uint8Array | undefined> {
  if (Number(request.headers['content-length'] ?? 0) > REQUEST_BYTES_MAX) return undefined;
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > REQUEST_BYTES_MAX) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function reply(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  body: string,
  contentType = 'text/plain; charset=utf-8',
): void {
  if (response.destroyed) return;
  const bytes = Buffer.from(body);
  response.writeHead(status, {
    'content-type': contentType,
    'content-length': bytes.length,
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    // The rest of a body that we did not read must not be taken for the next request.
    ...(status === 413 ? { connection: 'close' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : bytes);
}
