// Out of which kinds of values is a manifest made? A small language of shapes, as plain data. The
// table in keys.ts is written in it; the reader, the JSON Schema and the reference page walk it, so
// that a key is described once.
//
//   SH1. A shape is data: what reads, checks and documents it lives elsewhere.
import type { Unit } from './units.ts';

export type Scalar = string | number | boolean;

export interface TextShape {
  readonly kind: 'text';
  /** For people, after "expected". */
  readonly accepts: string;
  readonly pattern: string | undefined;
  readonly lengthMax: number;
  readonly examples: readonly string[];
  /** The value may hold a secret: never shown in an error. */
  readonly hidden: boolean;
  /** Numbers and booleans are taken as they are written (environment values, arguments). */
  readonly loose: boolean;
}

export interface WholeShape {
  readonly kind: 'whole';
  readonly min: number;
  readonly max: number;
}

export interface FlagShape {
  readonly kind: 'flag';
}

export interface ChoiceShape<C extends string = string> {
  readonly kind: 'choice';
  readonly of: readonly C[];
  /** The words name something (`a playbook`): another word is a wrong reference. */
  readonly names: string | undefined;
}

export interface QuantityShape {
  readonly kind: 'quantity';
  readonly unit: Unit;
  readonly min: number;
  readonly max: number;
}

export interface ListShape<S = unknown> {
  readonly kind: 'list';
  readonly of: S;
  readonly min: number;
  readonly max: number;
}

/** A map from names that the user chooses. */
export interface MapShape<S = unknown> {
  readonly kind: 'map';
  readonly of: S;
  readonly names: NameKind;
  readonly min: number;
  readonly max: number;
}

export interface ObjectShape<K = unknown> {
  readonly kind: 'object';
  readonly keys: K;
}

/** A program with its arguments: a list, or one text that is split. */
export interface CommandShape {
  readonly kind: 'command';
}

/** Objects that their key `kind` tells apart: each of them has it as a choice of one word. */
export interface VariantsShape<S = unknown> {
  readonly kind: 'variants';
  readonly of: readonly S[];
}

/** The short form (a scalar) or the long one (an object). */
export interface EitherShape<A = unknown, B = unknown> {
  readonly kind: 'either';
  readonly short: A;
  readonly long: B;
}

export type NameKind = 'name' | 'variable' | 'playbook';

export type Shape =
  | TextShape
  | WholeShape
  | FlagShape
  | ChoiceShape
  | QuantityShape
  | ListShape
  | MapShape
  | ObjectShape
  | CommandShape
  | VariantsShape
  | EitherShape;

export interface Key<S = unknown, P extends Presence = Presence> {
  readonly shape: S;
  readonly presence: P;
  /** One or two sentences for the reference page and for editors. */
  readonly about: string;
  /** As it would be written, for `default`; what holds when left out, for `optional`. */
  readonly fallback: Scalar | readonly string[] | Readonly<Record<string, never>> | undefined;
  /** Name of the same key as a plain number of the base unit: `intervalMs`. */
  readonly plain: string | undefined;
  /** Words that people write instead. */
  readonly slips: readonly string[];
}

/** `default`: always has a value. `optional`: undefined when left out. */
export type Presence = 'required' | 'default' | 'optional';

export type Keys = Readonly<Record<string, Key>>;

/** The TypeScript type of what is read for a shape. */
export type Read<S> =
  S extends ObjectShape<infer K>
    ? { readonly [N in keyof K]: ReadKey<K[N]> }
    : S extends MapShape<infer V>
      ? ReadonlyMap<string, Read<V>>
      : S extends ListShape<infer V>
        ? readonly Read<V>[]
        : S extends ChoiceShape<infer C>
          ? C
          : S extends EitherShape<infer A, infer B>
            ? Read<A> | Read<B>
            : S extends VariantsShape<infer V>
              ? Read<V>
              : S extends WholeShape | QuantityShape
                ? number
                : S extends FlagShape
                  ? boolean
                  : S extends CommandShape
                    ? readonly string[]
                    : S extends TextShape
                      ? string
                      : never;

