// `npm run interop:ledger`: do other people's programs accept what our log writes? Looked for in
// the folder KINTSUGI_INTEROP_BIN and on the PATH: `fsck` (of transparency-dev/tessera),
// `spicy-torchwood` or `spicy`, `litewitness` with `witnessctl` (of FiloSottile/torchwood).
// A program that is missing is named and left out: that is no failure. A refusal is one.

import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { generateSigner, openLedger } from '../../packages/ledger/src/index.ts';
import { leafHash } from '../../packages/ledger/src/merkle.ts';
import { addSignatures, formatTreeHead, signNote } from '../../packages/ledger/src/note.ts';
import { tileHandler, tileListener } from '../../packages/ledger/src/tiles.ts';
import { HashTree } from '../../packages/ledger/src/tree.ts';
import { verifyCheckpointUnderPolicy } from '../../packages/ledger/src/verify.ts';

const ORIGIN = 'interop.kintsugi.example/log';
const ENTRIES = 70_001;
const WAIT_MS = 10_000;

type Outcome =
  | { readonly kind: 'accepted'; readonly detail: string }
  | { readonly kind: 'refused'; readonly detail: string }
  | { readonly kind: 'left out'; readonly detail: string };

function find(...names: readonly string[]): string | undefined {
  const own = process.env['KINTSUGI_INTEROP_BIN'] ?? '';
  const folders = [...own.split(delimiter), ...(process.env['PATH'] ?? '').split(delimiter)];
  for (const folder of folders.filter((folder) => folder !== '')) {
    for (const name of names) if (existsSync(join(folder, name))) return join(folder, name);
  }
  return undefined;
}

function run(command: string, args: readonly string[], wantsFailure = false): Outcome {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8', timeout: 60_000 });
  const detail = error?.message ?? (stderr.trim().split('\n').at(-1) ?? '').slice(0, 200);
  const isRight = status !== null && (status === 0) !== wantsFailure;
  return { kind: isRight ? 'accepted' : 'refused', detail: `exit ${status}: ${detail}` };
}

const missing = (name: string): Outcome => ({ kind: 'left out', detail: `${name} was not found` });
const keys = generateSigner(ORIGIN);
const mldsa = generateSigner(ORIGIN, 'ml-dsa-44');

/** Named `fsck` by its build, which is also the file system's: only in the folder that is given. */
function tesseraFsck(): string | undefined {
  const own = (process.env['KINTSUGI_INTEROP_BIN'] ?? '').split(delimiter);
  const place = own.find((folder) => folder !== '' && existsSync(join(folder, 'fsck')));
  return place === undefined ? find('tessera-fsck') : join(place, 'fsck');
}

function checkUrl(dir: string, url: string): Promise<Outcome> {
  const fsck = tesseraFsck();
  if (fsck === undefined) return Promise.resolve(missing('fsck of tessera'));
  const vkey = join(dir, 'vkey');
  writeFileSync(vkey, `${keys.signer.vkey}\n`);
  const child = spawn(fsck, [`--storage_url=${url}`, `--public_key=${vkey}`, '--ui=false']);
  let text = '';
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return new Promise((resolve) => {
    child.on('error', (cause) => resolve({ kind: 'refused', detail: cause.message }));
    child.on('close', (status) => {
      const last = text.trim().split('\n').at(-1) ?? '';
      resolve({ kind: status === 0 ? 'accepted' : 'refused', detail: `exit ${status}: ${last}` });
    });
  });
}

interface Written {
  readonly folder: string;
  readonly entry: Uint8Array;
  readonly proof: string;
}

/** A real ledger on this disk, exported as it would be for an auditor. */
async function writeLedger(dir: string): Promise<Written> {
  const ledger = await openLedger({ dir: join(dir, 'log'), origin: ORIGIN, signer: keys.signer });
  try {
    for (let group = 0; group < 3; group++) {
      const all = Array.from({ length: 300 }, (_, at) =>
        ledger.record('interop.entry', { group, at }),
      );
      await Promise.all(all);
    }
    const { receipt, index } = await ledger.intent({
      kind: 'interop.act',
      subject: 'nobody',
      detail: { why: 'a proof' },
    });
    const { bytes } = await ledger.read(index);
    const folder = join(dir, 'export');
    await ledger.exportStatic(folder);
    return { folder, entry: bytes, proof: await receipt.proof() };
  } finally {
    await ledger.close();
  }
}

/** The read API over HTTP, with a checkpoint that is signed with both algorithms. */
async function checkServed(dir: string): Promise<Outcome> {
  const tree = new HashTree(() => Promise.reject(new Error('not needed')));
  const entryAt = (index: number): Uint8Array => Buffer.from(`entry ${index}`);
  const leaves = Array.from({ length: ENTRIES }, (_, index) => leafHash(entryAt(index)));
  for (const leaf of leaves) tree.append(leaf);
  const text = signNote(formatTreeHead(ORIGIN, ENTRIES, tree.root()), [keys.signer, mldsa.signer]);
  const handler = tileHandler({
    size: () => ENTRIES,
    checkpointText: () => text,
    leafHashes: (from, count) => leaves.slice(from, from + count),
    entries: (from, count) => Array.from({ length: count }, (_, at) => entryAt(from + at)),
  });
  const server = createServer(tileListener(handler));
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = server.address() as AddressInfo;
    return await checkUrl(dir, `http://127.0.0.1:${port}/`);
  } finally {
    server.close();
  }
}

