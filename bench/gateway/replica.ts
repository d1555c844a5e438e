// A replica that can be broken on command: node replica.ts NAME, with WORK_MS (2) and SLOTS (no
// limit) in its environment. Speaks with its parent over IPC, so that no fault cuts it off.
//
// It notes which requests reached it by the time at which they were sent (`x-sent`): after a freeze
// it reads what lies in its sockets and so can tell what was sent to it meanwhile.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';

export type Mode = 'ok' | 'e500' | 'e500 gray' | 'slow' | 'slow gray' | 'wedge';
export type ToReplica = { readonly mode: Mode } | { readonly report: true };
export type FromReplica =
  | { readonly port: number }
  | { readonly mode: Mode }
  | { readonly reached: readonly number[] };

const [name = 'replica'] = process.argv.slice(2);
const WORK_MS = Number(process.env['WORK_MS'] ?? 2);
const SLOTS = Number(process.env['SLOTS'] ?? 1_000_000);
const SLOW_MS = 3_000;
const BACKLOG = 16;
const BODY = JSON.stringify({ items: 'x'.repeat(188) });

let mode: Mode = 'ok';
let reached: number[] = [];
let busy = 0;
const waiting: (() => void)[] = [];

function answer(response: ServerResponse, status: number): void {
  const closes = mode === 'wedge' ? { connection: 'close' } : {};
  const type = { 'content-type': 'application/json', 'content-length': BODY.length };
  response.writeHead(status, { 'x-replica': name, ...type, ...closes });
  response.end(BODY);
}

/** So many at once; the others wait their turn, as in front of a pool of database connections. */
function work(ms: number, done: () => void): void {
  if (busy >= SLOTS) {
    waiting.push(() => work(ms, done));
    return;
  }
  busy += 1;
  setTimeout(() => {
    busy -= 1;
    done();
    waiting.shift()?.();
  }, ms);
}

const server = createServer((request, response) => {
  request.resume();
  const isHealth = request.url === '/healthz';
  if (!isHealth) reached.push(Number(request.headers['x-sent'] ?? 0));
  const isGray = mode.endsWith('gray');
  const isOk = mode === 'ok' || mode === 'wedge' || (isHealth && isGray);
  if (isHealth && isOk) answer(response, 200);
  else if (mode.startsWith('e500') && !isOk) answer(response, 500);
  else work(mode.startsWith('slow') && !isOk ? SLOW_MS : WORK_MS, () => answer(response, 200));
});
server.keepAliveTimeout = 300_000;

/**
 * Its listening socket stays open, in a process that never accepts, and its queue is full: who
 * connects now hears nothing at all. What has a connection is answered and sent away.
 */
function wedge(): void {
  const { port } = server.address() as AddressInfo;
  const { _handle: handle } = server as unknown as { readonly _handle?: { readonly fd?: number } };
  // It ends with us: nobody writes to it, and its input ends when we do.
  const keeper = spawn('cat', [], { stdio: ['pipe', 'ignore', 'ignore', handle?.fd ?? 'ignore'] });
  keeper.once('spawn', () => {
    server.close();
    for (let i = 0; i <= BACKLOG + 1; i += 1) {
      connect({ port, host: '127.0.0.1' }).on('error', () => undefined);
    }
    tell({ mode: 'wedge' });
  });
}

const tell = (message: FromReplica): void => void process.send?.(message);

process.on('message', (message: ToReplica) => {
  if ('report' in message) {
    tell({ reached });
    reached = [];
    return;
  }
  ({ mode } = message);
  if (mode === 'wedge') wedge();
  else tell({ mode });
});
process.on('disconnect', () => process.exit(0));
server.listen({ port: 0, host: '127.0.0.1', backlog: BACKLOG }, () => {
  tell({ port: (server.address() as AddressInfo).port });
});
