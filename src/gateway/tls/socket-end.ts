// How does a connection that did not come straight from the listener look like one that did? It
// stands before the socket (TLS, or one that was read from already) for `ClientConnection`.
//
//   SE1. What `write` took up to the size of the scratch buffer is its own copy: TLS finishes
//        writes later, and the caller uses its buffer again at once.
//   SE2. A cut resets the TCP connection below, so that a part cannot pass for the whole; nothing
//        is written after it, no friendly end either.
//   SE3. The TCP socket is never ended from inside a call of its TLS socket: Node would free what
//        is still being read from.
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { PeerCertificate } from '../http/hooks.ts';
import { Direct, type DirectUser } from './direct.ts';

/** Larger than what is put together in the scratch buffer; beyond it a message has its own. */
const COPY_BYTES_MAX = 32_768;

export interface EndSetup {
  /** What is read from and written to. */
  readonly socket: Socket;
  /** The TCP connection; the same one without TLS. */
  readonly raw: Socket;
  readonly remoteAddress: string;
  readonly peer: PeerCertificate | undefined;
}

/** It has no `_handle`, so that nobody takes the inside of a TLS socket away from it. */
export class SocketEnd implements DirectUser {
  readonly remoteAddress: string;
  readonly peer: PeerCertificate | undefined;
  readonly encrypted: boolean;
  /** What it took is copied, so nothing of the caller's is held. */
  readonly writableLength = 0;
  readonly #socket: Socket;
  readonly #raw: Socket;
  readonly #direct: Direct | undefined;
  #isCut = false;
  #isEnded = false;
  #onData: ((bytes: Buffer) => void) | undefined;
  readonly #onDrains: (() => void)[] = [];

  constructor({ socket, raw, remoteAddress, peer }: EndSetup) {
    this.#socket = socket;
    this.#raw = raw;
    this.remoteAddress = remoteAddress;
    this.peer = peer;
    this.encrypted = socket !== raw;
    // After its handshake Node tells of a broken record and goes on as if nothing had happened.
    if (this.encrypted) socket.on('error', () => setImmediate(() => socket.destroy()));
    this.#direct = socket instanceof TLSSocket ? Direct.of(socket, this) : undefined;
  }

  get destroyed(): boolean {
    return this.#socket.destroyed;
  }

  get connecting(): boolean {
    return this.#socket.connecting;
  }

  get writableNeedDrain(): boolean {
    return this.#direct?.needsDrain ?? this.#socket.writableNeedDrain;
  }

  onBytes(bytes: Buffer): void {
    this.#onData?.(Buffer.from(bytes));
  }

  onDrain(): void {
    for (const listener of this.#onDrains) listener();
  }

  on(event: string, listener: (...given: never[]) => void): this {
    if (this.#direct !== undefined && event === 'data') {
      this.#onData = listener as (bytes: Buffer) => void;
      return this;
    }
    if (this.#direct !== undefined && event === 'drain') {
      this.#onDrains.push(listener);
      return this;
    }
    this.#socket.on(event, listener as (...given: unknown[]) => void);
    return this;
  }

  once(event: string, listener: (...given: never[]) => void): this {
    this.#socket.once(event, listener as (...given: unknown[]) => void);
    return this;
  }

  write(bytes: Uint8Array | string, encoding?: BufferEncoding): boolean {
    if (this.#isCut || this.#isEnded) return true;
    if (this.#direct !== undefined) {
      return this.#direct.write(typeof bytes === 'string' ? Buffer.from(bytes, encoding) : bytes);
    }
    if (typeof bytes === 'string') return this.#socket.write(bytes, encoding ?? 'latin1');
    return this.#socket.write(bytes.length <= COPY_BYTES_MAX ? Buffer.from(bytes) : bytes);
  }

  pause(): this {
    this.#socket.pause();
    return this;
  }

  resume(): this {
    this.#socket.resume();
    return this;
  }

  end(done?: () => void): this {
    if (this.#isCut || this.#isEnded) return this;
    this.#isEnded = true;
    if (this.#direct === undefined) this.#socket.end(done);
    else this.#direct.flushed(() => this.#socket.end(done));
    return this;
  }

  destroy(): this {
    this.#socket.destroy();
    return this;
  }

  resetAndDestroy(): this {
    if (this.#isCut) return this;
    this.#isCut = true;
    this.#direct?.stop();
    const [raw, socket] = [this.#raw, this.#socket];
    raw.once('close', () => socket.destroy());
    setImmediate(() => raw.resetAndDestroy());
    return this;
  }
}

/** `ClientConnection` uses nothing of its socket but what is here. */
export function asSocket(end: SocketEnd): Socket {
  return end as unknown as Socket;
}
