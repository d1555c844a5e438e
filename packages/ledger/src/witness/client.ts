// Will this witness cosign our checkpoint? One witness, one outstanding question, and everything
// that it answers is checked before it counts. What goes wrong stays with this witness.
// WC1. A checkpoint smaller than one that the witness acknowledged is never sent to it.
// WC2. A cosignature counts when its key, its text and its time are good; anything else is a fault.
// WC3. A fault makes the witness wait: twice as long each time, up to a cap, with jitter.
// WC4. A witness that knows more than our log does is evidence of a roll-back of ours; it is
//      proven when the witness can show a checkpoint with our own signature.

import { LedgerError, errorText } from '../errors.ts';
import type { LedgerClock } from '../files.ts';
import { addSignatures, parseNote, verifyNoteWith } from '../note.ts';
import type { PolicyWitness } from '../policy.ts';
import { examine } from './evidence.ts';
import type { WitnessEvidence } from './evidence.ts';
import { WitnessTimeout } from './http-client.ts';
import type { WitnessHttp, WitnessResponse } from './http-client.ts';
import { SIZE_CONTENT_TYPE, formatAddCheckpoint, parseConflictSize } from './request.ts';

/** A checkpoint of ours with all signatures of the log. */
export interface OwnCheckpoint {
  readonly origin: string;
  readonly size: number;
  /** Base64. */
  readonly root: string;
  readonly text: string;
}

export type WitnessFault =
  | 'timeout'
  | 'unreachable'
  | 'refused'
  | 'garbage'
  | 'bad-signature'
  | 'bad-time'
  | 'conflict-again'
  | 'ahead'
  | 'forgot'
  | 'no-proof';

export type AskOutcome =
  | { readonly kind: 'cosigned'; readonly size: number; readonly lines: string }
  | { readonly kind: 'skipped'; readonly reason: 'busy' | 'waiting' | 'older' | 'done' }
  | {
      readonly kind: 'failed';
      readonly fault: WitnessFault;
      readonly reason: string;
      readonly evidence?: WitnessEvidence;
    };

export interface WitnessStatus {
  readonly name: string;
  readonly url: string;
  /** The largest size that it acknowledged; undefined when nothing is known yet. */
  readonly size: number | undefined;
  readonly state:
    | { readonly kind: 'unasked' }
    | { readonly kind: 'good'; readonly since: string }
    | {
        readonly kind: 'failing';
        readonly fault: WitnessFault;
        readonly reason: string;
        readonly since: string;
        readonly failures: number;
        readonly retryInMs: number;
      };
}

export interface AskedLog {
  /** The newest checkpoint of the log, published or not. */
  size(): number;
  /** Base64 hashes, for 0 < before <= after <= size(). */
  consistency(before: number, after: number): Promise<readonly string[]>;
  readonly vkeys: readonly string[];
}

export interface WitnessClientParts {
  readonly log: AskedLog;
  readonly http: WitnessHttp;
  readonly clock: LedgerClock;
  readonly random: () => number;
  readonly timeoutMs: number;
  readonly retryMinMs: number;
  readonly retryMaxMs: number;
  /** How far the clock of a witness may differ from ours. */
  readonly skewMaxMs: number;
}

const ANSWER_BYTES_MAX = 64 * 1024;
const CHECKPOINT_BYTES_MAX = 320 * 1024;
const REASON_CHARS_MAX = 200;

type Status = WitnessStatus['state'];

export class WitnessClient {
  readonly name: string;
  readonly url: string;
  readonly #witness: PolicyWitness;
  readonly #parts: WitnessClientParts;
  readonly #abort = new AbortController();
  #acknowledged: number | undefined;
  #cosignedSize: number | undefined;
  #state: Status = { kind: 'unasked' };
  #retryAtMs = 0;
  #busy = false;

  constructor(witness: PolicyWitness, parts: WitnessClientParts) {
    if (witness.url === undefined || !/^https?:\/\/[^\s]+$/.test(witness.url)) {
      const why = `the policy names no http(s) address of the witness ${witness.name}`;
      throw new LedgerError('KIN_LEDGER_OPTION_INVALID', why);
    }
    this.name = witness.name;
    this.url = witness.url.replace(/\/+$/, '');
    this.#witness = witness;
    this.#parts = parts;
  }

  /** What an earlier process knew: a cosignature for this size is on our disk. */
  remember(size: number): void {
    this.#acknowledged = Math.max(this.#acknowledged ?? 0, size);
    this.#cosignedSize = this.#acknowledged;
  }

