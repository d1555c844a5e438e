import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { sameBytes, toBase64, toHex, utf8 } from '../../src/bytes.ts';
import { leafHash } from '../../src/merkle.ts';
import { formatTreeHead, signNote } from '../../src/note.ts';
import { mapLeaf, mapRoot, proveInMap, updateMap } from '../../src/tenants/sparse-map.ts';
import { epochEntry, minimumEntry } from '../../src/tenants/tenant-entries.ts';
import { tenantProof } from '../../src/tenants/tenant-evidence.ts';
import { formatTenantProof, parseTenantProof } from '../../src/tenants/tenant-proof.ts';
import type { TenantProof } from '../../src/tenants/tenant-proof.ts';
import {
  verifyTenantComplete,
  verifyTenantHead,
  verifyTenantProof,
} from '../../src/tenants/tenant-verify.ts';
import type { TenantRefusal } from '../../src/tenants/tenant-verify.ts';
import { ORIGIN, otherSigner, signer } from '../support.ts';
import { AT, MAP_KEY, Model, hmac, saltAt, tenantEntry, trust } from './model.ts';

const options = { trust, tenant: 'acme' };

/** 30 tenants, 8 entries each of which one is the beginning, an epoch, and some more. */
function busyModel(): Model {
  const model = new Model();
  model.sayKey();
  for (let round = 0; round < 7; round++) {
    for (let at = 0; at < 29; at++) model.add(`tenant-${at}`, `round ${round}`);
    model.add('acme', `round ${round}`);
    model.system();
  }
  model.epoch(() => model.add('acme', 'too late'));
  for (let at = 0; at < 5; at++) model.system();
  return model;
}

function edited(text: string, change: Partial<TenantProof>): string {
  const proof = parseTenantProof(text) ?? assert.fail('not a proof');
  return formatTenantProof({ ...proof, ...change });
}

test('TV1: each entry of the epoch is proved to the checkpoint, later ones not yet', async () => {
  const model = busyModel();
  const entries = model.entriesOf('acme');
  for (let index = 0; index < 8; index++) {
    const text = await model.proof('acme', { kind: 'entry', index });
    const entry = entries[index] ?? utf8('');
    const verdict = verifyTenantProof(text, entry, options);
    assert.ok(verdict.kind === 'valid', verdict.kind === 'invalid' ? verdict.reason : '');
    assert.equal(verdict.index, BigInt(index));
    assert.equal(verdict.size, 8n);
    assert.deepEqual(verdict.position, new Uint8Array(hmac(MAP_KEY, 'acme')));
    assert.equal(verdict.epoch.logs, 30);
    const pinned = { ...options, position: verdict.position };
    assert.equal(verifyTenantProof(text, entry, pinned).kind, 'valid');
  }
  const view = {
    checkpoint: model.checkpoint(),
    inclusion: (index: number, size: number) => model.tree.inclusion(index, size),
    readEntry: (index: number) => Promise.resolve(model.entries[index] ?? utf8('')),
  };
  const ask = (tenant: string, index: number, size = view.checkpoint.size) =>
    tenantProof(
      model.tenants,
      { ...view, checkpoint: { ...view.checkpoint, size } },
      { tenant, about: { kind: 'entry', index } },
    );
  assert.deepEqual(await ask('acme', 8), { kind: 'refused', reason: 'entry-not-in-epoch' });
  assert.deepEqual(await ask('nobody', 0), { kind: 'refused', reason: 'tenant-unknown' });
  assert.deepEqual(await ask('acme', 0, 5), { kind: 'refused', reason: 'no-epoch' });
  model.add('new');
  assert.deepEqual(await ask('new', 0), { kind: 'refused', reason: 'tenant-not-in-epoch' });
  model.append(minimumEntry({ at: AT, salt: saltAt(3), tenant: 'acme', index: 4 }));
  assert.deepEqual(await ask('acme', 3), { kind: 'refused', reason: 'no-longer-kept' });
  assert.equal((await ask('acme', 4)).kind, 'proof');
  const raw = new Model();
  raw.append(tenantEntry('acme', 'no beginning', 1));
  raw.epoch();
  const rawView = { ...view, checkpoint: raw.checkpoint() };
  const about = { kind: 'head' } as const;
  assert.deepEqual(await tenantProof(raw.tenants, rawView, { tenant: 'acme', about }), {
    kind: 'refused',
    reason: 'log-not-begun',
  });
});

