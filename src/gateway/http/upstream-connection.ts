// One connection to a replica: is what comes back the answer to what was sent? It reads answers
// with the strict parser and takes itself out of use as soon as it could be out of step.
//
//   UC1. Bytes that come when nothing was asked, or after an answer's end, close the connection. If
//        they come after the next request was sent they cannot be told from its answer: HTTP/1.1
//        does not number them. Partitions (UP4) keep such a lie with the tenant it was told to.
//   UC2. Exactly one of onEnd and onFail for each request it carries, unless `release` came first.
//   UC3. Nothing was sent before `unsent`; before `sent-no-response` not one byte was received.
//   UC4. What a replica sends is copied before the next read, lent (RB1), or not kept at all.
import { connect, type Socket } from 'node:net';
import { type BodySink, BODY, BodyFrame, frameResponse } from './body.ts';
import { NO_WORDS } from './chars.ts';
import type { Watched } from './deadlines.ts';
import type { Head } from './head.ts';
import { Outlet, type OutletOwner } from './outlet.ts';
import { MORE, parseResponse, REFUSED } from './parse-head.ts';
import { type Borrower, ReadBuffer, sharedBytes, sharedWords } from './read-buffer.ts';
import type { Scratch } from './scratch.ts';
import type { RefusalCode } from './refusal.ts';
import { beginTurn, endTurn } from './turn.ts';
import type { UpstreamPool } from './upstream-pool.ts';

export type CarryFailure = 'unsent' | 'sent-no-response' | 'bad-response' | 'cut' | 'timeout';

/** The request on a connection. */
export interface Carried extends BodySink {
  readonly toHead: boolean;
  /** The client knows no chunks. */
  readonly strip: boolean;
  readonly requestDone: boolean;
  readonly asksWebSocket: boolean;
  readonly bodyIdleMs: number;
  /** The connection may be written to. */
  onReady(connection: UpstreamConnection): void;
  onInterim(head: Head): void;
  onSwitch(head: Head, rest: Buffer): void;
  onHead(head: Head, frame: BodyFrame): void;
  /** What was read in one go has been handed on. */
  onPause(): void;
  /** The answer is whole; its head is still valid. */
  onLast(): void;
  /** The connection is free again. */
  onEnd(): void;
  onFail(kind: CarryFailure, reason: string): void;
  onDrain(): void;
  /** Who borrowed bytes of the answer; undefined: that is not known. */
  readonly answerTo?: Borrower;
}

const NEVER = Number.POSITIVE_INFINITY;
const INTERIM_MAX = 8;

const PHASE = { idle: 0, head: 1, body: 2, tunnel: 3 } as const;

export class UpstreamConnection implements Watched, OutletOwner {
  readonly pool: UpstreamPool;
  readonly partition: string;
  readonly socket: Socket;
  readonly #outlet: Outlet;
  deadlineMs = NEVER;
  place = -1;
  /** Requests it has completed. */
  served = 0;
  bytesReceived = 0;
  #carried: Carried | undefined;
  #connected = false;
  #wrote = false;
  #dead = false;
  #phase: number = PHASE.idle;
  #head: Head | undefined;
  #held: Buffer | undefined;
  #interims = 0;
  #readFull = false;
  #errno = '';
  readonly #read = new ReadBuffer();
  readonly #frame = new BodyFrame();
  #tunnel: ((buf: Buffer) => void) | undefined;

