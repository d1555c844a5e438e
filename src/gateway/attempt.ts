// One try of one request on one replica: what it tells the replica's judges, and how its answer
// flows to the client.
//
//   AT1. It leaves the replica exactly once, and is counted exactly once.
//   AT2. An error answer that is dropped for a try elsewhere never reaches the client.
//   AT3. Once it was settled by us (hang, timeout), what its connection does is no news.
import type { Backend } from './backend.ts';
import type { AttemptResult } from './counters.ts';
import type { Exchange } from './exchange.ts';
import { downstreamHeaders } from './identity.ts';
import type { Guest, Lane } from './lane.ts';
import type { Ending } from './retry.ts';
import type { Suspect } from '../model/signal.ts';
import type { Flow, UpstreamCall, UpstreamFailure, UpstreamListener } from './upstream.ts';

const DISCARD_BYTES_MAX = 65_536;

/** The passage, as its attempts see it. */
export interface AttemptOwner {
  readonly backend: Backend;
  readonly exchange: Exchange;
  readonly requestId: string;
  nowMs(): number;
  suspect(): Suspect;
  /** Its replica hangs. May it leave for another one? Then `left` follows. */
  mayLeave(attempt: Attempt): boolean;
  left(): void;
  /** The request cannot be sent at all: it is the client's fault. */
  unsendable(attempt: Attempt, detail: string): void;
  /** The attempt ended without an answer for the client. */
  endedWith(attempt: Attempt, ending: Ending): void;
  /** May this error answer be dropped for a try elsewhere? */
  mayDrop(status: number): boolean;
  dropped(attempt: Attempt): void;
  /** The head of the answer is on its way to the client. */
  begun(): void;
  answered(failed: boolean): void;
  note(lane: Lane, result: AttemptResult, tookMs: number): void;
}

/** One try on one replica. */
export class Attempt implements UpstreamListener, Guest {
  readonly lane: Lane;
  readonly startedMs: number;
  readonly suspected: boolean;
  call: UpstreamCall | undefined;
  answered = false;
  readonly #passage: AttemptOwner;
  #flow: Flow | undefined;
  #status = 0;
  #headMs = 0;
  #discarding = false;
  #discarded = 0;
  /** Its end was decided by us (hang, timeout): what the connection does then is no news. */
  #settled = false;

  constructor(passage: AttemptOwner, lane: Lane, suspected: boolean) {
    this.#passage = passage;
    this.lane = lane;
    this.suspected = suspected;
    this.startedMs = passage.nowMs();
  }

  suspect(): Suspect {
    return this.#passage.suspect();
  }

  rescue(): void {
    if (this.answered || this.#settled || !this.#passage.mayLeave(this)) return;
    this.#settle('hung');
    this.#passage.left();
  }

  timedOut(): void {
    this.#settle('timeout');
  }

  #settle(how: 'hung' | 'timeout'): void {
    if (this.#settled) return;
    this.#settled = true;
    const tookMs = this.#tookMs();
    this.#passage.note(this.lane, 'timeout', tookMs);
    const { backend } = this.#passage;
    if (how === 'timeout') backend.outcome(this.lane, 'timeout', tookMs);
    this.call?.abort();
    backend.leave(this.lane, this);
  }

  onHead(status: number, rawHeaders: string[], flow: Flow): void {
    if (this.#settled) return;
    this.answered = true;
    this.#status = status;
    this.#headMs = this.#tookMs();
    const passage = this.#passage;
    const { exchange, requestId, backend } = passage;
    const bad = status >= 500 && status !== 501;
    backend.outcome(this.lane, bad ? 'error' : 'ok', this.#headMs);
    if (bad && passage.mayDrop(status)) {
      this.#discarding = true;
      passage.dropped(this);
      return;
    }
    passage.begun();
    exchange.onDrain(() => flow.resume());
    this.#flow = flow;
    exchange.begin(status, downstreamHeaders(rawHeaders, requestId));
  }

  onData(chunk: Uint8Array): void {
    if (this.#settled) return;
    if (this.#discarding) {
      this.#discarded += chunk.length;
      if (this.#discarded > DISCARD_BYTES_MAX) this.call?.abort();
      return;
    }
    if (!this.#passage.exchange.write(chunk)) this.#flow?.pause();
  }

  onEnd(): void {
    if (this.#settled) return;
    const { backend, exchange } = this.#passage;
    const isError = this.#status >= 500;
    this.#passage.note(this.lane, isError ? 'error' : 'answered', this.#headMs);
    backend.leave(this.lane, this);
    if (this.#discarding) return;
    exchange.end();
    this.#passage.answered(isError);
  }

  onFail(failure: UpstreamFailure): void {
    if (this.#settled) return;
    const { backend } = this.#passage;
    const tookMs = this.#tookMs();
    if (failure.kind === 'aborted' || this.#discarding) {
      if (this.#discarding) this.#passage.note(this.lane, 'error', this.#headMs);
      backend.leave(this.lane, this);
    } else if (failure.kind === 'invalid') {
      backend.leave(this.lane, this);
      this.#passage.unsendable(this, failure.detail);
    } else if (failure.kind === 'unsent') {
      this.#passage.note(this.lane, 'unsent', tookMs);
      backend.leave(this.lane, this);
      backend.outcome(this.lane, failure.refused ? 'unreachable' : 'broken', tookMs);
      this.#passage.endedWith(this, { kind: 'unsent' });
    } else {
      this.#passage.note(this.lane, 'broken', tookMs);
      backend.broke(this.lane, this);
      backend.leave(this.lane, this);
      this.#passage.endedWith(this, { kind: 'broken' });
    }
  }

  #tookMs(): number {
    return this.#passage.nowMs() - this.startedMs;
  }
}
