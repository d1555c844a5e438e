// How does a gateway keep in touch with its controller? It connects, says hello, takes tables and
// sends counters and events; when the controller is away it goes on serving and tries for ever.
//
//   LK1. It never gives up: pauses grow from 100 ms to 3 s, with jitter.
//   LK2. No request ever waits for this socket. While it is stuck, counters add up in their bounded
//        cells; events wait in a bounded queue, the oldest of which goes first.
//   LK3. Before a table is acknowledged, the numbers of requests inside are sent: who sees the
//        acknowledgement knows exactly what is left in a replica that gets nothing new.
//   LK4. Counters that gathered while nobody listened are dropped, not sent as if they were new.
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import type { FromGateway, InFlight, RoutingTable } from '../model/routing.ts';
import type { ReplicaId } from '../model/ids.ts';
import type { EdgeCell, GatewayEvent, Suspect, TrafficCell } from '../model/signal.ts';
import { Arrival } from './arrival.ts';
import { OFFER_LINE_MAX, isRecord, openLines } from './lines.ts';
import type { LineReader } from './lines.ts';
import { TableOfParts } from './routes.ts';

const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 750;
const FLUSH_MS = 250;
const EVENTS_MAX = 1_000;
const STUCK_BYTES = 1_048_576;
const REASON_CHARS_MAX = 200;

export interface LinkDeps {
  readonly socketPath: string;
  readonly worker: string;
  readonly random: () => number;
  readonly version: () => number;
  /** The table that is in force from the start: what it has in common with others need not come. */
  readonly saved?: RoutingTable | undefined;
  /** Answers the version that is now in force. */
  readonly onTable: (table: RoutingTable, pepper: string) => number;
  readonly onForgive: (replicas: readonly ReplicaId[]) => void;
  readonly onDeath: (replica: ReplicaId, suspects: readonly Suspect[]) => void;
  readonly takeCells: () => TrafficCell[];
  /** What clients saw, for the metrics: kept until somebody takes it. */
  readonly takeEdge?: () => EdgeCell[];
  readonly inFlight: () => InFlight[];
  readonly ejections: () => GatewayEvent[];
  readonly warn: (text: string) => void;
}

export interface Link {
  event(event: GatewayEvent): void;
  /** Something happened: a flush follows within 250 ms, or now. */
  active(now: boolean): void;
  /** Sends what is left and closes. */
  close(): Promise<void>;
}

export function openLink(deps: LinkDeps): Link {
  return new ControllerLink(deps);
}

