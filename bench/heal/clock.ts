// What time is it, for two processes at once? CLOCK_MONOTONIC, which all processes of one machine
// share, so that the generator's times and the bench's may be subtracted from each other.

export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Add it to a monotonic time to get wall time. Measured anew, as the wall clock may step. */
export function wallOffsetMs(): number {
  return Date.now() - nowMs();
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}

/** Asks until it is so, at most `capMs`; answers whether it became so. */
export async function until(
  capMs: number,
  isSo: () => boolean | Promise<boolean>,
  everyMs = 20,
): Promise<boolean> {
  const endMs = nowMs() + capMs;
  while (nowMs() < endMs) {
    if (await isSo()) return true;
    await sleep(everyMs);
  }
  return isSo();
}
