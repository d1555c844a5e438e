// What are the exact bytes of a JSON value? RFC 8785 (JCS): sorted keys, no white space, ECMAScript
// numbers. The same value always gives the same bytes, so that a hash of it means something.
// It is written for every entry, so the usual case is short: names that were seen before, and texts
// that need no escape, go out as they are.
// J1. What has no canonical form is refused: NaN, infinities, lone surrogates, cycles (by depth),
//     functions, symbols, bigints and objects with a class.

import { LedgerError } from './errors.ts';

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

export type JsonObject = { readonly [key: string]: JsonValue };

const DEPTH_MAX = 64;

/** Members whose value is undefined are left out, as JSON.stringify does. */
export function canonicalJson(value: unknown): string {
  return write(value, 0);
}

function write(value: unknown, depth: number): string {
  if (depth > DEPTH_MAX) throw invalid(`nested deeper than ${DEPTH_MAX}`);
  switch (typeof value) {
    case 'string':
      return text(value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'number':
      if (!Number.isFinite(value)) throw invalid(`${value} has no JSON form`);
      return `${value}`;
    case 'object':
      if (value === null) return 'null';
      if (Array.isArray(value)) return list(value, depth);
      return members(value, depth);
    default:
      throw invalid(`a ${typeof value} has no JSON form`);
  }
}

/** Anything that JSON escapes, and all that is not ASCII. */
const UNUSUAL = /[^ !#-[\]-~]/;
/** Longer texts are copied faster by the engine itself. */
const SHORT_CHARS = 128;

function text(value: string): string {
  if (value.length <= SHORT_CHARS && !UNUSUAL.test(value)) return `"${value}"`;
  if (!value.isWellFormed()) throw invalid('a string holds half of a surrogate pair');
  return JSON.stringify(value);
}

function list(value: readonly unknown[], depth: number): string {
  let out = '[';
  for (let at = 0; at < value.length; at++) {
    if (at > 0) out += ',';
    out += write(value[at], depth + 1);
  }
  return `${out}]`;
}

function members(value: object, depth: number): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw invalid('only plain objects have a canonical form');
  }
  // Own, enumerable names are all that is read.
  const record = value as Readonly<Record<string, unknown>>;
  let out = '';
  const names = sortTexts(Object.keys(value));
  for (const name of names) {
    const member = record[name];
    if (member === undefined) continue;
    out += out === '' ? '{' : ',';
    out += memberStart(name) + write(member, depth + 1);
  }
  return out === '' ? '{}' : `${out}}`;
}

const STARTS_MAX = 4096;
const starts = new Map<string, string>();

/** `"name":`. The same few names stand in all entries; callers may make names up, so it ends. */
function memberStart(name: string): string {
  const known = starts.get(name);
  if (known !== undefined) return known;
  const start = `${text(name)}:`;
  if (name.length > SHORT_CHARS) return start;
  if (starts.size >= STARTS_MAX) starts.clear();
  starts.set(name, start);
  return start;
}

const FEW = 24;

/** In place, by UTF-16 code units, as RFC 8785 asks; a few are sorted without any allocation. */
export function sortTexts(texts: string[]): string[] {
  // Without a comparison function this is the order of code units.
  if (texts.length > FEW) return texts.sort();
  for (let at = 1; at < texts.length; at++) {
    const text = texts[at] ?? '';
    let to = at;
    for (; to > 0; to--) {
      const before = texts[to - 1] ?? '';
      if (before <= text) break;
      texts[to] = before;
    }
    texts[to] = text;
  }
  return texts;
}

function invalid(why: string): LedgerError {
  return new LedgerError('KIN_LEDGER_ENTRY_INVALID', `not a canonical JSON value: ${why}`);
}
