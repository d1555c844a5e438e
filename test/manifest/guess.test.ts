import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import fc from 'fast-check';
import { guessManifest, loadManifest } from '../../src/manifest/index.ts';
import type { ManifestGuess } from '../../src/manifest/index.ts';
import type { ServiceSpec } from '../../src/model/manifest.ts';
import { folder } from './fixture.ts';

async function guessed(
  t: TestContext,
  files: Readonly<Record<string, string>>,
  answers = {},
): Promise<{ readonly spec: ServiceSpec; readonly guess: ManifestGuess }> {
  const { dir } = await folder(t, files);
  const guess = await guessManifest(dir, answers);
  const path = join(dir, 'kintsugi.yaml');
  await writeFile(path, guess.yaml);
  const { manifest, warnings } = await loadManifest(path, { env: { PATH: process.env['PATH'] } });
  assert.deepEqual(warnings, []);
  const [spec] = manifest.services.values();
  assert.ok(spec !== undefined);
  return { spec, guess };
}

const pack = (more: object): string => JSON.stringify({ name: '@acme/Shop API', ...more });

test('GU2: a package with a start script becomes a manifest without a warning', async (t) => {
  const { spec, guess } = await guessed(t, {
    'package.json': pack({
      scripts: { start: 'NODE_ENV=production node src/server.js' },
      dependencies: { fastify: '5', pg: '8' },
    }),
    'src/server.js':
      "app.get('/healthz', ok); connect(process.env.DATABASE_URL);\n" +
      'app.listen(process.env.PORT ?? 3000)',
  });
  assert.equal(spec.name, 'shop-api');
  assert.deepEqual(spec.command, ['node', 'src/server.js']);
  assert.equal(spec.env.get('NODE_ENV'), 'production');
  assert.match(spec.env.get('DATABASE_URL') ?? '', /^\$\{env:DATABASE_URL:-/u);
  assert.equal(spec.port, 0);
  assert.equal(spec.replicas.min, 2);
  assert.equal(spec.readiness.path, '/healthz');
  assert.match(guess.yaml, /kind: postgres/);
  assert.deepEqual(
    guess.questions.map((q) => `${q.id}=${q.guess}`),
    ['command=node src/server.js', 'port=0', 'health=/healthz'],
  );
});

test('a fixed port means one replica; an answer goes before a guess', async (t) => {
  const files = { 'package.json': pack({ main: 'index.js' }), 'index.js': 'app.listen(3000)' };
  const { spec } = await guessed(t, files);
  assert.deepEqual([spec.port, spec.replicas.max], [3000, 1]);
  const answers = { port: '0', health: '/status', command: 'node index.js --x', name: 'Other One' };
  const { spec: told, guess } = await guessed(t, files, answers);
  assert.deepEqual([told.name, told.port, told.readiness.path], ['other-one', 0, '/status']);
  assert.deepEqual(told.command, ['node', 'index.js', '--x']);
  assert.deepEqual(guess.questions, []);
});

test('a script that needs a shell is run by its package manager', async (t) => {
  const start = 'prisma migrate && node x.js';
  const { dir } = await folder(t, {
    'package.json': pack({ scripts: { start } }),
    'pnpm-lock.yaml': '',
  });
  assert.match((await guessManifest(dir)).yaml, /command: \[pnpm, run, start\]/);
});

test('Dockerfile, Procfile and Python are read as well', async (t) => {
  const docker = await folder(t, {
    Dockerfile: 'FROM x\nEXPOSE 9000\nCMD ["node", "a.js"]\n',
    'a.js': '',
  });
  const { yaml } = await guessManifest(docker.dir);
  assert.match(yaml, /command: \[node, a\.js\]/);
  assert.match(yaml, /port: 9000/);
  const heroku = await folder(t, { Procfile: 'web: python3 app.py --port=7000\n', 'app.py': '' });
  assert.match((await guessManifest(heroku.dir)).yaml, /\[python3, app\.py, --port=7000\]/);
  const python = await folder(t, { 'app.py': "port = int(os.environ.get('PORT', 5))" });
  assert.match((await guessManifest(python.dir)).yaml, /command: \[python3, app\.py\]/);
});

test('GU1: nothing of the folder is run, and broken files are no obstacle', async (t) => {
  const proof = "require('fs').writeFileSync(__dirname + '/ran', '')";
  const { dir } = await folder(t, {
    'package.json': pack({ scripts: { start: 'node server.js', prestart: 'touch ran' } }),
    'server.js': proof,
    Dockerfile: 'CMD [broken\nRUN touch ran',
  });
  await guessManifest(dir);
  assert.equal(existsSync(join(dir, 'ran')), false);
  await fc.assert(
    fc.asyncProperty(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.string(),
      async (start, name, raw) => {
        await writeFile(join(dir, 'package.json'), JSON.stringify({ name, scripts: { start } }));
        const { yaml } = await guessManifest(dir);
        const path = join(dir, 'kintsugi.yaml');
        await writeFile(path, yaml);
        // The program may not exist; the text itself must be a manifest.
        const error: unknown = await loadManifest(path, { env: { PATH: '' } }).catch(
          (e: unknown) => e,
        );
        const text = error instanceof Error ? error.message : '';
        assert.doesNotMatch(text, /SYNTAX|TYPE|UNKNOWN_KEY|RANGE|UNIT/u, yaml);
        await writeFile(join(dir, 'package.json'), raw);
        await guessManifest(dir);
      },
    ),
    { numRuns: 100 },
  );
});
