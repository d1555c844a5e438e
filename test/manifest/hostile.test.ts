import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { loadManifest, loadManifestText } from '../../src/manifest/index.ts';
import { ManifestErrors, PROBLEM_CODES } from '../../src/manifest/problem.ts';
import { SERVER, folder, structure } from './fixture.ts';

const ENV = { PATH: '' };

async function onlyTyped(text: string): Promise<void> {
  try {
    await loadManifestText(text, '/nowhere/kintsugi.yaml', { env: ENV });
  } catch (error) {
    assert.ok(error instanceof ManifestErrors, `${String(error)} for ${JSON.stringify(text)}`);
    for (const problem of error.problems) assert.ok(PROBLEM_CODES.includes(problem.code));
  }
}

test('RD1: any text at all is read or refused with typed problems', async () => {
  const pieces = fc.constantFrom(
    'name:',
    ' a',
    '\n',
    '  ',
    '- ',
    '[',
    ']',
    '{',
    '}',
    ': ',
    ', ',
    '&x ',
    '*x',
    '!!int ',
    '"',
    "'",
    '|\n',
    '>\n',
    '# c',
    'services:',
    'web:',
    'command:',
    '${',
    '}',
    '%',
    '<<: ',
    '? ',
    '---\n',
    '\t',
    '1e999',
    '.nan',
    '-0',
    '0x1',
    '~',
    'null',
    'true',
    '\u0000',
    '\ud800',
    'é',
    '__proto__:',
  );
  const soup = fc.array(pieces, { maxLength: 40 }).map((parts) => parts.join(''));
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), soup), onlyTyped),
    { numRuns: 600 },
  );
});

test('RD1: any value in the place of any key is read or refused with typed problems', async () => {
  const keys = fc.constantFrom(
    'name',
    'gateway',
    'control',
    'secrets',
    'services',
    'dependencies',
    'tenants',
    'healing',
    'compliance',
    'ledger',
    'witnesses',
    'anchors',
    'retention',
    'list',
    'web',
    'command',
    'env',
    'replicas',
    'readiness',
    'routes',
    'prefix',
    'drain',
    'drainMs',
    'min',
    'max',
    'checks',
    'kind',
    'url',
    'quotas',
    'rate',
    '__proto__',
    'constructor',
    'a]',
    '[0]',
    '',
  );
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'medium' },
      fc.constantFrom('a', '5s', '5', '${env:X}', '${', '../..', '/', 'node server.js', 'yes'),
      fc.integer(),
      fc.double(),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.array(fc.tuple(keys, tie('value')), { maxLength: 6 }).map((pairs) => new Map(pairs)),
    ),
  }));
  await fc.assert(
    fc.asyncProperty(value, value, value, value, (services, tenants, gateway, ledger) =>
      onlyTyped(
        stringify(
          { name: 'a', services, tenants, gateway: { jwt: gateway }, ledger },
          { aliasDuplicateObjects: false },
        ),
      ),
    ),
    { numRuns: 300 },
  );
});

test('RD2: what could not be read does not raise false alarms elsewhere', async (t) => {
  const { problems } = await folder(t);
  const found = await problems(
    'name: a\nservices: { web: { command: { a: 1 }, dependsOn: [5], port: x, ' +
      'replicas: { min: x } } }',
  );
  assert.deepEqual(
    found.all.map((p) => `${p.code.slice(13)} ${p.path}`),
    [
      'TYPE services.web.command',
      'TYPE services.web.dependsOn[0]',
      'TYPE services.web.port',
      'TYPE services.web.replicas.min',
    ],
  );
});

test('SO1: an alias bomb, deep nesting and endless lists are refused', async (t) => {
  const { problems } = await folder(t);
  const level = (i: number): string =>
    `l${i}: &l${i} [${Array(9)
      .fill(`*l${i - 1}`)
      .join(', ')}]`;
  const bomb = ['l0: &l0 [x]', ...Array.from({ length: 30 }, (_, i) => level(i + 1))].join('\n');
  assert.deepEqual(
    (await problems(bomb)).all.map((p) => p.code.slice(13)),
    ['TOO_LARGE'],
  );
  assert.match((await problems(bomb)).text, /too many aliases/);
  const deep = ['['.repeat(100_000), '{a: '.repeat(50_000), '- '.repeat(100_000)];
  for (const text of deep) {
    const found = await problems(text);
    assert.equal(found.all.length, 1, found.text);
    assert.match(found.text, /nested (?:far )?too deep/);
  }
  const nested = `name: ${'['.repeat(40)}${']'.repeat(40)}`;
  assert.match((await problems(nested)).text, /nested too deep/);
  const long = `a: [${'1,'.repeat(250_000)}]`;
  assert.match((await problems(long)).text, /too many values/);
});

test('SO1: aliases of aliases in a long file are looked up and not searched for', async (t) => {
  const { problems } = await folder(t);
  const frameworks = `&f [${Array(20).fill('hipaa').join(', ')}]`;
  const many = Array.from({ length: 90 }, (_, i) => `  t${i}: *t`).join('\n');
  const padding = Array.from({ length: 20_000 }, (_, i) => `  p${i}: {}`).join('\n');
  const first = `name: a\n${SERVER}\ntenants:\n  t: &t { frameworks: ${frameworks} }`;
  const text = [first, padding, many].join('\n');
  assert.deepEqual((await problems(text)).short, []);
});

test('SO1: an anchor that holds itself ends', async (t) => {
  const { problems } = await folder(t);
  const found = await problems(`name: a\n${SERVER}\ntenants: &t { a: *t, b: { quotas: *t } }`);
  assert.ok(found.all.length > 0);
});

test('SO1: thirty thousand keys are looked at in one pass', () => {
  const keys = Array.from({ length: 30_000 }, (_, i) => `  k${i}: 1`).join('\n');
  assert.ok(structure(`name: a\ntenants:\n${keys}`).problems > 0);
});

test('SO2: a key written twice is refused with both places, known or not', async (t) => {
  const { problems } = await folder(t);
  const found = await problems(
    `name: a\n${SERVER}\ntenants:\n  a: {}\n  b: {}\n  a: { x: 1, x: 2 }\n`,
  );
  assert.deepEqual(found.short, ['CONFLICT  6:3', 'CONFLICT  6:14']);
  assert.match(found.text, /the first is at line 4/);
});

test('a path that is missing, a folder, a device or a pipe gives NOT_FOUND', async (t) => {
  const { dir } = await folder(t);
  await mkdir(join(dir, 'folder'));
  const code = async (path: string): Promise<string> => {
    const error: unknown = await loadManifest(path, { env: ENV }).catch((e: unknown) => e);
    return error instanceof ManifestErrors ? `${error.code} ${error.problems[0].found}` : 'none';
  };
  assert.equal(await code(join(dir, 'none.yaml')), 'KIN_MANIFEST_NOT_FOUND no such file');
  const odd = 'KIN_MANIFEST_NOT_FOUND something that is not a file';
  assert.equal(await code(join(dir, 'folder')), odd);
  assert.equal(await code('/dev/zero'), odd);
  execFileSync('mkfifo', [join(dir, 'pipe')]);
  assert.equal(await code(join(dir, 'pipe')), odd);
});
