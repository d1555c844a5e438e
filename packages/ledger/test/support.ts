// Shared pieces of the ledger's tests: a clock that only moves when told, a small disk, keys.

import { MemoryFiles, openLedger, signerFromSeed } from '../src/index.ts';
import type { Files, Ledger, LedgerClock, LedgerError, LedgerOptions } from '../src/index.ts';
import { isLedgerError } from '../src/index.ts';

export const ORIGIN = 'test.example/ledger';
export const signer = signerFromSeed(ORIGIN, new Uint8Array(32).fill(7)).signer;
export const otherSigner = signerFromSeed(ORIGIN, new Uint8Array(32).fill(8)).signer;
export const SEGMENT_BYTES = 64 * 1024;

/** Sleepers wake when `advance` passes their time. */
export class FakeClock implements LedgerClock {
  #now = 0;
  #sleepers: { readonly atMs: number; readonly wake: () => void }[] = [];

  nowMs(): number {
    return Date.UTC(2026, 10, 20) + this.#now;
  }

  monotonicMs(): number {
    return this.#now;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        signal.removeEventListener('abort', wake);
        this.#sleepers = this.#sleepers.filter((sleeper) => sleeper.wake !== wake);
        resolve();
      };
      this.#sleepers.push({ atMs: this.#now + ms, wake });
      signal.addEventListener('abort', wake);
      if (signal.aborted) wake();
    });
  }

  get sleepers(): number {
    return this.#sleepers.length;
  }

  async advance(ms: number): Promise<void> {
    this.#now += ms;
    for (const { atMs, wake } of this.#sleepers) if (atMs <= this.#now) wake();
    await settle();
  }
}

/** Lets every promise that can go on do so. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 50; round++) await Promise.resolve();
}

export function options(files: Files, more: Partial<LedgerOptions> = {}): LedgerOptions {
  return {
    dir: 'ledger',
    origin: ORIGIN,
    signer,
    files,
    clock: new FakeClock(),
    segmentBytes: SEGMENT_BYTES,
    ...more,
  };
}

export function open(files: Files, more: Partial<LedgerOptions> = {}): Promise<Ledger> {
  return openLedger(options(files, more));
}

/** A ledger folder with `count` plain entries, closed. */
export async function smallLedger(count: number): Promise<MemoryFiles> {
  const files = new MemoryFiles();
  const ledger = await open(files);
  for (let at = 0; at < count; at++) await ledger.record('test.entry', { at });
  await ledger.close();
  return files;
}

export async function segmentFiles(files: Files): Promise<string[]> {
  const names = await files.list('ledger/seg');
  return names.filter((name) => /^\d/.test(name)).map((name) => `ledger/seg/${name}`);
}

/** The error that a promise rejects with; fails the test when it does not. */
export async function refusal(promise: Promise<unknown>): Promise<LedgerError> {
  try {
    await promise;
  } catch (cause) {
    if (isLedgerError(cause)) return cause;
    throw cause;
  }
  throw new Error('expected a LedgerError, but it succeeded');
}

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
