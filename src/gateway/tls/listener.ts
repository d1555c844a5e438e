// How does a connection become a secured one, or one of a client behind a load balancer? Takes
// accepted sockets, lets them say who they are, and hands them on with what is now known of them.
//
//   TL1. Handshakes in flight have a limit, and each a deadline; none can be asked for again later
//        (no renegotiation).
//   TL2. A client certificate counts if this handshake, or the one that it resumes, verified it;
//        where one is required nobody comes in without.
//   TL3. A new certificate is for new handshakes; who is connected stays.
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { messageOf } from '../../model/errors.ts';
import type { Deadlines } from '../http/deadlines.ts';
import type { PeerCertificate } from '../http/hooks.ts';
import type { TrustedPeers } from '../proxy-protocol.ts';
import { Arrival, type ArrivalFault, type ArrivalHost } from './arrival.ts';
import type { Certificates } from './certificates.ts';
import { peerOf, type PeerAnswer } from './peer.ts';
import type { ClientAuth } from './settings.ts';
import { SocketEnd } from './socket-end.ts';

export const HANDSHAKE_LIMITS = { limitMs: 10_000, inFlightMax: 1_024 } as const;

export interface TlsSide {
  readonly certificates: Certificates;
  readonly clientAuth: ClientAuth;
}

export interface Secured {
  readonly socket: TLSSocket;
  readonly remoteAddress: string;
  readonly peer: PeerCertificate | undefined;
}

export interface ListenerSetup {
  readonly deadlines: Deadlines;
  readonly tls: TlsSide | undefined;
  readonly trusted: TrustedPeers | undefined;
  readonly handshakeMs?: number;
  readonly handshakesMax?: number;
  /** Wall time. */
  readonly nowMs: () => number;
  onHttp1(end: SocketEnd): void;
  onHttp2(secured: Secured): void;
  /** A connection that never became one. */
  onRefused?(address: string, fault: ArrivalFault | 'handshakes-full', detail: string): void;
}

export class SecureListener implements ArrivalHost {
  readonly deadlines: Deadlines;
  readonly limitMs: number;
  readonly isTls: boolean;
  readonly trusted: TrustedPeers | undefined;
  readonly #setup: ListenerSetup;
  readonly #server: Server | undefined;
  readonly #arrivals = new Set<Arrival>();
  /** By the address and port of the TCP peer, which name one connection of this port. */
  readonly #shaking = new Map<string, Arrival>();

  constructor(setup: ListenerSetup) {
    this.#setup = setup;
    this.deadlines = setup.deadlines;
    this.limitMs = setup.handshakeMs ?? HANDSHAKE_LIMITS.limitMs;
    this.trusted = setup.trusted;
    this.isTls = setup.tls !== undefined;
    this.#server = setup.tls === undefined ? undefined : this.#open(setup.tls);
  }

  get inFlight(): number {
    return this.#arrivals.size;
  }

  take(raw: Socket): void {
    const address = raw.remoteAddress ?? '';
    if (this.#arrivals.size >= (this.#setup.handshakesMax ?? HANDSHAKE_LIMITS.inFlightMax)) {
      raw.on('error', () => undefined);
      raw.destroy();
      this.refused(address, 'handshakes-full', '');
      return;
    }
    const arrival = new Arrival(this, raw);
    this.#arrivals.add(arrival);
    arrival.begin();
  }

  /** The certificates are new. */
  renew(certificates: Certificates): void {
    this.#server?.setSecureContext(certificates.options);
  }

  close(): void {
    for (const arrival of [...this.#arrivals]) arrival.close();
  }

  ready(arrival: Arrival): void {
    const { raw } = arrival;
    if (this.#server === undefined) {
      arrival.taken();
      const { address: remoteAddress } = arrival;
      this.#setup.onHttp1(new SocketEnd({ socket: raw, raw, remoteAddress, peer: undefined }));
      return;
    }
    arrival.key = keyOf(raw);
    this.#shaking.set(arrival.key, arrival);
    this.#server.emit('connection', raw);
  }

  left(arrival: Arrival): void {
    this.#arrivals.delete(arrival);
    if (arrival.key !== '') this.#shaking.delete(arrival.key);
  }

  refused(address: string, fault: ArrivalFault | 'handshakes-full', detail: string): void {
    this.#setup.onRefused?.(address, fault, detail);
  }

  #open({ certificates, clientAuth }: TlsSide): Server {
    const server = createServer({
      ...certificates.options,
      ALPNProtocols: ['h2', 'http/1.1'],
      requestCert: clientAuth !== 'none',
      rejectUnauthorized: clientAuth === 'required',
      // A second fence behind the deadline of the arrival.
      handshakeTimeout: this.limitMs * 2,
      SNICallback: (host, answer) => answer(null, certificates.contextFor(host)),
    });
    server.on('secureConnection', (socket) => this.#secured(socket, clientAuth));
    server.on('tlsClientError', (error, socket) => {
      const arrival = this.#shaking.get(keyOf(socket));
      // First, as below.
      socket.destroy();
      arrival?.refuse('error', codeOf(error));
    });
    return server;
  }

  #secured(socket: TLSSocket, clientAuth: ClientAuth): void {
    const arrival = this.#shaking.get(keyOf(socket));
    if (arrival === undefined) {
      socket.destroy();
      return;
    }
    const answer = admitPeer(socket, clientAuth, this.#setup.nowMs());
    if (answer.kind === 'refused') {
      // In this order: with its TCP socket gone Node would free it at once, and we are inside.
      socket.destroy();
      arrival.refuse('error', answer.reason);
      return;
    }
    arrival.taken();
    const { raw, address: remoteAddress } = arrival;
    const peer = answer.kind === 'peer' ? answer.peer : undefined;
    if (socket.alpnProtocol === 'h2') this.#setup.onHttp2({ socket, remoteAddress, peer });
    else this.#setup.onHttp1(new SocketEnd({ socket, raw, remoteAddress, peer }));
  }
}

/** Who shows a certificate that does not hold is refused, even where none is asked for. */
function admitPeer(socket: TLSSocket, clientAuth: ClientAuth, nowMs: number): PeerAnswer {
  if (clientAuth === 'none') return { kind: 'none' };
  const answer = peerOf(socket, nowMs);
  if (answer.kind !== 'none' || clientAuth === 'optional') return answer;
  return { kind: 'refused', reason: 'no-certificate' };
}

function keyOf(socket: Socket): string {
  return `${socket.remoteAddress ?? ''} ${socket.remotePort ?? 0}`;
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : messageOf(error);
}
