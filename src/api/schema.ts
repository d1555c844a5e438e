// How is a contract type written as JSON Schema without the two drifting apart? Each builder makes
// a schema that carries its TypeScript type; `object<T>` wants exactly the fields of T, each with
// the schema of exactly its type, so the compiler refuses a view that the schema does not
// describe.

export type JsonSchema = Readonly<Record<string, unknown>>;

export interface Schema<T> {
  readonly json: JsonSchema;
  readonly optional: boolean;
  /** Only for the compiler, never set: makes `Schema` exact in T. */
  readonly type?: (value: T) => T;
}

type Fields<T> = { readonly [K in keyof T]-?: Schema<T[K]> };
type Variants<T extends { readonly kind: string }> = {
  readonly [K in T['kind']]: Fields<Omit<Extract<T, { readonly kind: K }>, 'kind'>>;
};

const schema = <T>(json: JsonSchema): Schema<T> => ({ json, optional: false });

export const text: Schema<string> = schema({ type: 'string' });
export const number: Schema<number> = schema({ type: 'number' });
export const flag: Schema<boolean> = schema({ type: 'boolean' });
export const anything: Schema<unknown> = schema({});
/** Wall time. */
export const time: Schema<number> = schema({ type: 'number', description: 'ms since the epoch' });

/** A string of a narrower type: a branded id, or a long union that the prose documents. */
export const word = <T extends string>(): Schema<T> => schema({ type: 'string' });
export const oneOf = <const V extends readonly string[]>(...values: V): Schema<V[number]> =>
  schema({ type: 'string', enum: [...values] });
export const integer = (minimum: number, maximum: number): Schema<number> =>
  schema({ type: 'integer', minimum, maximum });
export const string = (minLength: number, maxLength: number): Schema<string> =>
  schema({ type: 'string', minLength, maxLength });
/** As the ledger spells one: look-alikes of an id never get past the check of the input. */
export const tenantId: Schema<string> = schema({
  type: 'string',
  pattern: '^[a-z0-9][a-z0-9._-]{0,63}$',
});
export const maybe = <T>(of: Schema<T>): Schema<T | undefined> => ({
  json: of.json,
  optional: true,
});
/** Filled in before the check, so that the caller may leave the field out. */
export const withDefault = <T>(of: Schema<T>, value: T): Schema<T> => ({
  json: { ...of.json, default: value },
  optional: true,
});
export const list = <T>(items: Schema<T>): Schema<readonly T[]> =>
  schema({ type: 'array', items: items.json });

export function object<T>(fields: Fields<T>): Schema<T> {
  return schema(objectJson(Object.entries(fields)));
}

/** A union tagged `kind`: every member's own fields, and no others. */
export function variants<T extends { readonly kind: string }>(of: Variants<T>): Schema<T> {
  const members = Object.entries(of).map(([kind, fields]) =>
    objectJson([
      ['kind', schema({ const: kind })],
      ...Object.entries(fields as Readonly<Record<string, unknown>>),
    ]),
  );
  return schema({ oneOf: members });
}

function objectJson(entries: readonly (readonly [string, unknown])[]): JsonSchema {
  const fields = entries as readonly (readonly [string, Schema<unknown>])[];
  return {
    type: 'object',
    additionalProperties: false,
    required: fields.filter(([, field]) => !field.optional).map(([name]) => name),
    properties: Object.fromEntries(fields.map(([name, field]) => [name, field.json])),
  };
}

/** Every schema that stands below `components` under its own name. */
const named = new Map<string, JsonSchema>();

export function component<T>(name: string, of: Schema<T>): Schema<T> {
  named.set(name, { $id: name, ...of.json });
  return schema({ $ref: `${name}#` });
}

export const components = (): readonly JsonSchema[] => [...named.values()];
