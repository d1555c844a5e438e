// How does the controller speak with its gateways and with the replicas' SDK? One unix socket on
// which all of them call: gateways get tables and send counters and events, replicas send
// heartbeats. Implements `Gateways` of the world.
//
//   HU1. The socket is for this user only (0600 in a 0700 folder). A socket file that nobody
//        answers on is replaced; one that somebody answers on is an error.
//   HU2. A push is `applied` only when every gateway that may be serving has it: also one that lost
//        its connection some seconds ago and may come back.
//   HU3. A gateway that connects gets the newest table at once.
//   HU4. A frame that is too long or malformed ends its connection and nothing else.
//   HU5. What was inside a replica when a gateway was lost counts as still inside for some seconds.
//   HU6. Pushing does not hold up the controller: a table is cut in slices, and only the parts that
//        a gateway lacks are sent, as fast as it reads.
import { lstatSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import type { Server, Socket } from 'node:net';
import { dirname } from 'node:path';
import { KinError, messageOf } from '../../model/errors.ts';
import type { ReplicaId } from '../../model/ids.ts';
import type { InFlight, RoutingTable, ToGateway } from '../../model/routing.ts';
import type { GatewayEvent } from '../../model/signal.ts';
import type { Log } from '../../world/clock.ts';
import type { Gateways, GatewaySignal, PushAnswer } from '../../world/gateways.ts';
import { readFrame } from './frames.ts';
import type { GatewayFrame } from './frames.ts';
import {
  GATEWAY_LINE_MAX,
  SDK_LINE_MAX,
  TableCutter,
  openLines,
  startSliced,
} from '../../gateway/lines.ts';
import { Delivery, shipmentOf } from './delivery.ts';
import type { Shipment } from './delivery.ts';

/** Longest path of a unix socket on Linux and macOS, with its final zero. */
const PATH_BYTES_MAX = 103;
const LOST_MS = 5_000;
const UNREAD_BYTES_MAX = 33_554_432;
const CONNECTIONS_MAX = 2_000;
const CUT_SLICE_MS = 4;

export interface HubSetup {
  readonly socketPath: string;
  /** Base64url; goes to the gateways with each table, never to disk here. */
  readonly pepper: string;
  readonly log: Log;
  readonly monotonicMs: () => number;
}

interface Peer {
  readonly worker: string;
  readonly socket: Socket;
  readonly delivery: Delivery;
  version: number;
  readonly inside: Map<ReplicaId, InFlight>;
}

interface Lost {
  readonly untilMs: number;
  readonly version: number;
  readonly inside: ReadonlyMap<ReplicaId, InFlight>;
}

export async function openHub(setup: HubSetup): Promise<Gateways> {
  await prepareSocket(setup.socketPath);
  const hub = new Hub(setup);
  await hub.listen();
  return hub;
}

async function prepareSocket(path: string): Promise<void> {
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) {
    throw new KinError(
      'KIN_SOCKET_PATH',
      `the path of the control socket is longer than ${PATH_BYTES_MAX} bytes`,
      'Set a shorter state folder, for example with --state /run/kintsugi.',
    );
  }
  const folder = dirname(path);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new KinError(
      'KIN_SOCKET_PATH',
      'where the control socket should be there is a file of another kind',
      `Look at it, then remove it: ${path}`,
    );
  }
  if (await answers(path)) {
    throw new KinError(
      'KIN_SOCKET_TAKEN',
      'another control plane answers on the control socket of this state folder',
      'Stop it with `kintsugi down`, or use another state folder.',
    );
  }
  rmSync(path, { force: true });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const done = (answer: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    // One that accepts but is stopped must not be pushed aside either: a timeout counts as alive.
    const timer = setTimeout(() => done(true), 500);
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  });
}

class Hub implements Gateways {
  readonly #setup: HubSetup;
  readonly #server: Server;
  readonly #peers = new Map<string, Peer>();
  readonly #lost = new Map<string, Lost>();
  readonly #sockets = new Set<Socket>();
  readonly #listeners = new Set<(signal: GatewaySignal) => void>();
  readonly #pushes = new Set<{ check(): void; giveUp(): void }>();
  readonly #cutter = new TableCutter();
  /** What gateways are given; one that comes later gets it at its hello. */
  #shipment: Shipment | undefined;
  /** The newest table that waits until the one before it is cut. */
  #next: RoutingTable | undefined;
  #isCutting = false;
  #isClosed = false;
  /** The newest version that cannot be cut: nobody will ever have it. */
  #refused = -1;

