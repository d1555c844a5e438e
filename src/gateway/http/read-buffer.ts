// Where do a connection's bytes land? Usually in one buffer that all of them share: who keeps bytes
// copies them. A connection through which much flows gets a larger one of its own, which is lent to
// the socket that the bytes go to, and replaced while that has not sent them all: no copy at all.
//
//   RB1. Lent bytes are never read into again before whoever borrowed them has sent everything; a
//        buffer of which that is not known goes to nobody any more.
//   RB2. A connection that rests, or is slow, has no buffer of its own; all together have few.
import { wordsOf } from './chars.ts';

export const SHARED_BYTES = 65_536;
const OWN_BYTES = 262_144;
/** Fewer bytes in a read: it does not flow. */
const FLOW_BYTES = 16_384;
const FREE_MAX = 16;
const LENT_MAX = 32;
/** Connections with one of their own. */
const OWNERS_MAX = 64;

/** Reads are one after the other in one thread. */
export const sharedBytes = Buffer.allocUnsafeSlow(SHARED_BYTES);
export const sharedWords = wordsOf(sharedBytes);

/** Whoever bytes are lent to: an outlet. */
export interface Borrower {
  /** Bytes that are not out yet. */
  readonly writableLength: number;
}

/** Where everything was copied. */
export const NOBODY: Borrower = { writableLength: 0 };

interface Loan {
  readonly bytes: Buffer;
  readonly to: Borrower;
}

const free: Buffer[] = [];
const loans: Loan[] = [];
let owners = 0;

function giveBack(bytes: Buffer, to: Borrower | undefined): void {
  if (to === undefined) return;
  if (to.writableLength === 0) {
    if (free.length < FREE_MAX) free.push(bytes);
    return;
  }
  if (loans.length >= LENT_MAX) loans.shift();
  loans.push({ bytes, to });
}

function largeBuffer(): Buffer {
  const kept = free.pop();
  if (kept !== undefined) return kept;
  const at = loans.findIndex((loan) => loan.to.writableLength === 0);
  const [loan] = at < 0 ? [] : loans.splice(at, 1);
  return loan?.bytes ?? Buffer.allocUnsafeSlow(OWN_BYTES);
}

export class ReadBuffer {
  /** What was just read lies here. */
  bytes: Buffer = sharedBytes;
  #next: Buffer | undefined;
  #to: Borrower | undefined;
  #isOwner = false;
  #isGone = false;

  /** May its bytes be handed on without a copy? */
  get isOwn(): boolean {
    return this.bytes !== sharedBytes;
  }

  /** For the socket, after each read. Undefined: the same one again. */
  take(): Buffer | undefined {
    const next = this.#next;
    if (next === undefined) return undefined;
    this.#next = undefined;
    const before = this.bytes;
    this.bytes = next;
    // Not earlier: until here it might have been given to somebody else.
    if (before !== sharedBytes) giveBack(before, this.#to);
    this.#to = undefined;
    return next;
  }

  /**
   * A read that did not end the message. `to`: whoever got bytes of it uncopied; undefined: that is
   * not known. `left`: bytes that are still to come, as far as that is known.
   */
  after(count: number, to: Borrower | undefined, left: number): void {
    if (this.#isGone || this.#next !== undefined) return;
    if (!this.isOwn) {
      if (count < SHARED_BYTES && left < SHARED_BYTES) return;
      if (owners >= OWNERS_MAX) return;
      owners += 1;
      this.#isOwner = true;
      this.#next = largeBuffer();
    } else if (count < FLOW_BYTES) {
      this.rest(to);
    } else if (to === undefined || to.writableLength > 0) {
      this.#to = to;
      this.#next = largeBuffer();
    }
  }

  /** The message is over. */
  rest(to: Borrower | undefined): void {
    if (this.#isGone || !this.isOwn || this.#next !== undefined) return;
    this.#to = to;
    this.#next = sharedBytes;
    this.#disown();
  }

  /** Its connection is gone. */
  drop(): void {
    this.#isGone = true;
    this.#next = undefined;
    this.#disown();
  }

  #disown(): void {
    if (this.#isOwner) owners -= 1;
    this.#isOwner = false;
  }
}
