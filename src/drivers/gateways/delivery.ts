// How does a table get to one gateway? It is offered by the digests of its parts; what the gateway
// then asks for is sent, a window at a time, so that a slow reader costs no memory here.
//
//   DE1. Only parts of the newest offer are sent; a wish for an older one was answered by that
//        offer.
//   DE2. No more than a window of parts waits in a socket.
import type { Socket } from 'node:net';
import type { ToGateway } from '../../model/routing.ts';
import { FAMILIES } from '../../gateway/lines.ts';
import type { CutTable, Family, Part } from '../../gateway/lines.ts';

const WINDOW_BYTES = 1_024 * 1_024;
/** A gateway that takes so many offers without reading one is cut off: it comes back (HU3). */
const UNREAD_BYTES_MAX = 33_554_432;

/** A table, ready to be sent to any number of gateways. */
export interface Shipment {
  readonly version: number;
  readonly names: Readonly<Record<Family, readonly string[]>>;
  readonly parts: ReadonlyMap<string, Part>;
}

export function shipmentOf({ version, parts }: CutTable): Shipment {
  const names: Partial<Record<Family, readonly string[]>> = {};
  const all = new Map<string, Part>();
  for (const family of FAMILIES) {
    names[family] = parts[family].map(({ digest }) => digest);
    for (const part of parts[family]) all.set(part.digest, part);
  }
  return { version, names: names as Shipment['names'], parts: all };
}

export class Delivery {
  readonly #socket: Socket;
  #offered: Shipment | undefined;
  /** Still to be sent, the next one last. */
  #queue: Part[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('drain', () => this.#pump());
  }

  offer(shipment: Shipment): void {
    const before = this.#offered?.names;
    const changed = FAMILIES.filter(
      (f) => before === undefined || !same(before[f], shipment.names[f]),
    );
    const parts = Object.fromEntries(changed.map((family) => [family, shipment.names[family]]));
    this.#offered = shipment;
    this.#queue = [];
    this.#write({ kind: 'table', version: shipment.version, parts });
  }

  send(version: number, digests: readonly string[]): void {
    const shipment = this.#offered;
    if (shipment?.version !== version) return;
    const parts = digests.flatMap((digest) => shipment.parts.get(digest) ?? []);
    this.#queue = [...parts.toReversed(), ...this.#queue];
    this.#pump();
  }

  #pump(): void {
    const socket = this.#socket;
    if (this.#queue.length === 0 || socket.destroyed) return;
    socket.cork();
    while (socket.writableLength < WINDOW_BYTES) {
      const part = this.#queue.pop();
      if (part === undefined) break;
      this.#write({ kind: 'part', digest: part.digest, bytes: part.body.length });
      socket.write(part.body);
    }
    socket.uncork();
  }

  #write(frame: ToGateway): void {
    if (this.#socket.writableLength > UNREAD_BYTES_MAX) this.#socket.destroy();
    else this.#socket.write(`${JSON.stringify(frame)}\n`);
  }
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((digest, i) => digest === b[i]);
}
