import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ENTRY_BYTES_MAX,
  MemoryFiles,
  isReceipt,
  verifyConsistency,
  verifyLedgerDir,
  verifyProof,
} from '../src/index.ts';
import type { FilesOperation } from '../src/index.ts';
import { FakeClock, bytesOf, open, refusal, segmentFiles, settle, signer } from './support.ts';

/** A disk whose `datasync` can be held back and let go. */
function stuckDisk(): { files: MemoryFiles; hold: () => void; letGo: () => void } {
  let gate: Promise<void> | undefined;
  let letGo = (): void => undefined;
  const files = new MemoryFiles({
    before: (operation) => (operation === 'datasync' ? gate : undefined),
  });
  const hold = (): void => {
    gate = new Promise((resolve) => {
      letGo = () => {
        gate = undefined;
        resolve();
      };
    });
  };
  return { files, hold, letGo: () => letGo() };
}

test('ledger L1: a receipt exists only after the sync, and a stranger can verify it', async () => {
  const { files, hold, letGo } = stuckDisk();
  const ledger = await open(files);
  hold();
  let issued = false;
  const pending = ledger
    .intent({ kind: 'heal.restart', subject: 'replica-1', plan: 'plan-1', detail: { why: 'hung' } })
    .then((intent) => {
      issued = true;
      return intent;
    });
  await settle();
  assert.equal(issued, false, 'a receipt existed before the sync');
  assert.equal(ledger.size, 1);
  letGo();
  const { receipt, index, outcome } = await pending;
  const { bytes, decoded } = await ledger.read(index);
  assert.equal(decoded.type === 'intent' && decoded.entry.subject, 'replica-1');
  assert.equal(verifyProof(await receipt.proof(), bytes, signer.vkey).kind, 'valid');
  for (let at = 0; at < 20; at++) await ledger.record('noise', { at });
  const later = verifyProof(await receipt.proof(), bytes, signer.vkey);
  assert.equal(later.kind === 'valid' && later.head.size, 2n);
  assert.equal(ledger.openIntents().length, 1);
  await outcome({ result: 'succeeded', detail: { tookMs: 12 } });
  assert.equal(ledger.openIntents().length, 0);
  await ledger.close();
});

test('receipt Q1: a copied or invented receipt is told from a real one', async () => {
  const ledger = await open(new MemoryFiles());
  const { receipt } = await ledger.intent({ kind: 'a.b', subject: 's', detail: null });
  assert.ok(isReceipt(receipt));
  assert.ok(!isReceipt({ ...receipt }));
  assert.ok(!isReceipt(receipt.toJSON()));
  assert.ok(!isReceipt(null));
  assert.ok(isReceipt(await ledger.receipt(receipt.index)));
  await ledger.close();
});

test('commit C1: a disk that never answers gives KIN_LEDGER_DEADLINE, never a hang', async () => {
  const { files, hold, letGo } = stuckDisk();
  const clock = new FakeClock();
  const ledger = await open(files, { clock, appendDeadlineMs: 250 });
  hold();
  const inFlight = refusal(ledger.record('a', 1));
  await settle();
  const waiting = refusal(ledger.record('b', 2));
  const hasty = refusal(ledger.record('c', 3, { deadlineMs: 20 }));
  await settle();
  await clock.advance(25);
  assert.equal((await hasty).code, 'KIN_LEDGER_DEADLINE');
  await clock.advance(250);
  assert.deepEqual(
    [(await inFlight).code, (await inFlight).inLog],
    ['KIN_LEDGER_DEADLINE', 'unknown'],
  );
  assert.deepEqual([(await waiting).code, (await waiting).inLog], ['KIN_LEDGER_DEADLINE', 'no']);
  letGo();
  await settle();
  const next = await ledger.record('d', 4);
  assert.equal(next.index, 2, 'the entry in flight became durable, the waiting ones did not');
  await ledger.close();
  assert.equal(clock.sleepers, 0, 'a sleeper outlived the ledger');
});

