// Who sent this? An API key, a JWT or a client certificate is checked against the table, and says
// which tenant it is, with which roles and until when. Who asks keeps the answer (principals.ts);
// here only what costs much is remembered: what tokens say, and for moments what was refused.
//
//   AU1. A key is accepted only if its id is in the table, its MAC matches in constant time and it
//        has not expired.
//   AU2. A token is accepted only with a listed asymmetric algorithm, a known issuer, the right
//        audience, a valid signature and a time of expiry in the future.
//   AU3. Two credentials in one request are none; a certificate and a credential of one tenant are
//        one, of different tenants none.
//   AU4. A new table counts from the next request on: what was revoked is refused. What a token
//        says is kept over tables only while the rules for tokens are the same.
//   AU5. Requests with one new token check it once. Signatures take turns (auth-turns.ts); a token
//        that was refused is refused for 2 s without being looked at again.
//   AU6. An unknown `kid` tells the controller to look for new keys, at most every 10 s an issuer.
//   AU7. No credential, nor a part of one, stands in an answer, an event or an error.
import { hash } from 'node:crypto';
import type { TenantRoute } from '../model/routing.ts';
import { tenantOfPeer } from './auth-peer.ts';
import type { Peer, PeerAnswer } from './auth-peer.ts';
import { TOKEN_CHARS_MAX, lookAtToken, tokenRules, verifyToken } from './auth-token.ts';
import type { Plausible, Said, TokenRule } from './auth-token.ts';
import { Turns } from './auth-turns.ts';
import type { TurnLimits } from './auth-turns.ts';
import type { Head } from './http/head.ts';
import { fieldName } from './http/names.ts';
import { keyMac, parseKey, sameMac } from './keys.ts';
import { rolesIn } from './roles.ts';
import type { Routes } from './routes.ts';

const SAID_MAX = 10_000;
const REFUSED_MAX = 10_000;
const REFUSED_MS = 2_000;
const WANTED_MS = 10_000;
const AUTHORIZATION = fieldName('authorization');
const API_KEY = fieldName('x-api-key');
const NO_ROLES: readonly string[] = [];
/** As long as any: comparing with it takes as long. */
const NO_MAC = 'A'.repeat(43);

/** `busy`: no turn was free to check it; the same credential may be good in a second. */
export type AuthRefusal = 'missing' | 'ambiguous' | 'invalid' | 'expired' | 'busy';

export type AuthAnswer =
  | {
      readonly kind: 'known';
      readonly tenant: TenantRoute;
      readonly subject: string;
      readonly roles: readonly string[];
      /** Wall ms; infinite where nothing ends it but a table. */
      readonly expiresAtMs: number;
    }
  | { readonly kind: 'refused'; readonly reason: AuthRefusal };

type Known = AuthAnswer & { readonly kind: 'known' };

/** What it needs of a compiled table. */
export type AuthRoutes = Pick<Routes, 'pepper' | 'jwt' | 'tenant' | 'key' | 'certificate'>;

export interface Authenticator {
  /** Takes over a table. */
  use(routes: AuthRoutes): void;
  /**
   * `nowMs`: wall time. `source`: who is charged for signatures, such as the client's address. A
   * promise only for a token that is seen for the first time.
   */
  authenticate(
    head: Head,
    nowMs: number,
    peer?: Peer,
    source?: string,
  ): AuthAnswer | Promise<AuthAnswer>;
}

export interface AuthOptions {
  /** The issuer signs with a key that the table does not have. */
  readonly onKeysWanted?: (issuer: string) => void;
  readonly turns?: TurnLimits;
}

const refuse = (reason: AuthRefusal): AuthAnswer => ({ kind: 'refused', reason });

export function openAuthenticator(options: AuthOptions = {}): Authenticator {
  return new RequestAuthenticator(options);
}

