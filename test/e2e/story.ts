// What happens in the running system, in its own words? Follows the event stream over restarts of
// the controller and keeps every event, so that a wait never misses what was quick.
import { setTimeout as sleep } from 'node:timers/promises';
import { followEvents } from '../../src/api/client.ts';
import type { ControlClient } from '../../src/api/client.ts';
import type { StoryEvent } from '../../src/api/contract.ts';

export class Story {
  readonly events: StoryEvent[] = [];
  readonly #stop = new AbortController();
  readonly #listeners = new Set<() => void>();
  #following: Promise<void> | undefined;

  follow(client: Pick<ControlClient, 'stream'>): void {
    this.#following = this.#follow(client).catch((error: unknown) => {
      if (!this.#stop.signal.aborted) throw error;
    });
  }

  async #follow(client: Pick<ControlClient, 'stream'>): Promise<void> {
    const options = {
      after: 0,
      signal: this.#stop.signal,
      sleep: (ms: number, signal: AbortSignal) =>
        sleep(Math.min(ms, 250), undefined, { signal }).then(() => undefined),
      onLost: () => undefined,
    };
    for await (const item of followEvents(client, options)) {
      if (item.kind !== 'story') continue;
      this.events.push(item.event);
      for (const listener of this.#listeners) listener();
    }
  }

  get seq(): number {
    return this.events.at(-1)?.seq ?? 0;
  }

  since(seq: number): readonly StoryEvent[] {
    return this.events.filter((event) => event.seq > seq);
  }

  /** The first event behind `after` that fits, seen already or to come. */
  async wait(
    what: string,
    after: number,
    fits: (event: StoryEvent) => boolean,
    limitMs = 30_000,
  ): Promise<StoryEvent> {
    const found = (): StoryEvent | undefined => this.events.find((e) => e.seq > after && fits(e));
    const now = found();
    if (now !== undefined) return now;
    const { promise, resolve, reject } = Promise.withResolvers<StoryEvent>();
    const listener = (): void => {
      const event = found();
      if (event !== undefined) resolve(event);
    };
    const late = setTimeout(() => {
      reject(new Error(`waited in vain for ${what}; the story:\n${this.text(after)}`));
    }, limitMs);
    this.#listeners.add(listener);
    try {
      return await promise;
    } finally {
      clearTimeout(late);
      this.#listeners.delete(listener);
    }
  }

  /** For messages: what happened behind `after`. */
  text(after: number): string {
    const events = this.since(after).filter(({ kind }) => kind !== 'service.audit');
    const first = events[0]?.atMs ?? 0;
    return events
      .map((e) => `  +${((e.atMs - first) / 1_000).toFixed(2)} s  ${e.kind}  ${e.text}`)
      .join('\n');
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#following;
  }
}
