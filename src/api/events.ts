// How does everybody hear what happens? One hub over `ControlPort.subscribe`: story events with
// their sequence number as SSE id (a client that comes back names the last one it saw), and the
// status as often as it changes, at most once a second.
//
//   EV1. A resumed stream has every stored event after the named one, in order, none twice.
//   EV2. A client that does not read is told so and disconnected; nobody else waits for it.
//   EV3. Streams, replayed events and bytes kept for a client are bounded.
import type { ServerResponse } from 'node:http';
import { KinError, messageOf } from '../model/errors.ts';
import type { Clock, Log } from '../world/clock.ts';
import type { StoryEvent } from './contract.ts';
import type { ControlPort } from './port.ts';

export interface EventLimits {
  readonly streamsMax: number;
  readonly bufferBytes: number;
  readonly queuedMax: number;
  readonly replayPage: number;
  readonly replayPages: number;
  readonly tickMs: number;
  /** A comment goes out after so many ticks without anything else. */
  readonly heartbeatTicks: number;
}

export const EVENT_LIMITS: EventLimits = {
  streamsMax: 32,
  bufferBytes: 1_048_576,
  queuedMax: 2_000,
  replayPage: 500,
  replayPages: 40,
  tickMs: 1_000,
  heartbeatTicks: 15,
};

export type CloseReason = 'too-slow' | 'shutdown' | 'replay-failed';

type Stream =
  /** Stored events go out first; what happens meanwhile waits here. */
  | { readonly kind: 'replaying'; readonly client: Client; readonly queue: StoryEvent[] }
  | { readonly kind: 'live'; readonly client: Client };

interface Client {
  readonly out: ServerResponse;
  lastSeq: number;
  quietTicks: number;
  lastStatus: string;
}

export class EventHub {
  readonly #control: ControlPort;
  readonly #clock: Pick<Clock, 'sleep'>;
  readonly #log: Log;
  readonly #limits: EventLimits;
  readonly #streams = new Map<Client, Stream>();
  #unsubscribe: (() => void) | undefined;
  #ticking: AbortController | undefined;

  constructor(
    control: ControlPort,
    clock: Pick<Clock, 'sleep'>,
    log: Log,
    limits: EventLimits = EVENT_LIMITS,
  ) {
    this.#control = control;
    this.#clock = clock;
    this.#log = log;
    this.#limits = limits;
  }

  get streams(): number {
    return this.#streams.size;
  }

