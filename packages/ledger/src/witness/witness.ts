// What does a witness answer to add-checkpoint? Joins the decision, the keys and the memory, and
// says which HTTP status the specification wants for each outcome. No network in here.
// WI1. No cosignature leaves before the record that forbids a contradicting one is on disk; each
//      answer of 200 has its own successful save.
// WI2. Requests for one log are decided one after the other, over at most `queueMax` waiting ones.
// WI3. After a failed save the memory is read again from the store: nothing is assumed.

import { sameBytes } from '../bytes.ts';
import { errorText } from '../errors.ts';
import { parseNote, signatureLine, verifyNote } from '../note.ts';
import type { Signer, VerifierKey } from '../note.ts';
import { decideCosign } from './decide.ts';
import type { Cosigned, Decision } from './decide.ts';
import { SIZE_CONTENT_TYPE, parseAddCheckpoint, parseForeignHead } from './request.ts';
import type { AddCheckpoint, ForeignHead } from './request.ts';
import { originHash } from './store.ts';
import type { WitnessRecord, WitnessStore } from './store.ts';

/** A log that the witness serves. Every signature of these keys on a checkpoint must be good. */
export interface WitnessedLog {
  readonly origin: string;
  readonly vkeys: readonly string[];
}

export interface WitnessAnswer {
  readonly status: 200 | 400 | 403 | 404 | 409 | 422 | 500 | 503;
  readonly contentType: string;
  readonly body: string;
}

export type WitnessEvent =
  | {
      readonly kind: 'cosigned';
      readonly origin: string;
      readonly size: number;
      readonly timestampS: number;
    }
  | { readonly kind: 'refused'; readonly status: number; readonly reason: string }
  | {
      /** The log signed something that contradicts what we cosigned: evidence of a fork. */
      readonly kind: 'contradiction';
      readonly origin: string;
      readonly size: number;
      readonly cosigned: string;
      readonly submitted: string;
    };

export interface WitnessParts {
  readonly logs: readonly WitnessedLog[];
  /** Keys of type 0x04 or 0x06: all of them sign every answer. */
  readonly cosigners: readonly Signer[];
  readonly store: WitnessStore;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  readonly onEvent?: (event: WitnessEvent) => void;
  /** Requests that may wait for one log. Default 64. */
  readonly queueMax?: number;
}

/** A request whose origin and signatures are good. */
interface Submitted {
  readonly request: AddCheckpoint;
  readonly head: ForeignHead;
  /** The note's text, with extension lines if it has some. */
  readonly text: string;
  readonly own: string;
}

interface LogSlot extends WitnessedLog {
  turn: Promise<unknown>;
  waiting: number;
}

const QUEUE_MAX = 64;

export class Witness {
  readonly #parts: WitnessParts;
  readonly #slots = new Map<string, LogSlot>();
  readonly #byHash = new Map<string, LogSlot>();

  constructor(parts: WitnessParts) {
    this.#parts = parts;
    for (const log of parts.logs) {
      const slot = { ...log, turn: Promise.resolve(), waiting: 0 };
      this.#slots.set(log.origin, slot);
      this.#byHash.set(originHash(log.origin), slot);
    }
  }

  /** Never rejects: what fails inside is a 500 and an event. */
  async addCheckpoint(body: string): Promise<WitnessAnswer> {
    const parsed = parseAddCheckpoint(body);
    if (parsed.kind === 'malformed') return this.#refuse(400, parsed.reason);
    const { request } = parsed;
    const origin = request.checkpoint.slice(0, Math.max(0, request.checkpoint.indexOf('\n')));
    const slot = this.#slots.get(origin);
    if (slot === undefined) return this.#refuse(404, 'unknown log');
    // A text that is no note at all has no good signature either: the same status.
    const verdict = verifyNote(request.checkpoint, slot.vkeys);
    if (verdict.kind === 'invalid') return this.#refuse(403, verdict.reason);
    const { text } = verdict.note;
    const head = parseForeignHead(text);
    if (head === undefined) return this.#refuse(400, 'the note is not a checkpoint');
    const own = ownLines(request.checkpoint, verdict.good);
    return this.#inTurn(slot, () => this.#decide(slot, { request, head, text, own }));
  }

