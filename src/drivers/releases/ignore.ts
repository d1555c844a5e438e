// Which files of a source folder stay out of its release? A few always, and those that a
// `.kintsugiignore` names: one pattern a line, `#` for comments, globs (`*`, `**`, `?`), a pattern
// with a slash counts from the source folder, one without at any depth.
import { matchesGlob } from 'node:path/posix';
import { KinError } from '../../model/errors.ts';

export const IGNORE_FILE = '.kintsugiignore';
/** Version control and Kintsugi's own state: never part of what runs. */
const ALWAYS: ReadonlySet<string> = new Set(['.git', '.kintsugi', IGNORE_FILE]);
const PATTERNS_MAX = 500;
const PATTERN_LENGTH_MAX = 200;

/** `path`: relative to the source, with `/`. An ignored folder is not entered. */
export type Ignores = (path: string, name: string) => boolean;

export function parseIgnore(text: string): Ignores {
  const patterns = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  if (patterns.length > PATTERNS_MAX) throw invalid(`it has more than ${PATTERNS_MAX} patterns`);
  for (const pattern of patterns) {
    if (pattern.startsWith('!')) throw invalid(`${pattern}: exceptions (!) are not supported`);
    if (pattern.length > PATTERN_LENGTH_MAX) throw invalid('a pattern is too long');
  }
  const plain = patterns.map((pattern) => pattern.replace(/\/+$/u, ''));
  const anywhere = plain.filter((pattern) => !pattern.includes('/'));
  const anchored = plain
    .filter((each) => each.includes('/'))
    .map((each) => each.replace(/^\//u, ''));
  return (path, name) =>
    ALWAYS.has(name) ||
    anywhere.some((pattern) => matchesGlob(name, pattern)) ||
    anchored.some((pattern) => matchesGlob(path, pattern));
}

const invalid = (why: string): KinError =>
  new KinError(
    'KIN_RELEASE_IGNORE_INVALID',
    `${IGNORE_FILE} cannot be used: ${why}`,
    'Write one glob pattern a line, without exceptions.',
  );
