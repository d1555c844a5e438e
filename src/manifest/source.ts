// What does the file say, as YAML? Reads it with its limits and hands out a document whose nodes
// know their places, or says why it cannot be read.
//
//   SO1. No file makes this slow or large: size, nodes, depth and aliases are limited.
//   SO2. A key written twice is an error that names both places.
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { LineCounter, isAlias, isCollection, isMap, isScalar, parseDocument, visit } from 'yaml';
import type { Alias, Document, Node, YAMLMap } from 'yaml';
import { messageOf } from '../model/errors.ts';
import { WHOLE_FILE } from './problem.ts';
import type { Place, ProblemList } from './problem.ts';

export const FILE_BYTES_MAX = 1024 * 1024;
const NODES_MAX = 200_000;
const DEPTH_MAX = 24;
export const ALIASES_MAX = 100;
const SYNTAX_PROBLEMS_MAX = 10;

export interface YamlSource {
  readonly doc: Document.Parsed;
  readonly lines: LineCounter;
  /** What each alias stands for, found in one pass: the library's own search is one per alias. */
  readonly targets: ReadonlyMap<Alias, Node>;
}

/** Reads the bytes of the file; undefined (and a problem) when it cannot be had. */
export async function readBytes(
  path: string,
  problems: ProblemList,
): Promise<Uint8Array | undefined> {
  try {
    // O_NONBLOCK: a named pipe in its place must not block for ever.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = await file.stat();
      if (!stat.isFile()) throw Object.assign(new Error('not a file'), { code: 'EISDIR' });
      const bytes = Buffer.alloc(FILE_BYTES_MAX + 1);
      let length = 0;
      // Bounded by the buffer: a file that grows while it is read ends up too large.
      for (let got = -1; got !== 0 && length < bytes.length; length += got) {
        got = (await file.read(bytes, length, bytes.length - length, length)).bytesRead;
      }
      return bytes.subarray(0, length);
    } finally {
      await file.close();
    }
  } catch (error) {
    problems.add('KIN_MANIFEST_NOT_FOUND', WHOLE_FILE, '', {
      found: notFoundText(error),
      expected: 'a manifest file that can be read',
      suggestion: '`kintsugi init`, which writes one',
    });
    return undefined;
  }
}

function notFoundText(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'no such file';
  if (code === 'EISDIR') return 'something that is not a file';
  if (code === 'EACCES' || code === 'EPERM') return 'a file that this user may not read';
  return `an error (${messageOf(error).slice(0, 200)})`;
}

/** Bytes to text; refuses what is too large or not UTF-8. */
export function decode(bytes: Uint8Array, problems: ProblemList): string | undefined {
  if (bytes.length > FILE_BYTES_MAX) {
    problems.add('KIN_MANIFEST_TOO_LARGE', WHOLE_FILE, '', {
      found: 'more than 1 MiB',
      expected: 'a manifest of at most 1 MiB',
    });
    return undefined;
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    const sixteen =
      (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
    problems.add('KIN_MANIFEST_SYNTAX', badByte(bytes), '', {
      found: sixteen ? 'UTF-16' : 'a byte that is not UTF-8',
      expected: 'a text file in UTF-8',
      ...(sixteen ? { suggestion: 'to save the file as UTF-8' } : {}),
    });
    return undefined;
  }
}

/** The place of the first byte that is not UTF-8, by halving: a prefix is good or it is not. */
function badByte(bytes: Uint8Array): Place {
  let good = 0;
  let bad = bytes.length;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    try {
      // `stream` forgives a sequence that is cut off at the end of the prefix.
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, middle), { stream: true });
      good = middle;
    } catch {
      bad = middle;
    }
  }
  const before = Buffer.from(bytes.subarray(0, good)).toString('latin1');
  const line = before.split('\n').length;
  return { line, column: good - before.lastIndexOf('\n') };
}

/** Text to document; undefined (and problems) when it is no usable YAML. */
export function parseYaml(text: string, problems: ProblemList): YamlSource | undefined {
  const lines = new LineCounter();
  const known = problems.count();
  const doc = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    strict: true,
    version: '1.2',
    merge: false,
    // Its own search for duplicates is quadratic; `census` does it in one pass (SO1).
    uniqueKeys: false,
  });
  const targets = new Map<Alias, Node>();
  const source = { doc, lines, targets };
  for (const error of syntaxErrors(doc)) {
    problems.add('KIN_MANIFEST_SYNTAX', placeOf(source, error.pos[0]), '', syntaxText(error.code));
  }
  if (problems.count() === known) census(source, targets, problems);
  return problems.count() === known ? source : undefined;
}

function syntaxErrors(doc: Document.Parsed): Document.Parsed['errors'] {
  const deep = doc.errors.filter((error) => error.code === 'RESOURCE_EXHAUSTION');
  if (deep.length > 0) return deep.slice(0, 1);
  // One slip makes the parser stumble several times over one line; the first says it best.
  const seen = new Set<string>();
  return doc.errors
    .filter((error) => {
      const mark = `${error.code}/${Math.floor(error.pos[0] / 40)}`;
      return seen.has(mark) ? false : seen.add(mark);
    })
    .slice(0, SYNTAX_PROBLEMS_MAX);
}

