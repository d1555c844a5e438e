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
}

const LENGTH = 55;
const ZERO = 48;
const DASH = 45;
const FLAGS = ['00', '01', '02', '03'] as const;
const POOL_BYTES = 4_096;
const MOST = 0x1_0000_0000;

/** Asking the system for a few random bytes costs as much as asking for many. */
const pool = Buffer.alloc(POOL_BYTES);
let digits = '';
let used = 0;

function hex(count: 16 | 32): string {
  if (used + count > digits.length) {
    randomFillSync(pool);
    digits = pool.toString('hex');
    used = 0;
  }
  used += count;
  const text = digits.slice(used - count, used);
  return isZero(text, 0, count) ? hex(count) : text;
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
    id: exported ? hex(16) : parent,
    parent,
    flags,
    sampled: flags === '01' || flags === '03',
    passes: !exported,
  };
}

function newTrace(ratio: number): TraceSpan {
  const trace = hex(32);
  // The trace's own digits are the die: who sees the same trace with the same ratio agrees.
  const sampled = ratio >= 1 || Number.parseInt(trace.slice(24), 16) < ratio * MOST;
  const flags = sampled ? '01' : '00';
  return { trace, id: hex(16), parent: '', flags, sampled, passes: false };
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
  if (!span.passes || head.namesOthers) return `traceparent: ${traceparent(span)}\r\n`;
  head.keptTrace = head.noted(KNOWN.traceparent);
  return '';
}
