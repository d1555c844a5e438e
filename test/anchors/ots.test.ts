// Is our OpenTimestamps the real one? Bytes of the official format, replayed; a calendar that keeps
// the wire protocol; proofs that lie, loop or burst.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test, type TestContext } from 'node:test';
import fc from 'fast-check';
import type { CalendarReceipt } from '../../src/drivers/anchors/anchor.ts';
import { digestOf } from '../../src/drivers/anchors/anchor.ts';
import { exportProof, openOpenTimestampsAnchor } from '../../src/drivers/anchors/opentimestamps.ts';
import {
  append,
  grow,
  leavesOf,
  merge,
  newStamp,
  parseProof,
  parseStamp,
  sha256,
  type Stamp,
  writeProof,
  writeStamp,
} from '../../src/drivers/anchors/ots.ts';
import { clock, type LocalServer, makeHead, serveFor } from './stage.ts';

const hash = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();
const codeIs = (code: string, says?: RegExp) => (error: unknown) => {
  assert.equal((error as { code?: string }).code, code, String(error));
  if (says !== undefined) assert.match(String(error), says);
  return true;
};

/** Laid out by hand from the format's description: fork, append, sha256, pending and Bitcoin. */
function proofByHand(digest: Buffer): Buffer {
  const uri = Buffer.from('https://calendar.example');
  const pending = Buffer.concat([
    Buffer.from('0083dfe30d2ef90c8e', 'hex'),
    Buffer.of(uri.length + 1, uri.length),
    uri,
  ]);
  return Buffer.concat([
    Buffer.from('004f70656e54696d657374616d7073000050726f6f6600bf89e2e884e89294', 'hex'),
    Buffer.from('0108', 'hex'),
    digest,
    Buffer.from('f00401020304', 'hex'),
    Buffer.from('08', 'hex'),
    Buffer.from('ff', 'hex'),
    pending,
    Buffer.from('f10205060800', 'hex'),
    Buffer.from('0588960d73d71901', 'hex'),
    Buffer.from('03c0843d', 'hex'),
  ]);
}

describe('the .ots format', () => {
  test('OT1 bytes laid out by hand are read, replayed and written again unchanged', () => {
    const digest = hash(Buffer.from('file'));
    const bytes = proofByHand(digest);
    const stamp = parseProof(bytes);
    const [pending, bitcoin] = leavesOf(stamp);
    const first = hash(Buffer.concat([digest, Buffer.from([1, 2, 3, 4])]));
    assert.deepEqual(pending?.attestation, { kind: 'pending', uri: 'https://calendar.example' });
    assert.deepEqual(pending?.stamp.message, first);
    assert.deepEqual(bitcoin?.attestation, { kind: 'bitcoin', height: 1_000_000 });
    assert.deepEqual(bitcoin?.stamp.message, hash(Buffer.concat([Buffer.from([5, 6]), first])));
    assert.deepEqual(writeProof(stamp), bytes);
  });

  test('OT1 garbage, cuts and flips are typed errors, never anything else', () => {
    const bytes = proofByHand(hash(Buffer.from('file')));
    const tries = (candidate: Buffer): void => {
      try {
        parseProof(candidate);
      } catch (error) {
        codeIs('KIN_ANCHOR_PROOF')(error);
      }
    };
    for (let length = 0; length < bytes.length; length += 1)
      assert.throws(() => parseProof(bytes.subarray(0, length)), codeIs('KIN_ANCHOR_PROOF'));
    assert.throws(
      () => parseProof(Buffer.concat([bytes, Buffer.of(0)])),
      codeIs('KIN_ANCHOR_PROOF'),
    );
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      tries(flipped);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (tail) => {
        tries(Buffer.concat([bytes.subarray(0, 65), tail]));
      }),
      { numRuns: 3_000 },
    );
  });

  test('OT2 depth, parts, messages and numbers are bounded', () => {
    const message = Buffer.alloc(32);
    const deep = Buffer.concat([Buffer.alloc(300, 0x08), Buffer.from('00', 'hex')]);
    assert.throws(() => parseStamp(deep, message), codeIs('KIN_ANCHOR_PROOF', /too deep/));
    const unknown = Buffer.concat([Buffer.from('ff00', 'hex'), Buffer.alloc(9)]);
    const wide = Buffer.concat(Array.from({ length: 5_000 }, () => unknown));
    assert.throws(() => parseStamp(wide, message), codeIs('KIN_ANCHOR_PROOF', /too many parts/));
    const long = Buffer.concat([Buffer.from('f0ff1f', 'hex'), Buffer.alloc(4_095)]);
    assert.throws(() => parseStamp(long, message), codeIs('KIN_ANCHOR_PROOF', /too long/));
    const hexes = Buffer.alloc(20, 0xf3);
    assert.throws(() => parseStamp(hexes, message), codeIs('KIN_ANCHOR_PROOF', /too long/));
    const huge = Buffer.from('f0ffffffffffffffff7f', 'hex');
    assert.throws(() => parseStamp(huge, message), codeIs('KIN_ANCHOR_PROOF', /too large/));
    assert.throws(() => parseStamp(Buffer.of(0x67), message), codeIs('KIN_ANCHOR_PROOF', /0x67/));
  });
});