test('TV1: a broken link anywhere refuses with its reason', async () => {
  const model = busyModel();
  const text = await model.proof('acme', { kind: 'entry', index: 3 });
  const entry = model.entriesOf('acme')[3] ?? utf8('');
  const other = await model.proof('tenant-4', { kind: 'entry', index: 3 });
  const proof = parseTenantProof(text) ?? assert.fail('not a proof');
  const foreign = parseTenantProof(other) ?? assert.fail('not a proof');
  const reason = (changed: string, bytes = entry): TenantRefusal | 'valid' => {
    const verdict = verifyTenantProof(changed, bytes, options);
    return verdict.kind === 'valid' ? 'valid' : verdict.reason;
  };
  const epochOf = (size: number): Uint8Array =>
    epochEntry(AT, { logs: 30, map: utf8('x'.repeat(32)), size });
  const { root, begin, map, epoch, part } = proof;
  assert.equal(reason(text), 'valid');
  assert.equal(reason(other), 'other-tenant');
  assert.equal(reason(`${text}x`), 'checkpoint-refused');
  const size = model.entries.length;
  const body = formatTreeHead(ORIGIN, size, model.tree.root());
  assert.equal(
    reason(edited(text, { checkpoint: signNote(body, [otherSigner]) })),
    'checkpoint-refused',
  );
  assert.equal(reason(text, model.entriesOf('acme')[2]), 'entry-not-in-log');
  assert.equal(reason(text, model.entriesOf('tenant-4')[3]), 'entry-of-another');
  assert.equal(reason(edited(text, { size: 7n })), 'head-not-in-map');
  assert.equal(reason(edited(text, { size: 9n })), 'begin-not-first');
  assert.equal(reason(edited(text, { root: foreign.root })), 'begin-not-first');
  assert.equal(reason(edited(text, { begin: foreign.begin })), 'begin-unreadable');
  assert.equal(reason(edited(text, { begin: { ...begin, entry } })), 'begin-unreadable');
  assert.equal(reason(edited(text, { map: map.slice(1) })), 'head-not-in-map');
  assert.equal(reason(edited(text, { map: [...map, root] })), 'head-not-in-map');
  assert.equal(reason(edited(text, { epoch: { ...epoch, index: 3n } })), 'epoch-not-in-log');
  assert.equal(reason(edited(text, { epoch: { ...epoch, entry } })), 'epoch-unreadable');
  assert.equal(
    reason(edited(text, { epoch: { ...epoch, entry: epochOf(5) } })),
    'epoch-not-in-log',
  );
  assert.equal(reason(edited(text, { part: { kind: 'head' } })), 'not-an-entry-proof');
  assert.equal(
    reason(edited(text, { part: { ...part, kind: 'after', index: 3n, hashes: [] } })),
    'not-an-entry-proof',
  );
  assert.equal(reason(text.replace('@v1', '@v2')), 'not-a-proof');
});

test('TV1: an epoch that speaks of entries after itself proves nothing', async () => {
  const model = new Model();
  model.add('acme');
  const detail = model.tenants.draftEpoch() ?? assert.fail('none due');
  const index = model.append(epochEntry(AT, { ...detail, size: 99 }));
  const proof: TenantProof = {
    tenant: 'acme',
    size: 2n,
    root: model.rootOf('acme'),
    part: { kind: 'head' },
    begin: {
      entry: model.entries[0] ?? utf8(''),
      hashes: await model.tenants.inclusion('acme', 0, 2),
    },
    map: [],
    epoch: {
      index: BigInt(index),
      entry: model.entries[index] ?? utf8(''),
      hashes: await model.tree.inclusion(index, index + 1),
    },
    checkpoint: model.checkpoint().text,
  };
  const verdict = verifyTenantHead(formatTenantProof(proof), options);
  assert.equal(verdict.kind === 'invalid' ? verdict.reason : '', 'epoch-too-new');
});

