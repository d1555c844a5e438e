// The canonical form against a plain writing of RFC 8785: what was made fast must give the same
// bytes and refuse the same values.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isLedgerError } from '../src/errors.ts';
import { canonicalJson, sortTexts } from '../src/json.ts';

const byUnits = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The rules one after another, and nothing else. */
function plainly(value: unknown, depth = 0): string {
  if (depth > 64) throw new Error('too deep');
  if (value === null) return 'null';
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value);
  if (typeof value === 'string' && value.isWellFormed()) return JSON.stringify(value);
  if (Array.isArray(value)) {
    return `[${Array.from(value, (item) => plainly(item, depth + 1)).join(',')}]`;
  }
  const isPlain = typeof value === 'object' && (proto(value) ?? Object.prototype);
  if (isPlain !== Object.prototype) throw new Error('no canonical form');
  const members = Object.entries(value as object)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => byUnits(a, b))
    .map(([name, member]) => `${plainly(name)}:${plainly(member, depth + 1)}`);
  return `{${members.join(',')}}`;
}

const proto = (value: object): unknown => Object.getPrototypeOf(value);

function outcome(write: () => string): string {
  try {
    return write();
  } catch {
    return 'refused';
  }
}

function same(value: unknown): void {
  assert.equal(
    outcome(() => canonicalJson(value)),
    outcome(() => plainly(value)),
  );
}

/** Any UTF-16 units, half surrogates and controls among them, and lengths around the fast path. */
const units = fc.oneof(
  fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)) }),
  fc.string({ unit: 'grapheme' }),
  fc.string({ unit: 'grapheme-ascii', minLength: 120, maxLength: 140 }),
  fc.constantFrom('__proto__', 'toJSON', 'constructor', '10', '9', '', '"', '\\', '\x7f', '\x1f'),
);
const leaves = fc.oneof(
  units,
  fc.double(),
  fc.integer(),
  fc.boolean(),
  fc.constantFrom(null, undefined, -0, 1e21, 1e-7, NaN, Infinity, 5n, Symbol.iterator),
);
const values = fc.letrec((again) => ({
  value: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    leaves,
    fc.array(again('value'), { maxLength: 6 }),
    fc.dictionary(units, again('value'), { maxKeys: 8 }),
  ),
})).value;

test('any value has the bytes of RFC 8785 written plainly, or is refused by both', () => {
  fc.assert(fc.property(values, same), { numRuns: 5000 });
});

test('objects of any width are sorted by code units', () => {
  const wide = fc.dictionary(units, fc.integer(), { maxKeys: 60, size: 'large' });
  fc.assert(fc.property(wide, same), { numRuns: 300 });
  fc.assert(
    fc.property(fc.array(units, { maxLength: 60, size: 'large' }), (texts) => {
      assert.deepEqual(sortTexts([...texts]), [...texts].sort(byUnits));
    }),
    { numRuns: 500 },
  );
});

test('J1: what has no canonical form is refused, also behind names that were seen before', () => {
  for (let at = 0; at < 10_000; at++) same({ [`name-${at}`]: at });
  class Dated {
    readonly at = 1;
  }
  let deep: unknown = 1;
  for (let at = 0; at < 65; at++) deep = { deep };
  const cycle: Record<string, unknown> = {};
  cycle['self'] = cycle;
  const hole: unknown[] = [];
  hole[1] = 1;
  const bad = [new Dated(), new Date(), deep, cycle, hole, () => 1, { '\ud800': 1 }, ['\udc00']];
  for (const value of bad) {
    assert.throws(
      () => canonicalJson({ a: value }),
      (cause) => isLedgerError(cause) && cause.code === 'KIN_LEDGER_ENTRY_INVALID',
    );
  }
  const own = Object.create(null) as Record<string, unknown>;
  own['__proto__'] = { toJSON: 1 };
  same(own);
  same(JSON.parse('{"__proto__":[1],"b":2,"a":"\\u2028\\"\\\\"}'));
});
