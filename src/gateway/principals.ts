// Whose credential is this? What the authenticator said of it is remembered by its bytes: first the
// last one of the same connection, then all, by their digest.
//
//   PR1. A principal is found again only by the same bytes in the same field, under the same table
//        (AU4, also on connections), before it expires.
//   PR2. Refusals are not remembered, nor what was verified under a table that has gone: that is
//        asked again.
//   PR3. Comparing takes the same time wherever two credentials differ.
//   PR4. The number of principals is bounded; the oldest goes first.
import { hash } from 'node:crypto';
import type { Account, Admission } from './admission.ts';
import { accountOf } from './admission.ts';
import type { AuthAnswer, Authenticator } from './auth.ts';
import type { Flow } from './flow.ts';
import { SLOT, VALUE_AT, VALUE_END } from './http/head.ts';
import type { Head } from './http/head.ts';
import type { ExchangeView, PeerCertificate } from './http/hooks.ts';
import { KNOWN } from './http/names.ts';
import type { Entry, Routes } from './routes.ts';
import { HostMemo } from './tenancy.ts';
import type { TenantRoute } from '../model/routing.ts';

const PRINCIPALS_MAX = 10_000;
const NEVER = Number.POSITIVE_INFINITY;
const NO_BYTES = Buffer.alloc(0);

/** A verified credential under one table: what is the same for all of its requests. */
export interface Principal {
  readonly kind: 'known';
  readonly tenant: TenantRoute;
  readonly account: Account;
  readonly subject: string;
  readonly roles: readonly string[];
  /** Wall ms. */
  readonly expiresAtMs: number;
  readonly flows: Map<Entry, Flow>;
  /** Its credential, for the connections that it is used on to compare with. */
  bytes?: Buffer;
}

const LATE: Refused = { kind: 'refused', reason: 'busy' };

/** What a credential that stands alone is found by. */
function markOf(head: Head): string | undefined {
  const bearer = head.noted(KNOWN.authorization);
  const key = head.noted(KNOWN.apiKey);
  const field = Math.max(bearer, key);
  if (field < 0 || Math.min(bearer, key) !== -1) return undefined;
  const base = field * SLOT;
  const bytes = head.buf.subarray(head.at[base + VALUE_AT], head.at[base + VALUE_END]);
  return `${head.known[field]} ${hash('sha256', bytes, 'base64')}`;
}

/** What it reads of an exchange. */
export type Shown = Pick<ExchangeView, 'head' | 'peer' | 'remoteAddress'>;

export type Refused = Extract<AuthAnswer, { readonly kind: 'refused' }>;

/** What one client connection was last asked for; kept in its memo. */
export class Seat {
  /** Of the last credential: its field and its bytes, and under which table it was verified. */
  known = 0;
  bytes: Buffer = NO_BYTES;
  table = -1;
  principal: Principal | undefined;
  /** The last Host field, and the lines made of it. */
  host: Buffer = NO_BYTES;
  lines = '';
  readonly hostMemo = new HostMemo();
}

export function seatOf(view: { memo: unknown }): Seat {
  const { memo } = view;
  if (memo instanceof Seat) return memo;
  const seat = new Seat();
  view.memo = seat;
  return seat;
}

/** Takes as long for bytes that differ at once as for equal ones: PR3. */
export function sameBytes(known: Uint8Array, buf: Uint8Array, from: number, to: number): boolean {
  const { length } = known;
  if (length !== to - from) return false;
  let different = 0;
  for (let i = 0; i < length; i += 1) {
    different |= (known[i] as number) ^ (buf[from + i] as number);
  }
  return different === 0;
}

export class Principals {
  readonly #auth: Authenticator;
  readonly #admission: Admission;
  readonly #known = new Map<string, Principal>();
  /** Grows with each table. */
  #table = 0;

  constructor(auth: Authenticator, admission: Admission) {
    this.#auth = auth;
    this.#admission = admission;
  }

  get size(): number {
    return this.#known.size;
  }

  /** Takes over a table; throws, and keeps nothing, if the authenticator cannot. */
  use(routes: Routes): void {
    this.#table += 1;
    this.#known.clear();
    this.#auth.use(routes);
  }

