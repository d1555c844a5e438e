// What is there to say about one exchange? One flat record, filled in anew for each of them, so
// that observing makes no garbage.
import type { Head } from '../http/head.ts';
import type { TraceSpan } from './trace.ts';

/** Texts are '' where there is nothing to say. Whoever keeps something of it copies it. */
export interface ExchangeFacts {
  kind: 'answered' | 'refused' | 'client-gone' | 'cut';
  /** Wall time of its start, ms. */
  startMs: number;
  tookMs: number;
  /** From sending to the head of the answer, last attempt, ms; 0: no replica was asked. */
  upstreamMs: number;
  /** Undefined where the message was refused before its head was whole. */
  head: Head | undefined;
  /** 0: the client got no answer. */
  status: number;
  /** Why the gateway itself said no. */
  reason: string;
  tenant: string;
  subject: string;
  service: string;
  /** Prefix of the route. */
  route: string;
  /** The one that was asked last. */
  replica: string;
  release: string;
  attempts: number;
  bytesIn: number;
  bytesOut: number;
  remoteAddress: string;
  requestId: string;
  trace: TraceSpan | undefined;
  /**
   * Two with the same flow have the same tenant, subject, service and route; with the same place
   * the same replica and release. Undefined: nothing of the kind is known.
   */
  flow: object | undefined;
  place: object | undefined;
  /** `TLSv1.3`, or `TLS` where the version is not known; '' without it. */
  tls: string;
}

export function noFacts(): ExchangeFacts {
  return {
    kind: 'answered',
    startMs: 0,
    tookMs: 0,
    upstreamMs: 0,
    head: undefined,
    status: 0,
    reason: '',
    tenant: '',
    subject: '',
    service: '',
    route: '',
    replica: '',
    release: '',
    attempts: 0,
    bytesIn: 0,
    bytesOut: 0,
    remoteAddress: '',
    requestId: '',
    trace: undefined,
    flow: undefined,
    place: undefined,
    tls: '',
  };
}

/** Did the client see a failure that was not its own? */
export function isFailure(facts: ExchangeFacts): boolean {
  return facts.kind === 'cut' || (facts.kind !== 'client-gone' && facts.status >= 500);
}
