// What of a request was sent, and what is kept to send it again? The head goes out together with
// the first piece of its body where both are here; small bodies are kept until an answer begins.
//
//   OG1. `whole` as long as everything since the head is kept; it ends when the limit is passed on
//        a connection, and never comes back.
//   OG2. Borrowed bytes are copied before they outlive the call, unless they are lent (RB1).
import type { Head } from './head.ts';
import type { ForwardPlan } from './hooks.ts';
import { writeRequest } from './rewrite.ts';
import { scratch } from './scratch.ts';
import type { UpstreamConnection } from './upstream-connection.ts';

/** Below this, copying costs less than another system call. */
export const JOIN_BYTES_MAX = 16_384;

export class Outgoing {
  bytesSent = 0;
  /** A connection that may be written to. */
  connection: UpstreamConnection | undefined;
  /** Whole lines that are added to the head. */
  lines: string;
  readonly #head: Head;
  readonly #plan: ForwardPlan;
  readonly #own: string;
  readonly #shared: string;
  /** The head has not been written to the connection yet. */
  #owesHead = false;
  #kept: Buffer[] | undefined;
  #keptBytes = 0;
  #isWhole = true;

  constructor(head: Head, plan: ForwardPlan, lines: string, own = '', shared = '') {
    this.#head = head;
    this.#plan = plan;
    this.#own = own;
    this.#shared = shared;
    this.lines = lines;
  }

  get whole(): boolean {
    return this.#isWhole;
  }

  /** Begins anew on this connection. False: it wants a pause. */
  attach(connection: UpstreamConnection): boolean {
    this.connection = connection;
    this.bytesSent = 0;
    this.#owesHead = true;
    let goesOn = true;
    if (this.#kept === undefined) return true;
    for (const piece of this.#kept) goesOn = this.#write(piece, 0, piece.length, false) && goesOn;
    if (this.#keptBytes > this.#plan.replayBytesMax) this.forget();
    return goesOn;
  }

  detach(): void {
    this.connection = undefined;
    this.#owesHead = false;
  }

  /** An answer began: nothing will be sent again. */
  forget(): void {
    this.#kept = undefined;
    this.#isWhole = false;
  }

  flush(): void {
    if (!this.#owesHead || this.connection === undefined) return;
    this.#putHead();
    this.connection.send(scratch);
  }

  /** The request is out, whole: from now on its answer is awaited. */
  sent(headTimeoutMs: number): void {
    this.flush();
    const { connection } = this;
    if (connection === undefined) return;
    connection.deadlineMs = connection.pool.deadlines.in(headTimeoutMs);
  }

  #putHead(): void {
    this.#owesHead = false;
    const { dropFromRequest } = this.#plan;
    scratch.begin();
    writeRequest(scratch, this.#head, dropFromRequest, this.lines, this.#own, this.#shared);
    this.bytesSent += scratch.length;
  }

  /** A piece of the body. False: no more for now. */
  piece(buf: Buffer, from: number, to: number, borrowed: boolean, lends = false): boolean {
    if (this.connection === undefined) {
      this.#keep(borrowed ? Buffer.from(buf.subarray(from, to)) : buf.subarray(from, to));
      return false;
    }
    const copies = borrowed && !lends;
    if (!this.#isWhole) return this.#write(buf, from, to, copies);
    if (this.#keptBytes + to - from > this.#plan.replayBytesMax) {
      this.forget();
      return this.#write(buf, from, to, copies);
    }
    const own = borrowed ? Buffer.from(buf.subarray(from, to)) : buf.subarray(from, to);
    this.#keep(own);
    return this.#write(own, 0, own.length, false);
  }

  #keep(piece: Buffer): void {
    this.#kept ??= [];
    this.#kept.push(piece);
    this.#keptBytes += piece.length;
  }

  #write(buf: Buffer, from: number, to: number, borrowed: boolean): boolean {
    const { connection } = this;
    if (connection === undefined) return false;
    const isShort = to - from <= JOIN_BYTES_MAX;
    if (this.#owesHead && isShort) {
      this.#putHead();
      this.bytesSent += to - from;
      scratch.range(buf, from, to);
      return connection.send(scratch);
    }
    this.flush();
    this.bytesSent += to - from;
    const part = from === 0 && to === buf.length ? buf : buf.subarray(from, to);
    return connection.write(borrowed ? Buffer.from(part) : part);
  }
}
