// What do clients notice while all this happens? An open-loop generator: requests leave at their
// time whether or not earlier ones were answered, so that a stall is seen as what it is.
//
//   LO1. Bounded: at most `OPEN_MAX` requests are under way; those over it count as failed.
//   LO2. What was due while this very process stood still is left out: a burst that no client sent
//        would say nothing about the system.
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';

const OPEN_MAX = 600;
const TICK_MS = 25;
const STALL_MS = 100;

export interface Shot {
  readonly atMs: number;
  readonly tenant: string;
  readonly method: string;
  readonly path: string;
  readonly tookMs: number;
  /** Undefined: no answer came, see `error`. */
  readonly status: number | undefined;
  readonly error: string | undefined;
}

export interface LoadOptions {
  readonly gatewayUrl: string;
  readonly keys: ReadonlyMap<string, string>;
  readonly tenants: readonly string[];
  readonly perSecond: number;
}

const isGood = ({ status }: Shot): boolean => status !== undefined && status >= 200 && status < 300;

/** All of them may be repeated without harm: reads, and writes with an Idempotency-Key. */
const KINDS = [
  { method: 'GET', path: '/records/patients?limit=5' },
  { method: 'GET', path: '/records/patients?limit=1' },
  { method: 'POST', path: '/records/patients' },
  { method: 'GET', path: '/billing/invoices?limit=5' },
  { method: 'GET', path: '/records/patients?limit=3' },
  { method: 'GET', path: '/scheduling/appointments?limit=5' },
] as const;

export class Load {
  readonly #options: LoadOptions;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: OPEN_MAX });
  readonly #shots: Shot[] = [];
  #timer: NodeJS.Timeout | undefined;
  #open = 0;
  #sent = 0;
  #startedMs = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  start(): void {
    this.#startedMs = performance.now();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  #tick(): void {
    const dueMs = performance.now() - this.#startedMs;
    const { perSecond } = this.#options;
    const due = Math.floor((dueMs / 1_000) * perSecond);
    this.#sent = Math.max(this.#sent, due - Math.ceil((perSecond * STALL_MS) / 1_000));
    while (this.#sent < due) {
      this.#sent += 1;
      this.#fire(this.#sent);
    }
  }

  #fire(number: number): void {
    const { tenants, keys, gatewayUrl } = this.#options;
    const tenant = tenants[number % tenants.length] ?? '';
    const kind = KINDS[Math.floor(number / tenants.length) % KINDS.length] ?? KINDS[0];
    const { method, path } = kind;
    const startedMs = performance.now();
    const atMs = Date.now();
    let over = false;
    const end = (status: number | undefined, error?: string): void => {
      if (over) return;
      over = true;
      this.#open -= 1;
      const tookMs = performance.now() - startedMs;
      this.#shots.push({ atMs, tenant, method, path, tookMs, status, error });
    };
    this.#open += 1;
    if (this.#open > OPEN_MAX) return end(undefined, 'more requests under way than allowed');
    const body = method === 'POST' ? JSON.stringify(PATIENT) : undefined;
    const call = request(new URL(path, gatewayUrl), {
      agent: this.#agent,
      method,
      headers: {
        authorization: `Bearer ${keys.get(tenant) ?? ''}`,
        ...(body === undefined
          ? {}
          : { 'content-type': 'application/json', 'idempotency-key': randomUUID() }),
      },
      signal: AbortSignal.timeout(30_000),
    });
    call.once('error', (error) => end(undefined, error.message));
    call.once('response', (answer) => {
      answer.resume();
      answer.once('end', () => end(answer.statusCode));
      answer.once('error', (error) => end(undefined, error.message));
      answer.once('close', () => end(undefined, 'the answer was cut'));
    });
    call.end(body);
  }

  /** Shots that left at or after this wall time and are over. */
  since(atMs: number): readonly Shot[] {
    return this.#shots.filter((shot) => shot.atMs >= atMs);
  }

  failed(atMs: number): readonly Shot[] {
    return this.since(atMs).filter((shot) => !isGood(shot));
  }

  /** Resolves when none is under way. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    const untilMs = performance.now() + 31_000;
    while (this.#open > 0 && performance.now() < untilMs) {
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    }
    this.#agent.destroy();
  }
}

const PATIENT = { familyName: 'Lovelace', givenName: 'Ada', birthDate: '1985-12-10' };

export function shotsText(shots: readonly Shot[]): string {
  const first = shots[0]?.atMs ?? 0;
  return shots
    .slice(0, 12)
    .map(
      (s) =>
        `  +${((s.atMs - first) / 1_000).toFixed(2)} s ${s.tenant} ${s.method} ${s.path}: ` +
        `${s.status ?? s.error} after ${Math.round(s.tookMs)} ms`,
    )
    .join('\n');
}
