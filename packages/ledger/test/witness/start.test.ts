// A witness as one starts it: folder, keys, socket; strangers who send too much or too slowly; and
// our client against it over real HTTP.

import assert from 'node:assert/strict';
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { systemClock } from '../../src/files.ts';
import type { Files } from '../../src/files.ts';
import { MemoryFiles } from '../../src/memory-files.ts';
import { nodeFiles } from '../../src/node-files.ts';
import { verifyNote } from '../../src/note.ts';
import { parsePolicy } from '../../src/policy.ts';
import { openPublisher } from '../../src/publish.ts';
import { signerFromSeed } from '../../src/signer.ts';
import { WitnessTimeout, nodeWitnessHttp } from '../../src/witness/http-client.ts';
import { parseWitnessLogs } from '../../src/witness/logs-file.ts';
import { formatAddCheckpoint } from '../../src/witness/request.ts';
import { startWitness } from '../../src/witness/start.ts';
import type { StartWitnessOptions } from '../../src/witness/start.ts';
import { originHash } from '../../src/witness/store.ts';
import { refusal } from '../support.ts';
import { ORIGIN, SmallLog, logSigner } from './rig.ts';

const LOGS = `# our logs\nlog ${logSigner.vkey} https://log.example/one\n`;

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'kin-witness-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return join(dir, 'state');
}

async function started(t: TestContext, more: Partial<StartWitnessOptions> = {}) {
  const dir = more.dir ?? folder(t);
  const witness = await startWitness({ name: 'w.example', logs: LOGS, ...more, dir });
  t.after(() => witness.close());
  return { witness, dir };
}

const signal = new AbortController().signal;
const post = (url: string, body: string, path = '/add-checkpoint') => ({
  method: 'POST' as const,
  url: `${url}${path}`,
  body,
  timeoutMs: 5000,
  bytesMax: 100_000,
  signal,
});

test('WK1. keys are made once, in a file that only the owner reads', async (t) => {
  const { witness, dir } = await started(t);
  assert.match(witness.address.url, /^http:\/\/127\.0\.0\.1:\d+$/, 'this machine only');
  assert.equal(witness.vkeys.length, 2, 'an Ed25519 cosigner and an ML-DSA-44 one');
  const path = join(dir, 'witness.key');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  await witness.close();
  const again = await started(t, { dir });
  assert.deepEqual(again.witness.vkeys, witness.vkeys);
  await again.witness.close();
  const renamed = await refusal(startWitness({ dir, name: 'x.example', logs: LOGS }));
  assert.equal(renamed.code, 'KIN_LEDGER_WRONG_KEY');
  chmodSync(path, 0o640);
  assert.equal((await refusal(startWitness({ dir, logs: LOGS }))).code, 'KIN_LEDGER_KEY_INVALID');
  chmodSync(path, 0o600);
  const link = join(dir, 'link.key');
  symlinkSync(path, link);
  const linked = await refusal(startWitness({ dir, logs: LOGS, keyFile: link }));
  assert.equal(linked.code, 'KIN_LEDGER_IO');
  const plain = join(dir, 'plain.key');
  const { secret } = signerFromSeed('w.example', new Uint8Array(32));
  writeFileSync(plain, secret, { mode: 0o600 });
  const wrong = await refusal(startWitness({ dir, logs: LOGS, keyFile: plain }));
  assert.equal(wrong.code, 'KIN_LEDGER_KEY_INVALID');
  assert.doesNotMatch(wrong.message, /PRIVATE/);
});

test('WA1. a state folder that is a link, or that others may write, is refused', async (t) => {
  const { witness, dir } = await started(t);
  await witness.close();
  const link = `${dir}-link`;
  symlinkSync(dir, link);
  const linked = await refusal(startWitness({ dir: link, name: 'w.example', logs: LOGS }));
  assert.equal(linked.code, 'KIN_LEDGER_OPTION_INVALID');
  chmodSync(dir, 0o777);
  const open = await refusal(startWitness({ dir, name: 'w.example', logs: LOGS }));
  assert.equal(open.code, 'KIN_LEDGER_OPTION_INVALID');
});

