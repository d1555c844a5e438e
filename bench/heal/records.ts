// What do the bench and its generator say to each other, and when does a request count as failed?

/** `get` and `keyed` (POST with an Idempotency-Key) may be repeated, `bare` (plain POST) not. */
export type RequestClass = 'get' | 'keyed' | 'bare';

/** Of ten requests, how many are of these classes; the rest are GET. */
export interface Mix {
  readonly keyed: number;
  readonly bare: number;
}

export type Command =
  | {
      readonly kind: 'start';
      readonly host: string;
      readonly port: number;
      readonly path: string;
      readonly headers: Readonly<Record<string, string>>;
      readonly ratePerSecond: number;
      readonly mix: Mix;
      readonly requestsPerConnection: number;
      readonly giveUpMs: number;
    }
  | { readonly kind: 'stop' };

/** Times are monotonic ms of the machine. */
export interface Answer {
  readonly kind: RequestClass;
  /** When it should have been sent. */
  readonly dueMs: number;
  readonly sentMs: number;
  readonly endMs: number;
  /** 0: no answer. */
  readonly status: number;
  /** The process that answered, 0 when none of the service's did. */
  readonly pid: number;
  readonly release: string;
  readonly error: string | undefined;
}

export interface Report {
  readonly atMs: number;
  readonly answers: readonly Answer[];
  /** How late the generator itself was at worst since the last report. */
  readonly worstLateMs: number;
  /** Due time of the oldest request that has not ended. */
  readonly oldestDueMs: number | undefined;
}

export const SLOW_MS = 1_000;

/** No 2xx, or later than a second after the time at which it was due. */
export function isFailed(answer: Answer): boolean {
  return answer.status < 200 || answer.status > 299 || answer.endMs - answer.dueMs > SLOW_MS;
}

export const isRepeatable = (answer: Answer): boolean => answer.kind !== 'bare';