class RequestAuthenticator implements Authenticator {
  readonly #options: AuthOptions;
  readonly #turns: Turns;
  /** By digest of the token, oldest first. */
  readonly #said = new Map<string, Said>();
  readonly #refused = new Map<string, { readonly reason: AuthRefusal; readonly untilMs: number }>();
  readonly #checking = new Map<string, Promise<AuthAnswer>>();
  readonly #wantedMs = new Map<string, number>();
  #routes: AuthRoutes | undefined;
  #rules: readonly TokenRule[] = [];
  #rulesText = '[]';

  constructor(options: AuthOptions) {
    this.#options = options;
    this.#turns = new Turns(options.turns);
  }

  use(routes: AuthRoutes): void {
    const text = JSON.stringify(routes.jwt);
    if (text !== this.#rulesText) {
      this.#rules = tokenRules(routes.jwt);
      this.#rulesText = text;
      this.#said.clear();
    }
    this.#routes = routes;
    // AU4: what was refused may be good now.
    this.#refused.clear();
  }

  authenticate(
    head: Head,
    nowMs: number,
    peer?: Peer,
    source = '',
  ): AuthAnswer | Promise<AuthAnswer> {
    if (this.#routes === undefined) return refuse('invalid');
    const shown = credentialOf(head);
    if (shown.kind === 'refused') return refuse(shown.reason);
    const certificate = tenantOfPeer(this.#routes, peer);
    if (certificate.kind === 'ambiguous') return refuse('ambiguous');
    if (shown.kind === 'none') return byCertificate(certificate);
    const answer = this.#byText(this.#routes, shown, nowMs, source);
    if (certificate.kind === 'none') return answer;
    const { id } = certificate.tenant;
    return answer instanceof Promise
      ? answer.then((known) => ofTenant(known, id))
      : ofTenant(answer, id);
  }

  #byText(
    routes: AuthRoutes,
    shown: Shown,
    nowMs: number,
    source: string,
  ): AuthAnswer | Promise<AuthAnswer> {
    const { text } = shown;
    if (text.length > TOKEN_CHARS_MAX) return refuse('invalid');
    if (shown.kind === 'key' || text.startsWith('kin_')) return byKey(routes, text, nowMs);
    if (this.#rules.length === 0) return refuse('invalid');
    const mark = hash('sha256', text, 'base64');
    const said = this.#said.get(mark);
    if (said !== undefined) return this.#answer(said, nowMs);
    const before = this.#refused.get(mark);
    if (before !== undefined && before.untilMs > nowMs) return refuse(before.reason);
    const running = this.#checking.get(mark);
    if (running !== undefined) return running;
    const look = lookAtToken(this.#rules, text, nowMs);
    if (look.kind === 'plausible') return this.#check(look, mark, nowMs, source);
    if (look.wanted !== undefined) this.#want(look.wanted, nowMs);
    return this.#refuse(mark, look.reason, nowMs);
  }

  /** AU5. */
  #check(
    look: Plausible,
    mark: string,
    nowMs: number,
    source: string,
  ): AuthAnswer | Promise<AuthAnswer> {
    const turn = this.#turns.take(source);
    if (turn === 'full') return refuse('busy');
    const answer = this.#verify(look, mark, nowMs, turn).finally(() => {
      this.#checking.delete(mark);
      this.#turns.done();
    });
    this.#checking.set(mark, answer);
    return answer;
  }

