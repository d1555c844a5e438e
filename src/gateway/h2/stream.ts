// One request on one stream of HTTP/2: the same exchange as on a connection of HTTP/1.1, with the
// stream in the place of its client.
//
//   HS1. The stream is read only once it is known where its body goes, and no faster than that.
//   HS2. If the client resets the stream, the exchange ends, and with it the replica's connection.
//   HS3. A cut answer resets the stream: a part cannot pass for the whole.
//   HS4. Slow bodies and unread answers end in time, as they do with HTTP/1.1.
import { constants } from 'node:http2';
import type { ServerHttp2Stream } from 'node:http2';
import { BodyFrame, type BodySink, frameRequest } from '../http/body.ts';
import type { ClientLimits } from '../http/client-connection.ts';
import type { ClientSide } from '../http/client-side.ts';
import type { Deadlines, Watched } from '../http/deadlines.ts';
import { Exchange } from '../http/forward.ts';
import type { Head, HeadShelf } from '../http/head.ts';
import type { Hooks, OwnAnswer, PeerCertificate } from '../http/hooks.ts';
import { NO_NAMES } from '../http/names.ts';
import { ownAnswerText, problem, refusalAnswer } from '../http/own-answer.ts';
import { DONE, parseRequest } from '../http/parse-head.ts';
import { type RefusalCode, refusalOf } from '../http/refusal.ts';
import type { Scratch } from '../http/scratch.ts';
import { AnswerReader, type AnswerTaker, type Fields } from './answer.ts';
import { hostOf, requestHead, trailerLines } from './request-head.ts';

const NEVER = Number.POSITIVE_INFINITY;

export interface StreamHost {
  readonly hooks: Hooks;
  readonly heads: HeadShelf;
  readonly deadlines: Deadlines;
  readonly limits: ClientLimits;
  readonly nowMs: () => number;
  readonly remoteAddress: string;
  readonly peer: PeerCertificate | undefined;
  memo: unknown;
  /** Is this host, without its port, one that our certificate speaks for? */
  speaksFor(host: string): boolean;
  /** `whole`: its answer went out whole. */
  streamEnded(stream: StreamClient, whole: boolean): void;
}

/** The socket that the scratch buffer is sent to; what it takes is copied. */
class ScratchEnd {
  readonly writableLength = 0;
  readonly #take: (bytes: Uint8Array) => boolean;

  constructor(take: (bytes: Uint8Array) => boolean) {
    this.#take = take;
  }

  write(bytes: Uint8Array): boolean {
    return this.#take(bytes);
  }
}

export class StreamClient implements ClientSide, BodySink, Watched, AnswerTaker {
  deadlineMs = NEVER;
  place = -1;
  readonly isTaking = false;
  readonly isBorrowed = false;
  readonly mayKeep = true;
  readonly scheme = 'https';
  toHead = false;
  readonly #host: StreamHost;
  readonly #stream: ServerHttp2Stream;
  readonly #frame = new BodyFrame();
  readonly #reader = new AnswerReader(this);
  readonly #scratchEnd = new ScratchEnd((bytes) => this.#pass(bytes));
  #exchange: Exchange | undefined;
  #head: Head | undefined;
  #chunked = false;
  #trailersIn = '';
  #trailersOut: Fields | undefined;
  #totalAtMs = NEVER;
  #paused = true;
  #stalled = false;
  #over = false;
  #isCut = false;
  #isBroken = false;
  #gone = false;