test('WL1. the list of logs: several keys of one log, and nothing that is not understood', () => {
  const second = signerFromSeed(ORIGIN, new Uint8Array(32).fill(3), 'ml-dsa-44').signer;
  const logs = parseWitnessLogs(`${LOGS}log ${second.vkey}\nquorum none\n`);
  assert.deepEqual(logs, [{ origin: ORIGIN, vkeys: [logSigner.vkey, second.vkey] }]);
  for (const text of [
    '',
    '# none\n',
    'log nonsense\n',
    `lgo ${logSigner.vkey}\n`,
    `log ${logSigner.vkey} a b\n`,
  ]) {
    assert.throws(() => parseWitnessLogs(text), { code: 'KIN_LEDGER_OPTION_INVALID' }, text);
  }
});

test('over HTTP: 200, 404, 409 with its type, 405, and the monitor’s copy', async (t) => {
  const { witness } = await started(t);
  const http = nodeWitnessHttp();
  t.after(() => http.close());
  const log = new SmallLog().grow(6);
  const { url } = witness.address;
  const first = await http.send(post(url, formatAddCheckpoint(0, [], log.checkpoint().text)));
  assert.equal(first.status, 200);
  assert.equal(first.body.split('\n').length, 3, 'a line of each key');
  const again = await http.send(post(url, formatAddCheckpoint(0, [], log.checkpoint().text)));
  assert.deepEqual(again, { status: 409, contentType: 'text/x.tlog.size', body: '6\n' });
  assert.equal((await http.send(post(url, 'x', '/other'))).status, 404);
  assert.equal((await http.send(post(url, 'x', `/${originHash(ORIGIN)}/checkpoint`))).status, 405);
  const get = { method: 'GET' as const, timeoutMs: 5000, bytesMax: 100_000, signal };
  const seen = await http.send({ ...get, url: `${url}/${originHash(ORIGIN)}/checkpoint` });
  assert.equal(seen.status, 200);
  for (const vkey of [logSigner.vkey, ...witness.vkeys]) {
    assert.equal(verifyNote(seen.body, [vkey]).kind, 'valid');
  }
  assert.equal((await http.send({ ...get, url: `${url}/add-checkpoint` })).status, 405);
});

test('WH1. too large a body is refused while it arrives, announced or not', async (t) => {
  const { witness } = await started(t);
  const { port } = witness.address;
  for (const announced of [true, false]) {
    const status = await new Promise<number | undefined>((resolve) => {
      const headers = announced ? { 'content-length': 50_000_000 } : {};
      const outgoing = request(
        { port, method: 'POST', path: '/add-checkpoint', headers },
        (incoming) => {
          incoming.resume();
          resolve(incoming.statusCode);
          outgoing.destroy();
        },
      );
      outgoing.on('error', () => resolve(413));
      const chunk = Buffer.alloc(65_536, 'x');
      const more = (): void => {
        while (!outgoing.destroyed && outgoing.write(chunk)) continue;
      };
      outgoing.on('drain', more);
      more();
    });
    assert.equal(status, 413, announced ? 'announced' : 'chunked');
  }
});

test('WH2. closing answers what was taken and leaves no socket open', async (t) => {
  const real = nodeFiles();
  const taken = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const files: Files = {
    ...real,
    rename: async (from, to) => {
      taken.resolve();
      await gate.promise;
      return real.rename(from, to);
    },
  };
  const { witness, dir } = await started(t, { files });
  const http = nodeWitnessHttp();
  t.after(() => http.close());
  const idle = connect(witness.address.port, '127.0.0.1');
  idle.on('error', () => undefined);
  await new Promise<void>((resolve) => {
    idle.once('connect', () => resolve());
  });
  const gone = new Promise<void>((resolve) => {
    idle.once('close', () => resolve());
    idle.resume();
  });
  const { text } = new SmallLog().grow(3).checkpoint();
  const asked = http.send(post(witness.address.url, formatAddCheckpoint(0, [], text)));
  await taken.promise;
  const closed = witness.close();
  await assert.rejects(
    nodeWitnessHttp().send(post(witness.address.url, 'x')),
    'refuses what is new',
  );
  gate.resolve();
  assert.equal((await asked).status, 200);
  await closed;
  await gone;
  const names = readdirSync(dir).filter((name) => name.startsWith('lock.'));
  assert.deepEqual(names, [], 'the folder is free again');
});

