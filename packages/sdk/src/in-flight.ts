// How much work is inside, and how old is the oldest piece? Counted in O(1) for each request.
//
// I1. A request leaves exactly once: when its response has closed, sent or torn off.
import type { ServerResponse } from 'node:http';
import { monotonicMs } from './clock.ts';

export interface InFlight {
  enter(response: ServerResponse): void;
  count(): number;
  /** Monotonic start time of the oldest request, milliseconds; 0 = nothing inside. */
  oldestStartedMs(): number;
  responses(): IterableIterator<ServerResponse>;
  /** Called after each change. */
  onChange(listener: () => void): void;
}

export function createInFlight(): InFlight {
  /** A Map keeps insertion order, so that its first entry is the oldest request. */
  const inside = new Map<ServerResponse, number>();
  const listeners: (() => void)[] = [];
  const changed = (): void => {
    for (const listener of listeners) listener();
  };
  return {
    enter(response) {
      inside.set(response, monotonicMs());
      changed();
      response.once('close', () => {
        if (inside.delete(response)) changed();
      });
    },
    count: () => inside.size,
    oldestStartedMs: () => inside.values().next().value ?? 0,
    responses: () => inside.keys(),
    onChange: (listener) => void listeners.push(listener),
  };
}
