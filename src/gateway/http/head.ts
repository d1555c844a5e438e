// What does one message head say? Offsets into the bytes it came in; strings are made only of what
// somebody asks for. One object serves many messages, so that a request costs no garbage here.
//
//   HE1. Offsets are valid for `buf` only, from a DONE of the parser until `reset`.
import type { RefusalCode } from './refusal.ts';
import { latin1 } from './chars.ts';
import { type FieldName, isField, NOTED_COUNT, NOTED_FROM } from './names.ts';

export interface HeadLimits {
  readonly headBytes: number;
  readonly fields: number;
  readonly targetBytes: number;
}

/** Offsets kept for each field. */
export const SLOT = 4;
export const LINE_AT = 0;
export const NAME_END = 1;
export const VALUE_AT = 2;
export const VALUE_END = 3;

export const STAGE = { start: 0, fields: 1 } as const;

const EMPTY = Buffer.alloc(0);

export class Head {
  readonly limits: HeadLimits;
  buf: Buffer = EMPTY;
  /** After the empty line. */
  end = 0;
  count = 0;
  readonly at: Int32Array;
  readonly known: Uint8Array;
  /** For each noted kind of field (`KNOWN`): its index, -1 if there is none, -2 if several. */
  readonly #noted = new Int16Array(NOTED_COUNT).fill(-1);
  #hasNoted = false;
  /** Where the first unfinished line begins. */
  pos = 0;
  stage: number = STAGE.start;
  fault: RefusalCode = 'bad-method';

  #store: Buffer = EMPTY;

  lineAt = 0;
  lineEnd = 0;
  methodEnd = 0;
  targetAt = 0;
  targetEnd = 0;
  /** Of the question mark, or the end of the target. */
  queryAt = 0;
  /** 10 or 11. */
  version = 11;
  isHead = false;
  /** Absolute-form: where its path begins. */
  pathAt = 0;
  status = 0;

  hostField = -1;
  upgradeField = -1;
  /** -1: none. */
  contentLength = -1;
  chunked = false;
  close = false;
  keepAlive = false;
  asksUpgrade = false;
  /** Some field ends at this hop. */
  hasHop = false;
  /** A Connection field names others, which then end here too. */
  namesOthers = false;
  expectsContinue = false;
  /** Fields that pass whatever is dropped, or -1: this request's id and trace were looked at. */
  keptId = -1;
  keptTrace = -1;

  constructor(limits: HeadLimits) {
    this.limits = limits;
    this.at = new Int32Array(limits.fields * SLOT);
    this.known = new Uint8Array(limits.fields);
  }

  reset(): void {
    this.buf = EMPTY;
    this.end = 0;
    this.count = 0;
    this.pos = 0;
    this.stage = STAGE.start;
    this.isHead = false;
    this.status = 0;
    this.hostField = -1;
    this.upgradeField = -1;
    this.contentLength = -1;
    this.chunked = false;
    this.close = false;
    this.keepAlive = false;
    this.asksUpgrade = false;
    this.hasHop = false;
    this.namesOthers = false;
    this.expectsContinue = false;
    this.keptId = -1;
    this.keptTrace = -1;
    if (this.#hasNoted) this.#noted.fill(-1);
    this.#hasNoted = false;
  }

  note(known: number, field: number): void {
    this.#hasNoted = true;
    const at = known - NOTED_FROM;
    this.#noted[at] = this.#noted[at] === -1 ? field : -2;
  }

  /** Index of the field of this noted kind; -1: none, -2: several. */
  noted(known: number): number {
    return this.#noted[known - NOTED_FROM] as number;
  }

  /** Copies the bytes that it was parsed from: they are overwritten by the next read. */
  own(): void {
    const { end } = this;
    if (this.#store.length < end) this.#store = Buffer.allocUnsafeSlow(end <= 2_048 ? 2_048 : end);
    this.buf.copy(this.#store, 0, 0, end);
    this.buf = this.#store;
  }

  text(from: number, to: number): string {
    return latin1(this.buf, from, to);
  }

  get method(): string {
    return this.text(this.lineAt, this.methodEnd);
  }

  /** As received. */
  get target(): string {
    return this.text(this.targetAt, this.targetEnd);
  }

  /** Path and query: of an absolute-form target without its host. */
  get path(): string {
    if (this.pathAt === this.targetAt) return this.target;
    const rest = this.text(this.pathAt, this.targetEnd);
    if (rest.startsWith('/')) return rest;
    return rest === '' && this.method === 'OPTIONS' ? '*' : `/${rest}`;
  }

  get host(): string {
    return this.hostField < 0 ? '' : this.valueAt(this.hostField);
  }

  /** May another message follow here? After a wish to switch, what follows is open. */
  get persistent(): boolean {
    if (this.version !== 11 || this.close) return false;
    return !this.asksUpgrade || this.upgradeField < 0;
  }

  /** A WebSocket handshake; other protocols are never switched to. */
  get asksWebSocket(): boolean {
    if (!this.asksUpgrade || this.upgradeField < 0) return false;
    return this.valueAt(this.upgradeField).toLowerCase() === 'websocket';
  }

  nameAt(field: number): string {
    const base = field * SLOT;
    return this.text(this.at[base] ?? 0, this.at[base + NAME_END] ?? 0);
  }

  valueAt(field: number): string {
    const base = field * SLOT;
    return this.text(this.at[base + VALUE_AT] ?? 0, this.at[base + VALUE_END] ?? 0);
  }

  /** Index of the first field of this name from `from` on, or -1. */
  find(name: FieldName, from = 0): number {
    for (let field = from; field < this.count; field += 1) {
      const base = field * SLOT;
      const at = this.at[base] as number;
      if (isField(this.buf, at, (this.at[base + NAME_END] as number) - at, name)) return field;
    }
    return -1;
  }

  /** Value of the first field of this name. */
  value(name: FieldName): string | undefined {
    const field = this.find(name);
    return field < 0 ? undefined : this.valueAt(field);
  }
}

/** Heads that are not in use. */
export class HeadShelf {
  readonly #limits: HeadLimits;
  readonly #free: Head[] = [];

  constructor(limits: HeadLimits) {
    this.#limits = limits;
  }

  take(): Head {
    return this.#free.pop() ?? new Head(this.#limits);
  }

  give(head: Head): void {
    head.reset();
    if (this.#free.length < 1_024) this.#free.push(head);
  }
}
