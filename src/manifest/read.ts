// Does the document have the shape of a manifest? Walks the table of keys beside the YAML nodes and
// gives a draft: every value read, units as plain numbers, simple defaults filled in.
//
//   RD1. Never throws on any document; each mistake becomes a problem with its place.
//   RD2. A value that could not be read gets a harmless stand-in, so that the cross-checks can
//        still look at the rest; with a problem noted the draft never becomes a manifest.
import { isAlias, isMap, isScalar, isSeq } from 'yaml';
import type { Pair, YAMLMap } from 'yaml';
import { PLAYBOOKS } from './keys.ts';
import { splitCommand } from './command.ts';
import { likelyName, nearest } from './nearest.ts';
import type { ProblemList } from './problem.ts';
import { readChoice, readFlag, readQuantity, readText, readWhole } from './read-scalar.ts';
import { bad, foundText, join, written } from './reading.ts';
import type { Places, Reading, Spot } from './reading.ts';
import { NAME_PATTERNS, keysOf, partOf, variantsOf } from './shape.ts';
import type {
  ChoiceShape,
  Key,
  ListShape,
  MapShape,
  ObjectShape,
  Shape,
  TextShape,
  VariantsShape,
} from './shape.ts';
import { COMMAND_ACCEPTS, accepts, fallbackOf, nameWords, standIn } from './shape-words.ts';
import { nodePlace, shownKey } from './source.ts';
import type { YamlSource } from './source.ts';

/** Reads the whole document as `shape`. The caller knows the type that belongs to the shape. */
export function readDocument(
  source: YamlSource,
  shape: ObjectShape,
  problems: ProblemList,
): { readonly draft: unknown; readonly places: Places } {
  const places: Places = new Map([['', { line: 1, column: 1 }]]);
  const reading = { source, problems, places };
  const draft = readNode(reading, source.doc.contents, shape, {
    path: '',
    place: { line: 1, column: 1 },
  });
  return { draft, places };
}

function readNode(r: Reading, raw: unknown, shape: Shape, above: Spot): unknown {
  const node = isAlias(raw) ? r.source.targets.get(raw) : raw;
  const place = nodePlace(r.source, raw) ?? above.place;
  const spot = { path: above.path, place, key: above.place };
  if (!r.places.has(spot.path)) r.places.set(spot.path, spot.place);
  switch (shape.kind) {
    case 'object':
      return readObject(r, node, shape, spot);
    case 'map':
      return readMap(r, node, shape, spot);
    case 'list':
      return readList(r, node, shape, spot);
    case 'variants':
      return readVariants(r, node, shape, spot);
    case 'either': {
      const long = isMap(node) || isSeq(node);
      return readNode(r, raw, partOf(long ? shape.long : shape.short), above);
    }
    case 'command':
      return readCommand(r, node, spot);
    case 'text':
      return readText(r, node, shape, spot);
    case 'choice':
      return readChoice(r, node, shape, spot);
    case 'whole':
      return readWhole(r, node, shape, spot);
    case 'quantity':
      return readQuantity(r, node, shape, spot);
    case 'flag':
      return readFlag(r, node, spot);
  }
}

function readObject(r: Reading, node: unknown, shape: ObjectShape, spot: Spot): unknown {
  const keys = keysOf(shape);
  if (!isMap(node)) {
    const names = Object.keys(keys).slice(0, 4).join(', ');
    const what = spot.path === '' ? 'a manifest' : 'keys with values';
    bad(r, 'KIN_MANIFEST_TYPE', spot, foundText(node, true), `${what} (${names}, …)`);
    return standIn(shape);
  }
  const given = sortKeys(r, node, shape, spot);
  const result: Record<string, unknown> = {};
  for (const [name, key] of Object.entries(keys)) {
    const path = join(spot.path, name);
    const pair = given.get(name);
    if (pair === undefined) result[name] = absent(r, key, path, spot);
    else {
      const place = nodePlace(r.source, pair.key) ?? spot.place;
      r.places.set(path, nodePlace(r.source, pair.value) ?? place);
      const read = pair.plain ? plainShape(partOf(key.shape)) : partOf(key.shape);
      const spelled = join(spot.path, pair.plain ? (key.plain ?? name) : name);
      result[name] = readNode(r, pair.value, read, { path: spelled, place });
    }
  }
  return result;
}

