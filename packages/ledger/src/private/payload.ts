// What is in one payload? The fields of one subject in one entry, sealed. Its head (also the
// associated data of the cipher) is
//
//   0 sealed at, ms u64   8 key id (16)   24 nonce: session (16) and counter u64   48 digests u16
//  50 tenant bytes u8     51 zero         52 tenant, then 32 bytes a digest
//
// and its body AES-256-GCM of the disclosures' JSON texts, one a line, then the tag (16).
// The key of a session is HMAC-SHA256(data key, session): with 128 random bits a session and a
// counter below it, no nonce repeats, whatever a person's record grows to.
// M1. Tenant, key id, digests and time are authenticated: a payload moved elsewhere does not open.

import { createCipheriv, createDecipheriv, createHmac, hash } from 'node:crypto';
import { LedgerError } from '../errors.ts';
import { canonicalJson } from '../json.ts';
import { DIGESTS_MAX, fieldNameProblem } from './disclosure.ts';
import { FRAME_BYTES_MAX, FRAME_HEADER, blankFrame, finishFrame } from './frame.ts';

export const KEY_ID_BYTES = 16;
export const SESSION_BYTES = 16;
const HEAD_FIXED = 52;
const TAG_BYTES = 16;
export const PAYLOAD_TEXT_MAX = FRAME_BYTES_MAX - 128 * 1024;

const DIGEST_BYTES = 32;
const DIGEST_CHARS = 43;
/** 33 bytes are 44 characters; the first 43 of them are those of 32 bytes. */
const SLOT_BYTES = 33;
const SLOT_CHARS = 44;
/** The last byte of each slot stays zero. */
const SLOTS = Buffer.alloc(SLOT_BYTES * DIGESTS_MAX);
/** Where the texts of one payload become bytes: a new buffer for each would cost more. */
const SCRATCH = Buffer.alloc(48 * 1024);

/** A data key that may seal in this session. */
export interface SealingKey {
  readonly id: Buffer;
  readonly session: Buffer;
  readonly sessionKey: Buffer;
}

export interface Sealed {
  /** Base64url, in the order of the fields. */
  readonly digests: readonly string[];
  readonly frame: Buffer;
}

export interface PayloadHead {
  readonly sealedAtMs: number;
  readonly keyId: Buffer;
  readonly session: Buffer;
  readonly nonce: Buffer;
  readonly tenant: string;
  readonly digests: readonly Buffer[];
}

export function sessionKeyOf(dataKey: Uint8Array, session: Uint8Array): Buffer {
  return createHmac('sha256', dataKey).update('kintsugi/payload/v1').update(session).digest();
}

export interface SealInput {
  readonly key: SealingKey;
  readonly tenant: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly nowMs: number;
  readonly counter: number;
  readonly salt: () => string;
}

export function sealPayload(input: SealInput): Sealed {
  const { key, tenant, fields, salt } = input;
  const names = namesOf(fields);
  const texts: string[] = [];
  for (const name of names) texts.push(disclosureText(salt(), name, fields[name]));
  const all = texts.join('\n');
  const plain = roomFor(all);
  const bytes = plain.write(all);
  const headBytes = HEAD_FIXED + tenant.length + DIGEST_BYTES * texts.length;
  const frame = blankFrame(headBytes, bytes + TAG_BYTES);
  const digestsAt = writeHead(frame, input, texts.length);
  const digests = writeDigests(frame, digestsAt, plain, texts, bytes === all.length);
  encryptInto(frame, headBytes, key, plain.subarray(0, bytes));
  finishFrame(frame);
  // What is personal does not stay behind.
  plain.fill(0, 0, bytes);
  return { digests, frame };
}

/** How many digests these fields make; throws as sealing them would. */
export function checkFields(fields: Readonly<Record<string, unknown>>): number {
  const names = namesOf(fields);
  let chars = 0;
  for (const name of names) chars += disclosureText('', name, fields[name]).length;
  if (chars > PAYLOAD_TEXT_MAX) throw tooLong(chars);
  return names.length;
}

function namesOf(fields: Readonly<Record<string, unknown>>): readonly string[] {
  const names = Object.keys(fields);
  if (names.length > 0 && names.length <= DIGESTS_MAX) return names;
  throw invalid(`1 to ${DIGESTS_MAX} private fields, not ${names.length}`);
}

function tooLong(bytes: number): LedgerError {
  return invalid(`private fields of ${bytes} bytes, ${PAYLOAD_TEXT_MAX} are the most`);
}

/** Into the frame, and as texts: one call encodes them all, each with a zero byte behind it. */
function writeDigests(
  frame: Buffer,
  digestsAt: number,
  plain: Buffer,
  texts: readonly string[],
  isAscii: boolean,
): readonly string[] {
  let from = 0;
  let at = digestsAt;
  let slot = 0;
  for (const text of texts) {
    const end = from + (isAscii ? text.length : Buffer.byteLength(text));
    // As text of one byte a character, which is the cheapest form of a digest.
    const digest = hash('sha256', plain.toString('base64url', from, end), 'latin1');
    for (let nth = 0; nth < DIGEST_BYTES; nth++) {
      const byte = digest.charCodeAt(nth);
      frame[at + nth] = byte;
      SLOTS[slot + nth] = byte;
    }
    from = end + 1;
    at += DIGEST_BYTES;
    slot += SLOT_BYTES;
  }
  const encoded = SLOTS.toString('base64url', 0, slot);
  return texts.map((_, nth) => encoded.slice(SLOT_CHARS * nth, SLOT_CHARS * nth + DIGEST_CHARS));
}