test('HC1. HC2. every request ends: silent, endless, redirecting, broken, aborted', async (t) => {
  const server = createServer((incoming, outgoing) => {
    incoming.resume();
    if (incoming.url === '/silent/add-checkpoint') return;
    if (incoming.url === '/dripping/add-checkpoint') {
      outgoing.write('a');
      return;
    }
    if (incoming.url === '/endless/add-checkpoint') {
      const more = (): void => {
        while (!outgoing.destroyed && outgoing.write('x'.repeat(65_536))) continue;
      };
      outgoing.on('drain', more);
      more();
      return;
    }
    if (incoming.url === '/redirect/add-checkpoint') {
      outgoing.writeHead(307, { location: '/silent/add-checkpoint' }).end();
      return;
    }
    if (incoming.url === '/binary/add-checkpoint') {
      outgoing.end(Buffer.from([0xff, 0xfe]));
      return;
    }
    outgoing.destroy();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve());
  });
  const http = nodeWitnessHttp();
  t.after(() => {
    http.close();
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const ask = (path: string, more = {}) =>
    http.send({ ...post(url, 'x', `${path}/add-checkpoint`), timeoutMs: 100, ...more });
  await assert.rejects(ask('/silent'), WitnessTimeout);
  await assert.rejects(ask('/dripping'), WitnessTimeout);
  await assert.rejects(ask('/endless', { timeoutMs: 5000 }), /more than 100000 bytes/);
  await assert.rejects(ask('/binary'), /UTF-8/);
  await assert.rejects(ask('/broken', { timeoutMs: 5000 }));
  assert.equal((await ask('/redirect', { timeoutMs: 5000 })).status, 307);
  const abort = new AbortController();
  const given = assert.rejects(
    ask('/silent', { timeoutMs: 60_000, signal: abort.signal }),
    /given up/,
  );
  abort.abort();
  await given;
});

test('publisher and witnesses over real HTTP: quorum of two, both kinds of keys', async (t) => {
  const a = (await started(t, { name: 'a.example' })).witness;
  const b = (await started(t, { name: 'b.example' })).witness;
  const c = (await started(t, { name: 'c.example' })).witness;
  await c.close();
  const lines = [
    `witness a ${a.vkeys[0]} ${a.address.url}\n`,
    `witness b ${b.vkeys[1]} ${b.address.url}/\n`,
    `witness c ${c.vkeys[0]} ${c.address.url}\n`,
  ];
  const reading = parsePolicy(`${lines.join('')}group two 2 a b c\nquorum two\n`);
  assert.ok(reading.kind === 'valid');
  const { policy } = reading;
  const log = new SmallLog().grow(4);
  const publisher = await openPublisher({
    log,
    vkey: logSigner.vkey,
    files: new MemoryFiles(),
    dir: 'ledger',
    clock: { ...systemClock, sleep: systemClock.sleep ?? (() => Promise.resolve()) },
    policy,
    publishEveryMs: 0,
    witnessTimeoutMs: 5000,
  });
  for (let round = 0; round < 3; round++) {
    log.grow(5);
    await publisher.publish();
    await publisher.waitFor(log.leaves.length - 1, 'witnessed', 20_000);
  }
  const note = publisher.witnessed() ?? '';
  for (const { key } of policy.witnesses.slice(0, 2)) {
    assert.match(note, new RegExp(`— ${key.name} `));
  }
  const { quorum, witnesses } = publisher.state();
  assert.ok(quorum.kind === 'met' && quorum.got === 2);
  const [, , dead] = witnesses;
  assert.ok(dead?.state.kind === 'failing' && dead.state.fault === 'unreachable');
  await publisher.close();
});