test('TV2: completeness holds for exactly the entries of the epoch, nothing else', async () => {
  const model = busyModel();
  const text = await model.proof('acme', { kind: 'head' });
  const entries = model.entriesOf('acme').slice(0, 8);
  const check = async (list: readonly Uint8Array[], proofText = text): Promise<string> => {
    const verdict = await verifyTenantComplete(list, proofText, options);
    return verdict.kind === 'valid' ? `${verdict.from}+${verdict.count}` : verdict.reason;
  };
  const late = model.entriesOf('acme')[8] ?? utf8('');
  const [first = late, second = late, ...rest] = entries;
  const foreign = model.entriesOf('tenant-4')[1] ?? late;
  assert.equal(await check(entries), '0+8');
  assert.equal(await check(entries.slice(1)), 'entries-missing');
  assert.equal(await check(entries.slice(0, 7)), 'entries-missing');
  assert.equal(await check([...entries.slice(0, 3), ...entries.slice(4)]), 'entries-missing');
  assert.equal(await check([]), 'entries-missing');
  assert.equal(await check([...entries, late]), 'entries-too-many');
  assert.equal(await check([second, first, ...rest]), 'entries-differ');
  assert.equal(await check([first, late, ...rest]), 'entries-differ');
  assert.equal(await check([first, foreign, ...rest]), 'entry-of-another');
  const tail = await model.proof('acme', { kind: 'after', index: 5 });
  assert.equal(await check(entries.slice(5), tail), '5+3');
  assert.equal(await check(entries.slice(4), tail), 'entries-too-many');
  assert.equal(await check(entries, await model.proof('acme', { kind: 'after', index: 0 })), '0+8');
  assert.equal(await check([], await model.proof('acme', { kind: 'after', index: 8 })), '8+0');
  const bent = edited(tail, { part: { kind: 'after', index: 4n, hashes: [foreign.slice(0, 32)] } });
  assert.equal(await check(entries.slice(4), bent), 'entries-differ');
  const long = edited(tail, { part: { kind: 'after', index: 9n, hashes: [] } });
  assert.equal(await check([], long), 'not-a-whole-log');
});

test('TV3: two logs for one tenant are caught by whoever pinned the position', async () => {
  const model = new Model();
  model.begin('acme', new Uint8Array(32).fill(1));
  const entry = model.entries[0] ?? utf8('');
  const root = leafHash(entry);
  const map = updateMap(undefined, [
    mapLeaf(new Uint8Array(32).fill(1), 1, root),
    mapLeaf(hmac(MAP_KEY, 'acme'), 5, root),
  ]);
  const detail = { logs: 2, map: mapRoot(map), size: 1 };
  model.append(epochEntry(AT, detail));
  const text = formatTenantProof({
    tenant: 'acme',
    size: 1n,
    root,
    part: { kind: 'head' },
    begin: { entry, hashes: [] },
    map: proveInMap(map, new Uint8Array(32).fill(1)).siblings,
    epoch: {
      index: 1n,
      entry: model.entries[1] ?? utf8(''),
      hashes: await model.tree.inclusion(1, 2),
    },
    checkpoint: model.checkpoint().text,
  });
  assert.equal(verifyTenantHead(text, options).kind, 'valid');
  const pinned = { ...options, position: hmac(MAP_KEY, 'acme') };
  const verdict = verifyTenantHead(text, pinned);
  assert.equal(verdict.kind === 'invalid' ? verdict.reason : '', 'other-position');
});

test('TL1: after retention a tenant still gets proofs and completeness of the rest', async () => {
  const model = new Model();
  for (let at = 0; at < 70; at++) model.add(at % 2 === 0 ? 'acme' : 'b', `${at}`);
  model.epoch();
  const first = model.entriesOf('acme')[0] ?? utf8('');
  const cut = model.indexes('acme')[21] ?? 0;
  await model.tenants.forgetBelow(cut);
  model.first = cut;
  const logs = model.newLogs();
  logs.restore(model.tenants.snapshot());
  model.followers.push(logs);
  assert.deepEqual(logs.firstEntry('acme'), new Uint8Array(first));
  for (let at = 0; at < 3; at++) model.add('acme', `later ${at}`);
  assert.deepEqual(logs.draftEpoch(), model.tenants.draftEpoch());
  model.epoch();
  const minimum = logs.minimum('acme');
  assert.equal(minimum, 21);
  const text = await model.proof('acme', { kind: 'after', index: minimum }, logs);
  const kept = model.entriesOf('acme').slice(minimum);
  const verdict = await verifyTenantComplete(kept, text, options);
  assert.ok(verdict.kind === 'valid' && verdict.from === 21 && verdict.count === kept.length);
  const one = await model.proof('acme', { kind: 'entry', index: 22 }, logs);
  assert.equal(verifyTenantProof(one, kept[1] ?? first, options).kind, 'valid');
});

