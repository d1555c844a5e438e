// Which connection carries the next request to this address? Keep-alive connections, the last used
// first, so that few stay warm and the others grow old and are closed.
//
//   UP1. Never more than `connectionsMax` connections, never more than `waitingMax` wait for one.
//   UP2. `inFlight` counts attempts from start to end, exactly.
//   UP3. A connection carries one request at a time, and is used again only if both messages ended
//        where they should.
//   UP4. A connection of one partition never carries a request of another.
//   UP5. Who waits longest is served first, whatever its partition.
import type { Deadlines } from './deadlines.ts';
import type { HeadShelf } from './head.ts';
import { type Carried, UpstreamConnection } from './upstream-connection.ts';

export interface PoolLimits {
  readonly connectionsMax: number;
  readonly waitingMax: number;
  /** Short: a listener whose queue is full takes nobody. Up to two ticks are added. */
  readonly connectTimeoutMs: number;
  /** Below the 5 s after which common servers close an idle connection: no race with them. */
  readonly idleMs: number;
}

export const POOL_LIMITS: PoolLimits = {
  connectionsMax: 1_024,
  waitingMax: 4_096,
  connectTimeoutMs: 200,
  idleMs: 3_000,
};

interface Waiter {
  readonly carried: Carried;
  readonly partition: string;
}

export class UpstreamPool {
  readonly host: string;
  readonly port: number;
  readonly limits: PoolLimits;
  readonly deadlines: Deadlines;
  readonly heads: HeadShelf;
  inFlight = 0;
  readonly #idle: UpstreamConnection[] = [];
  readonly #open = new Set<UpstreamConnection>();
  readonly #waiting: Waiter[] = [];
  #closed = false;

  constructor(
    address: { readonly host: string; readonly port: number },
    limits: PoolLimits,
    deadlines: Deadlines,
    heads: HeadShelf,
  ) {
    this.host = address.host;
    this.port = address.port;
    this.limits = limits;
    this.deadlines = deadlines;
    this.heads = heads;
  }

  get connections(): number {
    return this.#open.size;
  }

  get idle(): number {
    return this.#idle.length;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** A connection; unless it is connected already, `onReady` or `onFail` follows. */
  take(carried: Carried, partition: string): UpstreamConnection | 'waits' | 'full' {
    const found = this.#warm(partition);
    if (found !== undefined) {
      found.carry(carried);
      return found;
    }
    if (this.#closed) return 'full';
    if (this.#open.size >= this.limits.connectionsMax && !this.#closeIdle()) {
      if (this.#waiting.length >= this.limits.waitingMax) return 'full';
      this.#waiting.push({ carried, partition });
      return 'waits';
    }
    return this.#dial(carried, partition);
  }

  #warm(partition: string): UpstreamConnection | undefined {
    const idle = this.#idle;
    const last = idle.at(-1);
    if (last === undefined) return undefined;
    if (last.partition === partition) {
      idle.pop();
      return last;
    }
    for (let i = idle.length - 2; i >= 0; i -= 1) {
      const one = idle[i];
      if (one?.partition !== partition) continue;
      idle.splice(i, 1);
      return one;
    }
    return undefined;
  }

  /** Room for another partition. */
  #closeIdle(): boolean {
    const oldest = this.#idle[0];
    if (oldest === undefined) return false;
    oldest.destroy();
    return true;
  }

  #dial(carried: Carried, partition: string): UpstreamConnection {
    const connection = new UpstreamConnection(this, partition);
    this.#open.add(connection);
    connection.carry(carried);
    return connection;
  }

  /** It does not wait any longer. */
  leave(carried: Carried): void {
    const at = this.#waiting.findIndex((waiter) => waiter.carried === carried);
    if (at >= 0) this.#waiting.splice(at, 1);
    // A connection may be under way for it that it does not know of yet.
    for (const one of [...this.#open]) if (one.carries(carried)) one.release();
  }

  /** A connection is free and fit for another request. */
  give(connection: UpstreamConnection): void {
    if (this.#closed) {
      connection.destroy();
      return;
    }
    const waiter = this.#waiting[0];
    if (waiter === undefined) {
      this.#idle.push(connection);
      return;
    }
    if (waiter.partition !== connection.partition) {
      // Makes room for a connection of its own.
      connection.destroy();
      return;
    }
    this.#waiting.shift();
    connection.carry(waiter.carried);
    waiter.carried.onReady(connection);
  }

  /** A connection is gone. */
  gone(connection: UpstreamConnection): void {
    if (!this.#open.delete(connection)) return;
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    if (this.#closed || this.#open.size >= this.limits.connectionsMax) return;
    const next = this.#waiting.shift();
    if (next !== undefined) this.#dial(next.carried, next.partition);
  }

  /** Requests inside go on; nothing new is carried. */
  close(): void {
    this.#closed = true;
    for (const connection of [...this.#idle]) connection.destroy();
    for (const { carried } of this.#waiting.splice(0)) carried.onFail('unsent', 'pool-closed');
  }
}