test('commit C1: closing over a disk that never answers ends as well', async () => {
  const { files, hold } = stuckDisk();
  const clock = new FakeClock();
  const ledger = await open(files, { clock });
  hold();
  const lost = refusal(ledger.record('a', 1));
  await settle();
  const closing = refusal(ledger.close());
  await settle();
  await clock.advance(60_000);
  assert.equal((await closing).code, 'KIN_LEDGER_DEADLINE');
  assert.equal((await lost).code, 'KIN_LEDGER_DEADLINE');
  assert.equal((await refusal(open(files))).code, 'KIN_LEDGER_LOCKED');
});

test('ledger L2: an intent that became durable too late is closed as failed', async () => {
  const { files, hold, letGo } = stuckDisk();
  const clock = new FakeClock();
  const ledger = await open(files, { clock, appendDeadlineMs: 100 });
  hold();
  const late = refusal(ledger.intent({ kind: 'a.b', subject: 's', detail: null }));
  await settle();
  await clock.advance(200);
  assert.equal((await late).code, 'KIN_LEDGER_DEADLINE');
  letGo();
  await settle();
  await ledger.record('after', null);
  assert.equal(ledger.openIntents().length, 0);
  const { decoded } = await ledger.read(2);
  assert.equal(decoded.type === 'outcome' && decoded.entry.result, 'failed');
  assert.equal(decoded.type === 'outcome' && decoded.entry.intent, 1);
  await ledger.close();
});

test('intents I1: one outcome per intent, and only for an intent that exists', async () => {
  const ledger = await open(new MemoryFiles());
  const intent = await ledger.intent({ kind: 'a.b', subject: 's', detail: null, deadlineMs: 5000 });
  assert.equal(ledger.openIntents()[0]?.deadlineAt, '2026-11-20T00:00:05.000Z');
  const first = intent.outcome({ result: 'failed', detail: null });
  const second = await refusal(intent.outcome({ result: 'succeeded', detail: null }));
  assert.equal(second.code, 'KIN_LEDGER_INTENT_CLOSED');
  await first;
  const closed = await refusal(ledger.closeIntent(intent.index, { result: 'unknown', detail: 1 }));
  assert.equal(closed.code, 'KIN_LEDGER_INTENT_CLOSED');
  for (const index of [99, -1, 0.5]) {
    const unknown = await refusal(ledger.closeIntent(index, { result: 'unknown', detail: 1 }));
    assert.equal(unknown.code, 'KIN_LEDGER_INTENT_UNKNOWN');
  }
  assert.equal(
    (await refusal(ledger.closeIntent(0, { result: 'unknown', detail: 1 }))).code,
    'KIN_LEDGER_INTENT_CLOSED',
  );
  await ledger.close();
});

test('open intents are known again after a restart, with a fresh receipt for each', async () => {
  const files = new MemoryFiles();
  const before = await open(files);
  const one = await before.intent({ kind: 'a.b', subject: 'one', plan: 'p', detail: { n: 1 } });
  const two = await before.intent({ kind: 'a.b', subject: 'two', detail: null });
  await one.outcome({ result: 'succeeded', detail: null });
  files.crash();
  const after = await open(files);
  const [left, ...others] = after.openIntents();
  assert.deepEqual([left?.index, left?.subject, others.length], [two.index, 'two', 0]);
  const receipt = await after.receipt(two.index);
  assert.equal(receipt.entryDigest, two.receipt.entryDigest);
  const { bytes } = await after.read(two.index);
  assert.equal(verifyProof(await receipt.proof(), bytes, signer.vkey).kind, 'valid');
  await after.closeIntent(two.index, { result: 'unknown', detail: { probed: false } });
  assert.equal(after.openIntents().length, 0);
  await after.close();
});

