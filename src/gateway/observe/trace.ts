// To which trace does a request belong? W3C trace context: a sound `traceparent` is continued with
// a span of the gateway's own, which is the parent of what the replica does; else a trace begins
// here. Where no span of ours is exported, what is sound passes as it came: a parent that nobody
// ever sees would tear the trace apart.
//
//   TR1. What is not exactly of the format begins a new trace; nothing of it goes on.
//   TR2. The sampled flag of the caller is honoured; the ratio decides about new traces only.
//   TR3. A later version than ours is read as far as ours goes, and goes on as ours where a span
//        of ours is its parent.
import { randomFillSync } from 'node:crypto';
import type { Head } from '../http/head.ts';
import { KNOWN } from '../http/names.ts';

export interface TraceSpan {
  /** 32 hexadecimal digits. */
  readonly trace: string;
  /** Of the gateway, 16 digits. */
  readonly id: string;
  /** Of the caller; '' where the trace begins here. */
  readonly parent: string;
  /** Two digits. */
  readonly flags: string;
  readonly sampled: boolean;
  /** The caller's goes on as it came: `id` is the caller's too. */
  readonly passes: boolean;
  /** The whole field for the replica, where it is ready. */
  readonly line: string;
}

const LENGTH = 55;
const ZERO = 48;
const DASH = 45;
const FLAGS = ['00', '01', '02', '03'] as const;
const POOL = 64;
const TRACE_BYTES = 16;
const BYTES = 24;
const MOST = 0x1_0000_0000;
const LINE = Buffer.from(`traceparent: 00-${'0'.repeat(32)}-${'0'.repeat(16)}-00\r\n`, 'latin1');
const TRACE_AT = 'traceparent: 00-'.length;
const TRACE_END = TRACE_AT + 32;
const ID_AT = TRACE_END + 1;
const ID_END = ID_AT + 16;
/** Of the digit that says whether it is sampled. */
const FLAG_AT = ID_END + 2;
const DIGITS = Buffer.from('0123456789abcdef', 'latin1');

/** One that begins here. Its line is ready; the rest is made of it for whoever asks. */
class NewTrace implements TraceSpan {
  readonly line: string;
  readonly sampled: boolean;

  constructor(line: string, sampled: boolean) {
    this.line = line;
    this.sampled = sampled;
  }

  get trace(): string {
    return this.line.slice(TRACE_AT, TRACE_END);
  }

  get id(): string {
    return this.line.slice(ID_AT, ID_END);
  }

  get parent(): string {
    return '';
  }

  get flags(): string {
    return this.sampled ? '01' : '00';
  }

  get passes(): boolean {
    return false;
  }
}

/**
 * Asking the system for a few random bytes costs as much as asking for many, and so does making a
 * text: lines of new traces are made ready in one text, of which each request gets a part.
 */
const random = Buffer.alloc(POOL * BYTES);
const lines = Buffer.alloc(POOL * LINE.length);
let ready = '';
let readyRatio = Number.NaN;
let used = POOL;

function newTrace(ratio: number): TraceSpan {
  if (used >= POOL || ratio !== readyRatio) makeReady(ratio);
  const at = used * LINE.length;
  used += 1;
  const isSampled = ready.charCodeAt(at + FLAG_AT) !== ZERO;
  return new NewTrace(ready.slice(at, at + LINE.length), isSampled);
}

function makeReady(ratio: number): void {
  randomFillSync(random);
  for (let i = 0; i < POOL; i += 1) {
    const from = i * BYTES;
    const at = i * LINE.length;
    lines.set(LINE, at);
    putHex(from, from + TRACE_BYTES, at + TRACE_AT);
    putHex(from + TRACE_BYTES, from + BYTES, at + ID_AT);
    // The trace's own digits are the die: who sees the same trace with the same ratio agrees.
    const isSampled = ratio >= 1 || random.readUInt32BE(from + TRACE_BYTES - 4) < ratio * MOST;
    if (isSampled) lines[at + FLAG_AT] = ZERO + 1;
  }
  ready = lines.toString('latin1');
  readyRatio = ratio;
  used = 0;
}

/** All zeros would be no id. */
function putHex(from: number, to: number, at: number): void {
  let any = 0;
  let pos = at;
  for (let i = from; i < to; i += 1) {
    const byte = random[i] as number;
    any |= byte;
    lines[pos++] = DIGITS[byte >> 4] as number;
    lines[pos++] = DIGITS[byte & 15] as number;
  }
  if (any === 0) lines[at] = ZERO + 1;
}

/** An id of a span in a trace that goes on. */
function spanId(): string {
  return newTrace(Number.isNaN(readyRatio) ? 0 : readyRatio).id;
}

function isZero(text: string, from: number, to: number): boolean {
  for (let i = from; i < to; i += 1) if (text.charCodeAt(i) !== ZERO) return false;
  return true;
}

function isHex(text: string, from: number, to: number): boolean {
  for (let i = from; i < to; i += 1) {
    const code = text.charCodeAt(i);
    if (code < ZERO || code > 102 || (code > 57 && code < 97)) return false;
  }
  return true;
}

function isSound(given: string): boolean {
  if (given.length < LENGTH) return false;
  const isOurs = given.charCodeAt(0) === ZERO && given.charCodeAt(1) === ZERO;
  if (isOurs ? given.length !== LENGTH : !isLater(given)) return false;
  if (given.charCodeAt(2) !== DASH || given.charCodeAt(35) !== DASH) return false;
  if (given.charCodeAt(52) !== DASH || !isHex(given, 53, 55)) return false;
  if (!isHex(given, 3, 35) || !isHex(given, 36, 52)) return false;
  return !isZero(given, 3, 35) && !isZero(given, 36, 52);
}

/** TR3: what a later version adds comes after a dash. */
function isLater(given: string): boolean {
  if (!isHex(given, 0, 2) || given.startsWith('ff')) return false;
  return given.length === LENGTH || given.charCodeAt(LENGTH) === DASH;
}

/**
 * `given`: the value of the only `traceparent`, or undefined. `ratio`: 0–1, of new traces.
 * `exported`: is there a span of ours?
 */
export function traceFrom(given: string | undefined, ratio: number, exported: boolean): TraceSpan {
  if (given === undefined || !isSound(given)) return newTrace(ratio);
  // Of the flags only these two have a meaning that holds for us: the others end here.
  const flags = FLAGS[Number.parseInt(given.slice(54, 55), 16) & 3] ?? '00';
  const parent = given.slice(36, 52);
  return {
    trace: given.slice(3, 35),
    id: exported ? spanId() : parent,
    line: '',
    parent,
    flags,
    sampled: flags === '01' || flags === '03',
    passes: !exported,
  };
}

export function traceOf(head: Head, ratio: number, exported: boolean): TraceSpan {
  const field = head.noted(KNOWN.traceparent);
  // Two of them is a fault of the caller: neither counts.
  return field < 0 ? newTrace(ratio) : traceFrom(head.valueAt(field), ratio, exported);
}

export function traceparent(span: TraceSpan): string {
  return `00-${span.trace}-${span.id}-${span.flags}`;
}

/** The whole line for the replica; '' where the caller's own passes. */
export function traceLine(head: Head, span: TraceSpan): string {
  // A field that Connection names ends here, even this one: then it is added like a new one.
  if (span.line !== '') return span.line;
  if (!span.passes || head.namesOthers) return `traceparent: ${traceparent(span)}\r\n`;
  head.keptTrace = head.noted(KNOWN.traceparent);
  return '';
}
