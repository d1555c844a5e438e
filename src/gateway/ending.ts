// What is there to say about an exchange that is over? Gathered from its passage, or from the
// refusal that took the place of one, into the one record that logs and traces read.
import type { ExchangeEnd, ExchangeView } from './http/hooks.ts';
import type { Flow } from './flow.ts';
import type { ExchangeFacts } from './observe/facts.ts';
import { Passage } from './passage.ts';
import type { Principal } from './principals.ts';
import type { Entry } from './routes.ts';
import type { Clock } from '../world/clock.ts';

/** The tag of an exchange that the gateway answered before it was let in. */
export class Refusal {
  readonly reason: string;
  readonly requestId: string;
  readonly tenant: string;
  readonly subject: string;
  readonly entry: Entry | undefined;

  constructor(
    reason: string,
    requestId: string,
    who: Principal | Flow | undefined,
    entry: Entry | undefined,
  ) {
    this.reason = reason;
    this.requestId = requestId;
    this.tenant = who?.tenant.id ?? '';
    this.subject = who?.subject ?? '';
    this.entry = entry;
  }
}

const WALL_MS = 250;

/** Wall time of a moment of the monotonic clock: the wall is looked at now and then only. */
export class Wall {
  readonly #clock: Pick<Clock, 'nowMs' | 'monotonicMs'>;
  #offsetMs = 0;
  #untilMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Pick<Clock, 'nowMs' | 'monotonicMs'>) {
    this.#clock = clock;
  }

  at(monotonicMs: number): number {
    if (monotonicMs >= this.#untilMs) {
      const nowMs = this.#clock.monotonicMs();
      this.#offsetMs = this.#clock.nowMs() - nowMs;
      this.#untilMs = nowMs + WALL_MS;
    }
    return monotonicMs + this.#offsetMs;
  }
}

/** `startMs`: wall time. Fills `facts` anew; `trace` and `tls` are left to others. */
export function factsOf(
  facts: ExchangeFacts,
  view: ExchangeView,
  end: ExchangeEnd,
  startMs: number,
): ExchangeFacts {
  const { tag } = view;
  const passage = tag instanceof Passage ? tag : undefined;
  const refusal = tag instanceof Refusal ? tag : undefined;
  const entry = passage?.flow.entry ?? refusal?.entry;
  const lane = passage?.replica;
  facts.kind = end.kind;
  facts.startMs = startMs;
  facts.tookMs = end.tookMs;
  facts.upstreamMs = passage?.upstreamMs ?? 0;
  facts.head = view.head;
  facts.status = end.status;
  facts.reason = passage?.reason ?? refusal?.reason ?? '';
  facts.tenant = passage?.flow.tenant.id ?? refusal?.tenant ?? '';
  facts.subject = passage?.flow.subject ?? refusal?.subject ?? '';
  facts.service = entry?.service.name ?? '';
  facts.route = entry?.route.prefix ?? '';
  facts.replica = lane?.id ?? '';
  facts.release = lane?.route.release ?? '';
  facts.attempts = end.attempts;
  facts.bytesIn = end.bytesIn;
  facts.bytesOut = end.bytesOut;
  facts.remoteAddress = view.remoteAddress;
  facts.trace = passage?.trace;
  facts.tls = view.scheme === 'https' ? 'TLS' : '';
  facts.flow = passage?.flow;
  facts.place = lane?.route;
  facts.requestId = passage?.requestId ?? refusal?.requestId ?? '';
  return facts;
}