interface SyntaxText {
  readonly found: string;
  readonly expected: string;
  readonly suggestion?: string;
}

// The library's own messages quote the source, and the source may hold a secret (PR2).
const SYNTAX_TEXTS: Readonly<Record<string, SyntaxText>> = {
  TAB_AS_INDENT: { found: 'a tab', expected: 'spaces as indent', suggestion: 'two spaces' },
  MISSING_CHAR: { found: 'the end too early', expected: 'the closing quote or bracket, or ": "' },
  BAD_INDENT: { found: 'this indent', expected: 'the indent of the lines around it' },
  BLOCK_AS_IMPLICIT_KEY: {
    found: 'a second ": " in one line',
    expected: 'one key and its value in a line',
    suggestion: 'quotes around the value',
  },
  BAD_SCALAR_START: {
    found: 'a value that starts with @ or `',
    expected: 'another first character',
    suggestion: 'quotes around the value',
  },
  MULTILINE_IMPLICIT_KEY: { found: 'a key over several lines', expected: '"key: value"' },
  MULTIPLE_DOCS: {
    found: 'a second document after ---',
    expected: 'one manifest in the file',
  },
  BAD_ALIAS: { found: 'an alias without a name', expected: 'an anchor defined above it' },
  BAD_DQ_ESCAPE: { found: 'an unknown \\ escape', expected: 'an escape that YAML knows' },
  RESOURCE_EXHAUSTION: {
    found: 'values nested far too deep',
    expected: `at most ${DEPTH_MAX} levels`,
  },
  DUPLICATE_KEY: { found: 'a key twice', expected: 'each key once' },
};

function syntaxText(code: string): SyntaxText {
  const known = Object.hasOwn(SYNTAX_TEXTS, code) ? SYNTAX_TEXTS[code] : undefined;
  return (
    known ?? {
      found: `something that is not YAML (${code.toLowerCase().replaceAll('_', ' ')})`,
      expected: '"key: value" lines, lists with "- ", or brackets',
    }
  );
}

export function placeOf(source: YamlSource, offset: number | undefined): Place {
  if (offset === undefined) return WHOLE_FILE;
  const { line, col } = source.lines.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}

export function nodePlace(source: YamlSource, node: unknown): Place | undefined {
  const range = (node as Node | null | undefined)?.range;
  return range === null || range === undefined ? undefined : placeOf(source, range[0]);
}

/** Counts what could grow without bound, and finds doubled keys, unknown anchors and tags. */
function census(source: YamlSource, targets: Map<Alias, Node>, problems: ProblemList): void {
  const counts = { nodes: 0, aliases: 0 };
  const anchors = new Map<string, Node>();
  const stop = (what: string, node: unknown): symbol => {
    problems.add('KIN_MANIFEST_TOO_LARGE', nodePlace(source, node) ?? WHOLE_FILE, '', {
      found: what,
      expected: `at most ${NODES_MAX} values, ${DEPTH_MAX} levels and ${ALIASES_MAX} aliases`,
    });
    return visit.BREAK;
  };
  visit(source.doc, {
    Node: (_, node, parents) => {
      counts.nodes += 1;
      if (counts.nodes > NODES_MAX) return stop('too many values', node);
      if (parents.filter(isCollection).length > DEPTH_MAX)
        return stop('values nested too deep', node);
      if (!isAlias(node)) noteAnchor(node, anchors);
      else {
        counts.aliases += 1;
        if (counts.aliases > ALIASES_MAX) return stop('too many aliases', node);
        const target = anchors.get(node.source);
        if (target === undefined) unknownAlias(source, node, problems);
        else targets.set(node, target);
      }
      if (isMap(node)) doubledKeys(source, node, problems);
      return undefined;
    },
  });
}

function noteAnchor(node: Node, anchors: Map<string, Node>): void {
  const { anchor } = isScalar(node) || isCollection(node) ? node : {};
  if (anchor !== undefined) anchors.set(anchor, node);
}

function unknownAlias(source: YamlSource, node: Node, problems: ProblemList): void {
  problems.add('KIN_MANIFEST_REFERENCE', nodePlace(source, node) ?? WHOLE_FILE, '', {
    found: 'an alias (*) without its anchor (&)',
    expected: 'an anchor above the alias',
  });
}

function doubledKeys(source: YamlSource, node: YAMLMap, problems: ProblemList): void {
  const seen = new Map<string, Place>();
  for (const { key } of node.items) {
    if (!isScalar(key)) continue;
    const word = String(key.value);
    const place = nodePlace(source, key) ?? WHOLE_FILE;
    const first = seen.get(word);
    if (first === undefined) seen.set(word, place);
    else {
      problems.add('KIN_MANIFEST_CONFLICT', place, '', {
        found: `the key ${shownKey(word)} a second time`,
        expected: `one only; the first is at line ${first.line}`,
      });
    }
  }
}

/** A key as it may stand in a message: short and printable. */
export function shownKey(word: string): string {
  return JSON.stringify(word.length > 60 ? `${word.slice(0, 57)}…` : word);
}
