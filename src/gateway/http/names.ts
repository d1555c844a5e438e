// Which field is this? Names are compared as bytes, without making a string of each.
//
//   NA1. Case never matters; a name that equals a framing field but for `_` in place of `-` is told
//        apart, because some servers read it as that field.

export const KNOWN = {
  none: 0,
  host: 1,
  contentLength: 2,
  transferEncoding: 3,
  connection: 4,
  upgrade: 5,
  expect: 6,
  /** Hop-by-hop and of no interest: always ends here. */
  hop: 7,
  lookAlike: 8,
  /** These and the next pass as any other; where they are is noted: they are always asked for. */
  authorization: 9,
  apiKey: 10,
  requestId: 11,
  traceparent: 12,
  idempotencyKey: 13,
} as const;

export const NOTED_FROM: number = KNOWN.authorization;
export const NOTED_COUNT = 5;

interface Entry {
  readonly bytes: Uint8Array;
  readonly id: number;
}

const NAMES: readonly (readonly [string, number])[] = [
  ['host', KNOWN.host],
  ['content-length', KNOWN.contentLength],
  ['transfer-encoding', KNOWN.transferEncoding],
  ['connection', KNOWN.connection],
  ['upgrade', KNOWN.upgrade],
  ['expect', KNOWN.expect],
  ['te', KNOWN.hop],
  ['trailer', KNOWN.hop],
  ['keep-alive', KNOWN.hop],
  ['proxy-connection', KNOWN.hop],
  ['proxy-authenticate', KNOWN.hop],
  ['proxy-authorization', KNOWN.hop],
  ['http2-settings', KNOWN.hop],
  ['authorization', KNOWN.authorization],
  ['x-api-key', KNOWN.apiKey],
  ['x-request-id', KNOWN.requestId],
  ['traceparent', KNOWN.traceparent],
  ['idempotency-key', KNOWN.idempotencyKey],
];

const bytesOf = (name: string): Uint8Array => Uint8Array.from(Buffer.from(name, 'latin1'));

const BY_LENGTH: (readonly Entry[] | undefined)[] = Array.from({ length: 20 }, () => undefined);
for (const [name, id] of NAMES) {
  const others = BY_LENGTH[name.length] ?? [];
  BY_LENGTH[name.length] = [...others, { bytes: bytesOf(name), id }];
}

/** Is there a known name of this length that begins with this letter? Most fields end here. */
const FIRSTS = new Uint8Array(20 * 32);
for (const [name] of NAMES) FIRSTS[name.length * 32 + (name.charCodeAt(0) & 31)] = 1;

const DASH = 45;
const UNDERSCORE = 95;

/** Does a field of this kind pass for all that framing and hops are concerned? */
export function isPlain(known: number): boolean {
  return known === KNOWN.none || known >= NOTED_FROM;
}

/** 0 differs, 1 equal, 2 equal but for underscores. `lower` is lower-case. */
function compare(buf: Uint8Array, from: number, lower: Uint8Array): 0 | 1 | 2 {
  let result: 1 | 2 = 1;
  for (let i = 0; i < lower.length; i += 1) {
    const have = buf[from + i] as number;
    const want = lower[i] as number;
    // Names are tokens, and of these only letters change under `| 32` to what stands in `lower`.
    if ((have | 32) === want) continue;
    if (want !== DASH || have !== UNDERSCORE) return 0;
    result = 2;
  }
  return result;
}

export function knownField(buf: Uint8Array, from: number, length: number): number {
  if (length > 19 || FIRSTS[length * 32 + ((buf[from] as number) & 31)] === 0) return KNOWN.none;
  const entries = BY_LENGTH[length];
  if (entries === undefined) return KNOWN.none;
  for (const entry of entries) {
    const same = compare(buf, from, entry.bytes);
    if (same === 1) return entry.id;
    if (same === 2 && entry.id < NOTED_FROM) {
      return entry.id === KNOWN.hop ? KNOWN.hop : KNOWN.lookAlike;
    }
  }
  return KNOWN.none;
}

/** A field name made ready for comparing. */
export interface FieldName {
  readonly text: string;
  readonly bytes: Uint8Array;
}

export function fieldName(text: string): FieldName {
  const lower = text.toLowerCase();
  return { text: lower, bytes: bytesOf(lower) };
}

export function isField(buf: Uint8Array, from: number, length: number, name: FieldName): boolean {
  return length === name.bytes.length && compare(buf, from, name.bytes) === 1;
}

/** Names and beginnings of names that shall not pass; `_` counts as `-`. */
export interface NameSet {
  readonly names: readonly FieldName[];
  readonly prefixes: readonly FieldName[];
  readonly isEmpty: boolean;
  /** By first byte: bit 0 a name, bit 1 a prefix may match. */
  readonly firsts: Uint8Array;
}

export function nameSet(names: readonly string[], prefixes: readonly string[] = []): NameSet {
  const set = {
    names: names.map(fieldName),
    prefixes: prefixes.map(fieldName),
    isEmpty: names.length + prefixes.length === 0,
    firsts: new Uint8Array(256),
  };
  const mark = (name: FieldName, bit: number): void => {
    const lower = name.bytes[0] ?? 0;
    const upper = name.text.slice(0, 1).toUpperCase().charCodeAt(0);
    set.firsts[lower] = (set.firsts[lower] ?? 0) | bit;
    set.firsts[upper] = (set.firsts[upper] ?? 0) | bit;
  };
  for (const name of set.names) mark(name, 1);
  for (const name of set.prefixes) mark(name, 2);
  return set;
}

export const NO_NAMES: NameSet = nameSet([]);

export function inSet(set: NameSet, buf: Uint8Array, from: number, length: number): boolean {
  const may = set.firsts[buf[from] as number] as number;
  if (may === 0) return false;
  if ((may & 1) !== 0) {
    for (const { bytes } of set.names) {
      if (bytes.length === length && compare(buf, from, bytes) !== 0) return true;
    }
  }
  if ((may & 2) !== 0) {
    for (const { bytes } of set.prefixes) {
      if (bytes.length <= length && compare(buf, from, bytes) !== 0) return true;
    }
  }
  return false;
}