  constructor(setup: HubSetup) {
    this.#setup = setup;
    this.#server = createServer((socket) => this.#accept(socket));
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  listen(): Promise<void> {
    const { socketPath } = this.#setup;
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      // `listen` makes the file at once: with this mask there is no moment when others may connect.
      const mask = process.umask(0o177);
      this.#server.listen(socketPath, () => {
        this.#server.off('error', reject);
        resolve();
      });
      process.umask(mask);
    });
  }

  push(table: RoutingTable, timeoutMs: number): Promise<PushAnswer> {
    const { version } = table;
    this.#next = table;
    this.#cutNext();
    return new Promise((resolve) => {
      const done = (answer: PushAnswer): void => {
        clearTimeout(timer);
        this.#pushes.delete(push);
        resolve(answer);
      };
      const push = {
        check: (): void => {
          if (this.#refused === version) push.giveUp();
          else if (this.#isOut(version)) done({ kind: 'applied', workers: this.#peers.size });
        },
        giveUp: (): void => {
          const missing = this.#missing(version);
          if (this.#isOut(version)) done({ kind: 'applied', workers: this.#peers.size });
          else done({ kind: 'partial', missing });
        },
      };
      const timer = setTimeout(push.giveUp, timeoutMs);
      this.#pushes.add(push);
      push.check();
    });
  }

  /** Is it cut, and does everybody have it? */
  #isOut(version: number): boolean {
    return (this.#shipment?.version ?? -1) >= version && this.#missing(version).length === 0;
  }

  #cutNext(): void {
    const table = this.#next;
    if (this.#isCutting || table === undefined || this.#isClosed) return;
    this.#next = undefined;
    this.#isCutting = true;
    const { pepper, log } = this.#setup;
    startSliced(this.#cutter.cut(table, pepper), {
      budgetMs: CUT_SLICE_MS,
      onDone: (cut) => {
        const shipment = shipmentOf(cut);
        this.#shipment = shipment;
        for (const { delivery } of this.#peers.values()) delivery.offer(shipment);
        this.#cutEnded();
      },
      onFault: (error) => {
        const code = error instanceof KinError ? error.code : 'KIN_GATEWAY_TABLE_REFUSED';
        const facts = { code, version: table.version, why: messageOf(error) };
        log.warn('a routing table cannot be sent, gateways keep the one before', facts);
        this.#refused = table.version;
        this.#cutEnded();
      },
    });
  }

  #cutEnded(): void {
    this.#isCutting = false;
    this.#checkPushes();
    this.#cutNext();
  }

  forgive(replicas: readonly ReplicaId[]): void {
    if (replicas.length > 0) this.#tell({ kind: 'forgive', replicas });
  }

  inFlight(replica: ReplicaId): InFlight {
    this.#forgetLost();
    let count = 0;
    let oldestMs = 0;
    for (const { inside } of [...this.#peers.values(), ...this.#lost.values()]) {
      const found = inside.get(replica);
      if (found === undefined) continue;
      count += found.count;
      oldestMs = Math.max(oldestMs, found.oldestMs);
    }
    return { replica, count, oldestMs };
  }

  connected(): readonly string[] {
    return [...this.#peers.keys()];
  }

  onSignal(listener: (signal: GatewaySignal) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#listeners.clear();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    for (const push of this.#pushes) push.giveUp();
    await closed;
  }

  /** Those that may be serving an older table than this. */
  #missing(version: number): string[] {
    this.#forgetLost();
    const lost = [...this.#lost].map(([worker, { version: had }]) => ({ worker, version: had }));
    const all = [...this.#peers.values(), ...lost];
    return all.filter((g) => g.version < version).map((g) => g.worker);
  }

  #forgetLost(): void {
    const nowMs = this.#setup.monotonicMs();
    for (const [worker, { untilMs }] of this.#lost) {
      if (untilMs <= nowMs) this.#lost.delete(worker);
    }
  }

  #tell(frame: ToGateway): void {
    const line = `${JSON.stringify(frame)}\n`;
    for (const { socket } of this.#peers.values()) this.#send(socket, line);
  }

  /** A worker that does not read is cut off: it comes back and gets the newest table (HU3). */
  #send(socket: Socket, line: string): void {
    if (socket.writableLength > UNREAD_BYTES_MAX) socket.destroy();
    else socket.write(line);
  }

  #signal(signal: GatewaySignal): void {
    for (const listener of this.#listeners) listener(signal);
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    const { log } = this.#setup;
    let peer: Peer | undefined;
    const lines = openLines(SDK_LINE_MAX, (value) => {
      if (socket.destroyed) return;
      const frame = readFrame(value);
      if (frame.kind === 'malformed') {
        log.warn('control socket: malformed frame', { why: frame.why });
        socket.destroy();
      } else if (frame.kind === 'hello' && peer !== undefined) {
        log.warn('control socket: a second hello on one connection');
        socket.destroy();
      } else if (frame.kind === 'hello') {
        lines.bytesMax = GATEWAY_LINE_MAX;
        peer = this.#join(frame, socket);
      } else if (frame.kind === 'sdk') {
        this.#signal(frame.signal);
      } else if (peer !== undefined) {
        this.#onGateway(peer, frame);
      } else {
        log.warn('control socket: a gateway frame before its hello');
        socket.destroy();
      }
    });
    socket.on('data', (bytes: Buffer) => {
      const fault = lines.feed(bytes);
      if (fault === undefined || socket.destroyed) return;
      log.warn('control socket: connection dropped', { fault });
      socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#sockets.delete(socket);
      if (peer !== undefined) this.#leave(peer);
    });
  }

  #join(hello: Extract<GatewayFrame, { kind: 'hello' }>, socket: Socket): Peer {
    const { worker, version } = hello;
    const before = this.#peers.get(worker);
    const delivery = new Delivery(socket);
    const peer: Peer = { worker, socket, delivery, version, inside: new Map() };
    this.#peers.set(worker, peer);
    this.#lost.delete(worker);
    // Its earlier connection is a dead one that has not been noticed yet.
    before?.socket.destroy();
    this.#signal({ kind: 'event', event: { kind: 'connected', worker, version } });
    const shipment = this.#shipment;
    if (shipment !== undefined && version < shipment.version) delivery.offer(shipment);
    if (shipment !== undefined && version > shipment.version) {
      this.#setup.log.warn('a gateway has a newer table than this control plane', {
        worker,
        version,
        ours: shipment.version,
      });
    }
    this.#checkPushes();
    return peer;
  }

  #leave(peer: Peer): void {
    const { worker, version, inside } = peer;
    if (this.#peers.get(worker) !== peer) return;
    this.#peers.delete(worker);
    const untilMs = this.#setup.monotonicMs() + LOST_MS;
    this.#lost.set(worker, { untilMs, version, inside });
    this.#signal({ kind: 'event', event: { kind: 'disconnected', worker } });
  }

  #onGateway(
    peer: Peer,
    frame: Extract<GatewayFrame, { kind: 'want' | 'applied' | 'refused' | 'flush' | 'event' }>,
  ): void {
    const { worker } = peer;
    switch (frame.kind) {
      case 'want':
        peer.delivery.send(frame.version, frame.parts);
        break;
      case 'refused':
        this.#setup.log.warn('a gateway refused a routing table', {
          code: 'KIN_GATEWAY_TABLE_REFUSED',
          worker,
          version: frame.version,
          why: frame.reason,
        });
        break;
      case 'applied':
        peer.version = frame.version;
        this.#checkPushes();
        break;
      case 'flush':
        for (const count of frame.inFlight) {
          if (count.count === 0) peer.inside.delete(count.replica);
          else peer.inside.set(count.replica, count);
        }
        if (frame.cells.length > 0) this.#signal({ kind: 'traffic', cells: frame.cells });
        if (frame.edge !== undefined && frame.edge.length > 0) {
          this.#signal({ kind: 'edge', worker, cells: frame.edge });
        }
        break;
      case 'event':
        this.#relay(peer, frame.event);
        this.#signal({ kind: 'event', event: frame.event });
        break;
    }
  }

  /** A poison request must not cost each worker two replicas of its own to find out. */
  #relay(from: Peer, event: GatewayEvent): void {
    if (event.kind !== 'died-serving' || event.suspects.length === 0) return;
    const { replica, suspects } = event;
    const line = `${JSON.stringify({ kind: 'death', replica, suspects } satisfies ToGateway)}\n`;
    for (const peer of this.#peers.values()) if (peer !== from) this.#send(peer.socket, line);
  }

  #checkPushes(): void {
    for (const push of this.#pushes) push.check();
  }
}
