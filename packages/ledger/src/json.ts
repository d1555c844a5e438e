// What are the exact bytes of a JSON value? RFC 8785 (JCS): sorted keys, no white space, ECMAScript
// numbers. The same value always gives the same bytes, so that a hash of it means something.
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
      return JSON.stringify(value);
    case 'object':
      if (value === null) return 'null';
      if (Array.isArray(value)) return list(value, depth);
      return members(value, depth);
    default:
      throw invalid(`a ${typeof value} has no JSON form`);
  }
}

function text(value: string): string {
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
  let out = '{';
  const pairs = Object.entries(value);
  // Default sort compares UTF-16 code units, which is the order that RFC 8785 asks for.
  pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  for (const [key, member] of pairs) {
    if (member === undefined) continue;
    if (out.length > 1) out += ',';
    out += `${text(key)}:${write(member, depth + 1)}`;
  }
  return `${out}}`;
}

function invalid(why: string): LedgerError {
  return new LedgerError('KIN_LEDGER_ENTRY_INVALID', `not a canonical JSON value: ${why}`);
}