/** For a text as UTF-8: a long one gets a buffer of its own. */
function roomFor(text: string): Buffer {
  // A UTF-16 unit takes three bytes at most.
  if (3 * text.length <= SCRATCH.length) return SCRATCH;
  const bytes = Buffer.byteLength(text);
  if (bytes <= PAYLOAD_TEXT_MAX) return Buffer.allocUnsafeSlow(bytes);
  throw tooLong(bytes);
}

function disclosureText(salt: string, name: string, value: unknown): string {
  const problem = fieldNameProblem(name);
  if (problem !== undefined) throw invalid(problem);
  if (value === undefined) throw invalid(`the private field "${name}" is undefined`);
  return `["${salt}",${canonicalJson(name)},${canonicalJson(value)}]`;
}

/** All but the digests; answers where they go. */
function writeHead(frame: Buffer, input: SealInput, digests: number): number {
  const { key, tenant, nowMs, counter } = input;
  const at = FRAME_HEADER;
  writeNumber(frame, nowMs, at);
  frame.set(key.id, at + 8);
  frame.set(key.session, at + 24);
  writeNumber(frame, counter, at + 40);
  frame.writeUInt16BE(digests, at + 48);
  frame[at + 50] = tenant.length;
  frame[at + 51] = 0;
  frame.write(tenant, at + HEAD_FIXED, 'latin1');
  return at + HEAD_FIXED + tenant.length;
}

/** Much cheaper than BigInt. */
function writeNumber(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32BE(Math.floor(value / 0x1_0000_0000), at);
  bytes.writeUInt32BE(value >>> 0, at + 4);
}

const NONCE_AT = FRAME_HEADER + 36;

/** The 12 bytes of the nonce: four that are the end of the session, eight of the counter. */
function encryptInto(frame: Buffer, headBytes: number, key: SealingKey, plain: Buffer): void {
  const nonce = frame.subarray(NONCE_AT, NONCE_AT + 12);
  const cipher = createCipheriv('aes-256-gcm', key.sessionKey, nonce);
  const bodyAt = FRAME_HEADER + headBytes;
  cipher.setAAD(frame.subarray(FRAME_HEADER, bodyAt));
  frame.set(cipher.update(plain), bodyAt);
  cipher.final();
  frame.set(cipher.getAuthTag(), bodyAt + plain.length);
}

export function readPayloadHead(head: Buffer): PayloadHead | undefined {
  if (head.length < HEAD_FIXED) return undefined;
  const count = head.readUInt16BE(48);
  const digestsAt = HEAD_FIXED + (head[50] ?? 0);
  return head.length === digestsAt + 32 * count ? new HeadView(head, digestsAt) : undefined;
}

/** Views that are made when they are asked for: the index wants a few of them, and often. */
class HeadView implements PayloadHead {
  readonly #head: Buffer;
  readonly #digestsAt: number;

  constructor(head: Buffer, digestsAt: number) {
    this.#head = head;
    this.#digestsAt = digestsAt;
  }

  get sealedAtMs(): number {
    return Number(this.#head.readBigUInt64BE(0));
  }

  get keyId(): Buffer {
    return this.#head.subarray(8, 24);
  }

  get session(): Buffer {
    return this.#head.subarray(24, 40);
  }

  get nonce(): Buffer {
    return this.#head.subarray(36, 48);
  }

  get tenant(): string {
    return this.#head.toString('latin1', HEAD_FIXED, this.#digestsAt);
  }

  get digests(): readonly Buffer[] {
    const digests: Buffer[] = [];
    for (let at = this.#digestsAt; at < this.#head.length; at += 32) {
      digests.push(this.#head.subarray(at, at + 32));
    }
    return digests;
  }
}

export type Opened =
  /** The disclosures, base64url, in the order of the digests. */
  | { readonly kind: 'opened'; readonly disclosures: readonly string[] }
  | { readonly kind: 'damaged'; readonly reason: string };

/** M1: the wrong key, a changed byte or a foreign head are all `damaged`. */
export function openPayload(dataKey: Uint8Array, head: Buffer, body: Buffer): Opened {
  const parsed = readPayloadHead(head);
  if (parsed === undefined || body.length < TAG_BYTES) {
    return { kind: 'damaged', reason: 'the payload cannot be read' };
  }
  const sessionKey = sessionKeyOf(dataKey, parsed.session);
  const decipher = createDecipheriv('aes-256-gcm', sessionKey, parsed.nonce);
  decipher.setAAD(head);
  decipher.setAuthTag(body.subarray(body.length - TAG_BYTES));
  let text: string;
  try {
    const start = decipher.update(body.subarray(0, body.length - TAG_BYTES));
    text = Buffer.concat([start, decipher.final()]).toString();
  } catch {
    return { kind: 'damaged', reason: 'the payload was changed, or its key is another one' };
  }
  const disclosures = text.split('\n').map((line) => Buffer.from(line).toString('base64url'));
  const { digests } = parsed;
  const fits =
    disclosures.length === digests.length &&
    disclosures.every((disclosure, at) =>
      digests[at]?.equals(hash('sha256', disclosure, 'buffer')),
    );
  if (!fits) return { kind: 'damaged', reason: 'the payload holds other fields than it says' };
  return { kind: 'opened', disclosures };
}

function invalid(why: string): LedgerError {
  return new LedgerError('KIN_LEDGER_ENTRY_INVALID', why);
}
