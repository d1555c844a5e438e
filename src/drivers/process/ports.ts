// Which port does a new replica get? A free one that no living replica of ours holds.
//
//   PD4. Ports are taken in a circle: one that has just been given up comes back as late as
//        possible, so that a gateway with a slightly old table does not reach somebody else there.
import { createServer } from 'node:net';

export interface PortRange {
  readonly from: number;
  readonly to: number;
}

export type PortAnswer =
  | { readonly kind: 'port'; readonly port: number }
  | { readonly kind: 'taken'; readonly detail: string };

export interface Ports {
  /** Picks and holds a port until `release`. `wanted` 0: any of the range. */
  take(wanted: number): Promise<PortAnswer>;
  /** Holds a port that is known to be in use by a replica of ours. */
  hold(port: number): void;
  release(port: number): void;
}

/**
 * `startAt` is where the circle begins. Instances on one machine begin in different places: what
 * one has just given up is then not what another takes next, while a gateway still knows the old
 * holder.
 */
export function openPorts(host: string, range: PortRange, startAt = 0): Ports {
  const held = new Set<number>();
  const count = range.to - range.from + 1;
  let next = startAt % count;
  const hold = (port: number): void => {
    held.add(port);
    const offset = port - range.from;
    if (offset >= next && offset < count) next = (offset + 1) % count;
  };
  return {
    hold,
    release: (port) => void held.delete(port),
    async take(wanted) {
      if (wanted !== 0) return takeFixed(host, wanted, held);
      for (let tries = 0; tries < count; tries += 1) {
        const port = range.from + next;
        next = (next + 1) % count;
        if (held.has(port)) continue;
        held.add(port);
        if (await isFree(host, port)) return { kind: 'port', port };
        held.delete(port);
      }
      const detail = `no free port between ${range.from} and ${range.to}`;
      return { kind: 'taken', detail };
    },
  };
}

async function takeFixed(host: string, port: number, held: Set<number>): Promise<PortAnswer> {
  if (held.has(port)) return { kind: 'taken', detail: `another replica holds port ${port}` };
  held.add(port);
  if (await isFree(host, port)) return { kind: 'port', port };
  held.delete(port);
  return { kind: 'taken', detail: `port ${port} on ${host} is in use by another program` };
}

/** A real bind: nothing else knows about every way in which a port can be taken. */
function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer();
    server.once('error', () => done(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => done(true)));
  });
}
