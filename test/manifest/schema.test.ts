// The published description and the reader come from one table; here they are held against each
// other. `KINTSUGI_WRITE_DOCS=1` writes the two pages of docs/reference anew.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { parse, stringify } from 'yaml';
import { MANIFEST } from '../../src/manifest/keys.ts';
import { referencePage } from '../../src/manifest/reference-page.ts';
import { manifestSchema, schemaText } from '../../src/manifest/schema.ts';
import { keysOf, partOf } from '../../src/manifest/shape.ts';
import type { Key, Shape } from '../../src/manifest/shape.ts';
import { fallbackOf } from '../../src/manifest/shape-words.ts';
import { arbitraryOf } from './arbitrary.ts';
import { structure } from './fixture.ts';

const DOCS = join(import.meta.dirname, '../../docs/reference');
const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, strictTypes: false });
const isValid = ajv.compile(manifestSchema());

const PAGES: readonly (readonly [string, () => string])[] = [
  ['kintsugi.schema.json', schemaText],
  ['manifest.md', referencePage],
];

for (const [name, make] of PAGES) {
  test(`K1: docs/reference/${name} is what the table of keys says`, async () => {
    const path = join(DOCS, name);
    if (process.env['KINTSUGI_WRITE_DOCS'] === '1') await writeFile(path, make());
    const hint = 'run this test with KINTSUGI_WRITE_DOCS=1 to write it anew';
    assert.equal(await readFile(path, 'utf8'), make(), hint);
  });
}

function* keysBelow(shape: Shape, path: string): Generator<readonly [string, Key]> {
  if (shape.kind === 'list' || shape.kind === 'map') yield* keysBelow(partOf(shape.of), path);
  if (shape.kind === 'variants') {
    for (const variant of shape.of) yield* keysBelow(partOf(variant), path);
  }
  if (shape.kind === 'either') yield* keysBelow(partOf(shape.long), path);
  if (shape.kind !== 'object') return;
  for (const [name, key] of Object.entries(keysOf(shape))) {
    yield [`${path}.${name}`, key];
    yield* keysBelow(partOf(key.shape), `${path}.${name}`);
  }
}

test('K1: every key has a sentence, and every default is a value that its own key accepts', () => {
  const all = [...keysBelow(MANIFEST, '')];
  assert.ok(all.length > 100, `${all.length} keys`);
  for (const [path, key] of all) {
    assert.match(key.about, /[.?]$/u, path);
    if (key.presence !== 'default') continue;
    const schema = ajv.compile({ ...manifestSchemaOf(key) });
    assert.ok(schema(key.fallback), `${path}: ${JSON.stringify(key.fallback)}`);
    assert.notEqual(fallbackOf(key), undefined, path);
  }
});

function manifestSchemaOf(key: Key): Record<string, unknown> {
  // The schema of one key, found through a manifest that has only this key.
  const schema = manifestSchema();
  const find = (node: unknown): unknown => {
    if (typeof node !== 'object' || node === null) return undefined;
    if (Reflect.get(node, 'description') === key.about) return node;
    return Object.values(node)
      .map(find)
      .find((found) => found !== undefined);
  };
  return { ...(find(schema) as Record<string, unknown>) };
}

test('W1: a long text that almost matches is refused at once, and not after years', () => {
  const patterns = new Set(
    [...keysBelow(MANIFEST, '')].flatMap(([, { shape }]) => {
      const part = partOf(shape);
      return part.kind === 'text' && part.pattern !== undefined ? [part.pattern] : [];
    }),
  );
  assert.ok(patterns.size >= 5);
  const almost = ['a', '/a', 'a/', 'a-', '2', '2026-', '.', 'a.', '%', ':'];
  for (const pattern of patterns) {
    for (const piece of almost) new RegExp(pattern, 'u').test(`/${piece.repeat(20_000)}\n`);
  }
});

test('SH1: what the table can say, the schema and the reader both accept', () => {
  fc.assert(
    fc.property(arbitraryOf(MANIFEST), (manifest) => {
      const text = stringify(manifest, { aliasDuplicateObjects: false });
      assert.ok(isValid(parse(text)), () => `${text}\n${ajv.errorsText(isValid.errors)}`);
      assert.equal(structure(text).problems, 0, text);
    }),
    { numRuns: 60 },
  );
});

test('SH1: what the schema refuses, the reader refuses, wherever the fault is', () => {
  const faults = fc.constantFrom<unknown>(null, -1, 'nonsense!', [[]], { unknown: 1 }, 1e9, true);
  const place = fc.array(fc.nat(), { minLength: 1, maxLength: 6 });
  let refused = 0;
  fc.assert(
    fc.property(arbitraryOf(MANIFEST), faults, place, (manifest, fault, way) => {
      const text = stringify(planted(manifest, fault, way), { aliasDuplicateObjects: false });
      if (isValid(parse(text))) return;
      refused += 1;
      assert.ok(structure(text).problems > 0, () => `${text}\n${ajv.errorsText(isValid.errors)}`);
    }),
    { numRuns: 150 },
  );
  assert.ok(refused > 20, `only ${refused} faults were seen`);
});

/** A copy with one value, found along `way`, replaced by the fault. */
function planted(value: unknown, fault: unknown, way: readonly number[]): unknown {
  const [step, ...rest] = way;
  if (typeof value !== 'object' || value === null || step === undefined) return fault;
  const keys = Object.keys(value);
  const key = keys[step % Math.max(1, keys.length)];
  if (key === undefined) return fault;
  const inner = planted(Reflect.get(value, key), fault, rest);
  if (Array.isArray(value)) return value.with(Number(key), inner);
  return { ...value, [key]: inner };
}

test('examples and defaults of the schema are valid against it, for the sake of editors', () => {
  let seen = 0;
  const look = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    const examples: unknown = Reflect.get(node, 'examples');
    if (Array.isArray(examples)) {
      const check = ajv.compile(node);
      for (const example of examples) {
        seen += 1;
        assert.ok(check(example), JSON.stringify(example));
      }
    }
    for (const inner of Object.values(node)) look(inner);
  };
  look(manifestSchema());
  assert.ok(seen > 50);
});