/** Which of the kinds is it? Without an answer its other keys cannot be judged. */
function readVariants(r: Reading, node: unknown, shape: VariantsShape, spot: Spot): unknown {
  if (!isMap(node)) {
    bad(r, 'KIN_MANIFEST_TYPE', spot, foundText(node, true), accepts(shape));
    return standIn(shape);
  }
  const variants = variantsOf(shape);
  const words: ChoiceShape = { kind: 'choice', of: [...variants.keys()], names: undefined };
  const pair = node.items.find((item) => keyWord(item) === 'kind');
  if (pair === undefined) {
    const slip = node.items.find((item) => ['type', 'driver'].includes(keyWord(item)));
    if (slip === undefined) {
      const at = { path: join(spot.path, 'kind'), place: spot.place };
      bad(r, 'KIN_MANIFEST_MISSING', at, 'nothing', `${accepts(words)}: the key is required`);
    } else {
      const at = { path: spot.path, place: nodePlace(r.source, slip.key) ?? spot.place };
      const found = `the key ${shownKey(keyWord(slip))}`;
      bad(r, 'KIN_MANIFEST_UNKNOWN_KEY', at, found, 'the key kind', 'kind');
    }
    return standIn(shape);
  }
  const value = isAlias(pair.value) ? r.source.targets.get(pair.value) : pair.value;
  const word = isScalar(value) ? value.value : undefined;
  const variant = typeof word === 'string' ? variants.get(word) : undefined;
  if (variant !== undefined) return readObject(r, node, variant, spot);
  const place = nodePlace(r.source, pair.value) ?? nodePlace(r.source, pair.key) ?? spot.place;
  readChoice(r, value, words, { path: join(spot.path, 'kind'), place });
  return standIn(shape);
}

/** A key in its `…Ms` spelling holds a plain number of the base unit. */
interface GivenPair {
  readonly key: unknown;
  readonly value: unknown;
  readonly plain: boolean;
}

function sortKeys(
  r: Reading,
  node: YAMLMap,
  shape: ObjectShape,
  spot: Spot,
): ReadonlyMap<string, GivenPair> {
  const keys = keysOf(shape);
  const plain = new Map(
    Object.entries(keys).flatMap(([name, key]) =>
      key.plain === undefined ? [] : [[key.plain, name]],
    ),
  );
  const given = new Map<string, GivenPair>();
  for (const pair of node.items) {
    const word = keyWord(pair);
    const at = { path: join(spot.path, word), place: nodePlace(r.source, pair.key) ?? spot.place };
    const name = Object.hasOwn(keys, word) ? word : plain.get(word);
    if (name === undefined) unknownKey(r, word, shape, at);
    else if (given.has(name)) {
      const expected = `one of ${name} and ${keys[name]?.plain ?? name}`;
      bad(r, 'KIN_MANIFEST_CONFLICT', at, `the key ${shownKey(word)} as well`, expected);
    } else given.set(name, { key: pair.key, value: pair.value, plain: name !== word });
  }
  return given;
}

function keyWord(pair: Pair): string {
  // An override adds its keys as plain texts, without a node.
  if (typeof pair.key === 'string') return pair.key;
  return isScalar(pair.key) ? String(pair.key.value) : '(not a plain key)';
}

function unknownKey(r: Reading, word: string, shape: ObjectShape, spot: Spot): void {
  const keys = keysOf(shape);
  const names = Object.keys(keys);
  const slip = names.find((name) => keys[name]?.slips.includes(word) === true);
  const meant = slip ?? nearest(word, names) ?? nearestSlip(word, shape);
  const expected = `one of ${names.join(', ')}`;
  const inside = { path: spot.path.slice(0, -word.length).replace(/\.$/u, ''), place: spot.place };
  bad(r, 'KIN_MANIFEST_UNKNOWN_KEY', inside, `the key ${shownKey(word)}`, expected, meant);
}

function nearestSlip(word: string, shape: ObjectShape): string | undefined {
  const slips = new Map(
    Object.entries(keysOf(shape)).flatMap(([name, key]) => key.slips.map((slip) => [slip, name])),
  );
  const slip = nearest(word, slips.keys());
  return slip === undefined ? undefined : slips.get(slip);
}

function absent(r: Reading, key: Key, path: string, spot: Spot): unknown {
  const shape = partOf(key.shape);
  if (key.presence === 'optional') return undefined;
  if (key.presence === 'default') return fallbackOf(key);
  const at = { path, place: spot.key ?? spot.place };
  bad(r, 'KIN_MANIFEST_MISSING', at, 'nothing', `${accepts(shape)}: the key is required`);
  return standIn(shape);
}

