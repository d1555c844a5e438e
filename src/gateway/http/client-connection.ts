// One connection of a client: which bytes belong to which request? One request at a time; what
// comes early waits, unread by us and unparsed, until the answer before it is out.
//
//   CC1. A next request is parsed only after the one before it ended where it said.
//   CC2. After a refusal, or an answer that came before its request was whole, the connection ends;
//        what still comes is thrown away, so that the client can read the answer.
//   CC3. Slow heads and bodies, idle and unread connections end in time.
import type { Socket } from 'node:net';
import { adopt, type Reader } from './adopt.ts';
import { BodyFrame, type BodySink, frameRequest } from './body.ts';
import { NO_WORDS, type Words } from './chars.ts';
import type { Deadlines, Watched } from './deadlines.ts';
import type { ClientSide } from './client-side.ts';
import { Exchange } from './forward.ts';
import type { Head, HeadShelf } from './head.ts';
import type { Hooks, PeerCertificate } from './hooks.ts';
import { NO_NAMES } from './names.ts';
import { Outlet, type OutletOwner } from './outlet.ts';
import { ownAnswerText, refusalAnswer } from './own-answer.ts';
import { MORE, parseRequest, REFUSED } from './parse-head.ts';
import { type Borrower, ReadBuffer, sharedWords } from './read-buffer.ts';
import type { Scratch } from './scratch.ts';
import { type RefusalCode, refusalOf } from './refusal.ts';

export interface ClientLimits {
  /** From the first byte of a head to its end. */
  readonly headTimeoutMs: number;
  /** Between two pieces of a request's body. */
  readonly bodyTimeoutMs: number;
  readonly keepAliveMs: number;
  /** A client that does not read its answer. */
  readonly sendTimeoutMs: number;
}

export const CLIENT_LIMITS: ClientLimits = {
  headTimeoutMs: 10_000,
  bodyTimeoutMs: 30_000,
  keepAliveMs: 65_000,
  sendTimeoutMs: 60_000,
};

export interface ClientHost {
  readonly hooks: Hooks;
  readonly heads: HeadShelf;
  readonly deadlines: Deadlines;
  readonly limits: ClientLimits;
  readonly nowMs: () => number;
  readonly draining: boolean;
  gone(connection: ClientConnection): void;
}

const NEVER = Number.POSITIVE_INFINITY;
const LINGER_MS = 2_000;
const LINGER_BYTES_MAX = 1_048_576;

/** The 'close' that follows says it all. */
function onError(): void {}

export class ClientConnection implements ClientSide, BodySink, Watched, Reader, OutletOwner {
  deadlineMs: number;
  place = -1;
  isTaking = false;
  memo: unknown = undefined;
  readonly scheme: 'http' | 'https';
  readonly peer: PeerCertificate | undefined;
  readonly #host: ClientHost;
  readonly #socket: Socket;
  readonly #outlet: Outlet;
  readonly isBorrowed: boolean;
  readonly read = new ReadBuffer();
  readonly #frame = new BodyFrame();
  #exchange: Exchange | undefined;
  #head: Head | undefined;
  /** The beginning of a head. */
  #held: Buffer | undefined;
  /** Read, but not its turn yet. */
  #stash: Buffer | undefined;
  #totalAtMs = NEVER;
  #paused = false;
  #stalled = false;
  #tunnel = false;
  #lingering = false;
  #lingered = 0;
  #gone = false;
  #address: string | undefined;

  constructor(host: ClientHost, accepted: Socket) {
    this.#host = host;
    const adopted = adopt(accepted, this);
    const socket = adopted ?? accepted;
    this.scheme = 'encrypted' in accepted && accepted.encrypted === true ? 'https' : 'http';
    this.peer = 'peer' in accepted ? (accepted.peer as PeerCertificate | undefined) : undefined;
    this.isBorrowed = adopted !== undefined;
    this.#socket = socket;
    this.deadlineMs = host.deadlines.in(host.limits.headTimeoutMs);
    host.deadlines.watch(this);
    if (adopted === undefined) this.#hear(socket);
    socket.resume();
    this.#outlet = new Outlet(socket, this);
    socket.on('error', onError);
  }