  constructor(pool: UpstreamPool, partition: string) {
    this.pool = pool;
    this.partition = partition;
    const { host, port } = pool;
    const callback = (count: number): boolean => {
      beginTurn();
      try {
        this.#onRead(count);
      } finally {
        endTurn();
      }
      return true;
    };
    // Asked for when a handle is made, and after each read; then "none" means "the same again".
    const buffer = () => (this.#connected ? this.#read.take() : sharedBytes) as Buffer;
    const onread = { buffer, callback };
    this.socket = connect({ host, port, noDelay: true, onread });
    this.deadlineMs = pool.deadlines.in(pool.limits.connectTimeoutMs);
    pool.deadlines.watch(this);
    this.socket.once('connect', () => this.#onConnect());
    this.#outlet = new Outlet(this.socket, this);
    this.socket.once('end', () => this.#onEof());
    this.socket.on('error', (error) => {
      this.#errno = 'code' in error && typeof error.code === 'string' ? error.code : 'error';
    });
    this.socket.once('close', () => this.#onClose());
  }

  get connected(): boolean {
    return this.#connected;
  }

  onDrain(): void {
    this.#carried?.onDrain();
  }

  carry(carried: Carried): void {
    this.#carried = carried;
    this.#wrote = false;
    this.#phase = PHASE.head;
    this.#interims = 0;
    this.bytesReceived = 0;
    if (this.#connected) this.deadlineMs = NEVER;
  }

  /** False: wait for onDrain. */
  send(from: Scratch): boolean {
    this.#wrote = true;
    return from.send(this.#outlet);
  }

  write(bytes: Uint8Array): boolean {
    this.#wrote = true;
    return this.#outlet.write(bytes);
  }

  /** Bytes of bodies may be passed on without a copy: they stay until they are out. */
  get lends(): boolean {
    return this.#read.isOwn;
  }

  get borrower(): Borrower {
    return this.#outlet;
  }

  /** Is the client slower than the replica? Then the replica waits. */
  pause(): void {
    this.deadlineMs = NEVER;
    this.socket.pause();
  }

  resume(): void {
    if (this.#phase === PHASE.body) this.#awaitBody();
    this.socket.resume();
  }

  #awaitBody(): void {
    const idleMs = this.#carried?.bodyIdleMs ?? 0;
    this.deadlineMs = idleMs === NEVER ? NEVER : this.pool.deadlines.in(idleMs);
  }

  carries(carried: Carried): boolean {
    return this.#carried === carried;
  }

  /** Somebody else takes the rest of the answer. */
  hand(carried: Carried): void {
    this.#carried = carried;
  }

  /** Takes the request off; the connection cannot be used again, since an answer may still come. */
  release(): void {
    this.#carried = undefined;
    this.destroy();
  }

  destroy(): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#read.drop();
    this.pool.deadlines.forget(this);
    if (this.#head !== undefined) this.pool.heads.give(this.#head);
    this.#head = undefined;
    this.#held = undefined;
    this.#outlet.drop();
    this.socket.destroy();
    this.pool.gone(this);
  }

  /** From here on bytes belong to the two ends. */
  tunnelTo(take: (buf: Buffer) => void): void {
    this.#phase = PHASE.tunnel;
    this.#tunnel = take;
    this.deadlineMs = NEVER;
  }

  onDeadline(): void {
    if (this.#carried === undefined) this.destroy();
    else if (!this.#connected) this.#fail('unsent', 'connect-timeout');
    else this.#fail('timeout', this.#phase === PHASE.head ? 'head' : 'body');
  }

  #onConnect(): void {
    this.#connected = true;
    this.deadlineMs = NEVER;
    if (this.#carried === undefined) this.destroy();
    else this.#carried.onReady(this);
  }

  #onRead(count: number): void {
    if (this.#dead) return;
    const { bytes } = this.#read;
    this.bytesReceived += count;
    this.#readFull = count === bytes.length;
    const carried = this.#carried;
    if (carried === undefined) {
      // Unasked: whoever came next would get it for an answer.
      this.destroy();
    } else if (this.#phase === PHASE.body) {
      this.#awaitBody();
      this.#body(carried, bytes, 0, count);
      this.#afterRead(carried, count);
    } else if (this.#phase === PHASE.head) {
      if (this.#wrote) this.#readHead(carried, count);
      else this.#fail('bad-response', 'before-request');
    } else {
      this.#tunnel?.(Buffer.from(bytes.subarray(0, count)));
    }
  }

  #readHead(carried: Carried, count: number): void {
    let buf = this.#read.bytes;
    let end = count;
    if (this.#held !== undefined) {
      buf = Buffer.concat([this.#held, buf.subarray(0, count)]);
      end = buf.length;
      this.#held = undefined;
    }
    const head = (this.#head ??= this.pool.heads.take());
    // Bounded by the number of interim answers.
    for (;;) {
      const words = buf === sharedBytes ? sharedWords : NO_WORDS;
      const step = parseResponse(head, buf, end, words);
      if (step === REFUSED) {
        this.#fail('bad-response', head.fault);
        return;
      }
      if (step === MORE) {
        this.#held = Buffer.from(buf.subarray(0, end));
        return;
      }
      if (head.status >= 200) break;
      const rest = buf.subarray(head.end, end);
      if (!this.#interim(carried, head, rest)) return;
      head.reset();
      if (rest.length === 0) return;
      buf = rest;
      end = rest.length;
    }
    this.#phase = PHASE.body;
    this.#awaitBody();
    frameResponse(this.#frame, head, carried.toHead, carried.strip);
    const { end: bodyAt } = head;
    carried.onHead(head, this.#frame);
    // It may have been taken off, or handed on.
    const now: Carried | undefined = this.#carried;
    if (now === undefined) return;
    this.#body(now, buf, bodyAt, end);
    this.#afterRead(now, count);
  }

  #afterRead(carried: Carried, count: number): void {
    // Otherwise it ended, and rests, or is another's now.
    if (this.#carried === carried) this.#read.after(count, carried.answerTo, this.#frame.left);
  }

  /** False: nothing more is to be read as an answer. */
  #interim(carried: Carried, head: Head, rest: Buffer): boolean {
    this.#interims += 1;
    if (this.#interims > INTERIM_MAX) {
      this.#fail('bad-response', 'too-many-interim');
      return false;
    }
    if (head.status === 101) {
      const isFit = carried.asksWebSocket && head.asksWebSocket && carried.requestDone;
      if (isFit) carried.onSwitch(head, Buffer.from(rest));
      else this.#fail('bad-response', 'unasked-upgrade');
      return false;
    }
    if (head.status !== 100) carried.onInterim(head);
    return this.#carried === carried;
  }

  #body(carried: Carried, buf: Buffer, at: number, end: number): void {
    const frame = this.#frame;
    const next = frame.feed(buf, at, end, carried);
    if (this.#carried !== carried) return;
    if (frame.fault !== undefined) this.#fail('bad-response', frame.fault);
    else if (frame.done) this.#finish(carried, next < end);
    else carried.onPause();
  }

  #finish(carried: Carried, hasExtra: boolean): void {
    const head = this.#head;
    // A full read may have left bytes behind: whether they are too many cannot be seen yet.
    const isFit = !hasExtra && !this.#readFull && carried.requestDone && head?.persistent === true;
    carried.onLast();
    this.#read.rest(carried.answerTo);
    if (this.#carried !== carried) return;
    this.#carried = undefined;
    this.#phase = PHASE.idle;
    this.served += 1;
    head?.reset();
    if (isFit && this.#frame.kind !== BODY.untilClose && !this.#dead) {
      this.deadlineMs = this.pool.deadlines.in(this.pool.limits.idleMs);
      if (this.socket.isPaused()) this.socket.resume();
      this.pool.give(this);
    } else {
      this.destroy();
    }
    carried.onEnd();
  }

  #onEof(): void {
    const carried = this.#carried;
    if (carried === undefined) {
      this.destroy();
    } else if (this.#phase === PHASE.body && this.#frame.kind === BODY.untilClose) {
      this.#frame.done = true;
      this.#finish(carried, false);
    } else {
      this.#broke('eof');
    }
  }

  #onClose(): void {
    if (this.#carried === undefined) this.destroy();
    else this.#broke(this.#errno === '' ? 'closed' : this.#errno);
  }

  #broke(reason: string): void {
    if (!this.#connected || !this.#wrote) this.#fail('unsent', reason);
    else if (this.bytesReceived === 0) this.#fail('sent-no-response', reason);
    else if (this.#phase === PHASE.head) this.#fail('bad-response', 'early-end');
    else this.#fail('cut', reason);
  }

  #fail(kind: CarryFailure, reason: RefusalCode | (string & {})): void {
    const carried = this.#carried;
    this.#carried = undefined;
    this.destroy();
    carried?.onFail(kind, reason);
  }
}
