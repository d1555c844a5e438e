// What does a source file consist of, for the checks of tidiness? Its text, the same text with
// comments and strings blanked out (every character keeps its place), and its imports. A scanner
// of this size knows no grammar; it needs to tell code, comments, strings and regular
// expressions apart, and no more.

export interface Import {
  readonly specifier: string;
  readonly line: number;
  /** `import type …`: it leaves no trace at run time. */
  readonly isType: boolean;
}

export interface Source {
  /** Relative to the root, with forward slashes. */
  readonly path: string;
  readonly text: string;
  /** Comments and the contents of strings are blanks; quotes and line ends stay. */
  readonly code: string;
  /** The contents of strings only. */
  readonly strings: readonly string[];
  readonly imports: readonly Import[];
}

export function parseSource(path: string, text: string): Source {
  const { code, strings } = mask(text);
  return { path, text, code, strings, imports: findImports(text, code) };
}

export const isCode = (path: string): boolean => /\.(ts|mts|mjs)$/.test(path);
export const isTest = (path: string): boolean => /(^|\/)test\/|\.test\.ts$/.test(path);

export const lineAt = (text: string, offset: number): number =>
  text.slice(0, offset).split('\n').length;

const IMPORT = /\b(?:import|export)\s+(type\s)?[^;'"`()]*?\bfrom\s*(['"])|\bimport\s*\(?\s*(['"])/g;

function findImports(text: string, code: string): readonly Import[] {
  return [...code.matchAll(IMPORT)].map((match) => {
    const start = match.index + match[0].length;
    const quote = text[start - 1] ?? "'";
    const names = /\{([^}]*)\}/
      .exec(match[0])?.[1]
      ?.split(',')
      .filter((name) => name.trim() !== '');
    const allTypes = names?.every((name) => /^\s*type\s/.test(name)) ?? false;
    return {
      specifier: text.slice(start, text.indexOf(quote, start)),
      line: lineAt(text, match.index),
      isType: match[1] !== undefined || (allTypes && (names?.length ?? 0) > 0),
    };
  });
}

/** A `/` after one of these begins a regular expression, after anything else it divides. */
const BEFORE_REGEX = /(?:^|[=(,:;!&|?{}[+\-*%<>~^]|\b(?:return|typeof|case|in|of|await|yield))\s*$/;

function mask(text: string): { readonly code: string; readonly strings: readonly string[] } {
  const out = text.split('');
  const strings: string[] = [];
  const blank = (from: number, to: number): void => {
    for (let at = from; at < to; at++) if (out[at] !== '\n') out[at] = ' ';
  };
  /** The depth of braces at which each open template expression ends. */
  const templates: number[] = [];
  let depth = 0;
  let at = 0;
  const skip = (end: number, keepsEnds: boolean): void => {
    blank(keepsEnds ? at + 1 : at, keepsEnds ? end - 1 : end);
    at = end;
  };
  const template = (from: number): void => {
    const end = endOfTemplatePart(text, from);
    strings.push(text.slice(from, end));
    blank(from, end);
    at = end + 1;
    if (text[end] === '$') {
      templates.push(depth);
      depth++;
      at++;
    }
  };
  while (at < text.length) {
    const char = text[at] ?? '';
    const two = text.slice(at, at + 2);
    if (two === '//') skip(indexOrEnd(text, '\n', at), false);
    else if (two === '/*') skip(indexOrEnd(text, '*/', at + 2) + 2, false);
    else if (char === "'" || char === '"') {
      const end = endOfString(text, at, char);
      strings.push(text.slice(at + 1, end - 1));
      skip(end, true);
    } else if (char === '`') template(at + 1);
    else if (char === '/' && BEFORE_REGEX.test(out.slice(Math.max(0, at - 40), at).join('')))
      skip(endOfRegex(text, at), true);
    else if (char === '}' && templates.at(-1) === depth - 1) {
      templates.pop();
      depth--;
      template(at + 1);
    } else {
      if (char === '{') depth++;
      if (char === '}') depth--;
      at++;
    }
  }
  return { code: out.join(''), strings };
}

function indexOrEnd(text: string, part: string, from: number): number {
  const at = text.indexOf(part, from);
  return at === -1 ? text.length : at;
}

function endOfString(text: string, start: number, quote: string): number {
  let at = start + 1;
  while (at < text.length && text[at] !== quote && text[at] !== '\n')
    at += text[at] === '\\' ? 2 : 1;
  return at + 1;
}

/** The index of the closing backtick, or of the `$` of `${`. */
function endOfTemplatePart(text: string, start: number): number {
  let at = start;
  while (at < text.length && text[at] !== '`' && text.slice(at, at + 2) !== '${')
    at += text[at] === '\\' ? 2 : 1;
  return at;
}

function endOfRegex(text: string, start: number): number {
  let at = start + 1;
  let isInClass = false;
  while (at < text.length && text[at] !== '\n' && (isInClass || text[at] !== '/')) {
    if (text[at] === '[') isInClass = true;
    if (text[at] === ']') isInClass = false;
    at += text[at] === '\\' ? 2 : 1;
  }
  return at + 1;
}
