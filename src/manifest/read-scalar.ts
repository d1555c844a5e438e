// Is a single value what its key wants? Texts, choices, numbers and quantities, each with the
// correction that the writer most likely needs.
import { isScalar } from 'yaml';
import { likelyName, likelyOutsideName, nearest } from './nearest.ts';
import { OUTSIDE_NAME } from './keys-words.ts';
import { NAME_PATTERNS } from './shape.ts';
import { bad, foundText, written } from './reading.ts';
import type { Reading, Spot } from './reading.ts';
import type { ChoiceShape, QuantityShape, TextShape, WholeShape } from './shape.ts';
import { accepts, rangeText } from './shape-words.ts';
import { UNITS, parseUnit } from './units.ts';

export function readText(r: Reading, node: unknown, shape: TextShape, spot: Spot): string {
  const text = textOf(node, shape);
  if (text === undefined) {
    const plain = isScalar(node) && ['number', 'boolean'].includes(typeof node.value);
    const guess = plain && !shape.hidden ? JSON.stringify(written(node)) : undefined;
    const empty = isScalar(node) && node.value === null && shape.loose ? '""' : guess;
    bad(r, 'KIN_MANIFEST_TYPE', spot, foundText(node, shape.hidden), shape.accepts, empty);
    return '';
  }
  const found = foundText(node, shape.hidden);
  if (text.length > shape.lengthMax) {
    const expected = `at most ${shape.lengthMax} characters`;
    bad(r, 'KIN_MANIFEST_RANGE', spot, `${text.length} characters`, expected);
    return '';
  }
  if (text.includes('\0')) bad(r, 'KIN_MANIFEST_RANGE', spot, 'a NUL character', shape.accepts);
  else if (shape.pattern !== undefined && !new RegExp(shape.pattern, 'u').test(text)) {
    const guess = shape.hidden ? undefined : patternGuess(text, shape);
    bad(r, 'KIN_MANIFEST_RANGE', spot, found, shape.accepts, guess);
    return '';
  }
  return text;
}

function patternGuess(text: string, shape: TextShape): string | undefined {
  if (shape.pattern === NAME_PATTERNS.name) return likelyName(text, 'name');
  if (shape.pattern === NAME_PATTERNS.variable) return likelyName(text, 'variable');
  if (shape.pattern === OUTSIDE_NAME) return likelyOutsideName(text);
  const path = shape.accepts.startsWith('a URL path') && text.length < 200;
  return path && /^[\w.-]+(?:\/[\w.-]+)*\/?$/u.test(text) ? `/${text}` : undefined;
}

function textOf(node: unknown, shape: TextShape): string | undefined {
  if (!isScalar(node)) return undefined;
  if (typeof node.value === 'string') return node.value;
  const loose = shape.loose && (typeof node.value === 'number' || typeof node.value === 'boolean');
  return loose ? (node.source ?? String(node.value)) : undefined;
}

export function readChoice(r: Reading, node: unknown, shape: ChoiceShape, spot: Spot): string {
  const value = isScalar(node) ? node.value : undefined;
  // `off` is a text in YAML 1.2; a writer who says `false` means the same.
  if (typeof value === 'string' && shape.of.includes(value)) return value;
  const guess =
    value === false && shape.of.includes('off') ? 'off' : nearest(String(value), shape.of);
  const wrong = shape.names === undefined ? 'KIN_MANIFEST_RANGE' : 'KIN_MANIFEST_REFERENCE';
  const code = typeof value === 'string' ? wrong : 'KIN_MANIFEST_TYPE';
  bad(r, code, spot, foundText(node, false), accepts(shape), guess);
  return shape.of[0] ?? '';
}

export function readFlag(r: Reading, node: unknown, spot: Spot): boolean {
  if (isScalar(node) && typeof node.value === 'boolean') return node.value;
  const word = isScalar(node) ? String(node.value).toLowerCase() : '';
  const yes = ['yes', 'on', 'y', '1', 'true'].includes(word) ? 'true' : undefined;
  const no = ['no', 'off', 'n', '0', 'false'].includes(word) ? 'false' : undefined;
  bad(r, 'KIN_MANIFEST_TYPE', spot, foundText(node, false), 'true or false', yes ?? no);
  return false;
}

export function readWhole(r: Reading, node: unknown, shape: WholeShape, spot: Spot): number {
  const value = isScalar(node) ? node.value : undefined;
  if (typeof value !== 'number' || !Number.isInteger(value)) {
    const digits = typeof value === 'string' && /^\d{1,15}$/u.test(value.trim());
    const unit = typeof value === 'string' ? wholeFromUnit(value) : undefined;
    const guess = digits ? value.trim() : unit;
    bad(r, 'KIN_MANIFEST_TYPE', spot, foundText(node, false), accepts(shape), guess);
    return shape.min;
  }
  return inRange(r, node, value, shape, spot);
}

/** `intervalMs: 500ms` says the unit twice. */
function wholeFromUnit(value: string): string | undefined {
  for (const unit of ['duration', 'size'] as const) {
    const answer = parseUnit(unit, value);
    if (answer.kind === 'ok') return String(answer.value);
  }
  return undefined;
}

function inRange(
  r: Reading,
  node: unknown,
  value: number,
  shape: WholeShape | QuantityShape,
  spot: Spot,
): number {
  if (value >= shape.min && value <= shape.max) return value;
  const expected = shape.kind === 'quantity' ? rangeText(shape) : accepts(shape);
  bad(r, 'KIN_MANIFEST_RANGE', spot, foundText(node, false), expected);
  return value < shape.min ? shape.min : shape.max;
}

export function readQuantity(r: Reading, node: unknown, shape: QuantityShape, spot: Spot): number {
  const value = isScalar(node) ? node.value : undefined;
  if (!isScalar(node) || (typeof value !== 'string' && typeof value !== 'number')) {
    bad(r, 'KIN_MANIFEST_TYPE', spot, foundText(node, false), UNITS[shape.unit].accepts);
    return shape.min;
  }
  const answer = parseUnit(shape.unit, String(value));
  const whole = shape.unit === 'duration' || shape.unit === 'size';
  if (answer.kind === 'bad' || (whole && !Number.isSafeInteger(answer.value))) {
    const guess = answer.kind === 'bad' ? answer.suggestion : undefined;
    const expected = UNITS[shape.unit].accepts;
    bad(r, 'KIN_MANIFEST_UNIT', spot, foundText(node, false), expected, guess);
    return shape.min;
  }
  return inRange(r, node, answer.value, shape, spot);
}
