// What does an editor need to know? The table of keys as a JSON Schema (2020-12), for completion,
// hover texts and red underlines. A first line of the manifest points to it:
// `# yaml-language-server: $schema=…/kintsugi.schema.json`.
import { MANIFEST, PLAYBOOKS } from './keys.ts';
import { NAME_PATTERNS, keysOf, partOf } from './shape.ts';
import type { Key, MapShape, ObjectShape, QuantityShape, Shape, TextShape } from './shape.ts';
import { fallbackText } from './shape-words.ts';
import { UNITS, unitPattern } from './units.ts';

export interface JsonSchema {
  readonly [key: string]: unknown;
}

/** The whole schema; `docs/reference/kintsugi.schema.json` is its text. */
export function manifestSchema(): JsonSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: 'urn:kintsugi:manifest:v1',
    title: 'Kintsugi manifest',
    description:
      'What Kintsugi runs, heals and proves: services, tenants, healing, compliance, ledger.',
    ...schemaOf(MANIFEST),
  };
}

export function schemaText(): string {
  return `${JSON.stringify(manifestSchema(), null, 2)}\n`;
}

function schemaOf(shape: Shape): JsonSchema {
  switch (shape.kind) {
    case 'object':
      return objectSchema(shape);
    case 'map':
      return mapSchema(shape);
    case 'list': {
      const items = schemaOf(partOf(shape.of));
      return { type: 'array', items, minItems: shape.min, maxItems: shape.max };
    }
    case 'either':
      return { anyOf: [schemaOf(partOf(shape.short)), schemaOf(partOf(shape.long))] };
    case 'variants':
      return { anyOf: shape.of.map((variant) => schemaOf(partOf(variant))) };
    case 'command':
      return COMMAND;
    case 'text':
      return textSchema(shape);
    case 'choice':
      return { enum: shape.of };
    case 'whole':
      return { type: 'integer', minimum: shape.min, maximum: shape.max };
    case 'quantity':
      return quantitySchema(shape);
    case 'flag':
      return { type: 'boolean' };
  }
}

const COMMAND: JsonSchema = {
  anyOf: [
    { type: 'string', pattern: String.raw`\S` },
    {
      type: 'array',
      items: { type: ['string', 'number', 'boolean'] },
      minItems: 1,
      maxItems: 200,
    },
  ],
  examples: [['node', 'server.js'], 'node server.js'],
};

function objectSchema(shape: ObjectShape): JsonSchema {
  const properties: Record<string, JsonSchema> = {};
  const required: string[] = [];
  for (const [name, key] of Object.entries(keysOf(shape))) {
    properties[name] = keySchema(key);
    if (key.presence === 'required') required.push(name);
    if (key.plain !== undefined) properties[key.plain] = plainSchema(name, key);
  }
  const needs = required.length === 0 ? {} : { required };
  return { type: 'object', properties, ...needs, additionalProperties: false };
}

function keySchema(key: Key): JsonSchema {
  const schema = schemaOf(partOf(key.shape));
  if (key.presence === 'default') {
    return { description: key.about, ...schema, default: key.fallback };
  }
  const left = key.presence === 'optional' ? ` Left out: ${fallbackText(key)}.` : '';
  return { description: `${key.about}${left}`, ...schema };
}

function plainSchema(name: string, key: Key): JsonSchema {
  const shape = partOf(key.shape);
  const limits =
    shape.kind === 'quantity' ? { minimum: shape.min, maximum: shape.max } : { minimum: 0 };
  const whole = shape.kind === 'quantity' && ['duration', 'size'].includes(shape.unit);
  const description = `The same as \`${name}\`, as a plain number.`;
  return { description, type: whole ? 'integer' : 'number', ...limits };
}

function mapSchema(shape: MapShape): JsonSchema {
  const names =
    shape.names === 'playbook' ? { enum: PLAYBOOKS } : { pattern: NAME_PATTERNS[shape.names] };
  return {
    type: 'object',
    propertyNames: names,
    additionalProperties: schemaOf(partOf(shape.of)),
    minProperties: shape.min,
    maxProperties: shape.max,
  };
}

function textSchema(shape: TextShape): JsonSchema {
  const type = shape.loose ? ['string', 'number', 'boolean'] : 'string';
  const pattern = shape.pattern === undefined ? {} : { pattern: shape.pattern };
  const examples = shape.examples.length === 0 ? {} : { examples: shape.examples };
  return { type, maxLength: shape.lengthMax, ...pattern, ...examples };
}

function quantitySchema(shape: QuantityShape): JsonSchema {
  const { examples, bare } = UNITS[shape.unit];
  const written = { type: 'string', pattern: unitPattern(shape.unit), examples };
  if (!bare) return written;
  return { anyOf: [{ type: 'number', minimum: shape.min, maximum: shape.max }, written] };
}
