import assert from 'node:assert/strict';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkCommand, nodeScript, splitCommand } from '../../src/manifest/command.ts';
import { resolveCommand, resolveEnv, resolveText } from '../../src/manifest/index.ts';
import { parseText } from '../../src/manifest/reference.ts';
import { KinError } from '../../src/model/errors.ts';
import { serviceName } from '../../src/model/ids.ts';
import { folder } from './fixture.ts';

const inputs = {
  env: { HOME: '/home/x', PATH: '/bin', EMPTY: '', URL: 'postgres://set', OPERATOR_SECRET: 's' },
  secrets: new Map([['db', 'p4ss']]),
  ports: new Map([['database', 5433]]),
  stateDir: '/state',
};
const names = { name: 'clinic', service: 'records' };
const text = (template: string, more = {}): string =>
  resolveText(template, names, { ...inputs, ...more });

test('RF1: every kind of reference is put in, and $${ stays', () => {
  assert.equal(text('a ${env:HOME} ${secret:db} ${port:database}'), 'a /home/x p4ss 5433');
  assert.equal(
    text('${state}/x ${service} ${name} ${port}', { port: 9 }),
    '/state/x records clinic 9',
  );
  assert.equal(text('$${env:HOME} $ } {} $$'), '${env:HOME} $ } {} $$');
  assert.equal(text('${env:NONE:-a:b-c}'), 'a:b-c');
  assert.equal(text('${env:EMPTY:-empty}'), 'empty');
  assert.equal(text('${env:NONE:-}'), '');
});

test('RF2: a default is looked at only when it is used', () => {
  const template = '${env:URL:-postgres://app:${secret:gone}@127.0.0.1:${port:gone}/x}';
  assert.equal(text(template), 'postgres://set');
  assert.throws(() => text(template, { env: {} }), { code: 'KIN_REFERENCE_UNRESOLVED' });
});

test('RF3: an error names the reference and no value', () => {
  for (const template of [
    'p4ss ${env:NONE}',
    'p4ss ${secret:none}',
    'p4ss ${port:none}',
    'p4ss ${',
  ]) {
    assert.throws(
      () => text(template),
      (error) => error instanceof KinError && !error.message.includes('p4ss'),
    );
  }
});

test('any text is parsed or refused, and one without references comes out as it was', () => {
  const bits = fc.constantFrom('${', '}', 'env:', 'secret:', 'A', ':-', '$', '$${', 'port', ' ');
  const soup = fc.array(bits, { maxLength: 30 }).map((parts) => parts.join(''));
  fc.assert(fc.property(fc.oneof(fc.string(), soup), (any) => parseText(any).kind.length > 0));
  fc.assert(
    fc.property(fc.string(), (any) => {
      const plain = any.replaceAll('{', '');
      assert.equal(text(plain), plain);
    }),
  );
  assert.equal(parseText('${env:A:-'.repeat(2000)).kind, 'bad');
});

test('a replica gets its own variables and the few that programs need, nothing else', async (t) => {
  const { load } = await folder(t);
  const { manifest } = await load(
    'name: clinic\nsecrets: { db: { generate: 32 } }\n' +
      "services: { web: { command: [node, server.js, '${port}', '${state}'], " +
      "env: { PASSWORD: '${secret:db}', WHO: '${service} of ${name}' } } }",
  );
  const web = manifest.services.get(serviceName('web'));
  assert.ok(web !== undefined);
  assert.deepEqual(resolveEnv(web, manifest, { ...inputs, nodeDir: '/node/bin' }), {
    PATH: '/node/bin:/bin',
    HOME: '/home/x',
    PASSWORD: 'p4ss',
    WHO: 'web of clinic',
  });
  // The driver picks the port and puts it in.
  const open = ['node', 'server.js', '${port}', '/state'];
  assert.deepEqual(resolveCommand(web, manifest, inputs), open);
  const fixed = ['node', 'server.js', '7001', '/state'];
  assert.deepEqual(resolveCommand(web, manifest, { ...inputs, port: 7001 }), fixed);
});

test('a command in one text is split as a shell would, without a shell', () => {
  const words = (command: string): unknown => {
    const answer = splitCommand(command);
    return answer.kind === 'ok' ? answer.words : answer.suggestion;
  };
  assert.deepEqual(words('node a.js --x "b c" \'d e\' f\\ g ""'), [
    'node',
    'a.js',
    '--x',
    'b c',
    'd e',
    'f g',
    '',
  ]);
  assert.deepEqual(words('node a.js ${port}'), ['node', 'a.js', '${port}']);
  assert.equal(words('npm start && echo done'), '[sh, -c, "npm start && echo done"]');
  assert.equal(words('A=1 node x'), 'env: { A: … }');
  for (const bad of ['a | b', 'a > b', 'a; b', '`a`', '$(a)', '"a', "a 'b"]) {
    assert.equal(splitCommand(bad).kind, 'bad', bad);
  }
  fc.assert(fc.property(fc.string(), (any) => splitCommand(any).kind.length > 0));
});

test('the script of node is found behind its options', () => {
  const script = (line: string): string | undefined => nodeScript(line.split(' '));
  assert.equal(script('--import ./a.js -r b --enable-source-maps server.js --port 1'), 'server.js');
  assert.equal(script('--import=./a.js server.js'), 'server.js');
  assert.equal(script('-- x.js'), 'x.js');
  assert.equal(script('-e 1+1 x'), undefined);
  assert.equal(script('--test x'), undefined);
});

test('CO1, CO2: a command is found by looking only, and inside the source', async (t) => {
  const { dir } = await folder(t, {
    'bin/run': '',
    'bin/plain': '',
    'app/server.ts': '',
    'app/lib/index.js': '',
    'app/dist.js': '',
  });
  await chmod(join(dir, 'bin/run'), 0o755);
  const place = { sourceDir: join(dir, 'app'), cwd: join(dir, 'app'), path: join(dir, 'bin') };
  const check = async (command: string): Promise<string> => {
    const answer = await checkCommand(command.split(' '), place);
    return answer.kind === 'ok' ? 'ok' : `${answer.found} → ${answer.suggestion ?? ''}`;
  };
  assert.equal(await check('run anything'), 'ok');
  assert.equal(await check('rum'), 'the program "rum", which is not on the PATH → run');
  assert.match(await check('plain'), /not on the PATH/);
  assert.equal(await check('${env:X} y'), 'ok');
  assert.match(await check('../bin/run'), /leaves the source folder/);
  assert.equal(await check(join(dir, 'bin/run')), 'ok');
  assert.match(await check(join(dir, 'bin/plain')), /may not be executed/);
  const node = process.execPath;
  assert.equal(await check(`${node} server.js`), '"server.js", which does not exist → server.ts');
  assert.equal(
    await check(`${node} ./servr.ts`),
    '"./servr.ts", which does not exist → ./server.ts',
  );
  assert.equal(await check(`${node} lib`), 'ok');
  assert.equal(await check(`${node} dist`), 'ok');
  assert.match(await check(`${node} ../bin/plain`), /leaves the source folder/);
});