  /** An adopted socket tells its reader; functions of its own for each would cost memory. */
  #hear(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.once('end', () => this.onGone());
    socket.once('close', () => this.onGone());
  }

  get remoteAddress(): string {
    this.#address ??= this.#socket.remoteAddress ?? '';
    return this.#address;
  }

  get isIdle(): boolean {
    return this.#exchange === undefined && this.#held === undefined;
  }

  get mayKeep(): boolean {
    const head = this.#head;
    return head !== undefined && head.persistent && !this.#host.draining;
  }

  get borrower(): Borrower {
    return this.#outlet;
  }

  bodyBytes(): number {
    return this.#frame.dataBytes;
  }

  onBytes(count: number): void {
    // The usual case is a whole head in a short read: no view of it is made.
    const isPlain = this.#stash === undefined && !this.#lingering && !this.#tunnel && !this.#gone;
    const { bytes, isOwn } = this.read;
    const before = this.#exchange;
    if (isPlain && before === undefined && this.#held === undefined) {
      this.#take(bytes, count, isOwn ? NO_WORDS : sharedWords);
    } else this.#onData(bytes.subarray(0, count));
    const now = this.#exchange;
    // Bytes of one read to two replicas: it is not known who still holds some.
    const to = now === before ? now?.requestTo : undefined;
    if (now === undefined || now.requestDone) this.read.rest(to);
    else this.read.after(count, to, this.scheme === 'http' ? this.#frame.left : 0);
  }

  #onData(chunk: Buffer): void {
    if (this.#gone) return;
    if (this.#tunnel) {
      this.#exchange?.onRequestSpan(chunk, 0, chunk.length);
    } else if (this.#lingering) {
      this.#lingered += chunk.length;
      if (this.#lingered > LINGER_BYTES_MAX) this.#socket.destroy();
    } else if (this.#stash !== undefined) {
      this.#wait(Buffer.concat([this.#stash, chunk]));
    } else {
      this.#take(chunk, chunk.length, NO_WORDS);
    }
  }

  #wait(bytes: Buffer): void {
    this.#stash = Buffer.from(bytes);
    if (this.#paused) return;
    this.#paused = true;
    this.#socket.pause();
  }

  /** Hands over what it can; bounded by the bytes of the chunk. */
  #take(buf: Buffer, end: number, words: Words): void {
    this.isTaking = true;
    let rest =
      this.#exchange === undefined
        ? this.#takeHead(buf, end, words)
        : this.#takeBody(buf.subarray(0, end));
    while (rest !== undefined && !this.#lingering && !this.#gone) {
      rest =
        this.#exchange === undefined
          ? this.#takeHead(rest, rest.length, NO_WORDS)
          : this.#takeBody(rest);
    }
    this.isTaking = false;
    if (this.#exchange === undefined) this.#resumeIfFree();
    else this.#exchange.flush();
  }

  #takeHead(read: Buffer, readEnd: number, words: Words): Buffer | undefined {
    if (this.#held === undefined) return this.#meetHead(read, readEnd, words);
    const whole = Buffer.concat([this.#held, read.subarray(0, readEnd)]);
    return this.#meetHead(whole, whole.length, NO_WORDS);
  }

  #meetHead(buf: Buffer, end: number, words: Words): Buffer | undefined {
    const { deadlines, heads, limits } = this.#host;
    const head = (this.#head ??= heads.take());
    const step = parseRequest(head, buf, end, words);
    if (step === REFUSED) {
      this.#refuse(head.fault);
      return undefined;
    }
    if (step === MORE) {
      // A slow head does not get more time by each byte.
      if (this.#held === undefined) this.deadlineMs = deadlines.in(limits.headTimeoutMs);
      this.#held = Buffer.from(buf.subarray(0, end));
      return undefined;
    }
    this.#held = undefined;
    if (this.isBorrowed) head.own();
    const rest = head.end < end ? buf.subarray(head.end, end) : undefined;
    frameRequest(this.#frame, head, NO_NAMES);
    this.#totalAtMs = NEVER;
    this.#arm();
    const exchange = new Exchange(this, head, this.#frame.done, this.#host.hooks, this.#host.nowMs);
    this.#exchange = exchange;
    exchange.begin();
    return rest;
  }

  #takeBody(chunk: Buffer): Buffer | undefined {
    const exchange = this.#exchange;
    const frame = this.#frame;
    if (exchange === undefined) return chunk;
    if (frame.done || !exchange.wantsBody) {
      this.#wait(chunk);
      return undefined;
    }
    const next = frame.feed(chunk, 0, chunk.length, this);
    if (this.#exchange !== exchange) return undefined;
    if (frame.fault !== undefined) {
      exchange.refuse(frame.fault);
      return undefined;
    }
    if (frame.done) exchange.onRequestEnd();
    if (this.#exchange === exchange) this.#arm();
    return next < chunk.length ? chunk.subarray(next) : undefined;
  }

  onSpan(buf: Buffer, from: number, to: number): void {
    this.#exchange?.onRequestSpan(buf, from, to);
  }

  /** Which deadline counts while an exchange runs. */
  #arm(): void {
    const { deadlines, limits } = this.#host;
    if (this.#stalled) return;
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
    if (this.#lingering || this.#stalled) this.#socket.destroy();
    else if (exchange !== undefined) {
      if (this.#host.deadlines.nowMs >= this.#totalAtMs) exchange.onTotalTimeout();
      else exchange.refuse('body-timeout');
    } else if (this.#held !== undefined) this.#refuse('head-timeout');
    else this.#socket.destroy();
  }

  writeText(text: string): boolean {
    return this.#wrote(this.#outlet.write(Buffer.from(text, 'latin1')));
  }

  send(from: Scratch): boolean {
    return this.#wrote(from.send(this.#outlet));
  }

  write(bytes: Uint8Array): boolean {
    return this.#wrote(this.#outlet.write(bytes));
  }

  #wrote(goesOn: boolean): boolean {
    if (goesOn || this.#gone) return true;
    this.#stalled = true;
    this.deadlineMs = this.#host.deadlines.in(this.#host.limits.sendTimeoutMs);
    return false;
  }

  onStall(): void {
    this.#wrote(false);
  }

  onDrain(): void {
    this.#stalled = false;
    if (this.#lingering) return;
    if (this.#exchange === undefined) this.#idle();
    else {
      this.#arm();
      this.#exchange.onClientDrain();
    }
  }

  pauseBody(): void {
    if (this.#paused || this.#gone) return;
    this.#paused = true;
    this.#socket.pause();
    this.#arm();
  }

  resumeBody(): void {
    if (!this.#paused || this.#gone || this.isTaking) return;
    const stash = this.#stash;
    if (stash !== undefined && this.#frame.done && !this.#tunnel) return;
    this.#paused = false;
    this.#stash = undefined;
    this.#arm();
    if (stash !== undefined) this.#onData(stash);
    if (!this.#paused) this.#socket.resume();
  }

  startTunnel(): void {
    this.#tunnel = true;
    this.resumeBody();
  }

  #refuse(code: RefusalCode): void {
    const refusal = refusalOf(code);
    this.#host.hooks.onRefused?.(refusal, this.remoteAddress);
    this.#held = undefined;
    this.writeText(ownAnswerText(refusalAnswer(refusal), false, false));
    this.#linger();
  }

  over(keep: boolean): void {
    this.#exchange = undefined;
    this.#giveHead();
    if (this.#gone) return;
    if (!keep || this.#host.draining) {
      this.#linger();
      return;
    }
    if (!this.#stalled) this.#idle();
    if (this.isTaking) return;
    const stash = this.#stash;
    this.#stash = undefined;
    if (stash !== undefined) this.#take(stash, stash.length, NO_WORDS);
    this.#resumeIfFree();
  }

  #resumeIfFree(): void {
    if (!this.#paused || this.#stash !== undefined || this.#gone) return;
    this.#paused = false;
    this.#socket.resume();
  }

  #idle(): void {
    this.deadlineMs = this.#host.deadlines.in(this.#host.limits.keepAliveMs);
  }

  #giveHead(): void {
    if (this.#head !== undefined) this.#host.heads.give(this.#head);
    this.#head = undefined;
  }

  /** Closing over unread bytes would reset the connection, and the answer might be lost. */
  #linger(): void {
    if (this.#gone || this.#lingering) return;
    this.#lingering = true;
    this.#stash = undefined;
    const { deadlines, limits } = this.#host;
    this.deadlineMs = deadlines.in(limits.sendTimeoutMs);
    this.#outlet.flush();
    this.#socket.end(() => {
      this.deadlineMs = deadlines.in(LINGER_MS);
    });
    this.#paused = false;
    this.#socket.resume();
  }

  /** With a reset, so that an answer without a length cannot seem whole. */
  cut(): void {
    this.#outlet.flush();
    this.#socket.resetAndDestroy();
  }

  /** Nothing runs on it: ends at once. */
  close(): void {
    this.#outlet.flush();
    this.#socket.destroy();
  }

  onGone(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.read.drop();
    this.#host.deadlines.forget(this);
    this.#host.gone(this);
    this.#exchange?.onClientGone();
    this.#exchange = undefined;
    this.#giveHead();
    // A client that has ended its side may still read.
    this.#outlet.flush();
    this.#socket.destroy();
  }
}