  status(): WitnessStatus {
    const { name, url } = this;
    const state = this.#state;
    const shown = state.kind === 'failing' ? { ...state, retryInMs: this.#retryInMs() } : state;
    return { name, url, size: this.#acknowledged, state: shown };
  }

  /** In how many milliseconds `ask` would ask: Infinity when only a larger size could. */
  readyInMs(size: number): number {
    if (this.#busy || size < (this.#acknowledged ?? 0)) return Infinity;
    return this.#cosignedSize === size ? Infinity : this.#retryInMs();
  }

  #retryInMs(): number {
    if (this.#state.kind !== 'failing') return 0;
    return Math.max(0, Math.ceil(this.#retryAtMs - this.#parts.clock.monotonicMs()));
  }

  close(): void {
    this.#abort.abort();
  }

  /** Never rejects. */
  async ask(checkpoint: OwnCheckpoint): Promise<AskOutcome> {
    if (this.#busy) return { kind: 'skipped', reason: 'busy' };
    if (checkpoint.size < (this.#acknowledged ?? 0)) return { kind: 'skipped', reason: 'older' };
    if (this.#cosignedSize === checkpoint.size) return { kind: 'skipped', reason: 'done' };
    if (this.#retryInMs() > 0) return { kind: 'skipped', reason: 'waiting' };
    this.#busy = true;
    let outcome: AskOutcome;
    try {
      outcome = await this.#ask(checkpoint);
    } catch (cause) {
      const fault = cause instanceof WitnessTimeout ? 'timeout' : 'unreachable';
      outcome = failed(fault, errorText(cause));
    } finally {
      this.#busy = false;
    }
    this.#learn(outcome);
    return outcome;
  }

  async #ask(checkpoint: OwnCheckpoint): Promise<AskOutcome> {
    const first = await this.#post(this.#acknowledged ?? 0, checkpoint);
    if (first === 'no-proof') return failed('no-proof', 'our log gives no consistency proof');
    if (first.status !== 409) return this.#judge(first, checkpoint);
    const told = sizeOf(first);
    if (told === undefined) return failed('garbage', 'a 409 without a tree size');
    if (told > checkpoint.size) return this.#judgeAhead(told, checkpoint);
    const forgot = told < (this.#acknowledged ?? 0);
    if (forgot) {
      // It broke its promise to remember, so what it cosigns proves nothing until a person looked.
      const why = `it acknowledged size ${this.#acknowledged} and now says ${told}`;
      return failed('forgot', why);
    }
    const second = await this.#post(told, checkpoint);
    if (second === 'no-proof') return failed('no-proof', 'our log gives no consistency proof');
    if (second.status === 409) return failed('conflict-again', 'it changed its size meanwhile');
    return this.#judge(second, checkpoint);
  }

  async #post(oldSize: number, checkpoint: OwnCheckpoint): Promise<WitnessResponse | 'no-proof'> {
    const { log } = this.#parts;
    const isTrivial = oldSize === 0 || oldSize === checkpoint.size;
    let proof: readonly string[] = [];
    try {
      if (!isTrivial) proof = await log.consistency(oldSize, checkpoint.size);
    } catch {
      return 'no-proof';
    }
    const body = formatAddCheckpoint(oldSize, proof, checkpoint.text);
    return this.#send('POST', `${this.url}/add-checkpoint`, ANSWER_BYTES_MAX, body);
  }

  #send(
    method: 'GET' | 'POST',
    url: string,
    bytesMax: number,
    body?: string,
  ): Promise<WitnessResponse> {
    const { http, timeoutMs } = this.#parts;
    const { signal } = this.#abort;
    const request = { method, url, timeoutMs, bytesMax, signal };
    return http.send(body === undefined ? request : { ...request, body });
  }

  async #judge(response: WitnessResponse, checkpoint: OwnCheckpoint): Promise<AskOutcome> {
    if (response.status === 200) return this.#judgeLines(response.body, checkpoint);
    const reason = `HTTP ${response.status}: ${clean(response.body)}`;
    // It cannot follow us from what it has. If it can show that we signed that, we forked.
    const evidence = response.status === 422 ? await this.#evidence(checkpoint, 0) : undefined;
    return failed('refused', reason, evidence?.proven === true ? evidence : undefined);
  }

  /** WC2. */
  #judgeLines(lines: string, checkpoint: OwnCheckpoint): AskOutcome {
    const { clock, skewMaxMs } = this.#parts;
    const bare = `${parseNote(checkpoint.text)?.text ?? ''}\n`;
    const note = /^(?:\u2014 [^\n]+\n)+$/.test(lines) ? bare + lines : undefined;
    if (note === undefined || parseNote(note) === undefined) {
      return failed('garbage', 'the answer holds no signature lines');
    }
    const verdict = verifyNoteWith(note, [this.#witness.key]);
    if (verdict.kind === 'invalid') return failed('bad-signature', verdict.reason);
    const nowS = BigInt(Math.floor(clock.nowMs() / 1000));
    const skewS = BigInt(Math.ceil(skewMaxMs / 1000));
    const isSane = verdict.good.every(({ timestampS = 0n }) => {
      const difference = timestampS - nowS;
      return timestampS > 0n && difference <= skewS && difference >= -skewS;
    });
    if (!isSane) return failed('bad-time', 'the time in its cosignature is far from ours');
    const own = ownLines(note, lines, this.#witness.key);
    if (addSignatures(checkpoint.text, own) === undefined) {
      return failed('garbage', 'its signature lines do not fit into the checkpoint');
    }
    return { kind: 'cosigned', size: checkpoint.size, lines: own };
  }

  /** WC4. */
  async #judgeAhead(told: number, checkpoint: OwnCheckpoint): Promise<AskOutcome> {
    if (told <= this.#parts.log.size()) {
      // Another process of ours, or an answer that we did not wait for: our next one is larger.
      this.#acknowledged = told;
      return failed('conflict-again', `it has ${told} already; a newer checkpoint will do`);
    }
    const evidence = await this.#evidence(checkpoint, told);
    return failed('ahead', `it has ${told}, our log only ${this.#parts.log.size()}`, evidence);
  }

  async #evidence(checkpoint: OwnCheckpoint, told: number): Promise<WitnessEvidence> {
    const { log } = this.#parts;
    return examine({
      witness: this.name,
      told,
      checkpoint,
      log,
      fetch: async (hash) => {
        const url = `${this.url}/${hash}/checkpoint`;
        const { status, body } = await this.#send('GET', url, CHECKPOINT_BYTES_MAX);
        return status === 200 ? body : undefined;
      },
    });
  }

  /** WC3. */
  #learn(outcome: AskOutcome): void {
    const { clock, random, retryMinMs, retryMaxMs } = this.#parts;
    const since = new Date(clock.nowMs()).toISOString();
    if (outcome.kind === 'cosigned') {
      this.#acknowledged = outcome.size;
      this.#cosignedSize = outcome.size;
      if (this.#state.kind !== 'good') this.#state = { kind: 'good', since };
    } else if (outcome.kind === 'failed') {
      const before = this.#state.kind === 'failing' ? this.#state : undefined;
      const failures = (before?.failures ?? 0) + 1;
      const waitMs = Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(failures - 1, 30));
      this.#retryAtMs = clock.monotonicMs() + waitMs * (0.5 + random() / 2);
      const { fault, reason } = outcome;
      const first = before?.since ?? since;
      this.#state = { kind: 'failing', fault, reason, since: first, failures, retryInMs: waitMs };
    }
  }
}

function failed(fault: WitnessFault, reason: string, evidence?: WitnessEvidence): AskOutcome {
  const short = clean(reason);
  return evidence === undefined
    ? { kind: 'failed', fault, reason: short }
    : { kind: 'failed', fault, reason: short, evidence };
}

function sizeOf({ contentType, body }: WitnessResponse): number | undefined {
  return contentType === SIZE_CONTENT_TYPE ? parseConflictSize(body) : undefined;
}

/** The lines of the one key that we asked for; a witness may answer with others that it has. */
function ownLines(note: string, lines: string, key: PolicyWitness['key']): string {
  const all = lines.split('\n');
  const signatures = parseNote(note)?.signatures ?? [];
  return signatures
    .flatMap(({ name, keyId }, at) =>
      name === key.name && keyId === key.keyId ? [`${all[at]}\n`] : [],
    )
    .join('');
}

/** A stranger's words go into our state and logs: printable, short. */
function clean(text: string): string {
  return text
    .replaceAll(/[^\u0020-\u007e]+/g, ' ')
    .trim()
    .slice(0, REASON_CHARS_MAX);
}
