// Keys: the root file, the key store that misbehaves, and what stands on the disk about people.
import { OWN } from '../../src/own.ts';
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { LedgerError, MemoryFiles } from '../../src/index.ts';
import { checkCanary, makeCanary } from '../../src/private/canary.ts';
import { scanFrames } from '../../src/private/frame-scan.ts';
import { readFrame, encodeFrame, placeFrame } from '../../src/private/frame.ts';
import { wrapDataKey } from '../../src/private/key-frames.ts';
import { systemRandom } from '../../src/private/random.ts';
import { localKeyWrapper, rootKeyWrapper } from '../../src/private/wrapper.ts';
import { refusal, settle } from '../support.ts';
import {
  ALICE,
  BASIS,
  BOB,
  TENANT,
  bench,
  grep,
  moodyWrapper,
  openFields,
  record,
  statesAt,
  wholeDisk,
} from './support.ts';

const context = { purpose: 'tenant-key', tenant: 'a', keyId: '00' } as const;

function inFolder(work: (dir: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const dir = mkdtempSync(join(tmpdir(), 'kin-keys-'));
    try {
      await work(dir);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  };
}

test(
  'wrapper N1: a root file is made 0600 and refused when others may read it or it is a link',
  inFolder(async (dir) => {
    const path = join(dir, 'root.key');
    assert.equal((await refusal(localKeyWrapper(path))).code, 'KIN_LEDGER_KEY_INVALID');
    const made = await localKeyWrapper(path, { create: true });
    const { mode, size } = statSync(path);
    assert.deepEqual([mode & 0o777, size], [0o600, 32]);
    const wrapped = await made.wrap(Buffer.alloc(32, 5), context);
    const again = await localKeyWrapper(path, { create: true });
    assert.deepEqual(Buffer.from(await again.unwrap(wrapped, context)), Buffer.alloc(32, 5));
    for (const mode of [0o640, 0o604, 0o660]) {
      chmodSync(path, mode);
      const error = await refusal(localKeyWrapper(path));
      assert.equal(error.code, 'KIN_LEDGER_KEY_INVALID');
      assert.match(error.message, /chmod 600/);
    }
    chmodSync(path, 0o600);
    const link = join(dir, 'link.key');
    symlinkSync(path, link);
    assert.match((await refusal(localKeyWrapper(link))).message, /symbolic link/);
    const short = join(dir, 'short.key');
    writeFileSync(short, 'x', { mode: 0o600 });
    assert.match((await refusal(localKeyWrapper(short))).message, /1 bytes/);
  }),
);

test('wrapper: another tenant, key id or root, or a changed bit, does not open', async () => {
  const wrapper = rootKeyWrapper(Buffer.alloc(32, 1), 'one');
  const wrapped = Buffer.from(await wrapper.wrap(Buffer.alloc(32, 5), context));
  const changed = Buffer.from(wrapped);
  changed[20] = (changed[20] ?? 0) ^ 1;
  const other = rootKeyWrapper(Buffer.alloc(32, 2), 'two');
  const attempts = [
    wrapper.unwrap(wrapped, { ...context, tenant: 'b' }),
    wrapper.unwrap(wrapped, { ...context, keyId: '01' }),
    wrapper.unwrap(changed, context),
    wrapper.unwrap(wrapped.subarray(0, 10), context),
    other.unwrap(wrapped, context),
  ];
  for (const attempt of attempts) {
    assert.equal((await refusal(attempt)).code, 'KIN_LEDGER_WRONG_KEY');
  }
});

test('key S2, wrapper N2: a key store that is away refuses new tenants only', async () => {
  const wrapper = moodyWrapper();
  const one = await bench(new MemoryFiles(), { wrapper, wrapperDeadlineMs: 50 });
  const index = await record(one, [ALICE]);
  wrapper.mood = 'down';
  // What is unwrapped already goes on.
  await record(one, [BOB]);
  const down = await refusal(one.fields.seal('clinic-b', [ALICE]));
  assert.equal(down.code, 'KIN_LEDGER_KEY_UNAVAILABLE');
  assert.match(down.message, /connection refused/);
  wrapper.mood = 'silent';
  const silent = refusal(one.fields.seal('clinic-b', [ALICE]));
  while (one.clock.sleepers === 0) await settle();
  await one.clock.advance(60);
  assert.equal((await silent).code, 'KIN_LEDGER_KEY_UNAVAILABLE');
  wrapper.mood = 'well';
  await one.fields.seal('clinic-b', [ALICE]);
  await one.close();
  wrapper.mood = 'down';
  const two = await bench(one.files, { wrapper });
  assert.deepEqual(new Set(await statesAt(two, index)), new Set(['held-back']));
  wrapper.mood = 'well';
  assert.ok((await statesAt(two, index)).includes('ip="203.0.113.17"'));
  await two.close();
});

test('key S4: a key store that answers with another key is noticed before use', async () => {
  const wrapper = moodyWrapper();
  const one = await bench(new MemoryFiles(), { wrapper });
  const index = await record(one, [ALICE]);
  await one.close();
  wrapper.mood = 'other';
  const two = await bench(one.files, { wrapper });
  for (const attempt of [
    two.fields.seal(TENANT, [ALICE]),
    statesAt(two, index),
    two.fields.erase({ tenant: TENANT, subject: ALICE.subject, basis: BASIS }),
  ]) {
    assert.equal((await refusal(attempt)).code, 'KIN_LEDGER_WRONG_KEY');
  }
  await two.close();
  const wrong = rootKeyWrapper(Buffer.alloc(32, 77), 'another root');
  const three = await bench(one.files, { wrapper: wrong });
  assert.equal((await refusal(statesAt(three, index))).code, 'KIN_LEDGER_WRONG_KEY');
  await three.close();
});

test('erase Z1: with the key store away an open erasure is finished all the same', async () => {
  const wrapper = moodyWrapper();
  const files = new MemoryFiles();
  const one = await bench(files, { wrapper });
  const index = await record(one, [ALICE]);
  // The intent is durable, but its caller never heard of it.
  await one.fields.start({
    ...one.port,
    intent: async (input) => {
      await one.port.intent(input);
      throw new LedgerError('KIN_LEDGER_DEADLINE', 'too late', { inLog: 'unknown' });
    },
  });
  const input = { tenant: TENANT, subject: ALICE.subject, basis: BASIS };
  assert.equal((await refusal(one.fields.erase(input))).code, 'KIN_LEDGER_DEADLINE');
  assert.deepEqual(new Set(await statesAt(one, index)), new Set(['held-back']));
  assert.equal((await refusal(one.fields.seal(TENANT, [ALICE]))).code, 'KIN_LEDGER_ERASING');
  await one.close();
  wrapper.mood = 'down';
  const two = await bench(files, { wrapper });
  assert.deepEqual(two.ledger.openIntents(), []);
  assert.match((await statesAt(two, index))[0] ?? '', /^redacted \(erasure #/);
  const last = (await two.ledger.read(two.ledger.size - 1)).bytes;
  assert.match(Buffer.from(last).toString(), /"canary":"not-tried"/);
  await two.close();
});

test('erase Z1: an intent whose mark is gone is closed as unknown', async () => {
  const files = new MemoryFiles();
  const one = await bench(files);
  const index = await record(one, [ALICE]);
  const detail = { erasure: 'e'.repeat(32), tenant: TENANT };
  const forged = { kind: 'privacy.erase', subject: 'erasure:e', detail };
  await assert.rejects(one.ledger.intent(forged), { code: 'KIN_LEDGER_ENTRY_INVALID' });
  await one.ledger.intent({ ...forged, [OWN]: true });
  await one.close();
  const two = await bench(files);
  assert.deepEqual(two.ledger.openIntents(), []);
  assert.ok((await statesAt(two, index)).includes('ip="203.0.113.17"'));
  await two.close();
});

test('key S1: no subject on the disk; one subject of two tenants is unlinkable', async () => {
  const one = await bench();
  await record(one, [ALICE], 'clinic-a');
  await record(one, [ALICE], 'clinic-b');
  await record(one, [ALICE], 'clinic-a');
  for (const needle of ['alice@example.com', 'alice', Buffer.from('alice').toString('base64')]) {
    assert.deepEqual(await grep(one.files, needle), [], needle);
  }
  const keys = [...(await wholeDisk(one.files))].find(([name]) => name.endsWith('.key'))?.[1];
  const payloads = [...(await wholeDisk(one.files))].find(([name]) => name.endsWith('.pay'))?.[1];
  assert.ok(keys !== undefined && payloads !== undefined);
  // Every 8 bytes that stand in the frames of one tenant, against those of the other.
  const parts = (bytes: Buffer, tenant: string): Set<string> => {
    const found = new Set<string>();
    for (let at = 4096; at + 40 <= bytes.length; at += 16) {
      const read = readFrame(bytes, at);
      if (read.kind !== 'frame') continue;
      const { head, body } = read.frame;
      if (!head.includes(tenant)) continue;
      // Random and derived parts only: ids, tags, digests, ciphertexts.
      for (const part of [head.subarray(4, 52), body]) {
        for (let from = 0; from + 8 <= part.length; from++) {
          found.add(part.toString('hex', from, from + 8));
        }
      }
    }
    return found;
  };
  const keysA = parts(keys, 'clinic-a');
  const shared = [...parts(keys, 'clinic-b')].filter((part) => keysA.has(part));
  assert.ok(keysA.size > 50);
  assert.deepEqual(shared, []);
  const session = (tenant: string): Set<string> => {
    const found = new Set<string>();
    for (let at = 4096; at + 40 <= payloads.length; at += 16) {
      const read = readFrame(payloads, at);
      if (read.kind === 'frame' && read.frame.head.includes(tenant)) {
        found.add(read.frame.head.toString('hex', 8, 24));
      }
    }
    return found;
  };
  assert.equal(session('clinic-a').size, 1);
  assert.deepEqual(
    [...session('clinic-b')].filter((id) => session('clinic-a').has(id)),
    [],
  );
  await one.close();
});

test('erase: the same subject of another tenant is not touched', async () => {
  const one = await bench();
  const a = await record(one, [ALICE], 'clinic-a');
  const b = await record(one, [ALICE], 'clinic-b');
  await one.fields.erase({ tenant: 'clinic-a', subject: ALICE.subject, basis: BASIS });
  assert.match((await statesAt(one, a, 'clinic-a'))[0] ?? '', /^redacted/);
  assert.ok((await statesAt(one, b, 'clinic-b')).includes('ip="203.0.113.17"'));
  await one.close();
});

test('key S3: the canary finds a copy of the key under whatever name', () => {
  const random = systemRandom();
  const tenantKey = Buffer.from(random(32));
  const dataKey = Buffer.from(random(32));
  const keyId = Buffer.from(random(16));
  const frameOf = (id: Uint8Array, key: Uint8Array) => {
    const about = { tenant: 't', keyId: Buffer.from(id), tag: Buffer.from(random(32)) };
    const { head, body } = wrapDataKey(tenantKey, key, about, random);
    const frame = encodeFrame(head, body);
    placeFrame(frame, 4096);
    const read = readFrame(frame, 0);
    assert.ok(read.kind === 'frame');
    return read.frame;
  };
  const canary = makeCanary(keyId, dataKey, random);
  checkCanary(canary, [frameOf(random(16), random(32))], tenantKey);
  for (const planted of [frameOf(random(16), dataKey), frameOf(keyId, random(32))]) {
    assert.throws(() => checkCanary(canary, [planted], tenantKey), {
      code: 'KIN_LEDGER_ERASURE_FAILED',
    });
  }
});

test('seal during an erasure is refused, and nothing is sealed under a dying key', async () => {
  const one = await bench();
  await record(one, [ALICE]);
  const erasing = one.fields.erase({ tenant: TENANT, subject: ALICE.subject, basis: BASIS });
  while (one.fields.marks().erasing.length === 0) await settle();
  const codes = new Set<string>();
  for (let round = 0; round < 5; round++) {
    const seal = one.fields.seal(TENANT, [ALICE]);
    codes.add((await refusal(seal)).code);
    if (one.fields.marks().erasing.length === 0) break;
  }
  assert.deepEqual(codes, new Set(['KIN_LEDGER_ERASING']));
  assert.equal((await erasing).kind, 'erased');
  await one.close();
});

test('mark T1: a marks file that was changed refuses to open', async () => {
  const files = new MemoryFiles();
  const one = await bench(files);
  await one.fields.placeHold({ tenant: TENANT, basis: { code: 'litigation', ref: 'C-1' } });
  await one.close();
  for (const change of [
    (bytes: Uint8Array) => bytes.fill(0x20, 0, 3),
    (bytes: Uint8Array) => (bytes[bytes.length - 2] = 0x20),
    (bytes: Uint8Array) => (bytes[bytes.length - 1] = 0x20),
  ]) {
    const copy = files.copy();
    copy.corrupt('ledger/keys/marks.json', change);
    const error = await refusal(openFields(copy));
    assert.equal(error.code, 'KIN_LEDGER_CORRUPT');
    assert.equal(error.place?.file, 'ledger/keys/marks.json');
  }
});

test('key S3: a damaged key file refuses to open and says where', async () => {
  const files = new MemoryFiles();
  const one = await bench(files);
  await record(one, [ALICE]);
  await record(one, [BOB]);
  await one.close();
  const [name = ''] = (await files.list('ledger/keys')).filter((file) => file.endsWith('.key'));
  files.corrupt(`ledger/keys/${name}`, (bytes) => (bytes[4096 + 45] = 0xff));
  const error = await refusal(openFields(files));
  assert.equal(error.code, 'KIN_LEDGER_CORRUPT');
  assert.deepEqual([error.place?.file, error.place?.offset], [`ledger/keys/${name}`, 4096]);
});

test('key S3: a removal that was cut off between its bytes is begun again', async () => {
  const files = new MemoryFiles();
  const one = await bench(files);
  const index = await record(one, [ALICE]);
  await one.close();
  const path = 'ledger/keys/00000001.key';
  const bytes = Buffer.from((await files.readWhole(path, 1e9)) ?? []);
  const { frames } = scanFrames(bytes, undefined);
  const data = frames.at(-1);
  assert.ok(data !== undefined && data.head[0] === 2);
  const wrapped = Buffer.from(data.body);
  files.corrupt(path, (content) => (content[data.offset + 24] = 1));
  const two = await bench(files);
  assert.ok((await statesAt(two, index)).includes('ip="203.0.113.17"'));
  const report = await two.fields.erase({ tenant: TENANT, subject: ALICE.subject, basis: BASIS });
  assert.equal(report.kind, 'erased');
  assert.deepEqual(await grep(files, wrapped), []);
  await two.close();
});