test('entry E1: over 65535 bytes or no JSON is refused, the limit itself is taken', async () => {
  const ledger = await open(new MemoryFiles());
  const whole = await ledger.append(new Uint8Array(ENTRY_BYTES_MAX).fill(65));
  assert.equal((await ledger.read(whole.index)).bytes.length, ENTRY_BYTES_MAX);
  assert.equal((await ledger.append(new Uint8Array(0))).kind, 'durable');
  const raw = await refusal(ledger.append(new Uint8Array(ENTRY_BYTES_MAX + 1)));
  assert.equal(raw.code, 'KIN_LEDGER_ENTRY_TOO_LARGE');
  const big = await refusal(ledger.record('a.b', 'x'.repeat(ENTRY_BYTES_MAX)));
  assert.equal(big.code, 'KIN_LEDGER_ENTRY_TOO_LARGE');
  const odd = await refusal(ledger.record('a.b', { n: Number.NaN }));
  assert.equal(odd.code, 'KIN_LEDGER_ENTRY_INVALID');
  const { bytes } = await ledger.read((await ledger.record('a.b', { z: 1, a: [] })).index);
  const text = '{"at":"2026-11-20T00:00:00.000Z","detail":{"a":[],"z":1},"kind":"a.b","v":1}';
  assert.equal(Buffer.from(bytes).toString(), text);
  await ledger.close();
});

test('entry E2: nobody can forge an intent, an outcome or a ledger entry', async () => {
  const ledger = await open(new MemoryFiles());
  for (const kind of ['intent', 'outcome', 'ledger.created', 'Bad Kind', '']) {
    assert.equal((await refusal(ledger.record(kind, 1))).code, 'KIN_LEDGER_ENTRY_INVALID', kind);
  }
  const forged = [
    '{"v":1,"kind":"intent","at":"x","action":"a","subject":"s","detail":null}',
    '{ "kind" : "outcome", "v":1, "at":"x", "intent":1, "result":"succeeded", "detail":0 }',
    '{"at":"x","detail":null,"kind":"ledger.recovered","v":1}',
  ];
  for (const text of forged) {
    const error = await refusal(ledger.append(bytesOf(text)));
    assert.equal(error.code, 'KIN_LEDGER_ENTRY_INVALID', text);
  }
  await ledger.append(bytesOf('{"v":2,"kind":"intent"}'));
  assert.equal(ledger.openIntents().length, 0);
  await ledger.close();
});

test('appends of one moment share one group, and each gets its own index and proof', async () => {
  const ledger = await open(new MemoryFiles());
  const groups = ledger.stats().groups;
  const all = await Promise.all(Array.from({ length: 100 }, (_, at) => ledger.record('a', at)));
  assert.equal(ledger.stats().groups, groups + 1);
  assert.deepEqual(
    all.map(({ index }) => index),
    Array.from({ length: 100 }, (_, at) => at + 1),
  );
  for (const { index, leafHash } of all.slice(0, 5)) {
    const { bytes } = await ledger.read(index);
    assert.equal(verifyProof(await ledger.prove(index), bytes, signer.vkey).kind, 'valid');
    assert.equal((await ledger.receipt(index)).leafHash, leafHash);
  }
  await ledger.close();
});

test('pages hold every entry once, and an index beyond the end is refused', async () => {
  const ledger = await open(new MemoryFiles());
  for (let at = 0; at < 25; at++) await ledger.record('a', at);
  const seen: number[] = [];
  let from = 0;
  // Bounded by the pages of the ledger.
  for (;;) {
    const page = await ledger.entries({ from, limit: 7 });
    seen.push(...page.map(({ index }) => index));
    if (page.length === 0) break;
    from += page.length;
  }
  assert.deepEqual(
    seen,
    Array.from({ length: 26 }, (_, at) => at),
  );
  for (const index of [26, -1, 1.5]) {
    assert.equal((await refusal(ledger.read(index))).code, 'KIN_LEDGER_RANGE');
    assert.equal((await refusal(ledger.prove(index))).code, 'KIN_LEDGER_RANGE');
  }
  await ledger.close();
});

