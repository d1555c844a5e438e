// Is what the caller sent usable? Reads a JSON object field by field and collects what is wrong.
//
// F1. Unknown fields are refused: a typo in an optional field must not be lost silently.
// F2. Everything is bounded; the error names the field and the rule, never the value.
import { Problem, type FieldError } from './problem.ts';

export interface Input {
  text(field: string, rule: { min?: number; max: number }): string;
  optionalText(field: string, rule: { min?: number; max: number }): string | undefined;
  oneOf<const T extends string>(field: string, choices: readonly T[]): T;
  integer(field: string, rule: { min: number; max: number }): number;
  uuid(field: string): string;
  /** `YYYY-MM-DD`, a day that exists. */
  day(field: string): string;
  /** ISO 8601 with an offset; returned in UTC. */
  instant(field: string): Date;
  /** Throws a 400 with everything that was wrong. Call it after the last field. */
  done(): void;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const DAY = /^\d{4}-\d{2}-\d{2}$/;
const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})$/;

export function isUuid(text: string): boolean {
  return UUID.test(text);
}

export function readInput(body: unknown): Input {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new Problem(400, 'Bad Request', 'The body must be a JSON object.');
  }
  const values = body as Readonly<Record<string, unknown>>;
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  const fail = <T>(field: string, message: string, instead: T): T => {
    errors.push({ field, message });
    return instead;
  };
  const value = (field: string): unknown => {
    seen.add(field);
    return Object.hasOwn(values, field) ? values[field] : undefined;
  };
  const text = (field: string, rule: { min?: number; max: number }): string => {
    const { min = 1, max } = rule;
    const given = value(field);
    if (typeof given !== 'string') return fail(field, 'must be a text', '');
    const trimmed = given.trim();
    if (trimmed.length < min || trimmed.length > max || trimmed.includes('\0')) {
      return fail(field, `must have ${min} to ${max} characters`, '');
    }
    return trimmed;
  };
  const matching = (field: string, pattern: RegExp, what: string): string => {
    const given = value(field);
    if (typeof given === 'string' && given.length <= 40 && pattern.test(given)) return given;
    return fail(field, `must be ${what}`, '');
  };
  return {
    text,
    optionalText: (field, rule) => (value(field) === undefined ? undefined : text(field, rule)),
    oneOf(field, choices) {
      const given = value(field);
      const found = choices.find((choice) => choice === given);
      const [first] = choices;
      if (first === undefined) throw new Error('oneOf needs choices');
      return found ?? fail(field, `must be one of ${choices.join(', ')}`, first);
    },
    integer(field, { min, max }) {
      const given = value(field);
      const fits = typeof given === 'number' && Number.isSafeInteger(given);
      if (fits && given >= min && given <= max) return given;
      return fail(field, `must be an integer from ${min} to ${max}`, min);
    },
    uuid: (field) => matching(field, UUID, 'a UUID'),
    day(field) {
      const given = matching(field, DAY, 'a day, YYYY-MM-DD');
      return given === '' || isRealDay(given)
        ? given
        : fail(field, 'must be a day that exists', '');
    },
    instant(field) {
      const parsed = new Date(matching(field, INSTANT, 'a time, ISO 8601 with offset'));
      if (!Number.isNaN(parsed.getTime())) return parsed;
      if (!errors.some((error) => error.field === field)) fail(field, 'must be a real time', '');
      return new Date(0);
    },
    done() {
      for (const field of Object.keys(values)) {
        if (!seen.has(field)) errors.push({ field: field.slice(0, 64), message: 'is not known' });
      }
      if (errors.length === 0) return;
      throw new Problem(400, 'Bad Request', 'Some fields are not valid.', {
        errors: errors.slice(0, 20),
      });
    },
  };
}

/** 2026-02-30 parses as 2 March: a day is real if it reads back as it was written. */
function isRealDay(day: string): boolean {
  const parsed = new Date(`${day}T00:00:00Z`);
  return !Number.isNaN(parsed.getTime()) && parsed.toISOString().startsWith(day);
}

/** One page of a list, by keyset: stable under inserts, and as cheap on page 1 000 as on page 1. */
export interface Page {
  readonly limit: number;
  /** Return entries after this id. */
  readonly after: string | undefined;
}

const LIMIT_DEFAULT = 20;
const LIMIT_MAX = 100;

export function readPage(query: URLSearchParams): Page {
  const limit = Number(query.get('limit') ?? LIMIT_DEFAULT);
  if (!Number.isInteger(limit) || limit < 1 || limit > LIMIT_MAX) {
    throw new Problem(400, 'Bad Request', `limit must be an integer from 1 to ${LIMIT_MAX}.`);
  }
  const after = query.get('after') ?? undefined;
  if (after !== undefined && !isUuid(after)) {
    throw new Problem(400, 'Bad Request', 'after must be the id of an entry.');
  }
  return { limit, after };
}

/** Asked for one more than the limit: its presence tells whether there is a next page. */
export function pageOf(rows: readonly { readonly id: string }[], page: Page): object {
  const items = rows.slice(0, page.limit);
  const last = items.at(-1);
  return { items, next: rows.length > page.limit && last !== undefined ? last.id : null };
}
