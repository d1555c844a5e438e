// What a payload commits to and gives back, whatever the fields hold and however long they are.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalJson } from '../../src/json.ts';
import { DIGESTS_MAX, digestOf, makeDisclosure } from '../../src/private/disclosure.ts';
import { FRAME_HEADER, placeFrame, readFrame } from '../../src/private/frame.ts';
import {
  PAYLOAD_TEXT_MAX,
  openPayload,
  sealPayload,
  sessionKeyOf,
} from '../../src/private/payload.ts';
import type { Sealed } from '../../src/private/payload.ts';

const dataKey = randomBytes(32);
const session = randomBytes(16);
const key = { id: randomBytes(16), session, sessionKey: sessionKeyOf(dataKey, session) };
let counter = 0;

const saltAt = (nth: number): string => `${nth}`.padStart(24, 's');

function seal(fields: Readonly<Record<string, unknown>>): Sealed {
  let nth = 0;
  const salt = (): string => saltAt(nth++);
  counter += 1;
  return sealPayload({ key, tenant: 'acme', fields, nowMs: 1_763_000_000_000, counter, salt });
}

function roundTrip(fields: Readonly<Record<string, unknown>>): void {
  const { digests, frame } = seal(fields);
  const expected = Object.entries(fields).map(([name, value], nth) =>
    makeDisclosure(saltAt(nth), name, canonicalJson(value)),
  );
  assert.deepEqual(digests, expected.map(digestOf));
  placeFrame(frame, 0);
  const read = readFrame(frame, 0);
  assert.ok(read.kind === 'frame' && read.frame.bodyIntact);
  const opened = openPayload(dataKey, read.frame.head, read.frame.body);
  assert.deepEqual(opened, { kind: 'opened', disclosures: expected });
}

test('each digest is that of the portable disclosure, and the payload opens to the same', () => {
  const name = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
    .filter((text) => text !== '_sd' && text !== '...' && text !== '__proto__');
  const value = fc.oneof(fc.string({ unit: 'grapheme' }), fc.string(), fc.jsonValue());
  const fields = fc.dictionary(name, value, { minKeys: 1, maxKeys: 9 });
  fc.assert(fc.property(fields, roundTrip), { numRuns: 600 });
});

test('fields beyond the shared memory, of one, two and three bytes a character', () => {
  for (const char of ['x', 'é', '漢', '\n']) {
    for (const length of [16_000, 16_384, 49_152, 200_000])
      roundTrip({ a: char.repeat(length), b: 1 });
  }
  const many = Array.from({ length: DIGESTS_MAX }, (_, at) => [`field-${at}`, at]);
  roundTrip(Object.fromEntries(many) as Record<string, unknown>);
});

test('a payload over the limit is refused, and the next one is as if it had never been', () => {
  for (const char of ['x', '漢']) {
    const text = char.repeat(PAYLOAD_TEXT_MAX / Buffer.byteLength(char));
    assert.throws(() => seal({ text }), { code: 'KIN_LEDGER_ENTRY_INVALID' });
    roundTrip({ a: 1 });
  }
  assert.throws(() => seal({ a: 1, b: undefined }), { code: 'KIN_LEDGER_ENTRY_INVALID' });
  assert.throws(() => seal({ a: 1, b: '\ud800' }), { code: 'KIN_LEDGER_ENTRY_INVALID' });
  roundTrip({ a: 1 });
});

test('two payloads of the same fields do not look alike', () => {
  const bodies = [seal({ a: 'same' }), seal({ a: 'same' })].map(({ frame }) =>
    createHash('sha256').update(frame.subarray(FRAME_HEADER)).digest('hex'),
  );
  assert.notEqual(bodies[0], bodies[1]);
});
