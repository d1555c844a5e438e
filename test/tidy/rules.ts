// Which rules of the style can a machine check, beside the layers and the linter? Each function
// takes the tree and returns what breaks one rule.

import { basename, dirname } from 'node:path';
import type { Violation } from './layers.ts';
import { isCode, isTest, lineAt, type Source } from './source.ts';
import type { Tree } from './tree.ts';

const LINES_MAX = 400;
const LINES_WITH_REASON_MAX = 500;
const COLUMNS_MAX = 100;
const HEAD_LINES_MAX = 15;
/** Words are taken apart here, so that this file does not break its own rules. */
const UNFINISHED = new RegExp(
  `\\b(?:${['T-ODO', 'F-IXME', 'X-XX'].join('|').replaceAll('-', '')})\\b`,
);
const NOT_DONE = /\bnot\simplemented\b/;
const FOREIGN_PATHS = ['w-ork/main', 'w-ork/shared', 't-mp/notes', 'w-ork/.'].map((path) =>
  path.replace('-', ''),
);

export const rules: Readonly<Record<string, (tree: Tree) => Violation[]>> = {
  'file length': fileLength,
  'line length': lineLength,
  'head comment': headComment,
  'numbered invariants': invariants,
  'endless loops': endlessLoops,
  'plain words': plainWords,
  'banned syntax': bannedSyntax,
  'no foreign paths': foreignPaths,
  'exact versions': exactVersions,
  'node 26': nodeMajor,
};

function fileLength({ sources }: Tree): Violation[] {
  return sources.flatMap(({ path, text }) => {
    if (isTest(path)) return [];
    const lines = text.trimEnd().split('\n').length;
    const hasReason = /longer than 400 lines because/i.test(headOf(text).join(' '));
    const max = hasReason ? LINES_WITH_REASON_MAX : LINES_MAX;
    return lines > max ? [at(path, max, 'file length', `${lines} lines, ${max} are the most`)] : [];
  });
}

function lineLength({ sources }: Tree): Violation[] {
  return sources.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, index) => {
      // An address cannot be broken, and neither can a line that the linter has to find.
      const isUnbreakable = /https?:\/\/|oxlint-disable|sha\d+-/.test(line);
      if (line.length <= COLUMNS_MAX || isUnbreakable) return [];
      return [at(path, index + 1, 'line length', `${line.length} columns`)];
    }),
  );
}

