// The evidence of a running system, as its readers meet it: a tenant with its API key, an auditor
// with a token, a witness that is another process, an erased person, and a folder without us.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { verifyTenantComplete, verifyTenantProof } from '@kintsugi/ledger/auditor';
import { REPOSITORY } from './manifest.ts';
import { freePort, startSystem, until } from './system.ts';
import type { System } from './system.ts';

let system: System;
let witness: ChildProcess | undefined;
before(async () => {
  system = await startSystem();
});
after(async () => {
  witness?.kill('SIGTERM');
  await system.close();
});

const keyOf = (tenant: string): string => system.keys.get(tenant) ?? '';

async function ask(path: string, token: string): Promise<{ status: number; body: unknown }> {
  const headers = { authorization: `Bearer ${token}` };
  const answer = await until('an answer that is no limit', async () => {
    const given = await fetch(`${system.controlUrl}${path}`, { headers });
    return given.status === 429 ? undefined : given;
  });
  const text = await answer.text();
  return {
    status: answer.status,
    body: text.startsWith('{') || text.startsWith('[') ? JSON.parse(text) : text,
  };
}

async function readPatients(tenant: string): Promise<void> {
  const headers = { authorization: `Bearer ${keyOf(tenant)}` };
  const answer = await fetch(`${system.gatewayUrl}/records/patients`, { headers });
  assert.equal(answer.status, 200, await answer.text());
}

interface Entries {
  readonly index: number;
  readonly globalIndex: number;
  readonly entry: string;
  readonly private: readonly {
    readonly kind: string;
    readonly name?: string;
    readonly value?: unknown;
  }[];
}

async function entriesOf(tenant: string, query = ''): Promise<readonly Entries[]> {
  const { status, body } = await ask(
    `/v1/tenants/${tenant}/ledger/entries?from=0&limit=100${query}`,
    keyOf(tenant),
  );
  assert.equal(status, 200, JSON.stringify(body));
  return (
    Array.isArray(body) ? body : (body as { entries: Entries[] }).entries
  ) as readonly Entries[];
}

test('a tenant reads its own log, proves it complete offline, and nothing else', async () => {
  await readPatients('northside');
  await readPatients('lakeview');
  const [own] = await until('the access event', async () => {
    const all = await entriesOf('northside');
    return all.length > 1 ? [all] : undefined;
  });
  assert.ok(own !== undefined);
  const bytes = own.map(({ entry }) => Buffer.from(entry, 'base64'));
  assert.ok(bytes.every((entry) => entry.toString().endsWith('"tenant":"northside","v":1}')));
  const head = await until('a proof of the whole log', async () => {
    const { status, body } = await ask(
      '/v1/tenants/northside/ledger/proofs/head',
      keyOf('northside'),
    );
    return status === 200 ? (body as { proof: string; vkey: string; size: number }) : undefined;
  });
  const trust = { trust: { vkey: head.vkey }, tenant: 'northside' };
  const covered = (await entriesOf('northside')).slice(0, head.size);
  const entries = covered.map(({ entry }) => Buffer.from(entry, 'base64'));
  const whole = await verifyTenantComplete(entries, head.proof, trust);
  assert.equal(
    whole.kind,
    'valid',
    JSON.stringify(whole, (_, v: unknown) => String(v)),
  );
  const fewer = await verifyTenantComplete(entries.slice(1), head.proof, trust);
  assert.equal(fewer.kind, 'invalid');
  const one = await ask('/v1/tenants/northside/ledger/proofs/entries/1', keyOf('northside'));
  const { proof } = one.body as { proof: string };
  const verdict = verifyTenantProof(proof, entries[1] ?? new Uint8Array(0), trust);
  assert.equal(verdict.kind, 'valid');
  for (const path of [
    '/v1/tenants/lakeview/ledger/entries?from=0&limit=10',
    '/v1/tenants/lakeview/ledger/proofs/head',
    '/v1/tenants/lakeview/log/checkpoint',
    '/v1/ledger/log/checkpoint',
    '/v1/status',
  ]) {
    const { status } = await ask(path, keyOf('northside'));
    assert.ok(status === 403 || status === 404 || status === 401, `${path}: ${status}`);
  }
});