  assertRoom(): void {
    if (this.#streams.size < this.#limits.streamsMax) return;
    throw new KinError(
      'KIN_API_TOO_MANY_STREAMS',
      `${this.#limits.streamsMax} event streams are open, which is the limit`,
      'Close another "kintsugi top" or console first.',
    );
  }

  /** Takes the response over. `after` undefined: only what happens from now on. */
  async open(out: ServerResponse, after: number | undefined): Promise<void> {
    out.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    out.write('retry: 1000\n\n');
    const client: Client = { out, lastSeq: after ?? 0, quietTicks: 0, lastStatus: '' };
    out.on('close', () => this.#drop(client));
    out.on('error', () => this.#drop(client));
    this.#begin();
    if (after === undefined) {
      this.#streams.set(client, { kind: 'live', client });
    } else {
      await this.#replay(client, after);
    }
    this.#sendStatus(client, this.#statusText());
  }

  /** EV1. Queues what happens while the stored part is read, then goes live without a gap. */
  async #replay(client: Client, after: number): Promise<void> {
    const queue: StoryEvent[] = [];
    this.#streams.set(client, { kind: 'replaying', client, queue });
    try {
      let from = after;
      for (let page = 0; page < this.#limits.replayPages; page += 1) {
        const events = await this.#control.story(from, this.#limits.replayPage);
        if (!this.#streams.has(client)) return;
        for (const event of events) this.#sendEvent(client, event);
        from = events.at(-1)?.seq ?? from;
        if (events.length < this.#limits.replayPage) break;
        await drained(client.out);
      }
    } catch (error) {
      this.#log.warn('event replay failed', { error: messageOf(error) });
      this.#end(client, 'replay-failed');
      return;
    }
    if (!this.#streams.has(client)) return;
    // From here to the change of kind nothing is awaited, so no event can slip between.
    for (const event of queue) this.#sendEvent(client, event);
    if (this.#streams.has(client)) this.#streams.set(client, { kind: 'live', client });
  }

  close(): void {
    for (const client of this.#streams.keys()) this.#end(client, 'shutdown');
    this.#stop();
  }

  #begin(): void {
    if (this.#unsubscribe !== undefined) return;
    this.#unsubscribe = this.#control.subscribe((event) => this.#publish(event));
    this.#ticking = new AbortController();
    void this.#tick(this.#ticking.signal);
  }

  #stop(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#ticking?.abort();
    this.#ticking = undefined;
  }

  #publish(event: StoryEvent): void {
    for (const stream of this.#streams.values()) {
      if (stream.kind === 'live') this.#sendEvent(stream.client, event);
      else if (stream.queue.length < this.#limits.queuedMax) stream.queue.push(event);
      else this.#end(stream.client, 'too-slow');
    }
  }

  #sendEvent(client: Client, event: StoryEvent): void {
    if (event.seq <= client.lastSeq) return;
    client.lastSeq = event.seq;
    this.#write(client, `id: ${event.seq}\nevent: story\ndata: ${JSON.stringify(event)}\n\n`);
  }

  /** A status that nobody has read yet is as good as the next one: it is left out, not queued. */
  #sendStatus(client: Client, status: { readonly text: string; readonly mark: string }): void {
    if (client.lastStatus === status.mark || client.out.writableNeedDrain) return;
    client.lastStatus = status.mark;
    this.#write(client, `event: status\ndata: ${status.text}\n\n`);
  }

  #statusText(): { readonly text: string; readonly mark: string } {
    const status = this.#control.status();
    return { text: JSON.stringify(status), mark: JSON.stringify({ ...status, atMs: 0 }) };
  }

  #write(client: Client, frame: string): void {
    if (client.out.destroyed || client.out.writableEnded) return;
    if (client.out.writableLength + frame.length > this.#limits.bufferBytes) {
      this.#end(client, 'too-slow');
      return;
    }
    client.quietTicks = 0;
    client.out.write(frame);
  }

  /** EV2. The reason goes out behind what is buffered; one that never reads it is cut off. */
  #end(client: Client, reason: CloseReason): void {
    this.#streams.delete(client);
    client.out.end(`event: closed\ndata: ${JSON.stringify({ reason })}\n\n`);
    const cut = async (): Promise<void> => {
      await this.#clock.sleep(this.#limits.tickMs);
      client.out.destroy();
    };
    void cut();
    if (this.#streams.size === 0) this.#stop();
  }

  #drop(client: Client): void {
    if (this.#streams.delete(client) && this.#streams.size === 0) this.#stop();
  }

  async #tick(signal: AbortSignal): Promise<void> {
    // Ends with the last stream: `#stop` aborts the signal.
    while (!signal.aborted) {
      try {
        await this.#clock.sleep(this.#limits.tickMs, signal);
        this.#beat();
      } catch (error) {
        if (signal.aborted) return;
        this.#log.warn('event tick failed', { error: messageOf(error) });
      }
    }
  }

  #beat(): void {
    const status = this.#statusText();
    for (const stream of this.#streams.values()) {
      const { client } = stream;
      client.quietTicks += 1;
      if (stream.kind === 'live') this.#sendStatus(client, status);
      if (client.quietTicks >= this.#limits.heartbeatTicks) this.#write(client, ': beat\n\n');
    }
  }
}

async function drained(out: ServerResponse): Promise<void> {
  if (!out.writableNeedDrain || out.destroyed) return;
  await new Promise<void>((resolve) => {
    out.once('drain', resolve);
    out.once('close', resolve);
  });
}
