// How do requests come in? node:http, strict, with a limit on everything that a client controls.
// Nothing outside this file knows that it is node:http.
//
//   FR1. No lenient parsing: a message that two servers could read differently is refused.
//   FR2. `Upgrade` (WebSocket) and CONNECT are answered 501 with a reason, never passed on blindly.
//   FR3. `stop` takes no new connection, lets requests inside finish until its deadline, then cuts.
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { KinError } from '../model/errors.ts';
import type { Exchange, RequestBody } from './exchange.ts';
import { problemBody } from './problem.ts';

const LIMITS = {
  headerBytes: 16_384,
  headers: 100,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 300_000,
  keepAliveMs: 65_000,
  connections: 20_000,
} as const;

export interface Front {
  readonly port: number;
  stop(deadlineMs: number): Promise<void>;
}

export interface FrontSetup {
  readonly host: string;
  readonly port: number;
  readonly reusePort: boolean;
}

export async function openFront(
  setup: FrontSetup,
  handle: (exchange: Exchange) => void,
): Promise<Front> {
  const server = createServer(
    {
      insecureHTTPParser: false,
      requireHostHeader: true,
      maxHeaderSize: LIMITS.headerBytes,
      headersTimeout: LIMITS.headersTimeoutMs,
      requestTimeout: LIMITS.requestTimeoutMs,
      keepAliveTimeout: LIMITS.keepAliveMs,
      noDelay: true,
    },
    (request, response) => {
      if (request.rawHeaders.length > LIMITS.headers * 2) refuseManyHeaders(response);
      else handle(new HttpExchange(request, response));
    },
  );
  // Node would leave out what is past a count, silently: the size is what bounds them, and more
  // than the limit are refused below.
  server.maxHeadersCount = 0;
  server.maxConnections = LIMITS.connections;
  server.on('upgrade', (_request, socket) => refuseUpgrade(socket));
  server.on('connect', (_request, socket) => refuseUpgrade(socket));
  server.on('clientError', (_error, socket) => refuseBadMessage(socket));
  await listen(server, setup);
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : setup.port;
  return { port, stop: (deadlineMs) => stop(server, deadlineMs) };
}

function listen(server: Server, setup: FrontSetup): Promise<void> {
  const { host, port } = setup;
  // macOS spreads nothing over sockets that share a port: there, one worker listens alone.
  const reusePort = setup.reusePort && process.platform === 'linux';
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(listenFault(error, host, port)));
    server.listen({ host, port, reusePort, backlog: 1_024 }, () => {
      server.removeAllListeners('error');
      server.on('error', () => undefined);
      resolve();
    });
  });
}

export function portTaken(host: string, port: number, cause?: unknown): KinError {
  return new KinError(
    'KIN_PORT_TAKEN',
    `the gateway cannot listen on ${host}:${port}, because something else does`,
    `Stop what listens there (\`ss -ltnp 'sport = :${port}'\` names it), ` +
      'or set another gateway port in the manifest.',
    { cause },
  );
}

function listenFault(error: Error, host: string, port: number): Error {
  const code = 'code' in error ? error.code : undefined;
  if (code === 'EADDRINUSE') return portTaken(host, port, error);
  if (code !== 'EACCES' && code !== 'EADDRNOTAVAIL') return error;
  return new KinError(
    'KIN_PORT_REFUSED',
    `the system does not let the gateway listen on ${host}:${port} (${code})`,
    'Choose a port above 1023 and an address of this machine in the manifest.',
    { cause: error },
  );
}

async function stop(server: Server, deadlineMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  // A kept-alive connection becomes idle when its last answer is out: sweep until all are gone.
  const sweep = setInterval(() => server.closeIdleConnections(), 100);
  const cut = setTimeout(() => server.closeAllConnections(), deadlineMs);
  await closed;
  clearInterval(sweep);
  clearTimeout(cut);
}

function lastWords(socket: Duplex, line: string, body: Buffer): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  socket.once('error', () => undefined);
  const type = 'content-type: application/problem+json';
  const head = `HTTP/1.1 ${line}\r\nconnection: close\r\n${type}\r\n`;
  socket.end(Buffer.concat([Buffer.from(`${head}content-length: ${body.length}\r\n\r\n`), body]));
}

function refuseUpgrade(socket: Duplex): void {
  const detail = 'This gateway passes on requests and event streams, not WebSocket or tunnels.';
  const problem = { status: 501, reason: 'upgrade-unsupported', detail } as const;
  lastWords(socket, '501 Not Implemented', problemBody(problem, undefined));
}

function refuseBadMessage(socket: Duplex): void {
  const detail = 'The message is not valid HTTP, or one of its parts is too large or too slow.';
  const problem = { status: 400, reason: 'bad-request', detail } as const;
  lastWords(socket, '400 Bad Request', problemBody(problem, undefined));
}

class HttpExchange implements Exchange {
  readonly method: string;
  readonly target: string;
  readonly rawHeaders: readonly string[];
  readonly remoteAddress: string;
  readonly body: RequestBody;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#request = request;
    this.#response = response;
    this.method = request.method ?? 'GET';
    this.target = request.url ?? '/';
    this.rawHeaders = request.rawHeaders;
    this.remoteAddress = request.socket.remoteAddress ?? '';
    this.body = bodyOf(request);
    // Without a listener, a torn connection would be an uncaught error of this worker.
    request.on('error', () => undefined);
    response.on('error', () => undefined);
  }

  get begun(): boolean {
    return this.#response.headersSent;
  }

  header(name: string): string | undefined {
    const value = this.#request.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  begin(status: number, rawHeaders: string[]): void {
    const response = this.#response;
    if (response.destroyed) return;
    // An unread body makes the connection useless for a next request: say so, and end it.
    const unread = this.body.kind !== 'none' && !this.#request.readableEnded;
    if (unread) response.shouldKeepAlive = false;
    response.writeHead(status, rawHeaders);
  }

  write(chunk: Uint8Array): boolean {
    return this.#response.destroyed || this.#response.write(chunk);
  }

  onDrain(resume: () => void): void {
    this.#response.on('drain', resume);
  }

  end(chunk?: Uint8Array): void {
    if (chunk === undefined) this.#response.end();
    else this.#response.end(chunk);
    // What the client still sends is thrown away: closing over unread bytes would reset the
    // connection, and the client might never see this answer.
    if (this.body.kind !== 'none' && !this.#request.readableEnded) this.#request.resume();
  }

  abort(): void {
    this.#response.destroy();
  }

  onGone(listener: () => void): void {
    const response = this.#response;
    response.once('close', () => {
      if (!response.writableFinished) listener();
    });
  }
}

function refuseManyHeaders(response: ServerResponse): void {
  const detail = `more than ${LIMITS.headers} header fields`;
  const body = JSON.stringify({
    type: 'about:blank',
    title: 'Too many headers',
    status: 431,
    detail,
  });
  response.writeHead(431, { 'content-type': 'application/problem+json', connection: 'close' });
  response.end(body);
}

function bodyOf(request: IncomingMessage): RequestBody {
  if (request.headers['transfer-encoding'] !== undefined) {
    return { kind: 'chunked', stream: request };
  }
  const length = request.headers['content-length'];
  if (length === undefined || length === '0') return { kind: 'none' };
  return { kind: 'sized', bytes: Number(length), stream: request };
}
