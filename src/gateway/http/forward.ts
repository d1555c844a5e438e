// How does one request get its answer? It is sent to the replica that the hooks chose, and the
// answer flows back; if an attempt fails before that, the hooks may choose another one.
//
//   FW1. The client gets exactly one answer, or a cut connection if one was already begun.
//   FW3. Nothing is sent again unless it is here whole and no byte of an answer passed.
//   FW4. Whoever is slower sets the pace: no side is read while the other cannot take it.
//   FW5. If the client leaves, the replica's connection is closed; if the replica breaks off inside
//        an answer, the client's connection is cut, so that it cannot take a part for the whole.
//
// Longer than 400 lines because the life of one exchange is one state that all of it changes.
import { Attempt } from './attempt.ts';
import type { BodyFrame } from './body.ts';
import type { ClientSide } from './client-side.ts';
import { Drain } from './drain.ts';
import type { Head } from './head.ts';
import type {
  AttemptEnd,
  Decision,
  ExchangeEnd,
  ExchangeView,
  Forward,
  Hooks,
  OwnAnswer,
  PeerCertificate,
  Verdict,
} from './hooks.ts';
import { Incoming, sendInterim } from './incoming.ts';
import { Outgoing } from './outgoing.ts';
import { answerFor, ownAnswerText, problem, refusalAnswer } from './own-answer.ts';
import { type Borrower, NOBODY } from './read-buffer.ts';
import { type RefusalCode, refusalOf } from './refusal.ts';
import { later, tellAnswerHead, tellAttemptEnd, tellExchangeEnd } from './tell.ts';
import { openTunnel, UPGRADE } from './tunnel.ts';
import type { Carried, CarryFailure, UpstreamConnection } from './upstream-connection.ts';
import type { UpstreamPool } from './upstream-pool.ts';

const NEVER = Number.POSITIVE_INFINITY;
const ATTEMPTS_MAX = 32;

export class Exchange implements Carried, ExchangeView {
  readonly head: Head;
  readonly startedMs: number;
  readonly toHead: boolean;
  readonly strip: boolean;
  readonly asksWebSocket: boolean;
  tag: unknown = undefined;
  answerLines = '';
  requestDone: boolean;
  /** Since when it is the replica's turn; NEVER while it is the client's. */
  turnMs: number;
  readonly #client: ClientSide;
  readonly #hooks: Hooks;
  readonly #nowMs: () => number;
  #forward: Forward | undefined;
  #over = false;
  #begun = false;
  #tunnel = false;
  #status = 0;
  #bytesOut = 0;
  #attempts = 0;
  #incoming: Incoming | undefined;
  #out: Outgoing | undefined;
  #attempt: Attempt | undefined;
  #connection: UpstreamConnection | undefined;
  #endMs = 0;
  /** Of the last read: one look at the clock for what came in one go. */
  #readAtMs = 0;

  constructor(
    client: ClientSide,
    head: Head,
    requestDone: boolean,
    hooks: Hooks,
    nowMs: () => number,
  ) {
    this.#client = client;
    this.#hooks = hooks;
    this.#nowMs = nowMs;
    this.head = head;
    this.requestDone = requestDone;
    this.toHead = head.isHead;
    this.strip = head.version === 10;
    this.asksWebSocket = requestDone && head.version === 11 && head.asksWebSocket;
    this.startedMs = nowMs();
    this.turnMs = requestDone ? this.startedMs : NEVER;
  }

  get remoteAddress(): string {
    return this.#client.remoteAddress;
  }

  get scheme(): 'http' | 'https' {
    return this.#client.scheme ?? 'http';
  }

  get peer(): PeerCertificate | undefined {
    return this.#client.peer;
  }

  get memo(): unknown {
    return this.#client.memo;
  }

  set memo(value: unknown) {
    this.#client.memo = value;
  }

  get answerTo(): Borrower {
    return this.#client.borrower ?? NOBODY;
  }

  /** Who borrowed bytes of the request. */
  get requestTo(): Borrower | undefined {
    return this.#connection?.borrower;
  }

  get bodyIdleMs(): number {
    return this.#forward?.plan.bodyIdleMs ?? NEVER;
  }

  get replayable(): boolean {
    return this.#out?.whole === true && !this.#begun && !this.#over;
  }

  /** May the body be read? Not before it is known where it goes. */
  get wantsBody(): boolean {
    return this.#forward !== undefined;
  }