class ControllerLink implements Link {
  readonly #deps: LinkDeps;
  readonly #events: GatewayEvent[] = [];
  readonly #told = new Map<ReplicaId, number>();
  readonly #arrival: Arrival;
  #socket: Socket | undefined;
  #connected = false;
  #failures = 0;
  #flushTimer: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(deps: LinkDeps) {
    this.#deps = deps;
    this.#arrival = new Arrival({
      saved: deps.saved instanceof TableOfParts ? deps.saved : undefined,
      version: deps.version,
      want: (version, parts) => this.#write({ kind: 'want', version, parts }),
      kept: () => this.#acknowledge(deps.version()),
      ready: (table) => this.#use(table),
      refused: (version, reason) => {
        deps.warn(`table ${version} refused: ${reason}`);
        this.#write({ kind: 'refused', version, reason: reason.slice(0, REASON_CHARS_MAX) });
      },
    });
    this.#connect();
  }

  event(event: GatewayEvent): void {
    this.#events.push(event);
    if (this.#events.length > EVENTS_MAX) this.#events.shift();
    this.#sendEvents();
  }

  active(now: boolean): void {
    if (now && this.#connected) this.#flush();
    this.#flushTimer ??= setTimeout(() => {
      this.#flushTimer = undefined;
      this.#flush();
    }, FLUSH_MS).unref();
  }

  async close(): Promise<void> {
    this.#flush();
    this.#closed = true;
    clearTimeout(this.#flushTimer);
    clearTimeout(this.#retryTimer);
    const socket = this.#socket;
    if (socket === undefined) return;
    await new Promise<void>((resolve) => {
      socket.once('close', () => resolve());
      socket.end();
      setTimeout(() => socket.destroy(), 500).unref();
    });
  }

  #connect(): void {
    const socket = connect({ path: this.#deps.socketPath });
    this.#socket = socket;
    this.#arrival.restart();
    const lines = openLines(OFFER_LINE_MAX, (value) => this.#onFrame(value, lines));
    socket.on('connect', () => this.#hello());
    socket.on('data', (bytes: Buffer) => {
      const fault = lines.feed(bytes);
      if (fault === undefined) return;
      this.#deps.warn(`controller sent a frame that is ${fault}`);
      socket.destroy();
    });
    socket.on('drain', () => this.#sendEvents());
    socket.on('error', () => undefined);
    socket.on('close', () => this.#lost());
  }

  #hello(): void {
    this.#failures = 0;
    this.#connected = true;
    this.#told.clear();
    this.#deps.takeCells();
    const { worker } = this.#deps;
    this.#write({ kind: 'hello', worker, pid: process.pid, version: this.#deps.version() });
    for (const event of this.#deps.ejections()) this.#write({ kind: 'event', event });
    this.#sendEvents();
    this.active(false);
  }

  #lost(): void {
    this.#connected = false;
    this.#socket = undefined;
    if (this.#closed) return;
    const wholeMs = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(this.#failures, 10));
    this.#failures += 1;
    const pauseMs = wholeMs * (0.75 + 0.5 * this.#deps.random());
    this.#retryTimer = setTimeout(() => this.#connect(), pauseMs);
    this.#retryTimer.unref();
  }

  #onFrame(value: unknown, lines: LineReader): void {
    if (!isRecord(value)) return;
    if (value['kind'] === 'table') {
      this.#refuse(this.#arrival.offer(value));
    } else if (value['kind'] === 'part') {
      this.#expectPart(value, lines);
    } else if (value['kind'] === 'forgive' && Array.isArray(value['replicas'])) {
      this.#deps.onForgive(value['replicas'] as ReplicaId[]);
    } else if (value['kind'] === 'death' && Array.isArray(value['suspects'])) {
      this.#deps.onDeath(value['replica'] as ReplicaId, value['suspects'] as Suspect[]);
    } else if (value['kind'] === 'bye') {
      this.#socket?.end();
    }
  }

  #expectPart(value: Readonly<Record<string, unknown>>, lines: LineReader): void {
    const { digest, bytes } = value as { readonly digest?: unknown; readonly bytes?: unknown };
    const fault = this.#arrival.expects(digest, bytes);
    this.#refuse(fault);
    if (fault !== undefined) return;
    lines.expectBody(Number(bytes), (body) => this.#arrival.body(String(digest), body));
  }

  /** With a frame that makes no sense nothing after it does: a new connection starts afresh. */
  #refuse(fault: string | undefined): void {
    if (fault === undefined) return;
    this.#deps.warn(`controller sent ${fault}`);
    this.#socket?.destroy();
  }

  #use(table: TableOfParts): void {
    const version = this.#deps.onTable(table, table.pepper);
    if (version < table.version) {
      const reason = 'the gateway could not use it, its log says why';
      this.#write({ kind: 'refused', version: table.version, reason });
    }
    this.#acknowledge(version);
  }

  /** LK3. */
  #acknowledge(version: number): void {
    this.#flush();
    this.#write({ kind: 'applied', version });
  }

  #stuck(): boolean {
    return !this.#connected || (this.#socket?.writableLength ?? 0) > STUCK_BYTES;
  }

  #sendEvents(): void {
    while (this.#events.length > 0 && !this.#stuck()) {
      const event = this.#events.shift();
      if (event !== undefined) this.#write({ kind: 'event', event });
    }
  }

  #flush(): void {
    if (this.#stuck()) {
      // LK2: the cells go on adding up. Without a listener at all they are dropped at the hello.
      if (this.#connected) this.active(false);
      return;
    }
    const cells = this.#deps.takeCells();
    const inFlight: InFlight[] = [];
    let busy = false;
    for (const count of this.#deps.inFlight()) {
      if (count.count > 0) busy = true;
      else if ((this.#told.get(count.replica) ?? 0) === 0) continue;
      inFlight.push(count);
      this.#told.set(count.replica, count.count);
    }
    for (const [replica, told] of this.#told) {
      if (inFlight.some((c) => c.replica === replica)) continue;
      this.#told.delete(replica);
      // It left the table with its last request: say zero once more.
      if (told > 0) inFlight.push({ replica, count: 0, oldestMs: 0 });
    }
    const edge = this.#deps.takeEdge?.() ?? [];
    if (cells.length + inFlight.length + edge.length > 0) {
      this.#write({ kind: 'flush', cells, inFlight, edge });
    }
    if (busy) this.active(false);
  }

  #write(frame: FromGateway): void {
    this.#socket?.write(`${JSON.stringify(frame)}\n`);
  }
}
