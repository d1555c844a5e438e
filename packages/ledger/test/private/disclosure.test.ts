// RFC 9901's own examples, the browser-safe verifier, and the fast path against the slow one.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  DIGESTS_MAX,
  digestOf,
  fromBase64url,
  makeDisclosure,
  parseDisclosure,
  privateDigests,
  privateMember,
  toBase64url,
  verifyDisclosure,
} from '../../src/private/disclosure.ts';
import { readFrame } from '../../src/private/frame.ts';
import { placeFrame } from '../../src/private/frame.ts';
import { openPayload, sealPayload, sessionKeyOf } from '../../src/private/payload.ts';
import { saltSource, systemRandom } from '../../src/private/random.ts';

const entryOf = (digests: readonly string[]): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ kind: 'x', private: digests, v: 1 }));

test('disclosure: the digest is that of RFC 9901, section 4.2.3', () => {
  const disclosure = 'WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0';
  assert.equal(digestOf(disclosure), 'X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0');
  assert.deepEqual(parseDisclosure(disclosure), {
    salt: '_26bc4LT-ac6q2KI6cBW5es',
    name: 'family_name',
    value: 'Möbius',
  });
});

test('disclosure X1: a field is valid for the entry that commits to it, and for no other', () => {
  const disclosure = makeDisclosure('A'.repeat(24), 'actor', '"alice"');
  const digest = digestOf(disclosure);
  const other = digestOf(makeDisclosure('B'.repeat(24), 'actor', '"alice"'));
  const verdict = verifyDisclosure(entryOf([digest, other]), disclosure);
  assert.ok(verdict.kind === 'valid' && verdict.field.value === 'alice');
  const reasons = [
    verifyDisclosure(entryOf([other]), disclosure),
    verifyDisclosure(entryOf([digest, digest]), disclosure),
    verifyDisclosure(entryOf([digest]), `${disclosure}=`),
    verifyDisclosure(entryOf([digest]), makeDisclosure('A'.repeat(24), 'actor', '"alicf"')),
    verifyDisclosure(new TextEncoder().encode('not json'), disclosure),
    verifyDisclosure(entryOf(Array.from({ length: DIGESTS_MAX + 1 }, () => digest)), disclosure),
  ].map(({ kind }) => kind);
  assert.deepEqual(new Set(reasons), new Set(['invalid']));
});

test('disclosure X1: text that is no disclosure is refused, whatever it is', () => {
  const encode = (text: string): string => toBase64url(new TextEncoder().encode(text));
  const salt = 'A'.repeat(24);
  const bad = [
    '',
    '!',
    encode('["short","a",1]'),
    encode(`["${salt}","_sd",1]`),
    encode(`["${salt}","...",1]`),
    encode(`["${salt}","",1]`),
    encode(`["${salt}","a"]`),
    encode(`["${salt}","a",1,2]`),
    encode(`{"a":1}`),
    encode('['),
    toBase64url(Uint8Array.of(0xff, 0xfe)),
  ];
  for (const text of bad) assert.equal(parseDisclosure(text), undefined, text);
  fc.assert(fc.property(fc.string(), (text) => void parseDisclosure(text)));
  fc.assert(fc.property(fc.uint8Array(), (bytes) => void privateDigests(bytes)));
});

test('disclosure X2: salts have at least 128 bits and never repeat', () => {
  const salt = saltSource(systemRandom());
  const seen = new Set(Array.from({ length: 5000 }, () => salt()));
  assert.equal(seen.size, 5000);
  for (const one of seen) assert.equal(fromBase64url(one)?.length, 18);
  assert.throws(() => makeDisclosure('A'.repeat(21), 'a', '1'), {
    code: 'KIN_LEDGER_ENTRY_INVALID',
  });
});

test('base64url: what is not the one canonical form is refused', () => {
  for (const text of ['A', 'AB==', 'AB', 'A+', 'AA/A', 'AAA ', 'AAAAB']) {
    assert.equal(fromBase64url(text), undefined, text);
  }
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      const text = toBase64url(bytes);
      assert.equal(text, Buffer.from(bytes).toString('base64url'));
      assert.deepEqual(fromBase64url(text), bytes);
    }),
  );
});

