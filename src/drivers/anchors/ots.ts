// What does an OpenTimestamps proof say? The `.ots` format: a tree of operations on a message whose
// leaves are attestations. Parsing replays every operation, so each attestation comes with the very
// message that it commits to.
//
//   OT1. Bytes → tree → bytes is the identity for canonical proofs; garbage is a typed error.
//   OT2. Depth, operations, messages and payloads are bounded as in the reference client.
import { createHash } from 'node:crypto';
import { AnchorError } from './errors.ts';

const MAGIC = Buffer.from('004f70656e54696d657374616d7073000050726f6f6600bf89e2e884e89294', 'hex');
const VERSION = 1;
const DEPTH_MAX = 256;
const NODES_MAX = 4_096;
const MESSAGE_MAX = 4_096;
const PAYLOAD_MAX = 8_192;
const URI_MAX = 1_000;
const URI = /^[A-Za-z0-9._/:-]+$/;
export const PROOF_BYTES_MAX = 64 * 1024;

const TAG = {
  pending: '83dfe30d2ef90c8e',
  bitcoin: '0588960d73d71901',
} as const;

export type Attestation =
  | { readonly kind: 'pending'; readonly uri: string }
  | { readonly kind: 'bitcoin'; readonly height: number }
  | { readonly kind: 'unknown'; readonly tag: string; readonly payload: Buffer };

export interface Operation {
  readonly tag: number;
  /** Only for append and prepend; empty otherwise. */
  readonly argument: Buffer;
}

export interface Stamp {
  readonly message: Buffer;
  readonly attestations: Attestation[];
  readonly branches: { readonly operation: Operation; readonly stamp: Stamp }[];
}

const SHA256 = 0x08;
export const append = (argument: Buffer): Operation => ({ tag: 0xf0, argument });
export const sha256: Operation = { tag: SHA256, argument: Buffer.alloc(0) };

const bad = (why: string): AnchorError =>
  new AnchorError('KIN_ANCHOR_PROOF', `the OpenTimestamps proof ${why}`);

export function newStamp(message: Buffer): Stamp {
  return { message, attestations: [], branches: [] };
}

/** Adds the operation (or finds it) and answers the stamp of its result. */
export function grow(stamp: Stamp, operation: Operation): Stamp {
  const known = stamp.branches.find(
    (branch) => compareOperations(branch.operation, operation) === 0,
  );
  if (known !== undefined) return known.stamp;
  const next = newStamp(apply(operation, stamp.message));
  stamp.branches.push({ operation, stamp: next });
  return next;
}

export function apply({ tag, argument }: Operation, message: Buffer): Buffer {
  const result = run(tag, argument, message);
  if (result.length > MESSAGE_MAX) throw bad('makes a message that is too long');
  return result;
}

function run(tag: number, argument: Buffer, message: Buffer): Buffer {
  switch (tag) {
    case 0xf0:
      return Buffer.concat([message, argument]);
    case 0xf1:
      return Buffer.concat([argument, message]);
    case 0xf2:
      return Buffer.from(message).reverse();
    case 0xf3:
      return Buffer.from(message.toString('hex'), 'latin1');
    case 0x02:
      return createHash('sha1').update(message).digest();
    case 0x03:
      return createHash('ripemd160').update(message).digest();
    case SHA256:
      return createHash('sha256').update(message).digest();
    default:
      throw bad(`uses operation 0x${tag.toString(16)}, which cannot be replayed here`);
  }
}

/** Everything of `other` (a stamp of the same message) also in `into`. */
export function merge(into: Stamp, other: Stamp): void {
  if (!into.message.equals(other.message)) throw bad('is about another message');
  for (const attestation of other.attestations)
    if (!into.attestations.some((known) => compareAttestations(known, attestation) === 0))
      into.attestations.push(attestation);
  for (const { operation, stamp } of other.branches) merge(grow(into, operation), stamp);
}

export interface Leaf {
  readonly stamp: Stamp;
  readonly attestation: Attestation;
}

export function leavesOf(stamp: Stamp): readonly Leaf[] {
  return [
    ...stamp.attestations.map((attestation) => ({ stamp, attestation })),
    ...stamp.branches.flatMap((branch) => leavesOf(branch.stamp)),
  ];
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;
  nodes = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  take(count: number): Buffer {
    if (this.#at + count > this.#bytes.length) throw bad('ends too early');
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }

  byte(): number {
    return this.take(1)[0] ?? 0;
  }

  /** LEB128; canonical and below 2^49, far above any block height. */
  count(): number {
    let value = 0;
    for (let shift = 0; shift < 49; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) throw bad('holds a number that is not minimal');
        return value;
      }
    }
    throw bad('holds a number that is too large');
  }

  bytes(max: number): Buffer {
    const length = this.count();
    if (length > max) throw bad('holds a part that is too long');
    return this.take(length);
  }
}

