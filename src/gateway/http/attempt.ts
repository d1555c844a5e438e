// One attempt of a request on one replica, as it is counted and reported.
//
//   FW2. An attempt is counted in flight from its start to its end, once.
import type { AttemptEnd, Outcome } from './hooks.ts';
import type { UpstreamPool } from './upstream-pool.ts';

/** It is its own report: one object for each attempt of the hot path, not two. */
export class Attempt implements Outcome {
  kind: AttemptEnd = 'answered';
  reason = '';
  readonly to: UpstreamPool;
  status = 0;
  reused = false;
  replayable = false;
  headMs = 0;
  totalMs = 0;
  bytesSent = 0;
  bytesReceived = 0;
  readonly #startedMs: number;

  constructor(to: UpstreamPool, startedMs: number) {
    this.to = to;
    this.#startedMs = startedMs;
    to.inFlight += 1;
  }

  headAt(nowMs: number, status: number): void {
    this.headMs = nowMs - this.#startedMs;
    this.status = status;
  }

  /** Call once. */
  end(
    kind: AttemptEnd,
    reason: string,
    nowMs: number,
    replayable: boolean,
    bytesSent: number,
  ): void {
    this.to.inFlight -= 1;
    this.kind = kind;
    this.reason = reason;
    this.totalMs = nowMs - this.#startedMs;
    this.replayable = replayable;
    this.bytesSent = bytesSent;
  }
}
