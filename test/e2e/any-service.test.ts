// Can a service be supervised that knows nothing of Kintsugi? json-server, a public API server from
// npm that nobody here wrote, as a folder of its user looks: `init` writes the manifest, `up` runs
// it unchanged, its death is healed. And the same for a service in another language.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Status } from '../../src/api/contract.ts';
import { signalProcess } from '../../src/cli/processes.ts';
import { ownProcesses } from '../../src/cli/up/own.ts';
import { placeStoreIn } from '../store/template.ts';
import { installInto } from './bad/installed.ts';
import { kintsugi, run } from './bad/run.ts';
import type { Ran } from './bad/run.ts';
import { freePort, runs, until } from './bad/wait.ts';

const linux = process.platform === 'linux' ? false : 'looks for leftovers in /proc';
const base = mkdtempSync(join(tmpdir(), 'kintsugi-any-'));
const state = join(base, 'state');
const folder = join(base, 'notes');
const data = join(base, 'notes.json');
const manifest = join(folder, 'kintsugi.yaml');
const HEAL_LIMIT_MS = 60_000;

let ports: readonly string[] = [];
let gateway = '';
let key = '';
let python: string | undefined;

const cli = (...args: readonly string[]): Promise<Ran> =>
  kintsugi(['--state', state, ...ports, ...args], { cwd: folder });

function call(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  return fetch(`${gateway}${path}`, { ...init, headers });
}

async function status(): Promise<Status> {
  const ran = await cli('--json', 'status');
  return JSON.parse(ran.out) as Status;
}

/** The interpreter itself; a wrapper of a version switcher needs its owner's environment. */
async function findPython(): Promise<string | undefined> {
  const script = 'import http.server, sys; print(sys.executable)';
  const ran = await run('python3', ['-c', script]).catch(() => undefined);
  return ran?.code === 0 ? ran.out.trim() : undefined;
}

if (linux === false) {
  before(async () => {
    python = await findPython();
    await placeStoreIn(state);
    ports = [
      '--gateway-port',
      String(await freePort()),
      '--control-port',
      String(await freePort()),
    ];
    mkdirSync(folder);
    writeFileSync(data, JSON.stringify({ notes: [{ id: 1, text: 'first' }] }));
    // Its file lies outside: a release is never written to.
    const scripts = { start: `json-server --host 127.0.0.1 --port $PORT ${data}` };
    const dependencies = { 'json-server': '0.17.4' };
    const pack = { name: 'notes', version: '1.0.0', private: true, scripts, dependencies };
    writeFileSync(join(folder, 'package.json'), JSON.stringify(pack));
    installInto(folder, 'json-server');
  });
}

after(async () => {
  if (linux === false) await cli('down');
  for (const own of ownProcesses(state)) signalProcess(own.id, 'SIGKILL');
  rmSync(base, { recursive: true, force: true, maxRetries: 5 });
});

test('init writes a manifest for it that is valid as it stands', { skip: linux }, async () => {
  const wrote = await cli('init', '--yes');
  assert.equal(wrote.code, 0, wrote.err);
  assert.match(readFileSync(manifest, 'utf8'), /command: \[npm, run, start\]/u);
  const valid = await cli('validate');
  assert.equal(valid.code, 0, valid.err);
  if (python !== undefined) addPython(python);
});

test(
  'it comes up unchanged, and a tenant reads and writes through the gateway',
  { skip: linux },
  async () => {
    const up = await cli('--json', 'up', '--detach');
    assert.equal(up.code, 0, up.err + up.out);
    const answer = JSON.parse(up.out) as {
      readonly gatewayUrl: string;
      readonly keys: readonly { readonly key: string }[];
    };
    gateway = answer.gatewayUrl;
    key = answer.keys[0]?.key ?? '';
    const read = await call('/notes/1');
    assert.equal(read.status, 200);
    assert.deepEqual(await read.json(), { id: 1, text: 'first' });
    const made = await call('/notes', { method: 'POST', body: JSON.stringify({ text: 'second' }) });
    assert.equal(made.status, 201);
    assert.deepEqual(await made.json(), { id: 2, text: 'second' });
    await until('the note is in its file', () => readFileSync(data, 'utf8').includes('second'));
    assert.equal((await fetch(`${gateway}/notes/1`)).status, 401, 'and nobody without a key');
  },
);

test(
  'kill -9 is healed, its children end with it, and no read fails',
  { skip: linux },
  async () => {
    const before = (await status()).services.find(({ name }) => name === 'notes')?.replicas ?? [];
    assert.equal(before.length, 2);
    const victim = before[0];
    assert.ok(victim?.pid !== undefined);
    const family = ownProcesses(state).filter(({ part }) => part === victim.id);
    assert.ok(family.length >= 2, 'npm, and the server below it');
    process.kill(victim.pid, 'SIGKILL');
    await until(
      'two ready replicas, one of them new',
      async () => {
        const read = await call('/notes/1');
        assert.equal(read.status, 200, 'a read failed while it healed');
        const now = (await status()).services.find(({ name }) => name === 'notes');
        const isNew = now?.replicas.some(({ id }) => !before.some((old) => old.id === id)) === true;
        return isNew && now?.ready === 2 && now.replicas.every(({ id }) => id !== victim.id);
      },
      HEAL_LIMIT_MS,
    );
    for (const { id } of family) assert.ok(!runs(id.pid), `left behind: ${id.pid}`);
    const healed = async (): Promise<boolean> => (await cli('incidents')).out.includes('healed');
    await until('the story says healed', healed, HEAL_LIMIT_MS);
  },
);

test('so is a service in Python', { skip: linux }, async (t) => {
  if (python === undefined) {
    t.skip('python3 is not on this machine');
    return;
  }
  const read = await call('/docs/hello.txt');
  assert.equal(read.status, 200);
  assert.equal(await read.text(), 'hello from a file\n');
  assert.match(read.headers.get('server') ?? '', /SimpleHTTP|Python/u);
});

test('down ends all of it', { skip: linux }, async () => {
  const down = await cli('down');
  assert.equal(down.code, 0, down.err);
  assert.deepEqual(ownProcesses(state), []);
});

/** By hand, as its user would: a second service below the one that `init` found. */
function addPython(program: string): void {
  mkdirSync(join(base, 'site/docs'), { recursive: true });
  writeFileSync(join(base, 'site/docs/hello.txt'), 'hello from a file\n');
  const command = [program, '-m', 'http.server', '--bind', '127.0.0.1', '${port}'];
  const service = [
    '  docs:',
    '    source: ../site',
    `    command: ${JSON.stringify(command)}`,
    '    replicas: 1',
    '    routes: [{ prefix: /docs }]',
    '',
  ];
  const text = readFileSync(manifest, 'utf8');
  writeFileSync(manifest, text.replace('services:\n', `services:\n${service.join('\n')}`));
}
