// One attempt of a request on one replica, as it is counted and reported.
//
//   FW2. An attempt is counted in flight from its start to its end, once.
import type { AttemptEnd, Outcome } from './hooks.ts';
import type { UpstreamPool } from './upstream-pool.ts';

export class Attempt {
  readonly to: UpstreamPool;
  reused = false;
  status = 0;
  headMs = 0;
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
    facts: { readonly replayable: boolean; readonly bytesSent: number },
  ): Outcome {
    const { to, status, reused, headMs, bytesReceived } = this;
    to.inFlight -= 1;
    const { replayable, bytesSent } = facts;
    const totalMs = nowMs - this.#startedMs;
    return {
      kind,
      reason,
      to,
      status,
      reused,
      replayable,
      headMs,
      totalMs,
      bytesSent,
      bytesReceived,
    };
  }
}
