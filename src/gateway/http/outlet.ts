// How do bytes leave a socket without the stream's book-keeping for each write? They are handed to
// the socket's handle, which usually takes them at once; what it did not take it keeps, and says
// when it has gone out.
//
// Short messages wait for the end of the turn of the loop: written one right after the other, they
// find the other ends awake. Waking a process that fell asleep meanwhile costs microseconds each.
//
//   OL1. Bytes leave in the order of the calls, whichever way each of them took.
//   OL2. After `false` a drain follows, unless the socket ends before.
//   OL3. Where Node's inside does not look as known (another version, TLS, not connected, closed,
//        an error), the stream's own `write` is used, with all that it does then.
//   OL4. What waits leaves before anything else that is written, at the end of the turn at the
//        latest; if it cannot leave whole then, the owner is told.
import type { Socket } from 'node:net';
import { type Sink, scratch } from './scratch.ts';

/** Since here a handle takes no request object, and makes one where it needs one. */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const IS_KNOWN = major === 26 && minor >= 10;

/** So many messages do not wait for the end of the turn. */
const QUEUED_MAX = 64;

interface Pending {
  oncomplete: (() => void) | null;
  buffer: Uint8Array | null;
}

interface Handle {
  /** 0: taken; another number: an error; an object: taken, but not out yet. */
  writeBuffer(request: null, bytes: Uint8Array): number | Pending;
}

function isHandle(value: unknown): value is Handle {
  if (typeof value !== 'object' || value === null || !('writeBuffer' in value)) return false;
  return value.constructor.name === 'TCP' && typeof value.writeBuffer === 'function';
}

interface WithHandle {
  readonly _handle: unknown;
}

export interface OutletOwner {
  onDrain(): void;
  /** A message that waited could not leave whole: a drain follows. */
  onStall?(): void;
}

export class Outlet implements Sink {
  readonly #socket: Socket;
  readonly #owner: OutletOwner;
  #hearsDrain = false;
  /** The handle that was looked at; undefined: not yet, or not to be used. */
  #handle: Handle | undefined;
  #queued: Uint8Array | undefined;
  #isDirect = IS_KNOWN;
  /** Bytes that the handle took and has not sent. */
  #pending = 0;

  constructor(socket: Socket, owner: OutletOwner) {
    this.#socket = socket;
    this.#owner = owner;
  }

  /** Bytes that are not out yet. */
  get writableLength(): number {
    const queued = this.#queued?.length ?? 0;
    return this.#pending + queued + this.#socket.writableLength;
  }

  /** At the end of the turn. False: they do not wait, and are to be written. */
  queue(bytes: Uint8Array): boolean {
    if (this.#queued !== undefined || this.#pending > 0 || this.#direct() === undefined)
      return false;
    this.#queued = bytes;
    if (waiting.length === 0) setImmediate(flushAll);
    waiting.push(this);
    if (waiting.length >= QUEUED_MAX) flushAll();
    return true;
  }

  /** What waits leaves now. False: not whole. */
  flush(): boolean {
    const bytes = this.#queued;
    if (bytes === undefined) return true;
    this.#queued = undefined;
    if (this.#socket.destroyed || this.write(bytes)) return true;
    this.#owner.onStall?.();
    return false;
  }

  /** The socket is about to be destroyed: what waits is not worth sending any more. */
  drop(): void {
    this.#queued = undefined;
  }

  /** False: wait for the drain. */
  write(bytes: Uint8Array): boolean {
    if (this.#queued !== undefined) this.flush();
    const handle = this.#direct();
    if (handle === undefined) return this.#stream(bytes);
    const taken = handle.writeBuffer(null, bytes);
    if (taken === 0) return this.#pending === 0;
    // The same error meets the stream, which ends the socket and tells why.
    if (typeof taken === 'number') return this.#stream(bytes);
    const { length } = bytes;
    this.#pending += length;
    taken.buffer = bytes;
    taken.oncomplete = () => {
      this.#pending -= length;
      this.#drained();
    };
    return false;
  }

  #direct(): Handle | undefined {
    if (!this.#isDirect) return undefined;
    // What the stream holds goes first: OL1.
    if (this.#socket.writableLength > 0) return undefined;
    const handle = (this.#socket as unknown as WithHandle)._handle;
    if (handle === this.#handle) return this.#handle;
    if (handle === null || this.#socket.connecting) return undefined;
    this.#isDirect = isHandle(handle);
    this.#handle = isHandle(handle) ? handle : undefined;
    return this.#handle;
  }

  #stream(bytes: Uint8Array): boolean {
    const goesOn = this.#socket.write(bytes);
    if (!goesOn && !this.#hearsDrain) {
      // Rare, and most sockets never need one.
      this.#hearsDrain = true;
      this.#socket.on('drain', () => this.#drained());
    }
    return goesOn && this.#pending === 0;
  }

  #drained(): void {
    if (this.#pending > 0 || this.#socket.destroyed) return;
    if (!this.#socket.writableNeedDrain) this.#owner.onDrain();
  }
}

let waiting: Outlet[] = [];
let leaving: Outlet[] = [];

function flushAll(): void {
  const now = waiting;
  waiting = leaving;
  leaving = now;
  let isHeld = false;
  for (const outlet of now) {
    outlet.flush();
    if (outlet.writableLength > 0) isHeld = true;
  }
  now.length = 0;
  // Whoever was told of a stall may have sent something.
  if (waiting.length === 0) scratch.release(isHeld);
}