  async #verify(
    look: Plausible,
    mark: string,
    nowMs: number,
    turn: 'now' | Promise<void>,
  ): Promise<AuthAnswer> {
    if (turn !== 'now') await turn;
    const rules = this.#rules;
    const verified = await verifyToken(look, nowMs);
    // Keys may have been withdrawn while this one was used: then the verdict is stale.
    if (this.#rules !== rules || !this.#areOf(look, rules)) return refuse('busy');
    if (verified.kind === 'refused') return this.#refuse(mark, verified.reason, nowMs);
    keep(this.#said, SAID_MAX, mark, verified.said);
    return this.#answer(verified.said, nowMs);
  }

  #areOf(look: Plausible, rules: readonly TokenRule[]): boolean {
    return look.ways.every((way) => rules.some(({ rule }) => rule === way.rule));
  }

  #answer(said: Said, nowMs: number): AuthAnswer {
    if (said.expiresAtMs <= nowMs) return refuse('expired');
    const tenant = this.#routes?.tenant(said.tenant);
    if (tenant === undefined) return refuse('invalid');
    const { subject, roles, expiresAtMs } = said;
    return { kind: 'known', tenant, subject, roles, expiresAtMs };
  }

  #refuse(mark: string, reason: AuthRefusal, nowMs: number): AuthAnswer {
    keep(this.#refused, REFUSED_MAX, mark, { reason, untilMs: nowMs + REFUSED_MS });
    return refuse(reason);
  }

  /** AU6. Only issuers of rules get here, so that the map stays small. */
  #want(issuer: string, nowMs: number): void {
    const last = this.#wantedMs.get(issuer);
    // A clock that was set back must not silence it for long.
    if (last !== undefined && nowMs >= last && nowMs - last < WANTED_MS) return;
    this.#wantedMs.set(issuer, nowMs);
    this.#options.onKeysWanted?.(issuer);
  }
}

function keep<V>(map: Map<string, V>, max: number, mark: string, value: V): void {
  map.delete(mark);
  if (map.size >= max) {
    const oldest = map.keys().next().value;
    if (oldest !== undefined) map.delete(oldest);
  }
  map.set(mark, value);
}

function byKey(routes: AuthRoutes, text: string, nowMs: number): AuthAnswer {
  const key = parseKey(text);
  if (key === undefined) return refuse('invalid');
  const found = routes.key(key.id);
  // The MAC is computed also for an unknown id, so that time does not tell which ids exist.
  const matches = sameMac(keyMac(routes.pepper, key.secret), found?.rule.mac ?? NO_MAC);
  if (found === undefined || !matches) return refuse('invalid');
  const { tenant, rule } = found;
  const expiresAtMs = rule.expiresAtMs ?? Number.POSITIVE_INFINITY;
  if (expiresAtMs <= nowMs) return refuse('expired');
  const roles = rule.roles === undefined ? NO_ROLES : rolesIn(rule.roles);
  return { kind: 'known', tenant, subject: `key:${key.id}`, roles, expiresAtMs };
}

function byCertificate(certificate: PeerAnswer): AuthAnswer {
  if (certificate.kind !== 'tenant') return refuse('missing');
  const { tenant, subject } = certificate;
  const expiresAtMs = Number.POSITIVE_INFINITY;
  return { kind: 'known', tenant, subject, roles: NO_ROLES, expiresAtMs } satisfies Known;
}

/** AU3. */
function ofTenant(answer: AuthAnswer, tenant: string): AuthAnswer {
  const isOther = answer.kind === 'known' && answer.tenant.id !== tenant;
  return isOther ? refuse('ambiguous') : answer;
}

interface Shown {
  readonly kind: 'key' | 'bearer';
  readonly text: string;
}

type Credential =
  | Shown
  | { readonly kind: 'none' }
  | { readonly kind: 'refused'; readonly reason: AuthRefusal };

function credentialOf(head: Head): Credential {
  const bearerAt = head.find(AUTHORIZATION);
  const keyAt = head.find(API_KEY);
  if (bearerAt < 0 && keyAt < 0) return { kind: 'none' };
  const name = bearerAt < 0 ? API_KEY : AUTHORIZATION;
  const at = Math.max(bearerAt, keyAt);
  // AU3: of both kinds, or twice of one.
  const isOne = (bearerAt < 0 || keyAt < 0) && head.find(name, at + 1) < 0;
  if (!isOne) return { kind: 'refused', reason: 'ambiguous' };
  const value = head.valueAt(at);
  return bearerAt < 0 ? { kind: 'key', text: value } : { kind: 'bearer', text: bearerOf(value) };
}

function bearerOf(value: string): string {
  return /^bearer +(\S+)$/iu.exec(value)?.[1] ?? '';
}
