// What does the bench need to know of somebody who keeps a service up?
import type { Load, Door } from './load.ts';

export interface Contender {
  readonly name: string;
  readonly door: Door;
  /** Back to the state before any fault: three serve, and whatever is kept in reserve is ready. */
  settle(load: Load): Promise<void>;
  /** What happened inside since a fault, in ms after it; empty when it cannot say. */
  timeline(faultMs: number): Promise<readonly Moment[]>;
  close(): Promise<void>;
}

export interface Moment {
  readonly what: string;
  readonly afterMs: number;
}