test('the log only grows: every checkpoint is consistent with every later one', async () => {
  const ledger = await open(new MemoryFiles());
  const texts = [ledger.checkpoint()];
  for (let at = 0; at < 20; at++) texts.push((await ledger.record('a', at)).checkpoint);
  for (const before of texts) {
    for (const after of texts) {
      if (before.size > after.size) continue;
      const proof = await ledger.consistency(before.size, after.size);
      const evidence = { before: before.text, after: after.text, proof };
      assert.equal(verifyConsistency(evidence, signer.vkey).kind, 'valid');
    }
    assert.equal(await ledger.rootAt(before.size), before.root);
  }
  await ledger.close();
});

test('beyond the queue bound: KIN_LEDGER_OVERLOADED, but outcomes still pass', async () => {
  const { files, hold, letGo } = stuckDisk();
  const ledger = await open(files, { queueEntriesMax: 5 });
  const intent = await ledger.intent({ kind: 'a.b', subject: 's', detail: null });
  hold();
  const first = ledger.record('first', null);
  await settle();
  const waiting = Array.from({ length: 5 }, (_, at) => ledger.record('a', at));
  const refused = await refusal(ledger.record('too.much', null));
  assert.equal(refused.code, 'KIN_LEDGER_OVERLOADED');
  const outcome = intent.outcome({ result: 'succeeded', detail: null });
  letGo();
  await Promise.all([first, ...waiting, outcome]);
  await ledger.close();
});

test('ledger L3: queued entries that are lost are counted and show as a gap', async () => {
  const { files, hold, letGo } = stuckDisk();
  const ledger = await open(files, { queueEntriesMax: 3 });
  hold();
  const first = ledger.record('first', null);
  await settle();
  for (let at = 0; at < 8; at++) {
    assert.equal((await ledger.record('access', at, { wait: 'queued' })).kind, 'queued');
  }
  await settle();
  letGo();
  await first;
  await settle();
  await ledger.record('last', null);
  const { lostQueuedEntries } = ledger.stats();
  assert.equal(lostQueuedEntries, 5);
  const entries = await ledger.entries({ from: 0, limit: 100 });
  const kinds = entries.map(({ decoded }) => (decoded.type === 'plain' ? decoded.entry.kind : ''));
  assert.ok(kinds.includes('ledger.gap'), kinds.join(' '));
  assert.equal(kinds.filter((kind) => kind === 'access').length, 3);
  await ledger.close();
});

test('wal D3: a full disk is recorded, outcomes still fit, appends resume with space', async () => {
  const clock = new FakeClock();
  const files = new MemoryFiles({ capacityBytes: 150_000 });
  const ledger = await open(files, { clock });
  const intent = await ledger.intent({ kind: 'a.b', subject: 's', detail: null });
  let code = '';
  for (let at = 0; at < 100 && code === ''; at++) {
    try {
      await ledger.record('fill', 'x'.repeat(2000));
    } catch (cause) {
      code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    }
  }
  assert.equal(code, 'KIN_LEDGER_FULL');
  assert.equal(ledger.stats().state.kind, 'full');
  await intent.outcome({ result: 'succeeded', detail: null });
  files.setCapacity(1_000_000);
  await clock.advance(2000);
  await ledger.record('again', null);
  assert.equal(ledger.stats().state.kind, 'open');
  await ledger.close();
  const again = await open(files, { clock });
  const entries = await again.entries({ from: 0, limit: 1000 });
  const kinds = entries.map(({ decoded }) => (decoded.type === 'raw' ? '' : decoded.entry.kind));
  assert.ok(kinds.includes('ledger.full'), kinds.join(' '));
  assert.ok(kinds.includes('outcome'));
  assert.ok(kinds.includes('ledger.space-restored'));
  await again.close();
});

function failing(match: (operation: FilesOperation, path: string) => boolean): {
  files: MemoryFiles;
  arm: (times: number) => void;
} {
  let left = 0;
  const files = new MemoryFiles({
    before: (operation, path) => {
      if (left === 0 || !match(operation, path)) return;
      left -= 1;
      throw Object.assign(new Error('EIO: injected'), { code: 'EIO' });
    },
  });
  return {
    files,
    arm: (times) => {
      left = times;
    },
  };
}