function plainShape(shape: Shape): Shape {
  if (shape.kind !== 'quantity') return shape;
  const isWhole = shape.unit === 'duration' || shape.unit === 'size';
  if (isWhole) return { kind: 'whole', min: shape.min, max: shape.max };
  return { ...shape, unit: 'number' };
}

function readMap(r: Reading, node: unknown, shape: MapShape, spot: Spot): unknown {
  const result = new Map<string, unknown>();
  if (!isMap(node)) {
    const expected = `${nameWords(shape)}, each with its value`;
    bad(r, 'KIN_MANIFEST_TYPE', spot, foundText(node, true), expected);
    return result;
  }
  checkCount(r, node.items.length, shape, spot);
  for (const pair of node.items.slice(0, shape.max)) {
    const word = keyWord(pair);
    const at = { path: join(spot.path, word), place: nodePlace(r.source, pair.key) ?? spot.place };
    checkName(r, word, shape, at);
    r.places.set(at.path, at.place);
    result.set(word, readNode(r, pair.value, partOf(shape.of), at));
  }
  return result;
}

function checkName(r: Reading, word: string, shape: MapShape, at: Spot): void {
  const spot = { path: at.path.slice(0, -word.length - 1), place: at.place };
  const found = `the name ${shownKey(word)}`;
  if (shape.names === 'playbook') {
    if (PLAYBOOKS.some((known) => known === word)) return;
    const expected = `a playbook: ${PLAYBOOKS.join(', ')}`;
    bad(r, 'KIN_MANIFEST_REFERENCE', spot, found, expected, nearest(word, PLAYBOOKS));
    return;
  }
  if (new RegExp(NAME_PATTERNS[shape.names], 'u').test(word)) return;
  const expected =
    shape.names === 'name'
      ? '1–40 lower-case letters, digits and dashes, starting with a letter'
      : 'a name of letters, digits and underscores that does not start with a digit';
  bad(r, 'KIN_MANIFEST_RANGE', spot, found, expected, likelyName(word, shape.names));
}

function checkCount(
  r: Reading,
  count: number,
  shape: { readonly min: number; readonly max: number },
  spot: Spot,
): void {
  if (count < shape.min) bad(r, 'KIN_MANIFEST_MISSING', spot, `${count}`, `at least ${shape.min}`);
  if (count > shape.max) bad(r, 'KIN_MANIFEST_RANGE', spot, `${count}`, `at most ${shape.max}`);
}

function readList(r: Reading, node: unknown, shape: ListShape, spot: Spot): unknown {
  const of = partOf(shape.of);
  if (!isSeq(node)) {
    const single = isScalar(node) && typeof node.value === 'string' && of.kind === 'text';
    const guess = single && !of.hidden ? `[${written(node)}]` : undefined;
    bad(r, 'KIN_MANIFEST_TYPE', spot, foundText(node, hides(of)), accepts(shape), guess);
    return [];
  }
  checkCount(r, node.items.length, shape, spot);
  return node.items
    .slice(0, shape.max)
    .map((item, i) => readNode(r, item, of, { path: `${spot.path}[${i}]`, place: spot.place }));
}

function hides(shape: Shape): boolean {
  return shape.kind === 'text' && shape.hidden;
}

const ARGUMENTS_MAX = 200;

function readCommand(r: Reading, node: unknown, spot: Spot): readonly string[] {
  if (isSeq(node)) {
    const shape = { kind: 'list', min: 1, max: ARGUMENTS_MAX, of: argument } as const;
    return readList(r, node, shape, spot) as readonly string[];
  }
  if (!isScalar(node) || typeof node.value !== 'string' || node.value.trim() === '') {
    bad(r, 'KIN_MANIFEST_TYPE', spot, foundText(node, true), COMMAND_ACCEPTS);
    return [];
  }
  const answer = splitCommand(node.value);
  if (answer.kind === 'ok') return answer.words.slice(0, ARGUMENTS_MAX);
  bad(r, 'KIN_MANIFEST_COMMAND', spot, answer.found, answer.expected, answer.suggestion);
  return [];
}

const argument: TextShape = {
  kind: 'text',
  accepts: 'a word of the command',
  pattern: undefined,
  lengthMax: 32_768,
  examples: [],
  hidden: true,
  loose: true,
};
