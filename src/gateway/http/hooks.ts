// Where do tenancy, limits, retries and logs plug in? Four calls with plain values; the forwarder
// knows nothing of them, and they nothing of sockets.
//
//   HK1. Each exchange: onRequestHead once; onAttemptEnd once for each attempt; onExchangeEnd once.
//   HK2. A promise pauses the client; what its answer is is ignored once the client is gone.
//   HK3. A head is valid until the exchange ends, the head of an answer during its call only.
import type { Head } from './head.ts';
import type { NameSet } from './names.ts';
import type { Refusal } from './refusal.ts';
import type { UpstreamPool } from './upstream-pool.ts';

/** What is the same for all requests of a route: made once. */
export interface ForwardPlan {
  /** Fields of the request that do not pass, besides hop-by-hop ones. */
  readonly dropFromRequest: NameSet;
  readonly dropFromAnswer: NameSet;
  /** Bodies up to this are kept until the answer begins, so that another replica may get them. */
  readonly replayBytesMax: number;
  readonly bodyBytesMax: number;
  /** From the request to the end of the head of its answer, all attempts together. */
  readonly totalTimeoutMs: number;
  /** From the last byte sent to the head of the answer, one attempt. */
  readonly headTimeoutMs: number;
  /** Between two pieces of a body. Event streams want it long. */
  readonly bodyIdleMs: number;
}

export interface Forward {
  readonly kind: 'forward';
  readonly to: UpstreamPool;
  readonly plan: ForwardPlan;
  /** Whole lines for the request, each with its CRLF. */
  readonly add: string;
  /** More of them, for those that many requests share: joining the two would be a copy for each. */
  readonly shared?: string;
  /** And more, for those of the connection. */
  readonly own?: string;
  /** Whole lines for the answer. */
  readonly addToAnswer: string;
  /** Connections are shared within one partition only; '' is the common one. */
  readonly partition: string;
}

export interface OwnAnswer {
  readonly kind: 'answer';
  readonly status: number;
  /** Whole lines, each with its CRLF; length and connection are added. */
  readonly headers: string;
  readonly body: string;
}

export type Decision = Forward | OwnAnswer;

export type AttemptEnd =
  /** The whole answer was passed on. */
  | 'answered'
  /** Nothing of the request left: connecting failed, or there was no room. */
  | 'unsent'
  /** The connection ended after the request was sent and before a byte of an answer. */
  | 'sent-no-response'
  /** What came is not a valid answer. */
  | 'bad-response'
  /** The connection ended inside an answer. */
  | 'cut'
  | 'timeout'
  /** `abandon` was called: the replica hangs, say. */
  | 'abandoned'
  /** `onAnswerHead` chose to try elsewhere. */
  | 'discarded'
  | 'client-gone';

/** One flat record instead of a union: it is made for each request of the hot path. */
export interface Outcome {
  readonly kind: AttemptEnd;
  /** Detail of the kind from a closed set: a refusal code, an errno, a phase. */
  readonly reason: string;
  readonly to: UpstreamPool;
  /** 0 before a head came. */
  readonly status: number;
  /** Was the connection used before? Then its end may be no fault of the replica. */
  readonly reused: boolean;
  /** Is the request still here, whole, and no byte of an answer passed on? */
  readonly replayable: boolean;
  /** From the start of the attempt, ms; 0 when it did not come so far. */
  readonly headMs: number;
  readonly totalMs: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

export type Verdict =
  /** Once more; `add` replaces the added lines. */
  { readonly kind: 'retry'; readonly to: UpstreamPool; readonly add: string } | OwnAnswer;

export type AnswerVerdict = 'pass' | 'discard';

export interface ExchangeEnd {
  readonly kind: 'answered' | 'refused' | 'client-gone' | 'cut';
  readonly status: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly tookMs: number;
  readonly attempts: number;
}

/** What a client proved to be by a verified certificate. */
export interface PeerCertificate {
  /** Hexadecimal, lower-case. */
  readonly sha256: string;
  readonly subject: string;
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  readonly notAfterMs: number;
}

/** What the hooks see of a running exchange. */
export interface ExchangeView {
  readonly head: Head;
  readonly remoteAddress: string;
  readonly startedMs: number;
  /** Is the request still here, whole, and no byte of an answer passed on? */
  readonly replayable: boolean;
  /**
   * Since when it is the replica's turn, on the clock of `startedMs`: all of the request is on its
   * way, or the replica takes no more. Infinity while more of it is to come from the client.
   */
  readonly turnMs: number;
  readonly scheme: 'http' | 'https';
  readonly peer: PeerCertificate | undefined;
  /** Free for the hooks. */
  tag: unknown;
  /** Free for the hooks as well, and the same for all exchanges of one client connection. */
  memo: unknown;
  /** Whole lines for the answer, beside those of `Forward`: may be set until its head is passed. */
  answerLines: string;
  /** Ends the running attempt before its answer began; `onAttemptEnd` follows. */
  abandon(reason: string): void;
}

export interface Hooks {
  onRequestHead(exchange: ExchangeView): Decision | Promise<Decision>;
  /** A final head came from upstream, or 101, which passes in any case. Absent: all pass. */
  onAnswerHead?(exchange: ExchangeView, status: number, head: Head): AnswerVerdict;
  /** undefined: no other attempt; the client gets a plain 502, 503 or 504 if none came. */
  onAttemptEnd(
    exchange: ExchangeView,
    outcome: Outcome,
  ): Verdict | undefined | Promise<Verdict | undefined>;
  onExchangeEnd(exchange: ExchangeView, end: ExchangeEnd): void;
  /** A message was refused before there was an exchange, or inside its body. */
  onRefused?(refusal: Refusal, remoteAddress: string): void;
  /** Something in the hooks threw: this exchange is answered 500, the others go on. */
  onBug(error: unknown): void;
}
