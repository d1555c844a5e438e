// What do the main thread, the heartbeat thread and the controller say to each other?
//
// The lines to the controller are newline-delimited JSON on KINTSUGI_SOCKET. The numbers travel
// from the main thread to the heartbeat thread through shared memory, because a blocked main
// thread sends no messages, and its silence is exactly what must be reported.

/** One line on the socket. Times in milliseconds, sizes in bytes. */
export type HeartbeatLine =
  | {
      readonly t: 'hb';
      readonly replica: string;
      readonly pid: number;
      /** Longest delay of the main event loop since the last heartbeat, or the current one. */
      readonly lagMs: number;
      readonly inFlight: number;
      /** Age of the oldest unfinished request; 0 = none. */
      readonly oldestMs: number;
      readonly rssBytes: number;
      readonly heapUsedBytes: number;
    }
  /** Sent when the replica becomes ready, and again on each new connection while it is. */
  | { readonly t: 'ready'; readonly replica: string; readonly pid: number }
  | {
      readonly t: 'audit';
      readonly replica: string;
      readonly event: unknown;
      /** Events lost since the last audit line, because the queue was full; absent = none. */
      readonly dropped?: number;
    };

/** Slots of the Float64Array: written by the main thread only. */
export const SLOT = { tickMs: 0, oldestStartedMs: 1, heapUsedBytes: 2, count: 3 } as const;
/** Slots of the Int32Array: shared counters, through Atomics only. */
export const COUNTER = { inFlight: 0, lagMsMax: 1, queued: 2, count: 3 } as const;

/** How often the main thread marks that it is alive, milliseconds. */
export const TICK_MS = 100;
/** Pause between two heartbeats, milliseconds. */
export const HEARTBEAT_MS = 500;
/** Audit events that may wait for the controller. */
export const QUEUE_MAX = 1_000;

export interface HeartbeatSetup {
  readonly socketPath: string;
  readonly replica: string;
  readonly pid: number;
  readonly numbers: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
}

export type ToHeartbeat =
  | { readonly kind: 'ready'; readonly value: boolean }
  | { readonly kind: 'audit'; readonly event: unknown; readonly dropped: number }
  | { readonly kind: 'flush' };

/** How late the main thread is: what it reported itself, or its silence if that is longer. */
export function lagMsOf(nowMs: number, tickMs: number, lagMsMax: number): number {
  const silentMs = Math.floor(nowMs - tickMs - TICK_MS);
  return Math.max(0, lagMsMax, silentMs);
}
