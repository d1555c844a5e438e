// What becomes of an answer that nobody wants, because the request is tried elsewhere? It is read
// to its end if that is near, so that its connection stays in use.
import type { Carried, UpstreamConnection } from './upstream-connection.ts';

const DISCARD_BYTES_MAX = 65_536;
const IDLE_MS = 2_000;

export class Drain implements Carried {
  readonly toHead = false;
  readonly strip = false;
  readonly asksWebSocket = false;
  readonly bodyIdleMs = IDLE_MS;
  readonly requestDone: boolean;
  readonly #connection: UpstreamConnection;
  #bytes = 0;

  constructor(connection: UpstreamConnection, requestDone: boolean) {
    this.#connection = connection;
    this.requestDone = requestDone;
  }

  onSpan(_buf: Buffer, from: number, to: number): void {
    this.#bytes += to - from;
    if (this.#bytes > DISCARD_BYTES_MAX) this.#connection.release();
  }

  onReady(): void {}
  onInterim(): void {}
  onSwitch(): void {}
  onHead(): void {}
  onPause(): void {}
  onLast(): void {}
  onEnd(): void {}
  onFail(): void {}
  onDrain(): void {}
}
