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
  const names = Object.keys(fields);
  if (names.length === 0 || names.length > DIGESTS_MAX) {
    throw invalid(`1 to ${DIGESTS_MAX} private fields, not ${names.length}`);
  }
  const digests: string[] = [];
  let plain = '';
  for (const name of names) {
    const text = disclosureText(salt(), name, fields[name]);
    const disclosure = Buffer.from(text).toString('base64url');
    digests.push(hash('sha256', disclosure, 'base64url'));
    plain += digests.length === 1 ? text : `\n${text}`;
  }
  const bytes = Buffer.from(plain);
  if (bytes.length > PAYLOAD_TEXT_MAX) {
    throw invalid(`private fields of ${bytes.length} bytes, ${PAYLOAD_TEXT_MAX} are the most`);
  }
  const headBytes = HEAD_FIXED + tenant.length + 32 * digests.length;
  const frame = blankFrame(headBytes, bytes.length + TAG_BYTES);
  writeHead(frame, input, digests);
  encryptInto(frame, headBytes, key, bytes);
  finishFrame(frame);
  return { digests, frame };
}

function disclosureText(salt: string, name: string, value: unknown): string {
  const problem = fieldNameProblem(name);
  if (problem !== undefined) throw invalid(problem);
  if (value === undefined) throw invalid(`the private field "${name}" is undefined`);
  return `["${salt}",${JSON.stringify(name)},${canonicalJson(value)}]`;
}

function writeHead(frame: Buffer, input: SealInput, digests: readonly string[]): void {
  const { key, tenant, nowMs, counter } = input;
  let at = FRAME_HEADER;
  writeNumber(frame, nowMs, at);
  frame.set(key.id, at + 8);
  frame.set(key.session, at + 24);
  writeNumber(frame, counter, at + 40);
  frame.writeUInt16BE(digests.length, at + 48);
  frame[at + 50] = tenant.length;
  frame[at + 51] = 0;
  frame.write(tenant, at + HEAD_FIXED, 'latin1');
  at += HEAD_FIXED + tenant.length;
  for (const digest of digests) {
    frame.write(digest, at, 32, 'base64url');
    at += 32;
  }
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
  if (head.length !== digestsAt + 32 * count) return undefined;
  return {
    sealedAtMs: Number(head.readBigUInt64BE(0)),
    keyId: head.subarray(8, 24),
    session: head.subarray(24, 40),
    nonce: head.subarray(36, 48),
    tenant: head.toString('latin1', HEAD_FIXED, digestsAt),
    digests: Array.from({ length: count }, (_, at) =>
      head.subarray(digestsAt + 32 * at, digestsAt + 32 * (at + 1)),
    ),
  };
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
  const fits =
    disclosures.length === parsed.digests.length &&
    disclosures.every((disclosure, at) =>
      parsed.digests[at]?.equals(hash('sha256', disclosure, 'buffer')),
    );
  if (!fits) return { kind: 'damaged', reason: 'the payload holds other fields than it says' };
  return { kind: 'opened', disclosures };
}

function invalid(why: string): LedgerError {
  return new LedgerError('KIN_LEDGER_ENTRY_INVALID', why);
}
