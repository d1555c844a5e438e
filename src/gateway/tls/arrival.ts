// What is this new connection? Reads its first bytes, before TLS or HTTP does: who is behind a load
// balancer (PROXY protocol), and whether it speaks TLS at all.
//
//   AR1. From the first byte to the end of the handshake there is one deadline; bytes that trickle
//        in do not move it.
//   AR2. Plain HTTP on a TLS port gets one plain answer, 400, and no redirect: what it sent was
//        already readable for everybody. Anything else that is not TLS is cut without a word.
//   AR3. A PROXY header is asked of trusted peers only, and is taken from nobody else.
import type { Socket } from 'node:net';
import type { Deadlines, Watched } from '../http/deadlines.ts';
import { ownAnswerText, problem } from '../http/own-answer.ts';
import { plainAddress, readProxyHeader } from '../proxy-protocol.ts';
import type { TrustedPeers } from '../proxy-protocol.ts';

const HANDSHAKE_RECORD = 22;
const LINGER_MS = 1_000;

export type ArrivalFault = 'proxy-header' | 'not-tls' | 'plain-http' | 'slow' | 'closed' | 'error';

export interface ArrivalHost {
  readonly deadlines: Deadlines;
  readonly limitMs: number;
  readonly isTls: boolean;
  readonly trusted: TrustedPeers | undefined;
  /** Its first bytes are known: the rest is read by who takes it. Still watched with TLS. */
  ready(arrival: Arrival): void;
  /** It is over, or taken on. */
  left(arrival: Arrival): void;
  refused(address: string, fault: ArrivalFault, detail: string): void;
}

const EMPTY = Buffer.alloc(0);

export class Arrival implements Watched {
  deadlineMs: number;
  place = -1;
  /** Of the client, as far as it is known. */
  address: string;
  readonly raw: Socket;
  /** Of the handshake; its listener's. */
  key = '';
  readonly #host: ArrivalHost;
  #held: Buffer = EMPTY;
  #asksProxy: boolean;
  #done = false;
  readonly #onData = (chunk: Buffer): void => this.#take(chunk);
  readonly #onClose = (): void => this.refuse('closed', '');

  constructor(host: ArrivalHost, raw: Socket) {
    this.#host = host;
    this.raw = raw;
    this.address = plainAddress(raw.remoteAddress ?? '');
    this.#asksProxy = host.trusted?.has(this.address) === true;
    this.deadlineMs = host.deadlines.in(host.limitMs);
    host.deadlines.watch(this);
    raw.on('error', () => undefined);
    raw.once('close', this.#onClose);
    raw.once('end', this.#onClose);
  }

  begin(): void {
    if (!this.#asksProxy && !this.#host.isTls) {
      this.#ready();
      return;
    }
    this.raw.on('data', this.#onData);
    this.raw.resume();
  }

  onDeadline(): void {
    this.refuse('slow', '');
  }

  #take(chunk: Buffer): void {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    if (this.#asksProxy && !this.#takeProxy()) return;
    if (this.#held.length === 0 && this.#host.isTls) return;
    const first = this.#held[0];
    if (this.#host.isTls && first !== HANDSHAKE_RECORD) {
      this.#refuseBytes(first ?? 0);
      return;
    }
    this.#ready();
  }

  /** True: the header is read. */
  #takeProxy(): boolean {
    const header = readProxyHeader(this.#held);
    if (header.kind === 'more') return false;
    if (header.kind === 'refused') {
      this.refuse('proxy-header', header.reason);
      return false;
    }
    if (header.kind === 'from') this.address = header.address;
    this.#held = this.#held.subarray(header.bytes);
    this.#asksProxy = false;
    return true;
  }

  #ready(): void {
    this.raw.off('data', this.#onData);
    this.raw.off('end', this.#onClose);
    this.raw.pause();
    if (this.#held.length > 0) this.raw.unshift(this.#held);
    this.#held = EMPTY;
    this.#host.ready(this);
  }

  #refuseBytes(first: number): void {
    // A method begins with a letter.
    const isHttp = (first >= 65 && first <= 90) || (first >= 97 && first <= 122);
    if (!isHttp) {
      this.refuse('not-tls', `first byte ${first}`);
      return;
    }
    const answer = problem(400, 'plain-http', 'This port speaks HTTPS only.');
    this.raw.off('data', this.#onData);
    this.raw.end(ownAnswerText(answer, false, false), 'latin1');
    // Closing over unread bytes would reset the connection, and the answer might be lost.
    this.raw.resume();
    this.#leave();
    setTimeout(() => this.raw.destroy(), LINGER_MS).unref();
    this.#host.refused(this.address, 'plain-http', '');
  }

  /** Somebody else has it from here on. */
  taken(): void {
    this.#leave();
  }

  refuse(fault: ArrivalFault, detail: string): void {
    if (this.#done) return;
    this.#leave();
    this.raw.destroy();
    this.#host.refused(this.address, fault, detail);
  }

  close(): void {
    this.#leave();
    this.raw.destroy();
  }

  #leave(): void {
    if (this.#done) return;
    this.#done = true;
    this.raw.off('data', this.#onData);
    this.raw.off('close', this.#onClose);
    this.raw.off('end', this.#onClose);
    this.#host.deadlines.forget(this);
    this.#host.left(this);
  }
}