  /** Wall ms. */
  find(view: Shown, seat: Seat, nowMs: number): Principal | Refused | Promise<Principal | Refused> {
    const { head, peer } = view;
    const bearer = head.noted(KNOWN.authorization);
    const key = head.noted(KNOWN.apiKey);
    // Exactly one field of one kind, or a certificate alone; all else is refused in any case.
    const isOne = bearer === -1 ? key >= -1 : bearer >= 0 && key === -1;
    const field = Math.max(bearer, key);
    if (!isOne || (field < 0 && peer === undefined)) return this.#ask(view, undefined, nowMs);
    const known = field < 0 ? KNOWN.none : (head.known[field] as number);
    const base = field * SLOT;
    const from = field < 0 ? 0 : (head.at[base + VALUE_AT] as number);
    const to = field < 0 ? 0 : (head.at[base + VALUE_END] as number);
    const last = seat.principal;
    if (
      last !== undefined &&
      seat.table === this.#table &&
      seat.known === known &&
      sameBytes(seat.bytes, head.buf, from, to) &&
      last.expiresAtMs > nowMs
    ) {
      return last;
    }
    const bytes = Buffer.from(head.buf.subarray(from, to));
    // With a certificate beside it the answer is this connection's own.
    const mark = peer === undefined ? `${known} ${hash('sha256', bytes, 'base64')}` : undefined;
    const found = mark === undefined ? undefined : this.#known.get(mark);
    if (found !== undefined && found.expiresAtMs > nowMs) {
      this.#sit(seat, known, bytes, found);
      return found;
    }
    if (mark !== undefined) this.#known.delete(mark);
    const answer = this.#ask(view, mark, nowMs);
    // One that comes later is found by its digest next time.
    if (!(answer instanceof Promise) && answer.kind === 'known')
      this.#sit(seat, known, bytes, answer);
    return answer;
  }

  #ask(
    view: Shown,
    mark: string | undefined,
    nowMs: number,
  ): Principal | Refused | Promise<Principal | Refused> {
    const table = this.#table;
    const { head, remoteAddress } = view;
    // One that has ended while its connection stayed open is nobody's any more.
    const peer = view.peer !== undefined && view.peer.notAfterMs > nowMs ? view.peer : undefined;
    const answer = this.#auth.authenticate(head, nowMs, peer, remoteAddress);
    if (!(answer instanceof Promise)) return this.#met(answer, mark, peer);
    // Under another table by now: asked again, which no longer waits for the signature.
    return answer.then((known) => {
      if (table === this.#table) return this.#met(known, mark, peer);
      // Once its client is gone its head is another request's, and nobody waits for this answer.
      return mark === undefined || mark === markOf(view.head) ? this.#ask(view, mark, nowMs) : LATE;
    });
  }

  #met(
    answer: AuthAnswer,
    mark: string | undefined,
    peer: PeerCertificate | undefined,
  ): Principal | Refused {
    if (answer.kind === 'refused') return answer;
    const { tenant, subject, roles, expiresAtMs } = answer;
    const found = mark === undefined ? undefined : this.#known.get(mark);
    if (found !== undefined) return found;
    const principal: Principal = {
      kind: 'known',
      tenant,
      account: accountOf(this.#admission, tenant),
      subject,
      roles,
      expiresAtMs: Math.min(expiresAtMs, peer?.notAfterMs ?? NEVER),
      flows: new Map(),
    };
    if (mark !== undefined) this.#remember(mark, principal);
    return principal;
  }

  #remember(mark: string, principal: Principal): void {
    if (this.#known.size >= PRINCIPALS_MAX) {
      const oldest = this.#known.keys().next().value;
      if (oldest !== undefined) this.#known.delete(oldest);
    }
    this.#known.set(mark, principal);
  }

  #sit(seat: Seat, known: number, bytes: Buffer, principal: Principal): void {
    seat.known = known;
    // One copy for all of its connections: whoever is found by a digest has the same bytes.
    seat.bytes = principal.bytes ??= bytes;
    seat.table = this.#table;
    seat.principal = principal;
  }
}
