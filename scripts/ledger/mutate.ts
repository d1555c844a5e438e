// How does a valid text become a nearly valid one? Small edits from a repeatable source of chance:
// a seed gives the same cases on every machine.

export interface Chance {
  /** A whole number from 0 up to, not including, `below`. */
  next(below: number): number;
}

/** mulberry32: small, fast, and more than random enough for edits. */
export function chanceOf(seed: number): Chance {
  let state = seed >>> 0;
  return {
    next: (below) => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
    },
  };
}

/** What parsers of these formats have been seen to stumble over. */
const PIECES = [
  ...[
    '\n',
    '\n\n',
    '\r\n',
    '\r',
    ' ',
    '\t',
    '  ',
    '\u2014 ',
    '- ',
    '+',
    '=',
    '==',
    '/',
    '#',
    '.p/',
  ],
  ...['\u0000', '\u001f', '\u007f', '\u0085', '\u00a0', '\u2028', '\ufeff', '\ud800', '\udc00'],
  ...['0', '00', '-1', '+1', '0x10', '1e3', '256', '255', '18446744073709551615', '\u0661'],
  ...[
    '18446744073709551616',
    '9007199254740993',
    '99999999999999999999999',
    'AAAA',
    'AA==',
    'QR==',
  ],
  ...['index ', 'extra ', 'log ', 'witness ', 'group ', 'quorum ', 'none', 'all', 'any', 'x000/'],
  ...['__proto__', 'constructor', '%2e', '..', '\u00e9', 'e\u0301', '\u{1f512}', '_-_-', 'null'],
];

export function pick<T>(chance: Chance, items: readonly T[]): T {
  const item = items[chance.next(items.length)];
  if (item === undefined) throw new Error('nothing to pick from');
  return item;
}

/** One to four edits. `others` lends pieces of other valid texts. */
export function mutate(chance: Chance, text: string, others: readonly string[]): string {
  let out = text;
  for (let edits = 1 + chance.next(4); edits > 0; edits--) out = edit(chance, out, others);
  return out;
}

function edit(chance: Chance, text: string, others: readonly string[]): string {
  const at = chance.next(text.length + 1);
  const end = at + chance.next(Math.min(80, text.length - at + 1));
  switch (chance.next(9)) {
    case 0:
      return text.slice(0, at) + pick(chance, PIECES) + text.slice(at);
    case 1:
      return text.slice(0, at) + text.slice(end);
    case 2:
      return text.slice(0, end) + text.slice(at);
    case 3:
      return text.slice(0, at);
    case 4: {
      const other = pick(chance, others);
      return text.slice(0, at) + other.slice(chance.next(other.length + 1));
    }
    case 5:
      return swapLines(chance, text);
    case 6:
      return text.slice(0, at) + pick(chance, PIECES) + text.slice(end);
    case 7: {
      const code = chance.next(4) === 0 ? chance.next(0x10000) : chance.next(128);
      return text.slice(0, at) + String.fromCharCode(code) + text.slice(at + 1);
    }
    default: {
      const code = text.charCodeAt(at);
      if (Number.isNaN(code)) return text;
      return (
        text.slice(0, at) + String.fromCharCode(code ^ (1 << chance.next(7))) + text.slice(at + 1)
      );
    }
  }
}

function swapLines(chance: Chance, text: string): string {
  const lines = text.split('\n');
  const a = chance.next(lines.length);
  const b = chance.next(lines.length);
  const first = lines[a] ?? '';
  lines[a] = lines[b] ?? '';
  lines[b] = first;
  return lines.join('\n');
}

export function randomBytes(chance: Chance, lengthMax: number): Uint8Array {
  return Uint8Array.from({ length: chance.next(lengthMax + 1) }, () => chance.next(256));
}

/** One to three edits of bytes. */
export function mutateBytes(chance: Chance, bytes: Uint8Array): Uint8Array {
  let out = Uint8Array.from(bytes);
  for (let edits = 1 + chance.next(3); edits > 0; edits--) {
    const at = chance.next(out.length + 1);
    const kind = chance.next(4);
    if (kind === 0) out = Uint8Array.from([...out.subarray(0, at), ...out.subarray(at + 1)]);
    else if (kind === 1) {
      out = Uint8Array.from([...out.subarray(0, at), chance.next(256), ...out.subarray(at)]);
    } else if (kind === 2) out = out.slice(0, at);
    else if (at < out.length) out[at] = (out[at] ?? 0) ^ (1 << chance.next(8));
  }
  return out;
}
