// What time is it, in a way that two threads of one process agree on? `performance.now()` counts
// from the start of each thread; `process.hrtime` reads one monotonic clock for all of them.

/** Monotonic milliseconds with a fraction; only differences mean something. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000 + nanoseconds / 1_000_000;
}