interface Calendar {
  readonly server: LocalServer;
  readonly url: string;
  readonly digests: Buffer[];
  /** From now on a Bitcoin block is known. */
  confirm(height: number): void;
}

/** Speaks `POST digest` and `GET timestamp/HEX` as the public calendars do. */
async function openCalendar(context: TestContext): Promise<Calendar> {
  const digests: Buffer[] = [];
  const commitments = new Map<string, Buffer>();
  let height: number | undefined;
  const server = await serveFor(context, (request, body, response) => {
    assert.equal(request.headers.accept, 'application/vnd.opentimestamps.v1');
    if (request.method === 'POST' && request.url === '/cal/digest') {
      digests.push(body);
      const stamp = newStamp(body);
      const at = grow(grow(stamp, append(Buffer.from(`nonce ${digests.length}`))), sha256);
      at.attestations.push({ kind: 'pending', uri: `${server.url}/cal` });
      commitments.set(at.message.toString('hex'), at.message);
      response.end(writeStamp(stamp));
      return;
    }
    const message = commitments.get(request.url?.split('/').at(-1) ?? '');
    if (height === undefined || message === undefined) {
      response.statusCode = 404;
      response.end('Pending confirmation in Bitcoin blockchain');
      return;
    }
    const stamp = newStamp(message);
    const root = grow(grow(stamp, append(Buffer.from('block'))), sha256);
    root.attestations.push({ kind: 'bitcoin', height });
    response.end(writeStamp(stamp));
  });
  return { server, url: `${server.url}/cal`, digests, confirm: (at) => (height = at) };
}

