// Who signed this text? C2SP signed-note with Ed25519 keys: parsing, verifying and signing.
// N1. The text ends at the LAST blank line; control characters, bad UTF-16 and malformed signature
//     lines make the whole note invalid.
// N2. Unknown keys are ignored; a known key (name and id) with a bad signature rejects the note;
//     no good signature of a known key rejects it too.
// N3. At least 16 signatures are accepted, at most 64, so that a huge note costs little.

import { concat, fromBase64, parseDecimal, sameBytes, toBase64, toHex, utf8 } from './bytes.ts';
import { ed25519Verify, sha256 } from './crypto.ts';
import { LedgerError } from './errors.ts';

export const ED25519_TYPE = 0x01;
const SIGNATURES_MAX = 64;
const NOTE_CHARS_MAX = 1_000_000;

export interface NoteSignature {
  readonly name: string;
  readonly keyId: string;
  readonly signature: Uint8Array;
}

export interface Note {
  /** With its final newline, without the separating blank line. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

export interface VerifierKey {
  readonly name: string;
  /** Eight hexadecimal digits. */
  readonly keyId: string;
  readonly publicKey: Uint8Array;
}

export interface Signer extends VerifierKey {
  /** C2SP verifier key: `name+keyid+base64(type || public key)`. Safe to publish. */
  readonly vkey: string;
  sign(message: Uint8Array): Uint8Array;
}

export type NoteVerdict =
  | { readonly kind: 'valid'; readonly note: Note; readonly signedBy: readonly string[] }
  | { readonly kind: 'invalid'; readonly code: NoteCode; readonly reason: string };

export type NoteCode =
  | 'KIN_LEDGER_NOTE_INVALID'
  | 'KIN_LEDGER_SIGNATURE_INVALID'
  | 'KIN_LEDGER_KEY_INVALID';

export function validKeyName(name: string): boolean {
  return name.length > 0 && name.isWellFormed() && !/[\p{White_Space}\p{Cc}+]/u.test(name);
}

export function keyId(name: string, type: number, publicKey: Uint8Array): string {
  const digest = sha256(concat(utf8(`${name}\n`), Uint8Array.of(type), publicKey));
  return toHex(digest.subarray(0, 4));
}

export function formatVkey(name: string, publicKey: Uint8Array): string {
  const encoded = toBase64(concat(Uint8Array.of(ED25519_TYPE), publicKey));
  return `${name}+${keyId(name, ED25519_TYPE, publicKey)}+${encoded}`;
}

/** Undefined when the text is not an Ed25519 verifier key with a matching id. */
export function parseVkey(text: string): VerifierKey | undefined {
  const match = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text);
  if (match === null) return undefined;
  const [, name = '', id = '', encoded = ''] = match;
  const key = fromBase64(encoded);
  if (!validKeyName(name) || key?.length !== 33 || key[0] !== ED25519_TYPE) return undefined;
  const publicKey = key.subarray(1);
  return keyId(name, ED25519_TYPE, publicKey) === id ? { name, keyId: id, publicKey } : undefined;
}

export function parseNote(source: string): Note | undefined {
  if (source.length > NOTE_CHARS_MAX || !source.isWellFormed()) return undefined;
  // oxlint-disable-next-line no-control-regex -- the specification forbids exactly these
  if (/[\u0000-\u0009\u000b-\u001f]/.test(source)) return undefined;
  const split = source.lastIndexOf('\n\n');
  if (split < 0 || !source.endsWith('\n')) return undefined;
  const lines = source.slice(split + 2).split('\n');
  lines.pop();
  if (lines.length === 0 || lines.length > SIGNATURES_MAX) return undefined;
  const signatures: NoteSignature[] = [];
  for (const line of lines) {
    const signature = parseSignature(line);
    if (signature === undefined) return undefined;
    signatures.push(signature);
  }
  return { text: source.slice(0, split + 1), signatures };
}

function parseSignature(line: string): NoteSignature | undefined {
  const parts = line.split(' ');
  const [dash, name = '', encoded = ''] = parts;
  if (parts.length !== 3 || dash !== '\u2014' || !validKeyName(name)) return undefined;
  const bytes = fromBase64(encoded);
  if (bytes === undefined || bytes.length < 5) return undefined;
  return { name, keyId: toHex(bytes.subarray(0, 4)), signature: bytes.subarray(4) };
}

export function verifyNote(source: string, vkeys: readonly string[]): NoteVerdict {
  const known: VerifierKey[] = [];
  for (const text of vkeys) {
    const key = parseVkey(text);
    if (key === undefined) {
      return refuse('KIN_LEDGER_KEY_INVALID', 'a verifier key is not a valid Ed25519 vkey');
    }
    known.push(key);
  }
  const note = parseNote(source);
  if (note === undefined) return refuse('KIN_LEDGER_NOTE_INVALID', 'not a signed note');
  const message = utf8(note.text);
  const signedBy: string[] = [];
  for (const { name, keyId: id, signature } of note.signatures) {
    const key = known.find((candidate) => candidate.name === name && candidate.keyId === id);
    if (key === undefined) continue;
    if (!ed25519Verify(key.publicKey, message, signature)) {
      return refuse('KIN_LEDGER_SIGNATURE_INVALID', `bad signature of known key ${name}`);
    }
    if (!signedBy.includes(name)) signedBy.push(name);
  }
  if (signedBy.length === 0) {
    return refuse('KIN_LEDGER_SIGNATURE_INVALID', 'no signature of a known key');
  }
  return { kind: 'valid', note, signedBy };
}

function refuse(code: NoteCode, reason: string): NoteVerdict {
  return { kind: 'invalid', code, reason };
}

export function signNote(text: string, signer: Signer): string {
  if (!text.endsWith('\n')) {
    throw new LedgerError('KIN_LEDGER_NOTE_INVALID', 'a note text ends with a newline');
  }
  const id = Uint8Array.from([0, 2, 4, 6], (at) =>
    Number.parseInt(signer.keyId.slice(at, at + 2), 16),
  );
  const encoded = toBase64(concat(id, signer.sign(utf8(text))));
  return `${text}\n\u2014 ${signer.name} ${encoded}\n`;
}

/** A tree head as the log publishes it. `root` is base64, as in the text. */
export interface TreeHead {
  readonly origin: string;
  readonly size: bigint;
  readonly root: string;
}

export function formatTreeHead(origin: string, size: number | bigint, root: Uint8Array): string {
  return `${origin}\n${size}\n${toBase64(root)}\n`;
}

/** The body of a tlog-checkpoint. Extension lines are refused: nobody can audit them. */
export function parseTreeHead(text: string): TreeHead | undefined {
  const lines = text.split('\n');
  const [origin = '', sizeText = '', root = '', end] = lines;
  if (lines.length !== 4 || end !== '' || origin === '') return undefined;
  const size = parseDecimal(sizeText);
  const hash = fromBase64(root);
  if (size === undefined || hash?.length !== 32) return undefined;
  if (size === 0n && !sameBytes(hash, sha256(new Uint8Array(0)))) return undefined;
  return { origin, size, root };
}
