// How is a shape said in words, what stands for it when it is left out, and what when it could not
// be read?
import { parseUnit, unitText, UNITS } from './units.ts';
import { keysOf, partOf, variantsOf } from './shape.ts';
import type { Key, MapShape, QuantityShape, Shape } from './shape.ts';

export const COMMAND_ACCEPTS = 'a program and its arguments such as [node, server.js]';

/** What a shape takes, in words, with its limits. */
export function accepts(shape: Shape): string {
  switch (shape.kind) {
    case 'text':
      return shape.accepts;
    case 'whole':
      return `a whole number from ${shape.min} to ${shape.max}`;
    case 'flag':
      return 'true or false';
    case 'choice':
      if (shape.names !== undefined) return `${shape.names}: ${shape.of.join(', ')}`;
      return shape.of.length === 1 ? `${shape.of[0] ?? ''}` : `one of ${shape.of.join(', ')}`;
    case 'quantity':
      return `${UNITS[shape.unit].accepts}, ${rangeText(shape)}`;
    case 'list': {
      const of = partOf(shape.of);
      return of.kind === 'text'
        ? `a list of texts such as [${of.examples[0] ?? 'a, b'}]`
        : 'a list';
    }
    case 'map':
      return `${nameWords(shape)}, each with its value`;
    case 'object':
      return `keys with values (${Object.keys(keysOf(shape)).slice(0, 4).join(', ')}, …)`;
    case 'variants':
      return `keys with values, with a kind: ${[...variantsOf(shape).keys()].join(', ')}`;
    case 'command':
      return COMMAND_ACCEPTS;
    case 'either':
      return `${accepts(partOf(shape.short))}, or ${accepts(partOf(shape.long))}`;
  }
}

/** The limits of a quantity, in its unit. */
export function rangeText(shape: QuantityShape): string {
  const { unit, min, max } = shape;
  return `from ${unitText(unit, min)} to ${unitText(unit, max)}`;
}

/** Stands in for what could not be read, so that the cross-checks can look at the rest. */
export function standIn(shape: Shape): unknown {
  switch (shape.kind) {
    case 'text':
      return '';
    case 'choice':
      return shape.of[0] ?? '';
    case 'whole':
    case 'quantity':
      return shape.min;
    case 'flag':
      return false;
    case 'list':
    case 'command':
      return [];
    case 'map':
      return new Map();
    case 'either':
      return standIn(partOf(shape.short));
    case 'variants':
      return standIn(partOf(shape.of[0]));
    case 'object':
      return Object.fromEntries(
        Object.entries(keysOf(shape)).map(([name, key]) => [
          name,
          key.presence === 'required' ? standIn(partOf(key.shape)) : absentQuietly(key),
        ]),
      );
  }
}

function absentQuietly(key: Key): unknown {
  return key.presence === 'optional' ? undefined : fallbackOf(key);
}

/** What holds when a key is left out, in words or as it would be written. */
export function fallbackText(key: Key): string {
  return typeof key.fallback === 'string' ? key.fallback : JSON.stringify(key.fallback);
}

/** The value that a key has when it is left out, by the same reading of units. */
export function fallbackOf(key: Key): unknown {
  const shape = partOf(key.shape);
  const { fallback } = key;
  if (shape.kind === 'quantity') {
    const answer = parseUnit(shape.unit, typeof fallback === 'string' ? fallback : '');
    return answer.kind === 'ok' ? answer.value : shape.min;
  }
  if (shape.kind === 'map') return new Map();
  if (shape.kind !== 'object') return fallback;
  const inner = Object.entries(keysOf(shape));
  return Object.fromEntries(
    inner.map(([name, k]) => [name, k.presence === 'optional' ? undefined : fallbackOf(k)]),
  );
}

export function nameWords(shape: MapShape): string {
  if (shape.names === 'variable') return 'names of variables';
  return shape.names === 'playbook' ? 'names of playbooks' : 'names';
}