describe('the OpenTimestamps anchor', () => {
  const head = makeHead(40);
  const open = (...calendars: readonly string[]) =>
    openOpenTimestampsAnchor(
      { kind: 'opentimestamps', name: 'ots', calendars, timeoutMs: 2_000 },
      clock,
    );

  test('a promise is kept, upgraded when a block is there, and exported as .ots', async (t) => {
    const calendar = await openCalendar(t);
    const anchor = open(calendar.url);
    const promised = (await anchor.anchor(head)) as CalendarReceipt;
    assert.equal(promised.state, 'pending');
    const first = await anchor.verify(promised, head);
    assert.equal(first.kind === 'pending' && first.reason, 'calendar-promised');
    assert.equal(await anchor.upgrade(promised), promised, 'nothing new: the same receipt');

    calendar.confirm(870_000);
    const attested = (await anchor.upgrade(promised)) as CalendarReceipt;
    assert.equal(attested.state, 'attested');
    const verdict = await anchor.verify(attested, head);
    assert.equal(verdict.kind, 'partial');
    const { ots, checkpoint } = exportProof(attested);
    assert.deepEqual(parseProof(ots).message, hash(Buffer.from(checkpoint)));
    assert.equal(await anchor.upgrade(attested), attested);
  });

  test('OC3 a block that nobody looked up is never called anchored', async (t) => {
    const calendar = await openCalendar(t);
    calendar.confirm(1);
    const anchor = open(calendar.url);
    const receipt = await anchor.upgrade(await anchor.anchor(head));
    const verdict = await anchor.verify(receipt, head);
    assert.deepEqual(
      [verdict.kind, verdict.kind === 'partial' && verdict.reason],
      ['partial', 'bitcoin-header-unchecked'],
    );
    assert.match(verdict.kind === 'partial' ? verdict.detail : '', /ots verify/);
  });

  test('OC1 a calendar sees neither the digest nor the same value twice', async (t) => {
    const calendar = await openCalendar(t);
    await open(calendar.url).anchor(head);
    await open(calendar.url).anchor(head);
    const [a, b] = calendar.digests;
    assert.equal(a?.length, 32);
    assert.notDeepEqual(a, b);
    assert.notDeepEqual(a, digestOf(head.checkpointText));
  });

  test('OC2 a calendar that a proof names and nobody gave is not asked', async (t) => {
    const calendar = await openCalendar(t);
    const stranger = await serveFor(t, () => assert.fail('asked'));
    const receipt = (await open(calendar.url).anchor(head)) as CalendarReceipt;
    const stamp = parseProof(Buffer.from(receipt.proof, 'base64'));
    const at = leavesOf(stamp)[0]?.stamp as Stamp;
    at.attestations[0] = { kind: 'pending', uri: stranger.url };
    const changed = { ...receipt, proof: writeProof(stamp).toString('base64') };
    assert.equal(await open(calendar.url).upgrade(changed), changed);
    assert.equal(stranger.bodies.length, 0);
  });

  test('one calendar that is away does not hinder the other; all away is an error', async (t) => {
    const calendar = await openCalendar(t);
    const broken = await serveFor(t, (_request, _body, response) => {
      response.end('garbage');
    });
    const receipt = await open(broken.url, calendar.url).anchor(head);
    assert.equal((await open(calendar.url).verify(receipt, head)).kind, 'pending');
    await assert.rejects(open(broken.url).anchor(head), codeIs('KIN_ANCHOR_PROOF'));
    broken.handle = (_request, _body, response) => {
      response.end(Buffer.concat([Buffer.of(0xf0), Buffer.alloc(20_000)]));
    };
    await assert.rejects(open(broken.url).anchor(head), codeIs('KIN_ANCHOR_ANSWER'));
    broken.handle = (_request, _body, response) => {
      response.end(Buffer.from(`00${'11'.repeat(8)}00`, 'hex'));
    };
    await assert.rejects(open(broken.url).anchor(head), codeIs('KIN_ANCHOR_MISMATCH'));
  });

  test('a promise behind a pool is completed by upgradeFrom, or refused', async (t) => {
    const calendar = await openCalendar(t);
    const pool = await serveFor(t, async (_request, body, response) => {
      const headers = { accept: 'application/vnd.opentimestamps.v1' };
      const answer = await fetch(`${calendar.url}/digest`, {
        method: 'POST',
        body: new Uint8Array(body),
        headers,
      });
      response.end(Buffer.from(await answer.arrayBuffer()));
    });
    await assert.rejects(
      open(pool.url).anchor(head),
      codeIs('KIN_ANCHOR_CONFIG', /add it to upgradeFrom/),
    );
    const anchor = openOpenTimestampsAnchor(
      { kind: 'opentimestamps', name: 'ots', calendars: [pool.url], upgradeFrom: [calendar.url] },
      clock,
    );
    const receipt = await anchor.anchor(head);
    calendar.confirm(3);
    assert.equal((await anchor.verify(await anchor.upgrade(receipt), head)).kind, 'partial');
  });

  test('an empty list of calendars is refused: there is no default', () => {
    assert.throws(() => open(), codeIs('KIN_ANCHOR_CONFIG'));
  });

  test('a proof of another checkpoint, or one that is changed, is invalid', async (t) => {
    const calendar = await openCalendar(t);
    const anchor = open(calendar.url);
    const receipt = (await anchor.anchor(head)) as CalendarReceipt;
    const other = (await anchor.anchor(makeHead(41))) as CalendarReceipt;
    const reasonOf = async (changed: CalendarReceipt): Promise<string> => {
      const verdict = await anchor.verify(changed, head);
      return verdict.kind === 'invalid' ? verdict.reason : verdict.kind;
    };
    assert.equal(await reasonOf({ ...receipt, proof: other.proof }), 'other-content');
    assert.equal(await reasonOf({ ...receipt, proof: receipt.proof.slice(4) }), 'malformed');
    assert.equal(await reasonOf(other), 'other-head');
  });

  test('merging proofs of different messages is refused', () => {
    assert.throws(
      () => merge(newStamp(Buffer.alloc(32)), newStamp(Buffer.alloc(32, 1))),
      codeIs('KIN_ANCHOR_PROOF', /another message/),
    );
  });
});
