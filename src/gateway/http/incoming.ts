// How does an answer reach the client? Its head goes out with the first piece of its body where
// both came in one read; pieces pass as they come, in chunks if their own end would not show.
//
//   IN1. What came in one read goes out before the next one; nothing is held back.
//   IN2. An answer that ends with its connection is chunked for clients that know chunks.
import { BODY, type BodyFrame } from './body.ts';
import type { Head } from './head.ts';
import type { NameSet } from './names.ts';
import { JOIN_BYTES_MAX } from './outgoing.ts';
import type { Borrower } from './read-buffer.ts';
import { writeAnswer } from './rewrite.ts';
import { type Scratch, scratch } from './scratch.ts';

const CHUNKED = 'transfer-encoding: chunked\r\n';
const CLOSE = 'connection: close\r\n';

export interface AnswerSink {
  /** False: a drain follows. */
  send(from: Scratch): boolean;
  write(bytes: Uint8Array): boolean;
  /** Who holds what was written; undefined: not known, and bytes must be its own. */
  readonly borrower?: Borrower;
}

export class Incoming {
  bytesOut = 0;
  /** May the client's connection be used again? */
  keep = false;
  readonly #client: AnswerSink;
  readonly #drop: NameSet;
  readonly #add: string;
  /** Set from its arrival until it is written, within one read. */
  #head: Head | undefined;
  #framing = '';
  #wrap = false;

  constructor(client: AnswerSink, drop: NameSet, add: string) {
    this.#client = client;
    this.#drop = drop;
    this.#add = add;
  }

  begin(head: Head, frame: BodyFrame, strip: boolean, mayKeep: boolean): void {
    this.#head = head;
    this.keep = mayKeep;
    let framing = '';
    if (frame.kind === BODY.untilClose || frame.kind === BODY.chunked) {
      if (strip) this.keep = false;
      else framing = CHUNKED;
      this.#wrap = frame.kind === BODY.untilClose && !strip;
    }
    this.#framing = this.keep ? framing : framing + CLOSE;
  }

  #put(): Scratch {
    const head = this.#head;
    scratch.begin();
    if (head === undefined) return scratch;
    this.#head = undefined;
    writeAnswer(scratch, head, this.#drop, this.#framing, this.#add);
    return scratch;
  }

  /** False: the replica is to wait. */
  piece(buf: Buffer, from: number, to: number, lends: boolean): boolean {
    const bytes = to - from;
    this.bytesOut += bytes;
    const isShort = bytes <= JOIN_BYTES_MAX;
    const out = this.#put();
    if (this.#wrap) out.text(`${bytes.toString(16)}\r\n`);
    if (isShort) {
      out.range(buf, from, to);
      if (this.#wrap) out.text('\r\n');
      return this.#client.send(out);
    }
    if (out.length > 0) this.#client.send(out);
    const part = buf.subarray(from, to);
    const isLent = lends && this.#client.borrower !== undefined;
    // Otherwise the next read overwrites it.
    const goesOn = this.#client.write(isLent ? part : Buffer.from(part));
    return this.#wrap ? this.#client.send(scratch.begin().text('\r\n')) : goesOn;
  }

  /** A head that came without any of its body. */
  flush(): boolean {
    return this.#head === undefined || this.#client.send(this.#put());
  }

  end(): void {
    this.flush();
    if (this.#wrap) this.#client.send(scratch.begin().text('0\r\n\r\n'));
  }
}

/** An answer before the answer, such as 103 Early Hints. */
export function sendInterim(client: AnswerSink, head: Head, drop: NameSet): void {
  writeAnswer(scratch.begin(), head, drop, '', '');
  client.send(scratch);
}