type ReadKey<K> =
  K extends Key<infer S, infer P> ? (P extends 'optional' ? Read<S> | undefined : Read<S>) : never;

type KeyMore = { readonly plain?: string; readonly slips?: readonly string[] };

export function required<S>(shape: S, about: string, more: KeyMore = {}): Key<S, 'required'> {
  return { ...more, shape, presence: 'required', about, fallback: undefined, ...filled(more) };
}

/** `fallback` says in words what holds when the key is left out. */
export function optional<S>(
  shape: S,
  fallback: string,
  about: string,
  more: KeyMore = {},
): Key<S, 'optional'> {
  return { shape, presence: 'optional', about, fallback, ...filled(more) };
}

export function standard<S>(
  shape: S,
  fallback: Scalar | readonly string[] | Readonly<Record<string, never>>,
  about: string,
  more: KeyMore = {},
): Key<S, 'default'> {
  return { shape, presence: 'default', about, fallback, ...filled(more) };
}

function filled(more: KeyMore): Pick<Key, 'plain' | 'slips'> {
  return { plain: more.plain, slips: more.slips ?? [] };
}

export function text(
  accepts: string,
  more: Partial<Omit<TextShape, 'kind' | 'accepts'>> = {},
): TextShape {
  return {
    kind: 'text',
    accepts,
    pattern: more.pattern,
    lengthMax: more.lengthMax ?? 1024,
    examples: more.examples ?? [],
    hidden: more.hidden ?? false,
    loose: more.loose ?? false,
  };
}

export const whole = (min: number, max: number): WholeShape => ({ kind: 'whole', min, max });
export const flag = (): FlagShape => ({ kind: 'flag' });
export const command = (): CommandShape => ({ kind: 'command' });
export const choice = <const C extends string>(...of: readonly C[]): ChoiceShape<C> => ({
  kind: 'choice',
  of,
  names: undefined,
});
export const choiceOf = <const C extends string>(
  names: string,
  of: readonly C[],
): ChoiceShape<C> => ({ kind: 'choice', of, names });
export const quantity = (unit: Unit, min: number, max: number): QuantityShape => ({
  kind: 'quantity',
  unit,
  min,
  max,
});
export const list = <S>(of: S, max: number, min = 0): ListShape<S> => ({
  kind: 'list',
  of,
  min,
  max,
});
export const map = <S>(of: S, max: number, names: NameKind = 'name', min = 0): MapShape<S> => ({
  kind: 'map',
  of,
  names,
  min,
  max,
});
export const object = <K>(keys: K): ObjectShape<K> => ({ kind: 'object', keys });
export const either = <A, B>(short: A, long: B): EitherShape<A, B> => ({
  kind: 'either',
  short,
  long,
});
export const variants = <V extends readonly unknown[]>(...of: V): VariantsShape<V[number]> => ({
  kind: 'variants',
  of,
});

/** The narrow view of a shape whose parts the walkers need; the builders above made it. */
export function keysOf(shape: ObjectShape): Keys {
  return shape.keys as Keys;
}

/** Each variant by its word. */
export function variantsOf(shape: VariantsShape): ReadonlyMap<string, ObjectShape> {
  return new Map(
    (shape.of as readonly ObjectShape[]).map((variant) => {
      const key = keysOf(variant)['kind'];
      const word = key === undefined ? undefined : partOf(key.shape);
      return [word?.kind === 'choice' ? (word.of[0] ?? '') : '', variant];
    }),
  );
}

export function partOf(part: unknown): Shape {
  return part as Shape;
}

export const NAME_PATTERNS: Readonly<Record<NameKind, string>> = {
  name: '^[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?$',
  variable: '^[A-Za-z_][A-Za-z0-9_]{0,127}$',
  playbook: '^[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?$',
};