function checkSpicy(dir: string, { entry, proof }: Written): readonly [Outcome, Outcome] {
  const spicy = find('spicy-torchwood', 'spicy');
  if (spicy === undefined) return [missing('spicy'), missing('spicy')];
  const file = join(dir, 'entry');
  writeFileSync(file, entry);
  writeFileSync(`${file}.spicy`, proof.slice(proof.indexOf('\n') + 1));
  const good = run(spicy, ['-verify', keys.signer.vkey, file]);
  writeFileSync(file, Buffer.concat([entry, Buffer.from(' ')]));
  return [good, run(spicy, ['-verify', keys.signer.vkey, file], true)];
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => void server.close(() => resolve()));
  return port;
}

async function until<T>(
  what: string,
  look: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  for (let tries = 0; tries < WAIT_MS / 50; tries++) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what} did not come within ${WAIT_MS} ms`);
}

/** Their witness cosigns our checkpoint; our policy accepts its cosignature. */
async function checkWitness(dir: string): Promise<Outcome> {
  const [witness, control] = [find('litewitness'), find('witnessctl')];
  const [agent, add, keygen] = ['ssh-agent', 'ssh-add', 'ssh-keygen'].map((name) => find(name));
  if (witness === undefined || control === undefined) return missing('litewitness');
  if (agent === undefined || add === undefined || keygen === undefined) return missing('ssh-agent');
  const children: ChildProcess[] = [];
  try {
    const [key, socket, db] = [join(dir, 'key'), join(dir, 'agent'), join(dir, 'w.db')];
    run(keygen, ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
    children.push(spawn(agent, ['-D', '-a', socket], { stdio: 'ignore' }));
    await until('the agent', () => (existsSync(socket) ? true : undefined));
    spawnSync(add, ['-q', key], { env: { ...process.env, SSH_AUTH_SOCK: socket } });
    const print = spawnSync(keygen, ['-l', '-f', `${key}.pub`], { encoding: 'utf8' }).stdout;
    run(control, ['add-log', '-db', db, '-origin', ORIGIN]);
    const added = run(control, ['add-key', '-db', db, '-origin', ORIGIN, '-key', keys.signer.vkey]);
    if (added.kind !== 'accepted') return added;
    const listen = `127.0.0.1:${await freePort()}`;
    const options = ['-db', db, '-ssh-agent', socket, '-listen', listen, '-name', 'lite.example/w'];
    const child = spawn(witness, [...options, '-key', print.split(' ')[1] ?? '']);
    children.push(child);
    let log = '';
    child.stderr.on('data', (chunk: Buffer) => (log += chunk.toString()));
    const vkey = await until('its key', () => /vkey="?(lite\.example\/w\+[^\s"]+)/.exec(log)?.[1]);
    return await cosign(`http://${listen}/add-checkpoint`, vkey);
  } finally {
    for (const child of children) child.kill();
  }
}

async function cosign(url: string, vkey: string): Promise<Outcome> {
  const tree = new HashTree(() => Promise.reject(new Error('not needed')));
  const policy = `log ${keys.signer.vkey}\nlog ${mldsa.signer.vkey}\nwitness w ${vkey}\nquorum w\n`;
  const sizes: number[] = [];
  for (const size of [3, 300]) {
    const before = tree.size;
    while (tree.size < size) tree.append(leafHash(Buffer.from(`entry ${tree.size}`)));
    const signers = [keys.signer, mldsa.signer];
    const text = signNote(formatTreeHead(ORIGIN, size, tree.root()), signers);
    const steps = before === 0 ? [] : await tree.consistency(before, size);
    const proof = steps.map((hash) => `${Buffer.from(hash).toString('base64')}\n`).join('');
    const body = `old ${before}\n${proof}\n${text}`;
    const answer = await until('the witness', () =>
      fetch(url, { method: 'POST', body }).catch(() => undefined),
    );
    const lines = await answer.text();
    if (answer.status !== 200) return { kind: 'refused', detail: `${answer.status}: ${lines}` };
    const verdict = verifyCheckpointUnderPolicy(addSignatures(text, lines) ?? '', policy);
    if (verdict.kind === 'invalid') return { kind: 'refused', detail: verdict.reason };
    sizes.push(size);
  }
  return { kind: 'accepted', detail: `cosigned at sizes ${sizes.join(' and ')}, quorum met` };
}

const dir = mkdtempSync(join(tmpdir(), 'kintsugi-interop-'));
try {
  const written = await writeLedger(dir);
  const checkpoint = readFileSync(join(written.folder, 'checkpoint'), 'utf8');
  const [good, bad] = checkSpicy(dir, written);
  const folder = pathToFileURL(`${written.folder}/`).href;
  const outcomes: readonly (readonly [string, Outcome])[] = [
    [`tessera fsck, our export of ${checkpoint.split('\n')[1]}`, await checkUrl(dir, folder)],
    [`tessera fsck, our tiles of ${ENTRIES} over HTTP`, await checkServed(dir)],
    ['spicy, our proof', good],
    ['spicy, our proof with another entry (must fail)', bad],
    ['litewitness, our checkpoints', await checkWitness(dir)],
  ];
  for (const [what, { kind, detail }] of outcomes) console.log(`${what}: ${kind} (${detail})`);
  if (outcomes.some(([, { kind }]) => kind === 'refused')) process.exitCode = 1;
} finally {
  rmSync(dir, { recursive: true, force: true });
}
