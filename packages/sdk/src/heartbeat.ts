// Am I alive, how busy, and who hears it? The main-thread half of the heartbeat.
//
// H1. A blocked main loop is still reported: numbers lie in shared memory, a thread sends them.
// H2. A missing, refusing or stuck controller never blocks or crashes the service.
// H3. Audit events wait in a queue of fixed size; what does not fit is counted and reported.
import { Worker } from 'node:worker_threads';
import { monotonicMs } from './clock.ts';
import { COUNTER, QUEUE_MAX, SLOT, TICK_MS } from './heartbeat-protocol.ts';
import type { HeartbeatSetup, ToHeartbeat } from './heartbeat-protocol.ts';
import type { InFlight } from './in-flight.ts';

export interface Heartbeat {
  ready(value: boolean): void;
  audit(event: unknown): 'queued' | 'dropped';
  /** Resolves when the queue is handed over, or after `timeoutMs`. */
  flush(timeoutMs: number): Promise<void>;
  stop(): Promise<void>;
}

export interface HeartbeatOptions {
  readonly socketPath: string;
  readonly replica: string;
  readonly inFlight: InFlight;
}

/** Restarts of a crashed heartbeat thread; afterwards the service goes on without one. */
const RESTARTS_MAX = 5;
const RESTART_PAUSE_MS = 1_000;
const HEAP_EVERY_TICKS = 5;

export function startHeartbeat(options: HeartbeatOptions): Heartbeat {
  const numbers = new SharedArrayBuffer(SLOT.count * 8);
  const counters = new SharedArrayBuffer(COUNTER.count * 4);
  const shared = new Int32Array(counters);
  const stopCounting = countInto(new Float64Array(numbers), shared, options.inFlight);
  const { socketPath, replica } = options;
  const setup: HeartbeatSetup = { socketPath, replica, pid: process.pid, numbers, counters };
  let restarts = 0;
  let stopped = false;
  let isReady = false;
  let dropped = 0;
  let worker = startThread(setup, onExit);

  function onExit(): void {
    // What the thread had queued is gone with it: count it as dropped, then start anew.
    dropped += Atomics.exchange(shared, COUNTER.queued, 0);
    if (stopped || restarts === RESTARTS_MAX) return;
    restarts += 1;
    const again = (): void => {
      if (stopped) return;
      worker = startThread(setup, onExit);
      send({ kind: 'ready', value: isReady });
    };
    setTimeout(again, RESTART_PAUSE_MS).unref();
  }
  function send(message: ToHeartbeat): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- threads have none
    worker.postMessage(message);
  }
  return {
    ready(value) {
      isReady = value;
      send({ kind: 'ready', value });
    },
    audit(event) {
      if (Atomics.load(shared, COUNTER.queued) >= QUEUE_MAX) {
        dropped += 1;
        return 'dropped';
      }
      Atomics.add(shared, COUNTER.queued, 1);
      send({ kind: 'audit', event, dropped });
      dropped = 0;
      return 'queued';
    },
    async flush(timeoutMs) {
      const flushed = Promise.withResolvers<void>();
      const timer = setTimeout(flushed.resolve, timeoutMs);
      worker.once('message', () => flushed.resolve());
      worker.once('exit', () => flushed.resolve());
      send({ kind: 'flush' });
      await flushed.promise;
      clearTimeout(timer);
    },
    async stop() {
      stopped = true;
      stopCounting();
      await worker.terminate();
    },
  };
}

/** Marks time and copies the counters; costs some microseconds ten times a second. */
function countInto(numbers: Float64Array, shared: Int32Array, inFlight: InFlight): () => void {
  let ticks = 0;
  const tick = (): void => {
    const nowMs = monotonicMs();
    const lateMs = Math.floor(nowMs - (numbers[SLOT.tickMs] ?? nowMs) - TICK_MS);
    if (ticks > 0 && lateMs > Atomics.load(shared, COUNTER.lagMsMax)) {
      Atomics.store(shared, COUNTER.lagMsMax, lateMs);
    }
    numbers[SLOT.tickMs] = nowMs;
    if (ticks % HEAP_EVERY_TICKS === 0) {
      numbers[SLOT.heapUsedBytes] = process.memoryUsage().heapUsed;
    }
    ticks += 1;
  };
  tick();
  const timer = setInterval(tick, TICK_MS);
  timer.unref();
  inFlight.onChange(() => {
    Atomics.store(shared, COUNTER.inFlight, inFlight.count());
    numbers[SLOT.oldestStartedMs] = inFlight.oldestStartedMs();
  });
  return () => clearInterval(timer);
}

function startThread(setup: HeartbeatSetup, onExit: () => void): Worker {
  // The published package is JavaScript, the repository runs TypeScript: same name, same folder.
  const suffix = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const worker = new Worker(new URL(`./heartbeat-thread.${suffix}`, import.meta.url), {
    workerData: setup,
    name: 'kintsugi-heartbeat',
    // The thread needs next to nothing; without a limit its heap grows lazily to tens of MiB.
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2, stackSizeMb: 1 },
    execArgv: [],
  });
  worker.unref();
  worker.once('error', () => undefined);
  worker.once('exit', onExit);
  return worker;
}
