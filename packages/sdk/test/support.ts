// What do the SDK's tests need? Waiting for conditions, a controller to be, a child to break.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { get as httpGet, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** Resolves with the first value that is not undefined or false; fails after 10 s. */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  const deadlineMs = performance.now() + 10_000;
  while (performance.now() < deadlineMs) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    await sleep(10);
  }
  throw new Error(`waited in vain: ${what}`);
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** One request on its own connection; status 0 = no answer. */
export function get(port: number, path: string, headers: OutgoingHttpHeaders = {}): Promise<Reply> {
  return new Promise((resolve) => {
    const request = httpGet({ host: '127.0.0.1', port, path, headers, agent: false }, (answer) => {
      let body = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => (body += chunk));
      answer.on('end', () =>
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body }),
      );
      answer.on('error', () => resolve({ status: 0, headers: {}, body: '' }));
    });
    request.on('error', () => resolve({ status: 0, headers: {}, body: '' }));
  });
}

export interface Controller {
  readonly path: string;
  readonly lines: Record<string, unknown>[];
  listen(): Promise<void>;
  /** Cuts every connection and stops listening, as a killed controller does. */
  vanish(): Promise<void>;
  /** Stops reading, as a stuck controller does. */
  stall(): void;
  remove(): Promise<void>;
}

export function fakeController(): Controller {
  const folder = mkdtempSync(join(tmpdir(), 'kintsugi-sdk-'));
  const path = join(folder, 'controller.sock');
  const lines: Record<string, unknown>[] = [];
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  const vanish = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    if (server === undefined) return;
    const closed = once(server, 'close');
    server.close();
    server = undefined;
    await closed;
  };
  return {
    path,
    lines,
    async listen() {
      server = createServer((socket) => {
        sockets.add(socket);
        readLines(socket, (line) => lines.push(line));
        socket.on('error', () => undefined);
      });
      server.listen(path);
      await once(server, 'listening');
    },
    vanish,
    stall: () => sockets.forEach((socket) => socket.pause()),
    async remove() {
      await vanish();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function readLines(socket: Socket, take: (line: Record<string, unknown>) => void): void {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) take(JSON.parse(part) as Record<string, unknown>);
  });
}

export interface Child {
  readonly process: ChildProcess;
  readonly pid: number;
  readonly port: number;
  readonly output: () => string;
  /** Resolves with the exit code, or the signal's name. */
  readonly exit: Promise<number | string>;
}

/** Starts `fixture.ts`, waits until it listens. */
export async function startFixture(env: Record<string, string> = {}): Promise<Child> {
  const file = fileURLToPath(new URL('./fixture.ts', import.meta.url));
  const child = spawn(process.execPath, [file], {
    env: { KINTSUGI_SERVICE: 'fixture', KINTSUGI_REPLICA: 'fixture-1', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (chunk: string) => (output += chunk));
  const exit = new Promise<number | string>((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
  const port = await until('the port of the fixture', () => /"port":(\d+)/.exec(output)?.[1]);
  return {
    process: child,
    pid: child.pid ?? 0,
    port: Number(port),
    output: () => output,
    exit,
  };
}
