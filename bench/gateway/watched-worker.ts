// The real worker, in a process that also watches how long its event loop stood still:
//   node watched-worker.ts, settings by environment, asked over IPC ('reset', 'report').
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { readSettings, startWorker } from '../../src/gateway/worker.ts';

export interface WorkerReport {
  /** Longest time in which nothing else ran, ms. */
  readonly pauseMs: number;
  readonly version: number;
}

const RESOLUTION_MS = 1;
const watch = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
const worker = await startWorker(readSettings(process.env), (text) => {
  process.stderr.write(`gateway: ${text}\n`);
});
watch.enable();
process.on('message', (question: 'reset' | 'report') => {
  if (question === 'reset') {
    watch.reset();
    return;
  }
  const report: WorkerReport = {
    pauseMs: Math.max(0, watch.max / 1e6 - RESOLUTION_MS),
    version: worker.proxy.version,
  };
  process.send?.(report);
});
process.on('disconnect', () => process.exit(0));