  constructor(host: StreamHost, stream: ServerHttp2Stream) {
    this.#host = host;
    this.#stream = stream;
    host.deadlines.watch(this);
    // Explicitly: else a listener for data would set it flowing.
    stream.pause();
    stream.on('drain', () => this.#onDrain());
    stream.on('aborted', () => this.#onGone());
    stream.once('close', () => this.#onGone());
    // The 'close' that follows says it all.
    stream.on('error', () => undefined);
    stream.on('wantTrailers', () => this.#sendTrailers());
  }

  get remoteAddress(): string {
    return this.#host.remoteAddress;
  }

  get peer(): PeerCertificate | undefined {
    return this.#host.peer;
  }

  get memo(): unknown {
    return this.#host.memo;
  }

  set memo(value: unknown) {
    this.#host.memo = value;
  }

  begin(raw: readonly string[]): void {
    const stream = this.#stream;
    const ends = stream.endAfterHeaders;
    this.toHead = raw[raw.indexOf(':method') + 1] === 'HEAD';
    const read = requestHead(raw, ends);
    if (read.kind === 'refused') {
      this.#refuse(read.code);
      return;
    }
    if (!this.#host.speaksFor(hostOf(read.authority))) {
      const detail = 'This connection is for other hosts; open another one.';
      this.#answer(problem(421, 'misdirected', detail));
      return;
    }
    const head = this.#host.heads.take();
    this.#head = head;
    const bytes = Buffer.from(read.text, 'latin1');
    if (parseRequest(head, bytes, bytes.length) !== DONE) {
      this.#refuse(head.fault);
      return;
    }
    this.#chunked = head.chunked;
    frameRequest(this.#frame, head, NO_NAMES);
    this.#listen();
    this.#arm();
    const { hooks, nowMs } = this.#host;
    const exchange = new Exchange(this, head, this.#frame.done, hooks, nowMs);
    this.#exchange = exchange;
    exchange.begin();
    // Its end must be read as well, for the stream to close.
    if (this.#frame.done) stream.resume();
  }

  #listen(): void {
    const stream = this.#stream;
    stream.on('data', (chunk: Buffer) => this.#onData(chunk));
    stream.once('end', () => this.#onEnd());
    stream.on('trailers', (_fields: unknown, _flags: unknown, raw?: readonly string[]) => {
      const lines = trailerLines(raw ?? []);
      if (lines === undefined) this.#exchange?.refuse('bad-trailer');
      else this.#trailersIn = lines;
    });
  }

  #onData(chunk: Buffer): void {
    if (!this.#chunked) this.#feed(chunk);
    else if (chunk.length > 0) {
      const size = Buffer.from(`${chunk.length.toString(16)}\r\n`, 'latin1');
      this.#feed(Buffer.concat([size, chunk, CRLF]));
    }
  }

  #onEnd(): void {
    if (this.#frame.done) return;
    if (this.#chunked) this.#feed(Buffer.from(`0\r\n${this.#trailersIn}\r\n`, 'latin1'));
    if (!this.#frame.done) this.#exchange?.refuse('early-end');
  }

  #feed(bytes: Buffer): void {
    const exchange = this.#exchange;
    const frame = this.#frame;
    if (exchange === undefined || frame.done) return;
    frame.feed(bytes, 0, bytes.length, this);
    if (this.#exchange !== exchange) return;
    if (frame.fault !== undefined) exchange.refuse(frame.fault);
    else if (frame.done) exchange.onRequestEnd();
    if (this.#exchange === exchange) this.#arm();
  }

  onSpan(buf: Buffer, from: number, to: number): void {
    this.#exchange?.onRequestSpan(buf, from, to);
  }

  bodyBytes(): number {
    return this.#frame.dataBytes;
  }

  #arm(): void {
    const { deadlines, limits } = this.#host;
    if (this.#stalled || this.#over) return;
    const waitsForBody = !this.#frame.done && !this.#paused;
    const bodyAtMs = waitsForBody ? deadlines.in(limits.bodyTimeoutMs) : NEVER;
    this.deadlineMs = Math.min(this.#totalAtMs, bodyAtMs);
  }

  setTotal(ms: number): void {
    this.#totalAtMs = ms === NEVER ? NEVER : this.#host.deadlines.in(ms);
    this.#arm();
  }

  onDeadline(): void {
    const exchange = this.#exchange;
    if (this.#stalled || this.#over || exchange === undefined) {
      this.#reset(constants.NGHTTP2_CANCEL);
    } else if (this.#host.deadlines.nowMs >= this.#totalAtMs) exchange.onTotalTimeout();
    else exchange.refuse('body-timeout');
  }

  pauseBody(): void {
    if (this.#paused || this.#gone) return;
    this.#paused = true;
    this.#stream.pause();
    this.#arm();
  }

  resumeBody(): void {
    if (!this.#paused || this.#gone) return;
    this.#paused = false;
    this.#arm();
    this.#stream.resume();
  }

  writeText(text: string): boolean {
    return this.#pass(Buffer.from(text, 'latin1'));
  }

  send(from: Scratch): boolean {
    return from.send(this.#scratchEnd);
  }

  write(bytes: Uint8Array): boolean {
    return this.#pass(bytes);
  }

  /** What Node will not send for whatever reason costs this stream and no other. */
  #pass(bytes: Uint8Array): boolean {
    if (this.#isBroken) return true;
    try {
      return this.#reader.feed(bytes);
    } catch (error) {
      this.#isBroken = true;
      this.#host.hooks.onBug(error);
      // Not from inside the exchange that is writing.
      queueMicrotask(() => this.#reset(constants.NGHTTP2_INTERNAL_ERROR));
      return true;
    }
  }

  #sendTrailers(): void {
    try {
      this.#stream.sendTrailers(this.#trailersOut ?? {});
    } catch (error) {
      this.#host.hooks.onBug(error);
      this.#reset(constants.NGHTTP2_INTERNAL_ERROR);
    }
  }

  onInterim(status: number, fields: Fields): void {
    if (this.#isOpen) this.#stream.additionalHeaders({ ...fields, ':status': status });
  }

  onHead(status: number, fields: Fields, ends: boolean, mayTrail: boolean): void {
    if (!this.#isOpen) return;
    const options = ends ? { endStream: true } : { waitForTrailers: mayTrail };
    this.#stream.respond({ ...fields, ':status': status }, options);
  }

  onData(bytes: Uint8Array): boolean {
    if (!this.#isOpen) return true;
    if (this.#stream.write(Buffer.from(bytes))) return true;
    this.#stalled = true;
    this.deadlineMs = this.#host.deadlines.in(this.#host.limits.sendTimeoutMs);
    return false;
  }

  onTrailers(fields: Fields): void {
    this.#trailersOut = fields;
  }

  get #isOpen(): boolean {
    return !this.#gone && !this.#stream.destroyed && !this.#stream.closed;
  }

  #onDrain(): void {
    this.#stalled = false;
    if (this.#over) return;
    this.#arm();
    this.#exchange?.onClientDrain();
  }

  /** WebSocket over HTTP/2 is not offered: nobody can have asked for it. */
  startTunnel(): void {
    this.cut();
  }

  #refuse(code: RefusalCode): void {
    const refusal = refusalOf(code);
    this.#host.hooks.onRefused?.(refusal, this.remoteAddress);
    this.#answer(refusalAnswer(refusal));
  }

  #answer(answer: OwnAnswer): void {
    this.writeText(ownAnswerText(answer, this.toHead, true));
    this.over();
  }

  /** The exchange has ended; if its answer is whole, so does the stream. */
  over(): void {
    this.#exchange = undefined;
    this.#giveHead();
    if (this.#over) return;
    this.#over = true;
    if (this.#gone) return;
    if (!this.#reader.done) {
      this.#reset(constants.NGHTTP2_INTERNAL_ERROR);
      return;
    }
    // What it still takes to be read by the client.
    this.deadlineMs = this.#host.deadlines.in(this.#host.limits.sendTimeoutMs);
    const stream = this.#stream;
    if (!stream.writableEnded) stream.end();
    if (this.#frame.done) return;
    // The answer came before all of the request: the rest of it is not wanted (RFC 9113 8.1).
    stream.close(constants.NGHTTP2_NO_ERROR);
    stream.resume();
  }

  cut(): void {
    // Its exchange knows: it is the one that cuts, and ends itself next.
    this.#isCut = true;
    this.#reset(constants.NGHTTP2_INTERNAL_ERROR);
  }

  #reset(code: number): void {
    if (!this.#gone) this.#stream.close(code);
  }

  #giveHead(): void {
    if (this.#head !== undefined) this.#host.heads.give(this.#head);
    this.#head = undefined;
  }

  #onGone(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#host.deadlines.forget(this);
    const whole = this.#over && this.#reader.done;
    // It calls `over`, which gives back the head.
    if (!this.#isCut) this.#exchange?.onClientGone();
    this.#host.streamEnded(this, whole);
    // What was read and not taken keeps the stream from closing.
    this.#stream.resume();
  }
}

const CRLF = Buffer.from('\r\n');