test('people’s fields are shown to their tenant, and gone once they are erased', async () => {
  const all = await entriesOf('northside', '&reveal=true');
  const shown = all.flatMap(({ private: fields }) => fields).filter(({ kind }) => kind === 'shown');
  const actor = shown.find(({ name }) => name === 'actor')?.value;
  assert.ok(typeof actor === 'string', JSON.stringify(all));
  const erased = await system.cli(
    ...[
      'ledger',
      'erase',
      'northside',
      actor,
      '--basis',
      'gdpr-17-1-b',
      '--ref',
      'case-1',
      '--yes',
    ],
  );
  assert.equal(erased.code, 0, erased.err);
  const later = await entriesOf('northside', '&reveal=true');
  const left = later
    .flatMap(({ private: fields }) => fields)
    .filter(({ value }) => value === actor);
  assert.deepEqual(left, []);
  const folder = join(system.stateDir, 'ledger');
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((f) =>
    f.isFile(),
  );
  for (const file of files) {
    const text = readFileSync(join(file.parentPath, file.name));
    assert.ok(!text.includes(actor), join(file.parentPath, file.name));
  }
  const verified = await system.cli('ledger', 'verify');
  assert.equal(verified.code, 0, verified.out + verified.err);
});

test('an auditor reads every log, reveals nobody, and changes nothing', async () => {
  const made = await system.cli('--json', 'ledger', 'auditor', 'add', 'kpmg');
  assert.equal(made.code, 0, made.err);
  const { token } = JSON.parse(made.out) as { token: string };
  assert.equal((await ask('/v1/ledger/log/checkpoint', token)).status, 200);
  assert.equal((await ask('/v1/tenants/lakeview/log/checkpoint', token)).status, 200);
  const reveal = await ask('/v1/tenants/lakeview/ledger/entries?from=0&limit=5&reveal=true', token);
  assert.equal(reveal.status, 403);
  assert.equal((await ask('/v1/status', token)).status, 403);
  const entries = await until('the reads are recorded', async () => {
    const all = await system.client.ledgerEntries(0, 500);
    const kinds = all.map(({ kind }) => kind);
    return kinds.includes('evidence.read') && kinds.includes('evidence.denied') ? all : undefined;
  });
  assert.ok(!JSON.stringify(entries).includes(token));
});

test('a witness in another process cosigns, and all is checked offline', async () => {
  const vkey = readFileSync(join(system.stateDir, 'ledger', 'vkey'), 'utf8').trim();
  const { key, url } = await startWitness(vkey);
  const manifest = join(system.base, 'kintsugi.yaml');
  const text = readFileSync(manifest, 'utf8');
  const list = `[{ key: "${key}", url: "${url}" }]`;
  const ledger = `\nledger:\n  witnesses:\n    require: 1\n    list: ${list}\n`;
  writeFileSync(manifest, `${text}${ledger}`);
  const ports = (['gatewayUrl', 'controlUrl'] as const).map((name) => new URL(system[name]).port);
  assert.equal((await system.down()).code, 0);
  const [gateway = '', control = ''] = ports;
  const at = ['--gateway-port', gateway, '--control-port', control];
  const up = await system.cli(...at, '--json', 'up', manifest, '--detach');
  assert.equal(up.code, 0, up.err + up.out);
  const cosigned = await until('a cosigned checkpoint', () => {
    const path = join(system.stateDir, 'ledger', 'log', 'checkpoint.witnessed');
    return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  });
  assert.ok(cosigned.includes('witness.test/e2e'), cosigned);
  const policy = join(system.base, 'policy');
  writeFileSync(policy, `log ${vkey}\nwitness w ${key} ${url}\nquorum w\n`);
  const verified = await system.cli('ledger', 'verify', '--policy', policy);
  assert.equal(verified.code, 0, verified.out + verified.err);
  await system.down();
  const deep = await system.cli('ledger', 'fsck', '--deep');
  assert.equal(deep.code, 0, deep.out + deep.err);
});

/** As somebody else runs it: `kintsugi witness` with the public key of our log. */
async function startWitness(vkey: string): Promise<{ key: string; url: string }> {
  const logs = join(system.base, 'logs');
  writeFileSync(logs, `log ${vkey}\n`);
  const port = await freePort();
  const args = ['--json', 'witness', '--dir', join(system.base, 'witness'), '--logs', logs];
  const more = ['--name', 'witness.test/e2e', '--port', String(port)];
  const { NODE_TEST_CONTEXT: _ignored, ...env } = process.env;
  const bin = join(REPOSITORY, 'bin/kintsugi.mjs');
  witness = spawn(process.execPath, [bin, ...args, ...more], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { stdout } = witness;
  assert.ok(stdout !== null);
  let said = '';
  stdout.setEncoding('utf8').on('data', (chunk: string) => (said += chunk));
  const key = await until(
    'the witness says its key',
    () => /witness\.test\/e2e\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+/u.exec(said)?.[0],
  );
  void once(witness, 'exit');
  return { key, url: `http://127.0.0.1:${port}` };
}
