// How do bytes enter and leave a TLS socket without a fresh 64 KiB buffer for each read and the
// stream's book-keeping for each write (together about a fifth of a request's time)? Reads go into
// one buffer, as `onread` offers it to sockets that Node connects; writes go to the handle, which
// takes what it is given at once into its own buffers, and says later that it has gone out.
//
//   DT1. One write is outstanding at a time, as the handle wants it; what comes meanwhile is kept,
//        in order, and goes out together.
//   DT2. Where Node's inside does not look as known, there is no direct way: the caller uses the
//        stream.
//   DT3. Pausing, the end, and errors of reading are the stream's, which tells of them.
import type { TLSSocket } from 'node:tls';

/** Since here a handle takes no request object, and makes one where it needs one. */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const IS_KNOWN = major === 26 && minor >= 10;
const WAITING_BYTES_MAX = 65_536;

interface Pending {
  oncomplete: (() => void) | null;
}

interface Handle {
  useUserBuffer(buffer: Uint8Array): void;
  /** 0: gone out; another number: an error; an object: taken, but not out yet. */
  writeBuffer(request: null, bytes: Uint8Array): number | Pending;
}

function isHandle(value: unknown): value is Handle {
  if (typeof value !== 'object' || value === null || !('writeBuffer' in value)) return false;
  if (value.constructor.name !== 'TLSWrap' || !('useUserBuffer' in value)) return false;
  return typeof value.writeBuffer === 'function' && typeof value.useUserBuffer === 'function';
}

/** Reads are one after the other in one thread: who keeps bytes copies them. */
const shared = Buffer.allocUnsafeSlow(65_536);

interface Places {
  readonly buffer: symbol;
  readonly callback: symbol;
}

/** Where a socket keeps what `onread` says; the same for all of them. */
let places: Places | undefined;

function placesOf(socket: TLSSocket): Places | undefined {
  if (places !== undefined) return places;
  const symbols = Object.getOwnPropertySymbols(socket);
  const named = (name: string): symbol | undefined =>
    symbols.find(({ description }) => description === name);
  const [buffer, callback] = [named('kBuffer'), named('kBufferCb')];
  if (buffer !== undefined && callback !== undefined) places = { buffer, callback };
  return places;
}

export interface DirectUser {
  /** Valid during the call only. */
  onBytes(bytes: Buffer): void;
  onDrain(): void;
}

export class Direct {
  readonly #handle: Handle;
  readonly #socket: TLSSocket;
  readonly #user: DirectUser;
  #isBusy = false;
  #isStopped = false;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #needsDrain = false;
  #onFlushed: (() => void) | undefined;

  private constructor(socket: TLSSocket, handle: Handle, at: Places, user: DirectUser) {
    this.#socket = socket;
    this.#handle = handle;
    this.#user = user;
    Object.assign(socket, {
      [at.buffer]: shared,
      [at.callback]: (count: number): boolean => {
        user.onBytes(shared.subarray(0, count));
        return true;
      },
    });
    handle.useUserBuffer(shared);
  }

  /** Undefined: not this Node, or bytes are in the stream already. */
  static of(socket: TLSSocket, user: DirectUser): Direct | undefined {
    const { _handle: handle } = socket as unknown as { readonly _handle: unknown };
    if (!IS_KNOWN || socket.readableLength + socket.writableLength > 0) return undefined;
    const at = placesOf(socket);
    if (at === undefined || !isHandle(handle)) return undefined;
    return new Direct(socket, handle, at, user);
  }

  get needsDrain(): boolean {
    return this.#needsDrain;
  }

  /** The bytes are free again after the call. False: a drain follows. */
  write(bytes: Uint8Array): boolean {
    if (this.#socket.destroyed || this.#isStopped) return true;
    if (!this.#isBusy) {
      this.#put(bytes);
      return true;
    }
    this.#waiting.push(Buffer.from(bytes));
    this.#waitingBytes += bytes.length;
    if (this.#waitingBytes < WAITING_BYTES_MAX) return true;
    this.#needsDrain = true;
    return false;
  }

  #put(bytes: Uint8Array): void {
    const taken = this.#handle.writeBuffer(null, bytes);
    if (taken === 0) return;
    if (typeof taken === 'number') {
      // The connection is gone. Not from here: this may be inside a call of the handle.
      setImmediate(() => this.#socket.destroy());
      return;
    }
    this.#isBusy = true;
    taken.oncomplete = () => this.#completed();
  }

  #completed(): void {
    this.#isBusy = false;
    if (this.#socket.destroyed) return;
    if (this.#waiting.length > 0) {
      const [first = Buffer.alloc(0)] = this.#waiting;
      const bytes = this.#waiting.length === 1 ? first : Buffer.concat(this.#waiting);
      this.#waiting = [];
      this.#waitingBytes = 0;
      this.#put(bytes);
    }
    if (this.#isBusy) return;
    const onFlushed = this.#onFlushed;
    this.#onFlushed = undefined;
    onFlushed?.();
    if (!this.#needsDrain) return;
    this.#needsDrain = false;
    this.#user.onDrain();
  }

  /** What waits is never sent. */
  stop(): void {
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#onFlushed = undefined;
    this.#isStopped = true;
  }

  /** Once all of it is out; never, if the socket ends before. */
  flushed(then: () => void): void {
    if (this.#isBusy) this.#onFlushed = then;
    else then();
  }
}