  /** The newest cosigned checkpoint for monitors, by the hex SHA-256 of the origin. */
  async checkpoint(hash: string): Promise<WitnessAnswer> {
    const slot = this.#byHash.get(hash);
    if (slot === undefined) return this.#refuse(404, 'unknown log');
    return this.#inTurn(slot, async () => {
      const record = await this.#parts.store.load(slot.origin);
      if (record === undefined) return this.#refuse(404, 'nothing was cosigned yet');
      return answer(200, record.checkpoint);
    });
  }

  /** Resolves when every request that was taken has its answer. */
  async settled(): Promise<void> {
    await Promise.all([...this.#slots.values()].map(({ turn }) => turn));
  }

  /** WI2. */
  async #inTurn(slot: LogSlot, work: () => Promise<WitnessAnswer>): Promise<WitnessAnswer> {
    if (slot.waiting >= (this.#parts.queueMax ?? QUEUE_MAX)) {
      return this.#refuse(503, 'too many requests for this log');
    }
    slot.waiting += 1;
    const done = slot.turn.then(work).catch((cause: unknown) => {
      // The message may hold a path of this machine: it goes to the operator, not to the client.
      this.#tell({ kind: 'refused', status: 500, reason: errorText(cause) });
      return answer(500, 'the witness could not read or write its record\n');
    });
    slot.turn = done;
    try {
      return await done;
    } finally {
      slot.waiting -= 1;
    }
  }

  /** WI1, WI3: the store is asked each time, so no memory can be ahead of it. */
  async #decide(slot: LogSlot, submitted: Submitted): Promise<WitnessAnswer> {
    const { request, head } = submitted;
    const before = await this.#parts.store.load(slot.origin);
    const nowS = Math.floor(this.#parts.nowMs() / 1000);
    const decision = decideCosign(request, head, before, nowS);
    if (decision.kind === 'cosign') return this.#cosign(slot, decision.next, submitted);
    await this.#keepContradiction(slot.origin, head, before, request.checkpoint);
    return this.#answerRefusal(decision);
  }

  async #cosign(slot: LogSlot, next: Cosigned, submitted: Submitted): Promise<WitnessAnswer> {
    const { text, own } = submitted;
    const { size, timestampS } = next;
    const time = { timestampS: BigInt(timestampS) };
    const lines = this.#parts.cosigners.map((key) => signatureLine(text, key, time)).join('');
    const checkpoint = `${text}\n${own}${lines}`;
    await this.#parts.store.save({ ...next, origin: slot.origin, checkpoint });
    this.#tell({ kind: 'cosigned', origin: slot.origin, size, timestampS });
    return answer(200, lines);
  }

  #answerRefusal(decision: Exclude<Decision, { kind: 'cosign' }>): WitnessAnswer {
    switch (decision.kind) {
      case 'old-above-size':
        return this.#refuse(400, 'the old size is larger than the checkpoint');
      case 'conflict':
        this.#tell({ kind: 'refused', status: 409, reason: `at size ${decision.size}` });
        return { status: 409, contentType: SIZE_CONTENT_TYPE, body: `${decision.size}\n` };
      case 'unproven':
        return this.#refuse(422, decision.reason);
    }
  }

  /** Two signed roots for one size prove a fork, whatever the rest of the request says. */
  async #keepContradiction(
    origin: string,
    head: ForeignHead,
    before: WitnessRecord | undefined,
    submitted: string,
  ): Promise<void> {
    if (before === undefined || head.size !== before.size) return;
    if (sameBytes(head.root, before.root)) return;
    const cosigned = before.checkpoint;
    this.#tell({ kind: 'contradiction', origin, size: head.size, cosigned, submitted });
    await this.#parts.store.keepEvidence(origin, `${cosigned}\n${submitted}`);
  }

  #refuse(status: 400 | 403 | 404 | 422 | 503, reason: string): WitnessAnswer {
    this.#tell({ kind: 'refused', status, reason });
    return answer(status, `${reason}\n`);
  }

  #tell(event: WitnessEvent): void {
    this.#parts.onEvent?.(event);
  }
}

function answer(status: WitnessAnswer['status'], body: string): WitnessAnswer {
  return { status, contentType: 'text/plain; charset=utf-8', body };
}

/** The log's own good signatures, verbatim: what strangers added does not go on to monitors. */
function ownLines(note: string, good: readonly { readonly key: VerifierKey }[]): string {
  const trusted = new Set(good.map(({ key }) => `${key.name}+${key.keyId}`));
  const lines = note.slice(note.lastIndexOf('\n\n') + 2).split('\n');
  const signatures = parseNote(note)?.signatures ?? [];
  return signatures
    .flatMap(({ name, keyId }, at) => (trusted.has(`${name}+${keyId}`) ? [`${lines[at]}\n`] : []))
    .join('');
}