test('wal D2: a failed sync moves the bytes to a new segment, never retries the old', async () => {
  const { files, arm } = failing(
    (operation, path) => operation === 'datasync' && path.endsWith('.wal'),
  );
  const ledger = await open(files);
  await ledger.record('a', 1);
  const [old = ''] = await segmentFiles(files);
  const before = (await files.readWhole(old, 1e9))?.slice();
  arm(1);
  const saved = await ledger.record('b', 2);
  assert.equal(saved.index, 2);
  await ledger.record('c', 3);
  assert.equal((await segmentFiles(files)).length, 2);
  const now = await files.readWhole(old, 1e9);
  assert.deepEqual(now?.slice(0, 8192), before?.slice(0, 8192));
  await ledger.close();
  assert.equal((await verifyLedgerDir('ledger', signer.vkey, { files })).kind, 'intact');
  const again = await open(files);
  assert.equal(again.size, 4);
  assert.deepEqual(again.stats().recovery, { kind: 'clean' });
  await again.close();
});

test('commit C3: after a second failure nothing is accepted, nothing acked is lost', async () => {
  const { files, arm } = failing(
    (operation, path) => operation === 'datasync' && path.endsWith('.wal'),
  );
  const ledger = await open(files);
  await ledger.record('a', 1);
  arm(2);
  assert.equal((await refusal(ledger.record('b', 2))).code, 'KIN_LEDGER_POISONED');
  assert.equal((await refusal(ledger.record('c', 3))).code, 'KIN_LEDGER_POISONED');
  assert.equal(ledger.stats().state.kind, 'failed');
  assert.equal(ledger.size, 2);
  assert.equal((await ledger.read(1)).index, 1);
  await ledger.close();
  const again = await open(files);
  assert.ok(again.size >= 2);
  await again.record('d', 4);
  await again.close();
});

test('wal D1: write, then datasync of the record, only then the acknowledgement', async () => {
  const steps: string[] = [];
  const files = new MemoryFiles({
    before: (operation, path) => {
      if (/seg\/\d/.test(path)) steps.push(operation);
    },
  });
  const ledger = await open(files);
  steps.length = 0;
  await ledger.record('a', 1);
  steps.push('ack');
  assert.deepEqual(steps, ['write', 'datasync', 'ack']);
  await ledger.close();
});

test('somebody who replaces the open segment is noticed, and writing stops', async () => {
  const clock = new FakeClock();
  const files = new MemoryFiles();
  const ledger = await open(files, { clock });
  const [segment = ''] = await segmentFiles(files);
  await files.remove(segment);
  await clock.advance(1500);
  await ledger.record('a', 1);
  await settle();
  assert.equal((await refusal(ledger.record('b', 2))).code, 'KIN_LEDGER_SEGMENT_LOST');
  await ledger.close();
});

test('wrong options and a closed ledger give a typed error, not a crash', async () => {
  const files = new MemoryFiles();
  for (const bad of [
    { segmentBytes: 5000 },
    { origin: 'has space' },
    { dir: '' },
    { origin: 'x' },
  ]) {
    assert.equal((await refusal(open(files, bad))).code, 'KIN_LEDGER_OPTION_INVALID');
  }
  const ledger = await open(files);
  await ledger.close();
  await ledger.close();
  assert.equal((await refusal(ledger.record('a', 1))).code, 'KIN_LEDGER_CLOSED');
});

test('lazy signing gives the same checkpoints, and only a lazy ledger accepts them', async () => {
  const files = new MemoryFiles();
  const lazy = await open(files, { signing: 'lazy' });
  const { checkpoint } = await lazy.record('a', 1);
  const eager = await open(new MemoryFiles());
  assert.equal((await eager.record('a', 1)).checkpoint.text, checkpoint.text);
  await eager.close();
  await lazy.close();
  assert.equal((await refusal(open(files))).code, 'KIN_LEDGER_WRONG_KEY');
  const check = await verifyLedgerDir('ledger', signer.vkey, { files, allowUnsigned: true });
  assert.equal(check.kind, 'intact');
  const again = await open(files, { signing: 'lazy' });
  assert.equal(again.size, 2);
  await again.close();
});