  begin(): void {
    try {
      const decision = this.#hooks.onRequestHead(this);
      if (!(decision instanceof Promise)) this.#decide(decision);
      else later(decision, (value) => this.#decide(value), this);
    } catch (error) {
      this.onBug(error);
    }
  }

  onBug(error: unknown): void {
    this.#hooks.onBug(error);
    if (this.#over) return;
    this.#detach('abandoned', 'bug');
    if (this.#begun) this.#cut();
    else this.#answer(problem(500, 'gateway-bug', 'The gateway failed.'), 'refused');
  }

  #decide(decision: Decision): void {
    if (this.#over) return;
    if (decision.kind === 'answer') {
      this.#answer(decision, 'answered');
      return;
    }
    const { plan, add, shared = '', own = '' } = decision;
    if (this.head.contentLength > plan.bodyBytesMax) {
      this.refuse('body-too-large');
      return;
    }
    this.#forward = decision;
    const lines = this.asksWebSocket ? `${UPGRADE}${add}` : add;
    this.#out = new Outgoing(this.head, plan, lines, own, shared);
    this.#client.setTotal(plan.totalTimeoutMs);
    if (this.head.expectsContinue && !this.requestDone && !this.strip) {
      this.#client.writeText('HTTP/1.1 100 Continue\r\n\r\n');
    }
    this.#try(decision.to);
    if (!this.#client.isTaking && !this.requestDone) this.#client.resumeBody();
  }

  #try(to: UpstreamPool): void {
    this.#attempts += 1;
    this.#attempt = new Attempt(to, this.#attempts === 1 ? this.startedMs : this.#nowMs());
    const got = to.take(this, this.#forward?.partition ?? '');
    if (got === 'full') this.onFail('unsent', 'pool-full');
    else if (got !== 'waits') {
      this.#connection = got;
      if (got.connected) this.onReady(got);
    }
  }

  onReady(connection: UpstreamConnection): void {
    const out = this.#out;
    if (out === undefined) return;
    this.#connection = connection;
    if (this.#attempt !== undefined) this.#attempt.reused = connection.served > 0;
    const goesOn = out.attach(connection);
    if (this.requestDone) this.#sent();
    else if (!this.#client.isTaking) {
      out.flush();
      if (goesOn) this.onDrain();
    }
  }

  /** The head goes out with the first piece of the body if that is there already. */
  flush(): void {
    this.#out?.flush();
  }

  #sent(): void {
    if (!this.#begun) this.#out?.sent(this.#forward?.plan.headTimeoutMs ?? NEVER);
  }

  onRequestSpan(buf: Buffer, from: number, to: number): void {
    if (this.#over) return;
    const limit = this.#forward?.plan.bodyBytesMax ?? 0;
    if (this.#client.bodyBytes() > limit) {
      this.refuse('body-too-large');
      return;
    }
    const { isBorrowed, read } = this.#client;
    if (this.#out?.piece(buf, from, to, isBorrowed, read?.isOwn) !== false) return;
    this.#client.pauseBody();
    this.turnMs = this.#nowMs();
  }

  onRequestEnd(): void {
    this.requestDone = true;
    this.turnMs = this.#nowMs();
    if (this.#out?.connection !== undefined) this.#sent();
  }

  onDrain(): void {
    if (!this.requestDone) this.turnMs = NEVER;
    this.#client.resumeBody();
  }

  onInterim(head: Head): void {
    if (this.strip || this.#begun || this.#forward === undefined) return;
    sendInterim(this.#client, head, this.#forward.plan.dropFromAnswer);
  }

  onHead(head: Head, frame: BodyFrame): void {
    this.#readAtMs = this.#nowMs();
    this.#attempt?.headAt(this.#readAtMs, head.status);
    this.#status = head.status;
    const forward = this.#forward;
    if (forward === undefined) return;
    if (this.#isDiscarded(head)) return;
    this.#begun = true;
    this.#out?.forget();
    this.#client.setTotal(NEVER);
    const { addToAnswer, plan } = forward;
    const add = this.answerLines === '' ? addToAnswer : addToAnswer + this.answerLines;
    const incoming = new Incoming(this.#client, plan.dropFromAnswer, add);
    this.#incoming = incoming;
    const mayKeep = this.#client.mayKeep && this.requestDone && !this.asksWebSocket;
    incoming.begin(head, frame, this.strip, mayKeep);
  }

  #isDiscarded(head: Head): boolean {
    const verdict = tellAnswerHead(this.#hooks, this, head);
    if (typeof verdict === 'object') this.onBug(verdict.error);
    if (this.#over) return true;
    if (verdict !== 'discard' || !this.replayable) return false;
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.hand(new Drain(connection, this.requestDone));
    // What follows may send this request on the same pool: not before its answer was read.
    queueMicrotask(() => this.#failed('discarded', String(this.#status)));
    return true;
  }

  onSpan(buf: Buffer, from: number, to: number): void {
    const lends = this.#connection?.lends === true;
    if (this.#incoming?.piece(buf, from, to, lends) === false) this.#connection?.pause();
  }

  onPause(): void {
    this.#readAtMs = 0;
    if (this.#incoming?.flush() === false) this.#connection?.pause();
  }

  onClientDrain(): void {
    this.#connection?.resume();
  }

  onLast(): void {
    this.#incoming?.end();
  }

  onEnd(): void {
    this.#noteReceived();
    this.#connection = undefined;
    void this.#attemptEnd('answered', '');
    this.#end('answered', this.#incoming?.keep === true);
  }

  onSwitch(head: Head, rest: Buffer): void {
    this.#begun = true;
    this.#tunnel = true;
    this.#status = 101;
    this.#attempt?.headAt(this.#nowMs(), 101);
    this.#out?.forget();
    this.#client.setTotal(NEVER);
    // For the hooks to know: it is too late for another replica.
    const verdict = tellAnswerHead(this.#hooks, this, head);
    if (typeof verdict === 'object') this.#hooks.onBug(verdict.error);
    const ends = { client: this.#client, connection: this.#connection };
    openTunnel(ends, head, this.#forward, rest, (count) => {
      this.#bytesOut += count;
    });
  }

  onFail(kind: CarryFailure, reason: string): void {
    this.#noteReceived();
    this.#connection = undefined;
    if (this.#tunnel) {
      void this.#attemptEnd('answered', reason);
      this.#end('answered', false);
      return;
    }
    this.#failed(kind, reason);
  }

  #failed(kind: AttemptEnd, reason: string): void {
    if (this.#over || this.#attempt === undefined) return;
    const verdict = this.#attemptEnd(kind, reason);
    if (this.#begun) {
      this.#cut();
      return;
    }
    if (!(verdict instanceof Promise)) this.#follow(verdict, kind, reason);
    else later(verdict, (value) => this.#follow(value, kind, reason), this);
  }

  #follow(verdict: Verdict | undefined, kind: AttemptEnd, reason: string): void {
    if (this.#over || this.#attempt !== undefined) return;
    const isLate = reason === 'total' || this.#attempts >= ATTEMPTS_MAX;
    if (verdict?.kind === 'answer') this.#answer(verdict, 'answered');
    else if (verdict?.kind === 'retry' && this.replayable && !isLate) {
      const lines = this.asksWebSocket ? `${UPGRADE}${verdict.add}` : verdict.add;
      if (this.#out !== undefined) this.#out.lines = lines;
      this.#try(verdict.to);
    } else this.#answer(answerFor(kind, reason), 'answered');
  }

  get #sentBack(): number {
    return this.#bytesOut + (this.#incoming?.bytesOut ?? 0);
  }

  /** The one place where an attempt ends (FW2). */
  #attemptEnd(
    kind: AttemptEnd,
    reason: string,
  ): Verdict | undefined | Promise<Verdict | undefined> {
    const attempt = this.#attempt;
    const out = this.#out;
    if (attempt === undefined || out === undefined) return undefined;
    this.#attempt = undefined;
    out.detach();
    this.#endMs = this.#readAtMs === 0 ? this.#nowMs() : this.#readAtMs;
    this.#readAtMs = 0;
    attempt.end(kind, reason, this.#endMs, this.replayable, out.bytesSent);
    return tellAttemptEnd(this.#hooks, this, attempt);
  }

  abandon(reason: string): void {
    if (!this.#over && !this.#begun && this.#attempt !== undefined) this.#lose('abandoned', reason);
  }

  onTotalTimeout(): void {
    if (this.#over || this.#begun) return;
    if (this.#attempt === undefined) this.#answer(answerFor('timeout', 'total'), 'answered');
    else this.#lose('timeout', 'total');
  }

  #lose(kind: AttemptEnd, reason: string): void {
    this.#release();
    this.#failed(kind, reason);
  }

  onClientGone(): void {
    if (this.#over) return;
    this.#detach(this.#tunnel ? 'answered' : 'client-gone', 'client');
    this.#end(this.#tunnel ? 'answered' : 'client-gone', false);
  }

  /** The request's own body is at fault. */
  refuse(code: RefusalCode): void {
    if (this.#over) return;
    const refusal = refusalOf(code);
    this.#hooks.onRefused?.(refusal, this.remoteAddress);
    this.#detach('client-gone', code);
    if (this.#begun) this.#cut();
    else this.#answer(refusalAnswer(refusal), 'refused');
  }

  #noteReceived(): void {
    if (this.#attempt === undefined || this.#connection === undefined) return;
    this.#attempt.bytesReceived = this.#connection.bytesReceived;
  }

  #release(): void {
    if (this.#connection === undefined) this.#attempt?.to.leave(this);
    this.#noteReceived();
    this.#connection?.release();
    this.#connection = undefined;
  }

  #detach(kind: AttemptEnd, reason: string): void {
    if (this.#attempt === undefined) return;
    this.#release();
    void this.#attemptEnd(kind, reason);
  }

  #answer(answer: OwnAnswer, kind: 'answered' | 'refused'): void {
    this.#begun = true;
    this.#status = answer.status;
    const keep = this.#client.mayKeep && this.requestDone;
    const text = ownAnswerText(answer, this.toHead, keep);
    this.#bytesOut += text.length;
    this.#client.setTotal(NEVER);
    this.#client.writeText(text);
    this.#end(kind, keep);
  }

  #cut(): void {
    this.#client.cut();
    this.#end('cut', false);
  }

  #end(kind: ExchangeEnd['kind'], keep: boolean): void {
    if (this.#over) return;
    this.#over = true;
    const endMs = kind === 'answered' && this.#endMs > 0 ? this.#endMs : this.#nowMs();
    tellExchangeEnd(this.#hooks, this, {
      kind,
      status: this.#status,
      bytesIn: this.#client.bodyBytes(),
      bytesOut: this.#sentBack,
      tookMs: endMs - this.startedMs,
      attempts: this.#attempts,
    });
    this.#client.over(keep);
  }
}