test('a policy decides whose checkpoint counts', async () => {
  const text = await busyModel().proof('acme', { kind: 'head' });
  const policy = `log ${signer.vkey}\nquorum none\n`;
  assert.equal(verifyTenantHead(text, { ...options, trust: { policy } }).kind, 'valid');
  const other = `log ${otherSigner.vkey}\nquorum none\n`;
  const verdict = verifyTenantHead(text, { ...options, trust: { policy: other } });
  assert.equal(verdict.kind === 'invalid' ? verdict.reason : '', 'checkpoint-refused');
  const bad = verifyTenantHead(text, { ...options, trust: { policy: 'nonsense' } });
  assert.equal(bad.kind === 'invalid' ? bad.code : '', 'KIN_LEDGER_POLICY_INVALID');
});

test('TP1: what is read is written back to the byte; changed texts are refused', async () => {
  const model = busyModel();
  for (const about of [
    { kind: 'head' },
    { kind: 'entry', index: 3 },
    { kind: 'after', index: 7 },
  ] as const) {
    const text = await model.proof('acme', about);
    const end = text.indexOf('\n\n') + 2;
    assert.equal(formatTenantProof(parseTenantProof(text) ?? assert.fail(about.kind)), text);
    fc.assert(
      fc.property(
        fc.nat(text.length - 1),
        fc.string({ maxLength: 3 }),
        fc.nat(3),
        (at, put, cut) => {
          const changed = text.slice(0, at) + put + text.slice(at + cut);
          const proof = parseTenantProof(changed);
          if (proof !== undefined) assert.equal(formatTenantProof(proof), changed);
          if (changed === text) return;
          const verdict = verifyTenantHead(changed, options);
          // Only the inclusion of the entry, which this does not look at, may have changed; and a
          // note ignores signatures of unknown keys.
          if (verdict.kind === 'valid' && at < end) assert.notEqual(about.kind, 'head');
        },
      ),
      { numRuns: 1500 },
    );
  }
  const text = await model.proof('acme', { kind: 'head' });
  const hash = toBase64(new Uint8Array(32));
  for (const wrong of [
    '',
    '\n\n',
    text.replace('head ', 'head 0'),
    text.replace('\nmap\n', `\nmap\n${`${hash}\n`.repeat(257)}`),
    text.replace('\nbegin ', `\nafter 1\n${`${hash}\n`.repeat(65)}begin `),
    text.replace('\nbegin ', '\nentry 1\nafter 1\nbegin '),
    text.replace('\nbegin ', `\nbegin ${'A'.repeat(804)}`),
    text.replace('\n', '\r\n'),
    text + 'x'.repeat(1_200_000),
  ]) {
    assert.equal(parseTenantProof(wrong), undefined, wrong.slice(0, 90));
  }
});

test('nothing in a proof for one tenant can be computed from guesses about another', async () => {
  const model = busyModel();
  const texts = [
    await model.proof('acme', { kind: 'entry', index: 5 }),
    await model.proof('acme', { kind: 'head' }),
    await model.proof('acme', { kind: 'after', index: 3 }),
  ];
  const sha = (...parts: Uint8Array[]): Uint8Array =>
    createHash('sha256').update(Buffer.concat(parts)).digest();
  const guesses: Uint8Array[] = [];
  for (let at = 0; at < 29; at++) {
    const id = `tenant-${at}`;
    guesses.push(utf8(id), sha(utf8(id)), leafHash(utf8(id)), hmac(new Uint8Array(32), id));
    for (const entry of model.entriesOf(id)) {
      // Everything is known but the salt: at best it is guessed.
      const salted = Buffer.from(entry)
        .toString()
        .replace(/"salt":".{22}"/, `"salt":"${saltAt(0)}"`);
      const bare = salted.replace(/,"salt":".{22}"/, '');
      for (const text of [salted, bare]) guesses.push(leafHash(utf8(text)), sha(utf8(text)));
    }
    // Its own leaf hashes and head are not shown either, only nodes of the map above them.
    guesses.push(model.rootOf(id), hmac(MAP_KEY, id));
    guesses.push(...model.entriesOf(id).map((entry) => leafHash(entry)));
  }
  for (const text of texts) {
    const proof = parseTenantProof(text) ?? assert.fail('not a proof');
    const hashes = [
      ...proof.begin.hashes,
      ...proof.map,
      ...(proof.part.kind === 'head' ? [] : proof.part.hashes),
    ];
    for (const hash of hashes) assert.ok(!guesses.some((guess) => sameBytes(guess, hash)));
    const bytes = Buffer.concat([Buffer.from(text), proof.begin.entry, proof.epoch.entry]);
    for (const guess of guesses) {
      assert.equal(bytes.indexOf(Buffer.from(toHex(guess))), -1);
      assert.equal(bytes.indexOf(Buffer.from(guess)), -1, Buffer.from(guess).toString());
    }
  }
});
