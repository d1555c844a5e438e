// Who is inside a replica, the oldest first? A set would do, but for one thing: tables of a set
// that have been outgrown point to the next one, and once the first of them has grown old,
// everything that was ever inside looks alive to the young collector. So it is a plain list.
//
//   GU1. In the order in which they came. Nobody is added twice: who enters was not there (BE1).
import type { Guest } from './lane.ts';

/** What a lane needs of it. */
export interface Inside extends Iterable<Guest> {
  readonly size: number;
  add(guest: Guest): unknown;
  delete(guest: Guest): boolean;
  clear(): void;
}

export class Guests implements Inside {
  readonly #list: Guest[] = [];

  get size(): number {
    return this.#list.length;
  }

  add(guest: Guest): void {
    this.#list.push(guest);
  }

  /** Who leaves came lately, most of the time: streams that stay for long are at the front. */
  delete(guest: Guest): boolean {
    const list = this.#list;
    const at = list.lastIndexOf(guest);
    if (at < 0) return false;
    if (at === list.length - 1) list.pop();
    else list.splice(at, 1);
    return true;
  }

  clear(): void {
    this.#list.length = 0;
  }

  [Symbol.iterator](): Iterator<Guest> {
    return this.#list[Symbol.iterator]();
  }
}
