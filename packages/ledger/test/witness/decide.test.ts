// The rules of a witness as values in and values out, and its text forms.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { emptyRoot } from '../../src/merkle.ts';
import { decideCosign } from '../../src/witness/decide.ts';
import type { Cosigned } from '../../src/witness/decide.ts';
import {
  formatAddCheckpoint,
  parseAddCheckpoint,
  parseConflictSize,
  parseForeignHead,
} from '../../src/witness/request.ts';
import { SmallLog } from './rig.ts';

const hash = (text: string): Uint8Array => Buffer.from(text, 'base64');

test('WR1. one spelling of a request: everything else is malformed', () => {
  const log = new SmallLog().grow(7);
  const { text } = log.checkpoint();
  const good = formatAddCheckpoint(3, log.proof(3, 7), text);
  const parsed = parseAddCheckpoint(good);
  assert.ok(parsed.kind === 'request');
  assert.equal(parsed.request.oldSize, 3);
  assert.equal(parsed.request.checkpoint, text);
  assert.equal(
    formatAddCheckpoint(
      3,
      parsed.request.proof.map((each) => Buffer.from(each).toString('base64')),
      parsed.request.checkpoint,
    ),
    good,
  );
  const line = `${Buffer.alloc(32).toString('base64')}\n`;
  const bad = {
    'no old line': `\n${text}`,
    'a leading zero': `old 03\n\n${text}`,
    'a sign': `old +3\n\n${text}`,
    hexadecimal: `old 0x3\n\n${text}`,
    'two spaces': `old  3\n\n${text}`,
    'a trailing space': `old 3 \n\n${text}`,
    'carriage returns': `old 3\r\n\r\n${text}`,
    'a size beyond counting': `old 9007199254740993\n\n${text}`,
    'a size beyond 64 bits': `old 18446744073709551616\n\n${text}`,
    'a short hash': `old 3\n${Buffer.alloc(31).toString('base64')}\n\n${text}`,
    'unpadded base64': `old 3\n${line.slice(0, -2)}\n\n${text}`,
    '64 hashes': `old 3\n${line.repeat(64)}\n${text}`,
    'no empty line': `old 3\n${text.replaceAll('\n\n', '\n')}`,
    nothing: '',
    'too much': `old 3\n\n${text}${'x'.repeat(400_000)}`,
  };
  for (const [what, body] of Object.entries(bad)) {
    assert.equal(parseAddCheckpoint(body).kind, 'malformed', what);
  }
  assert.equal(parseAddCheckpoint(`old 3\n${line.repeat(63)}\n${text}`).kind, 'request');
  assert.equal(parseConflictSize('70000\n'), 70_000);
  for (const body of ['70000', '-1\n', '1e3\n', '\n', '1\n2\n', '007\n', '99999999999999999\n']) {
    assert.equal(parseConflictSize(body), undefined, body);
  }
});

test('WR2. a foreign checkpoint may have extension lines, but no empty one', () => {
  const root = Buffer.alloc(32).toString('base64');
  assert.equal(parseForeignHead(`a\n5\n${root}\n`)?.size, 5);
  assert.equal(parseForeignHead(`a\n5\n${root}\nmore\nand more\n`)?.size, 5);
  for (const text of [`a\n5\n${root}`, `a\n5\n`, `\n5\n${root}\n`, `a\n5\n${root}\n\nmore\n`]) {
    assert.equal(parseForeignHead(text), undefined, JSON.stringify(text));
  }
});

