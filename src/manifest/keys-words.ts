// Which texts may a manifest hold? The grammars of names, paths, URLs and times, each with the
// words that an error message uses for it.
//
//   W1. No pattern backtracks: each is linear in the length of its text.
import { NAME_PATTERNS, choice, quantity, text } from './shape.ts';
import type { QuantityShape } from './shape.ts';

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;
export const GIB = 1024 ** 3;

export const name = text(
  'a name: 1–40 lower-case letters, digits and dashes, starting with a letter',
  {
    pattern: NAME_PATTERNS.name,
    examples: ['records'],
  },
);
export const variable = text('the name of an environment variable such as DATABASE_URL', {
  pattern: NAME_PATTERNS.variable,
  examples: ['DATABASE_URL'],
});
export const host = text('a host name or IP address such as 127.0.0.1', {
  pattern: String.raw`^[A-Za-z0-9:.\[\]_-]{1,253}$`,
  examples: ['127.0.0.1'],
});
export const path = text('a path such as ./folder/file', {
  pattern: String.raw`^[^\x00-\x1f]{1,1024}$`,
  examples: ['./services'],
});
export const urlPath = text('a URL path that starts with "/", without query or spaces', {
  pattern: String.raw`^/(?:[\w.~!$&'()*+,;=:@%-]+(?:/[\w.~!$&'()*+,;=:@%-]+)*/?)?$`,
  lengthMax: 200,
  examples: ['/readyz'],
});
export const url = text('a URL as text; ${secret:…}, ${port:…} and ${env:…} may stand in it', {
  lengthMax: 4096,
  hidden: true,
  pattern: String.raw`^[^\s]{1,4096}$`,
  examples: ['postgres://app:${secret:db-app}@127.0.0.1:${port:database}/clinic'],
});
export const value = text('a text, a number or a boolean', {
  lengthMax: 32_768,
  hidden: true,
  loose: true,
});
export const word = text('a text', { lengthMax: 200, pattern: String.raw`^[^\x00-\x1f]{1,200}$` });
export const instant = text('a time with its offset such as 2026-12-24T18:00:00+01:00', {
  pattern: String.raw`^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d)$`,
  examples: ['2026-12-24T18:00:00+01:00'],
});

export const choiceOfPlaybook = choice('automatic', 'ask', 'off');

export const duration = (min: number, max: number): QuantityShape => quantity('duration', min, max);
