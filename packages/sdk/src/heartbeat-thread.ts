// Who tells the controller how this replica is, even while its main thread is stuck? This thread.
//
// It owns the socket: connects, reconnects with backoff, and never lets unsent bytes pile up.
// W1. A heartbeat that cannot be sent now is skipped: an old one is worth nothing.
// W2. An audit event leaves the queue only when the kernel has taken it.
import { connect, type Socket } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { monotonicMs } from './clock.ts';
import { COUNTER, HEARTBEAT_MS, SLOT, lagMsOf } from './heartbeat-protocol.ts';
import type { HeartbeatLine, HeartbeatSetup, ToHeartbeat } from './heartbeat-protocol.ts';

const BACKOFF_MS_MIN = 100;
const BACKOFF_MS_MAX = 2_000;
/** More unsent bytes than this: the reader is stuck, send nothing new. */
const UNSENT_BYTES_MAX = 65_536;

const setup = workerData as HeartbeatSetup;
const numbers = new Float64Array(setup.numbers);
const counters = new Int32Array(setup.counters);
const queue: Extract<ToHeartbeat, { kind: 'audit' }>[] = [];
let socket: Socket | undefined;
let connected = false;
let backoffMs = BACKOFF_MS_MIN;
let isReady = false;
let flushing = false;

parentPort?.on('message', (message: ToHeartbeat) => {
  switch (message.kind) {
    case 'ready':
      isReady = message.value;
      if (isReady && connected) sendReady();
      return;
    case 'audit':
      queue.push(message);
      pump();
      return;
    case 'flush':
      flushing = true;
      pump();
      return;
  }
});
open();
setInterval(beat, HEARTBEAT_MS);

function open(): void {
  const next = connect(setup.socketPath);
  socket = next;
  next.once('connect', () => {
    connected = true;
    backoffMs = BACKOFF_MS_MIN;
    if (isReady) sendReady();
    beat();
    pump();
  });
  next.on('drain', pump);
  // The controller may answer one day; unread input would stop the socket from closing.
  next.resume();
  next.on('error', () => undefined);
  next.once('close', () => {
    connected = false;
    // Jitter: after a controller restart all replicas come back, but not in one instant.
    setTimeout(open, backoffMs * (0.5 + Math.random() / 2));
    backoffMs = Math.min(backoffMs * 2, BACKOFF_MS_MAX);
  });
}

function beat(): void {
  if (!canSend()) return;
  const nowMs = monotonicMs();
  const oldestStartedMs = numbers[SLOT.oldestStartedMs] ?? 0;
  send({
    t: 'hb',
    replica: setup.replica,
    pid: setup.pid,
    lagMs: lagMsOf(
      nowMs,
      numbers[SLOT.tickMs] ?? nowMs,
      Atomics.exchange(counters, COUNTER.lagMsMax, 0),
    ),
    inFlight: Atomics.load(counters, COUNTER.inFlight),
    oldestMs: oldestStartedMs === 0 ? 0 : Math.max(0, Math.floor(nowMs - oldestStartedMs)),
    rssBytes: process.memoryUsage.rss(),
    heapUsedBytes: numbers[SLOT.heapUsedBytes] ?? 0,
  });
}

function sendReady(): void {
  send({ t: 'ready', replica: setup.replica, pid: setup.pid });
}

function pump(): void {
  while (queue.length > 0 && canSend()) {
    const next = queue[0];
    if (next === undefined) break;
    const { event, dropped } = next;
    const lost = dropped > 0 ? { dropped } : {};
    send({ t: 'audit', replica: setup.replica, event, ...lost });
    queue.shift();
    Atomics.sub(counters, COUNTER.queued, 1);
  }
  if (!flushing || queue.length > 0 || socket === undefined) return;
  flushing = false;
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- threads have none
  socket.write('', () => parentPort?.postMessage('flushed'));
}

function canSend(): boolean {
  return connected && socket !== undefined && socket.writableLength < UNSENT_BYTES_MAX;
}

function send(line: HeartbeatLine): void {
  socket?.write(`${JSON.stringify(line)}\n`);
}