/** The comment lines at the top, without their marks. */
function headOf(text: string): readonly string[] {
  const lines = text.replace(/^#!.*\n/, '').split('\n');
  if (lines[0]?.startsWith('/**') === true) {
    const end = lines.findIndex((line) => line.includes('*/'));
    return lines.slice(0, end + 1).map((line) => line.replace(/^\s*\/?\*+\/?\s?|\*\/\s*$/g, ''));
  }
  const end = lines.findIndex((line) => !line.startsWith('//'));
  return lines.slice(0, end === -1 ? lines.length : end).map((line) => line.replace(/^\/\/ ?/, ''));
}

const INVARIANT = /^\s*([A-Z]{1,4}\d{1,2})\. /;

function headComment({ sources }: Tree): Violation[] {
  return sources.flatMap(({ path, text }) => {
    if (isTest(path) || path.endsWith('.d.ts')) return [];
    const head = headOf(text);
    const first = head.findIndex((line) => INVARIANT.test(line));
    const prose = (first === -1 ? head : head.slice(0, first)).filter((line) => line.trim() !== '');
    const say = (message: string): Violation[] => [at(path, 1, 'head comment', message)];
    if (prose.length === 0) return say('does not open with the question that it answers');
    if (prose.length > HEAD_LINES_MAX) return say(`${prose.length} lines of prose at its head`);
    return [];
  });
}

/** Each `S1.` at the head of a file stands in the title of a test that belongs to the file. */
function invariants({ sources }: Tree): Violation[] {
  // Contract suites are tests too: each implementation runs them.
  const tests = sources.filter(
    ({ path }) => path.endsWith('.test.ts') || path.startsWith('test/contract/'),
  );
  return sources.flatMap((source) => {
    if (isTest(source.path)) return [];
    const near = tests.filter((test) => belongs(test, source.path));
    return headOf(source.text).flatMap((line) => {
      const number = INVARIANT.exec(line)?.[1];
      if (number === undefined) return [];
      const word = new RegExp(`\\b${number}\\b`);
      if (near.some(({ strings }) => strings.some((text) => word.test(text)))) return [];
      return [at(source.path, 1, 'numbered invariants', `${number} is in no test title`)];
    });
  });
}

function belongs(test: Source, path: string): boolean {
  const owner = /^packages\/[^/]+\//.exec(path)?.[0];
  if (owner !== undefined && test.path.startsWith(owner)) return true;
  // A test belongs to the folders that it stands in, and to the one that it is named for.
  const parts = dirname(path).split('/').slice(1);
  const named = basename(test.path).replace(/(\.test)?\.ts$/, '');
  const places = [...dirname(test.path).split('/').slice(1), named, ...named.split('-')];
  return parts.some((part) => places.includes(part)) || test.text.includes(basename(path));
}

function endlessLoops({ sources }: Tree): Violation[] {
  return sources.flatMap(({ path, text, code }) =>
    [...code.matchAll(/\bwhile\s*\(\s*true\s*\)|\bfor\s*\(\s*;\s*;\s*\)/g)].flatMap((match) => {
      const line = lineAt(code, match.index);
      const lines = text.split('\n');
      const around = [lines[line - 2], lines[line - 1], lines[line]].join('\n');
      if (/\/\/|\*\//.test(around)) return [];
      return [at(path, line, 'endless loops', 'carries no comment with its bound')];
    }),
  );
}

function plainWords({ texts, sources }: Tree): Violation[] {
  const unfinished = [...texts].flatMap(([path, text]) =>
    text.split('\n').flatMap((line, index) => {
      const word =
        UNFINISHED.exec(line)?.[0] ?? (isCode(path) ? NOT_DONE.exec(line)?.[0] : undefined);
      return word === undefined ? [] : [at(path, index + 1, 'plain words', `"${word}"`)];
    }),
  );
  const filler = sources.flatMap(({ path, code }) => {
    const name = /\b(?:class|interface|type|function)\s+(\w*(?:Manager|Helpers?|Utils?)\b)/.exec(
      code,
    );
    if (name !== null)
      return [at(path, lineAt(code, name.index), 'plain words', `"${name[1]}" says nothing`)];
    if (/(^|[/-])(utils?|helpers?|manager|misc|common)\.(ts|mjs)$/.test(path))
      return [at(path, 1, 'plain words', 'the file name says nothing')];
    return [];
  });
  return [...unfinished, ...filler];
}

/** The linter finds these as well, but not in `.mjs` files, and not when it is switched off. */
const BANNED: readonly (readonly [RegExp, string])[] = [
  [/^\s*(?:export\s+)?(?:declare\s+)?(?:const\s+)?enum\s+\w/m, 'enum'],
  [/^\s*(?:export\s+)?(?:declare\s+)?namespace\s+\w/m, 'namespace'],
  [/^\s*@\w+(?:\(|\s)/m, 'a decorator'],
  [
    /\bconstructor\s*\((?:[^)]*,)?\s*(?:private|public|protected|readonly)\s+\w/,
    'a parameter property',
  ],
  [/:\s*any\b|\bas any\b|<any>/, 'any'],
  [/\beval\s*\(|\bnew Function\b/, 'eval'],
  [/^\s*export\s+default\b/m, 'a default export'],
];
/** node:test demands that of a reporter. */
const MAY_DEFAULT = 'scripts/test/reporter.ts';

function bannedSyntax({ sources }: Tree): Violation[] {
  return sources.flatMap(({ path, code }) =>
    BANNED.flatMap(([pattern, name]) => {
      const found = pattern.exec(code);
      if (found === null || (path === MAY_DEFAULT && name === 'a default export')) return [];
      return [at(path, lineAt(code, found.index), 'banned syntax', name)];
    }),
  );
}

function foreignPaths({ texts }: Tree): Violation[] {
  return [...texts].flatMap(([path, text]) =>
    FOREIGN_PATHS.flatMap((part) => {
      const index = text.indexOf(`/${part}`);
      if (index === -1) return [];
      return [
        at(path, lineAt(text, index), 'no foreign paths', `"/${part}" exists on one machine`),
      ];
    }),
  );
}

type Versions = Readonly<Record<string, string>>;
interface PackageJson {
  readonly dependencies?: Versions;
  readonly devDependencies?: Versions;
  readonly optionalDependencies?: Versions;
}

const EXACT = /^\d+\.\d+\.\d+(?:-[\w.]+)?$/;

function exactVersions(tree: Tree): Violation[] {
  return packageFiles(tree).flatMap(([path, json]) =>
    Object.entries({ ...json.dependencies, ...json.devDependencies, ...json.optionalDependencies })
      .filter(([, version]) => !EXACT.test(version))
      .map(([name, version]) => at(path, 1, 'exact versions', `${name} is "${version}"`)),
  );
}

function packageFiles({ texts }: Tree): readonly (readonly [string, PackageJson])[] {
  return [...texts]
    .filter(([path]) => basename(path) === 'package.json')
    .map(([path, text]) => [path, JSON.parse(text) as PackageJson]);
}

/** One major everywhere: the pinned binaries, the types, the scripts. */
function nodeMajor(tree: Tree): Violation[] {
  const root = packageFiles(tree).find(([path]) => path === 'package.json')?.[1] ?? {};
  const pinned = Object.entries(root.optionalDependencies ?? {}).filter(([name]) =>
    name.startsWith('node-'),
  );
  const wanted = [...pinned, ['@types/node', root.devDependencies?.['@types/node'] ?? '']] as const;
  const wrong = wanted
    .filter(([, version]) => !version.startsWith('26.'))
    .map(([name, version]) => at('package.json', 1, 'node 26', `${name} is "${version}"`));
  if (pinned.length === 0) wrong.push(at('package.json', 1, 'node 26', 'no Node is pinned'));
  return wrong;
}

const ERROR_CODE = /\bKIN_[A-Z0-9]+(?:_[A-Z0-9]+)*\b(?![_$])/g;

/** Codes that the code can say, and codes that the reference explains, are the same. */
export function errorCodes({ sources, texts }: Tree): Violation[] {
  const reference = 'docs/reference/errors.md';
  const documented = new Set((texts.get(reference) ?? '').match(ERROR_CODE) ?? []);
  const said = new Map<string, string>();
  for (const { path, strings } of sources.filter((source) => !isTest(source.path)))
    for (const code of strings.join('\n').match(ERROR_CODE) ?? []) said.set(code, path);
  const missing = [...said].filter(([code]) => !documented.has(code));
  const dead = [...documented].filter((code) => !said.has(code));
  return [
    ...missing.map(([code, path]) => at(path, 1, 'error codes', `${code} is not in ${reference}`)),
    ...dead.map((code) => at(reference, 1, 'error codes', `${code} is said by no code`)),
  ];
}

function at(path: string, line: number, rule: string, message: string): Violation {
  return { path, line, rule, message };
}