test('WD2. the checks run in the order of the specification', () => {
  const log = new SmallLog().grow(9);
  const before: Cosigned = { size: 4, root: log.rootAt(4), timestampS: 10 };
  const head = (size: number, root = log.rootAt(size)) => ({ origin: 'x', size, root });
  const ask = (oldSize: number, proof: readonly string[], to: ReturnType<typeof head>) =>
    decideCosign({ oldSize, proof: proof.map(hash), checkpoint: '' }, to, before, 20);

  assert.equal(ask(9, [], head(8)).kind, 'old-above-size');
  assert.deepEqual(ask(3, [], head(8)), { kind: 'conflict', size: 4 });
  assert.deepEqual(ask(0, [], head(2)), { kind: 'conflict', size: 4 });
  const other = Buffer.alloc(32, 7);
  const same = ask(4, [], head(4, other));
  assert.ok(same.kind === 'unproven' && same.fault === 'root-differs-at-same-size');
  const extra = ask(4, log.proof(4, 9), head(4));
  assert.ok(extra.kind === 'unproven' && extra.fault === 'proof-invalid');
  const wrong = ask(4, log.proof(3, 9), head(9));
  assert.ok(wrong.kind === 'unproven' && wrong.fault === 'proof-invalid');
  const none = ask(4, [], head(9));
  assert.ok(none.kind === 'unproven' && none.fault === 'proof-invalid');
  assert.equal(ask(4, log.proof(4, 9), head(9)).kind, 'cosign');
  assert.equal(ask(4, [], head(4)).kind, 'cosign');

  const first = (proof: readonly string[], to: ReturnType<typeof head>) =>
    decideCosign({ oldSize: 0, proof: proof.map(hash), checkpoint: '' }, to, undefined, 20);
  const needless = first(log.proof(4, 9), head(9));
  assert.ok(needless.kind === 'unproven' && needless.fault === 'proof-for-old-size-zero');
  const empty = first([], head(0, other));
  assert.ok(empty.kind === 'unproven' && empty.fault === 'empty-tree-root');
  assert.equal(first([], head(0, emptyRoot())).kind, 'cosign');
  assert.equal(first([], head(9)).kind, 'cosign');
});

test('WD3. the clock goes back: the timestamp does not, and it is never zero', () => {
  const log = new SmallLog().grow(3);
  const before = { size: 3, root: log.rootAt(3), timestampS: 5000 };
  const request = { oldSize: 3, proof: [], checkpoint: '' };
  const head = { origin: 'x', size: 3, root: log.rootAt(3) };
  const later = decideCosign(request, head, before, 4000);
  assert.ok(later.kind === 'cosign' && later.next.timestampS === 5000);
  const zero = decideCosign({ ...request, oldSize: 0 }, head, undefined, 0);
  assert.ok(zero.kind === 'cosign' && zero.next.timestampS === 1);
});

test('WD1. whatever is asked: never two roots for one size, nor a smaller size', () => {
  const base = new SmallLog().grow(12);
  const forks = [base, base.fork(5).grow(7, 'other'), base.fork(0).grow(12, 'third')];
  const step = fc.record({
    fork: fc.nat(2),
    size: fc.nat(12),
    old: fc.oneof(fc.nat(12), fc.constant('known' as const)),
    proofFork: fc.nat(2),
    proofFrom: fc.oneof(fc.nat(12), fc.constant('known' as const)),
    nowS: fc.nat(100),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      let state: Cosigned | undefined;
      const roots = new Map<number, string>();
      for (const { fork, size, old, proofFork, proofFrom, nowS } of steps) {
        const log = forks[fork] ?? base;
        const known: number = state?.size ?? 0;
        const oldSize = old === 'known' ? known : old;
        const from = proofFrom === 'known' ? known : proofFrom;
        const prover = forks[proofFork] ?? base;
        const canProve = from > 0 && from < size;
        const proof = canProve ? prover.proof(from, size).map(hash) : [];
        const head = { origin: 'x', size, root: log.rootAt(size) };
        const decision = decideCosign({ oldSize, proof, checkpoint: '' }, head, state, nowS);
        if (decision.kind !== 'cosign') continue;
        const { next } = decision;
        assert.ok(next.size >= known, 'a smaller size was cosigned');
        assert.ok(next.timestampS >= (state?.timestampS ?? 1), 'the time went back');
        const text = Buffer.from(next.root).toString('hex');
        assert.equal(roots.get(next.size) ?? text, text, 'two roots for one size');
        roots.set(next.size, text);
        // What was cosigned before is a prefix of it: in one of the forks, both roots are there.
        if (state !== undefined && state.size > 0) {
          const before = state;
          const joined = forks.some(
            (each) =>
              Buffer.from(each.rootAt(before.size)).equals(before.root) &&
              Buffer.from(each.rootAt(next.size)).equals(next.root),
          );
          assert.ok(joined, 'a fork was cosigned');
        }
        state = next;
      }
    }),
    { numRuns: 1500 },
  );
});