test('payload: the fast path makes what the portable one verifies, for any fields', () => {
  const random = systemRandom();
  const session = Buffer.from(random(16));
  const dataKey = random(32);
  const key = { id: Buffer.from(random(16)), session, sessionKey: sessionKeyOf(dataKey, session) };
  const salt = saltSource(random);
  let counter = 0;
  const fields = fc.dictionary(
    fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' }),
    fc.jsonValue({ depthSize: 'small' }),
    { minKeys: 1, maxKeys: 8 },
  );
  fc.assert(
    fc.property(fields, (fields) => {
      fc.pre(!('_sd' in fields || '...' in fields));
      counter += 1;
      const sealed = sealPayload({ key, tenant: 't', fields, nowMs: 1e12, counter, salt });
      placeFrame(sealed.frame, 4096);
      const read = readFrame(sealed.frame, 0);
      assert.ok(read.kind === 'frame' && read.frame.bodyIntact);
      const opened = openPayload(dataKey, read.frame.head, read.frame.body);
      assert.ok(opened.kind === 'opened');
      const entry = entryOf(privateMember(sealed.digests));
      for (const [at, name] of Object.keys(fields).entries()) {
        const verdict = verifyDisclosure(entry, opened.disclosures[at] ?? '');
        assert.ok(verdict.kind === 'valid' && verdict.field.name === name);
        assert.deepEqual(JSON.stringify(verdict.field.value), canonical(fields[name]));
      }
    }),
  );
});

function canonical(value: unknown): string {
  const sort = (one: unknown): unknown => {
    if (Array.isArray(one)) return one.map(sort);
    if (typeof one !== 'object' || one === null) return one;
    return Object.fromEntries(
      Object.entries(one)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, member]) => [key, sort(member)]),
    );
  };
  return JSON.stringify(JSON.parse(JSON.stringify(sort(value))));
}

test('payload M1: any single changed bit of head or body is noticed', () => {
  const random = systemRandom();
  const session = Buffer.from(random(16));
  const dataKey = random(32);
  const key = { id: Buffer.from(random(16)), session, sessionKey: sessionKeyOf(dataKey, session) };
  const { frame } = sealPayload({
    key,
    tenant: 'clinic-a',
    fields: { actor: 'alice' },
    nowMs: 1e12,
    counter: 1,
    salt: saltSource(random),
  });
  placeFrame(frame, 4096);
  const read = readFrame(frame, 0);
  assert.ok(read.kind === 'frame');
  const { head, body } = read.frame;
  assert.equal(openPayload(dataKey, head, body).kind, 'opened');
  for (const part of [head, body]) {
    for (let bit = 0; bit < part.length * 8; bit++) {
      const flip = (): void => {
        part[bit >> 3] = (part[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      };
      flip();
      assert.equal(openPayload(dataKey, head, body).kind, 'damaged', `bit ${bit}`);
      flip();
    }
  }
  assert.equal(openPayload(random(32), head, body).kind, 'damaged');
});

test('what a browser needs of private fields reaches no node module but crypto.ts', () => {
  const seen = new Set<string>();
  const walk = (url: URL): void => {
    if (seen.has(url.href)) return;
    seen.add(url.href);
    const source = readFileSync(url, 'utf8');
    for (const [, specifier = ''] of source.matchAll(
      /^(?:import|export) (?!type ).*?from '([^']+)';/gms,
    )) {
      if (!specifier.startsWith('.')) {
        assert.match(url.pathname, /\/crypto\.ts$/, `${url.pathname} imports ${specifier}`);
      } else if (!specifier.endsWith('/crypto.ts')) walk(new URL(specifier, url));
    }
    assert.ok(!/\bBuffer\b(?!')/.test(source.replace(/\/\/.*/g, '')), `${url.pathname}: Buffer`);
  };
  walk(new URL('../../src/private/disclosure.ts', import.meta.url));
  walk(new URL('../../src/private/redactions.ts', import.meta.url));
  assert.ok(seen.size >= 5, [...seen].join());
});