function readStamp(reader: Reader, message: Buffer, depth: number): Stamp {
  if (depth > DEPTH_MAX) throw bad('is nested too deep');
  const stamp = newStamp(message);
  let tag: number;
  do {
    tag = reader.byte();
    const kind = tag === 0xff ? reader.byte() : tag;
    reader.nodes += 1;
    if (reader.nodes > NODES_MAX) throw bad('has too many parts');
    if (kind === 0x00) stamp.attestations.push(readAttestation(reader));
    else {
      const isBinary = kind === 0xf0 || kind === 0xf1;
      const argument = isBinary ? Buffer.from(reader.bytes(MESSAGE_MAX)) : Buffer.alloc(0);
      if (isBinary && argument.length === 0) throw bad('has an operation without its argument');
      const operation = { tag: kind, argument };
      const next = readStamp(reader, apply(operation, message), depth + 1);
      stamp.branches.push({ operation, stamp: next });
    }
  } while (tag === 0xff);
  return stamp;
}

function readAttestation(reader: Reader): Attestation {
  const tag = reader.take(8).toString('hex');
  const payload = Buffer.from(reader.bytes(PAYLOAD_MAX));
  const inner = new Reader(payload);
  if (tag === TAG.pending) {
    const uri = inner.bytes(URI_MAX).toString('latin1');
    if (!URI.test(uri) || !inner.isAtEnd) throw bad('names a calendar that cannot be read');
    return { kind: 'pending', uri };
  }
  if (tag === TAG.bitcoin) {
    const height = inner.count();
    if (!inner.isAtEnd) throw bad('holds a Bitcoin attestation that cannot be read');
    return { kind: 'bitcoin', height };
  }
  return { kind: 'unknown', tag, payload };
}

/** What a calendar answers: the tree below `message`, without a header. */
export function parseStamp(bytes: Buffer, message: Buffer): Stamp {
  const reader = new Reader(bytes);
  const stamp = readStamp(reader, message, 0);
  if (!reader.isAtEnd) throw bad('has bytes behind its end');
  return stamp;
}

/** A whole `.ots` file of a SHA-256 digest. */
export function parseProof(bytes: Buffer): Stamp {
  if (bytes.length > PROOF_BYTES_MAX) throw bad('is too long');
  const head = MAGIC.length + 2;
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw bad('does not begin as one');
  if (bytes[MAGIC.length] !== VERSION) throw bad('has an unknown version');
  if (bytes[MAGIC.length + 1] !== SHA256) throw bad('is not about a SHA-256 digest');
  const digest = Buffer.from(bytes.subarray(head, head + 32));
  if (digest.length !== 32) throw bad('ends too early');
  return parseStamp(bytes.subarray(head + 32), digest);
}

export function writeProof(stamp: Stamp): Buffer {
  return Buffer.concat([MAGIC, Buffer.of(VERSION, SHA256), stamp.message, writeStamp(stamp)]);
}

/** Attestations first, then operations, each sorted; all but the last behind 0xff. */
export function writeStamp(stamp: Stamp): Buffer {
  const parts = [
    ...stamp.attestations.toSorted(compareAttestations).map(writeAttestation),
    ...stamp.branches
      .toSorted((a, b) => compareOperations(a.operation, b.operation))
      .map((branch) => Buffer.concat([writeOperation(branch.operation), writeStamp(branch.stamp)])),
  ];
  if (parts.length === 0) throw bad('attests nothing');
  const fork = Buffer.of(0xff);
  return Buffer.concat(
    parts.flatMap((part, at) => (at < parts.length - 1 ? [fork, part] : [part])),
  );
}

function writeOperation({ tag, argument }: Operation): Buffer {
  if (argument.length === 0) return Buffer.of(tag);
  return Buffer.concat([Buffer.of(tag), writeCount(argument.length), argument]);
}

function writeAttestation(attestation: Attestation): Buffer {
  const { tag, payload } = bodyOf(attestation);
  return Buffer.concat([
    Buffer.of(0x00),
    Buffer.from(tag, 'hex'),
    writeCount(payload.length),
    payload,
  ]);
}

function bodyOf(attestation: Attestation): { readonly tag: string; readonly payload: Buffer } {
  switch (attestation.kind) {
    case 'pending': {
      const uri = Buffer.from(attestation.uri, 'latin1');
      return { tag: TAG.pending, payload: Buffer.concat([writeCount(uri.length), uri]) };
    }
    case 'bitcoin':
      return { tag: TAG.bitcoin, payload: writeCount(attestation.height) };
    case 'unknown':
      return attestation;
  }
}

function writeCount(value: number): Buffer {
  const bytes: number[] = [];
  let left = value;
  do {
    const low = left % 128;
    left = Math.floor(left / 128);
    bytes.push(left > 0 ? low | 0x80 : low);
  } while (left > 0);
  return Buffer.from(bytes);
}

function compareOperations(a: Operation, b: Operation): number {
  return a.tag - b.tag || Buffer.compare(a.argument, b.argument);
}

function compareAttestations(a: Attestation, b: Attestation): number {
  if (a.kind === 'bitcoin' && b.kind === 'bitcoin') return a.height - b.height;
  const x = bodyOf(a);
  const y = bodyOf(b);
  return x.tag < y.tag ? -1 : x.tag > y.tag ? 1 : Buffer.compare(x.payload, y.payload);
}
