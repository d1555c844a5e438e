// One connection of HTTP/2: how much may its client ask of us? Streams, resets, pings and settings
// have limits; who goes past them is told to calm down and sent away.
//
//   HZ1. Streams at one time, header lists, and windows are bounded by settings that nghttp2 keeps;
//        header lists that never end (CONTINUATION) are cut by it.
//   HZ2. Streams that end without their answer (resets, by whomever) may come only so fast: opening
//        and resetting costs a client nothing and us a request (CVE-2023-44487, CVE-2025-8671).
//   HZ3. Pings and settings may come only so fast.
//   HZ4. With nothing on it, a connection ends in time; a drain says GOAWAY and lets streams end.
import { constants, performServerHandshake } from 'node:http2';
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import type { ClientLimits } from '../http/client-connection.ts';
import type { Deadlines, Watched } from '../http/deadlines.ts';
import type { HeadShelf } from '../http/head.ts';
import type { Hooks, PeerCertificate } from '../http/hooks.ts';
import { speaksFor } from '../tls/certificates.ts';
import { StreamClient, type StreamHost } from './stream.ts';

/** What a session may do; rates are refilled by `perSecond` up to `burst`. */
export const H2_LIMITS = {
  streams: 100,
  headerListBytes: 32_768,
  headerPairs: 128,
  windowBytes: 262_144,
  connectionWindowBytes: 1_048_576,
  /** In MB, of what Node counts for a session. */
  memoryMb: 4,
  resets: { burst: 100, perSecond: 10 },
  pings: { burst: 50, perSecond: 2 },
  /** Wrong frames until it is cut. */
  invalidFrames: 100,
} as const;

export interface SessionHost {
  readonly hooks: Hooks;
  readonly heads: HeadShelf;
  readonly deadlines: Deadlines;
  readonly limits: ClientLimits;
  readonly nowMs: () => number;
  sessionGone(session: Session): void;
}

export interface SessionSetup {
  readonly socket: TLSSocket;
  readonly remoteAddress: string;
  readonly peer: PeerCertificate | undefined;
}

export class Session implements StreamHost, Watched {
  deadlineMs: number;
  place = -1;
  memo: unknown = undefined;
  readonly hooks: Hooks;
  readonly heads: HeadShelf;
  readonly deadlines: Deadlines;
  readonly limits: ClientLimits;
  readonly nowMs: () => number;
  readonly remoteAddress: string;
  readonly peer: PeerCertificate | undefined;
  readonly #host: SessionHost;
  readonly #session: ServerHttp2Session;
  readonly #socket: TLSSocket;
  readonly #streams = new Set<StreamClient>();
  readonly #resets: Allowance;
  readonly #pings: Allowance;
  #spokenFor = '';
  #gone = false;

  constructor(host: SessionHost, setup: SessionSetup) {
    this.#host = host;
    this.hooks = host.hooks;
    this.heads = host.heads;
    this.deadlines = host.deadlines;
    this.limits = host.limits;
    this.nowMs = host.nowMs;
    this.remoteAddress = setup.remoteAddress;
    this.peer = setup.peer;
    this.#socket = setup.socket;
    this.#resets = new Allowance(H2_LIMITS.resets, host.nowMs());
    this.#pings = new Allowance(H2_LIMITS.pings, host.nowMs());
    // Until the preface is there.
    this.deadlineMs = host.deadlines.in(host.limits.headTimeoutMs);
    host.deadlines.watch(this);
    this.#session = openSession(setup.socket);
    this.#listen(this.#session);
  }

  get isIdle(): boolean {
    return this.#streams.size === 0;
  }

  #listen(session: ServerHttp2Session): void {
    session.on('stream', (stream, _headers, _flags, raw) => {
      this.#onStream(stream, raw);
    });
    session.on('remoteSettings', () => {
      if (this.isIdle) this.#rest();
      this.#spend(this.#pings);
    });
    session.on('ping', () => this.#spend(this.#pings));
    // Both are followed by 'close'.
    session.on('error', () => undefined);
    session.on('frameError', () => undefined);
    session.once('close', () => this.#onGone());
    session.setLocalWindowSize(H2_LIMITS.connectionWindowBytes);
  }

  #onStream(stream: ServerHttp2Stream, raw: readonly string[]): void {
    if (stream.aborted || stream.closed || stream.destroyed) {
      // Reset before anybody looked at it: no exchange, but it counts.
      stream.on('error', () => undefined);
      stream.resume();
      this.#spend(this.#resets);
      return;
    }
    const client = new StreamClient(this, stream);
    this.#streams.add(client);
    this.deadlineMs = Number.POSITIVE_INFINITY;
    client.begin(raw);
  }

  streamEnded(stream: StreamClient, whole: boolean): void {
    this.#streams.delete(stream);
    if (!whole) this.#spend(this.#resets);
    if (this.isIdle) this.#rest();
  }

  #rest(): void {
    this.deadlineMs = this.deadlines.in(this.limits.keepAliveMs);
  }

  #spend(allowance: Allowance): void {
    if (allowance.take(this.nowMs()) || this.#gone) return;
    this.#session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    this.#session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }

  speaksFor(host: string): boolean {
    if (host === this.#spokenFor) return true;
    const certificate = this.#socket.getX509Certificate();
    const speaks = certificate !== undefined && speaksFor(certificate, host);
    if (speaks) this.#spokenFor = host;
    return speaks;
  }

  onDeadline(): void {
    if (this.isIdle) this.drain();
    // Who does not even close is not waited for.
    if (this.#gone) return;
    this.deadlineMs = this.deadlines.in(this.limits.headTimeoutMs);
    if (this.#session.closed) this.close();
  }

  /** GOAWAY: no new stream; those inside end. */
  drain(): void {
    if (!this.#gone && !this.#session.closed) this.#session.close();
  }

  close(): void {
    if (!this.#gone) this.#session.destroy();
  }

  #onGone(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.deadlines.forget(this);
    this.#host.sessionGone(this);
  }
}

function openSession(socket: TLSSocket): ServerHttp2Session {
  return performServerHandshake(socket, {
    maxSessionMemory: H2_LIMITS.memoryMb,
    maxHeaderListPairs: H2_LIMITS.headerPairs,
    maxSessionInvalidFrames: H2_LIMITS.invalidFrames,
    // A replica may say a single-valued field twice; that is between it and the client.
    strictSingleValueFields: false,
    settings: {
      enablePush: false,
      enableConnectProtocol: false,
      maxConcurrentStreams: H2_LIMITS.streams,
      maxHeaderListSize: H2_LIMITS.headerListBytes,
      initialWindowSize: H2_LIMITS.windowBytes,
    },
  });
}

/** A bucket of tokens. */
export class Allowance {
  readonly #burst: number;
  readonly #perMs: number;
  #left: number;
  #atMs: number;

  constructor(limit: { readonly burst: number; readonly perSecond: number }, nowMs: number) {
    this.#burst = limit.burst;
    this.#perMs = limit.perSecond / 1_000;
    this.#left = limit.burst;
    this.#atMs = nowMs;
  }

  take(nowMs: number): boolean {
    this.#left = Math.min(this.#burst, this.#left + (nowMs - this.#atMs) * this.#perMs);
    this.#atMs = nowMs;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
