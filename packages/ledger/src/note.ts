// Who signed this text? C2SP signed-note: parsing, verifying and signing, with Ed25519 keys (0x01),
// Ed25519 cosignatures (0x04) and ML-DSA-44 cosignatures (0x06).
// N1. The text ends at the LAST blank line; control characters, bad UTF-16 and malformed signature
//     lines make the whole note invalid.
// N2. Unknown keys are ignored; a known key (name and id) with a bad signature rejects the note;
//     no good signature of a known key rejects it too.
// N3. At least 16 signatures are accepted, at most 64, so that a huge note costs little.
// N4. A signature that this runtime cannot check is named and never counts as good.

import { concat, fromBase64, sameBytes, toBase64, toHex, utf8 } from './bytes.ts';
import { ED25519_TYPE, signedParts, typeShape } from './cosignature.ts';
import { checkSignature, sha256 } from './crypto.ts';
import { LedgerError } from './errors.ts';

export { COSIGNATURE_TYPE, ED25519_TYPE, MLDSA44_TYPE } from './cosignature.ts';
export { formatTreeHead, parseCheckpointBody, parseTreeHead } from './tree-head.ts';
export type { CheckpointBody, TreeHead } from './tree-head.ts';

const SIGNATURES_MAX = 64;
const NOTE_CHARS_MAX = 1_000_000;
const VKEY_CHARS_MAX = 4096;
const KEYS_MAX = 1024;

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
  /** 0x01, 0x04 or 0x06: says algorithm and meaning of its signatures. */
  readonly type: number;
  readonly publicKey: Uint8Array;
}

export interface Signer extends VerifierKey {
  /** C2SP verifier key: `name+keyid+base64(type || public key)`. Safe to publish. */
  readonly vkey: string;
  /**
   * The signature over a note's text, time included where the type has one. `timestampS` is
   * needed by type 0x04; with 0x06 zero, the default, says nothing about the time.
   */
  sign(text: Uint8Array, timestampS?: bigint): Uint8Array;
}

/** A good signature of a known key. */
export interface GoodSignature {
  readonly key: VerifierKey;
  /** Of a cosignature, in seconds since 1970. */
  readonly timestampS?: bigint;
}

export type NoteVerdict =
  | {
      readonly kind: 'valid';
      readonly note: Note;
      /** Key names, each once. */
      readonly signedBy: readonly string[];
      readonly good: readonly GoodSignature[];
      /** Known keys whose signatures this runtime cannot check. */
      readonly unchecked: readonly VerifierKey[];
    }
  | { readonly kind: 'invalid'; readonly code: NoteCode; readonly reason: string };

export type NoteCode =
  | 'KIN_LEDGER_NOTE_INVALID'
  | 'KIN_LEDGER_SIGNATURE_INVALID'
  | 'KIN_LEDGER_SIGNATURE_UNCHECKED'
  | 'KIN_LEDGER_KEY_INVALID';

export function validKeyName(name: string): boolean {
  return name.length > 0 && name.isWellFormed() && !/[\p{White_Space}\p{Cc}+]/u.test(name);
}

export function keyId(name: string, type: number, publicKey: Uint8Array): string {
  const digest = sha256(concat(utf8(`${name}\n`), Uint8Array.of(type), publicKey));
  return toHex(digest.subarray(0, 4));
}

export function formatVkey(name: string, publicKey: Uint8Array, type = ED25519_TYPE): string {
  const encoded = toBase64(concat(Uint8Array.of(type), publicKey));
  return `${name}+${keyId(name, type, publicKey)}+${encoded}`;
}

/** Undefined when the text is not a verifier key of a known type with a matching id. */
export function parseVkey(text: string): VerifierKey | undefined {
  if (text.length > VKEY_CHARS_MAX) return undefined;
  const match = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text);
  if (match === null) return undefined;
  const [, name = '', id = '', encoded = ''] = match;
  const bytes = fromBase64(encoded);
  const type = bytes?.[0];
  if (!validKeyName(name) || bytes === undefined || type === undefined) return undefined;
  const publicKey = bytes.subarray(1);
  if (publicKey.length !== typeShape(type)?.publicKeyBytes) return undefined;
  return keyId(name, type, publicKey) === id ? { name, keyId: id, type, publicKey } : undefined;
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
  if (parts.length !== 3 || dash !== '\u2014') return undefined;
  // Only what the specification forbids: other people's odd names are to be ignored, not refused.
  if (name === '' || /[\p{White_Space}+]/u.test(name)) return undefined;
  const bytes = fromBase64(encoded);
  if (bytes === undefined || bytes.length < 5) return undefined;
  return { name, keyId: toHex(bytes.subarray(0, 4)), signature: bytes.subarray(4) };
}

/**
 * Verifier keys as texts. A key of type 0x06 covers origin, size and root of a checkpoint, and no
 * line behind them: who trusts such a key reads the head, never the rest of the text.
 */
export function verifyNote(source: string, vkeys: readonly string[]): NoteVerdict {
  const keys: VerifierKey[] = [];
  for (const text of vkeys) {
    const key = parseVkey(text);
    if (key === undefined) {
      return refuse('KIN_LEDGER_KEY_INVALID', 'a verifier key is not a valid vkey');
    }
    keys.push(key);
  }
  return verifyNoteWith(source, keys);
}

export function verifyNoteWith(source: string, keys: readonly VerifierKey[]): NoteVerdict {
  const known = keyTable(keys);
  if (known === undefined) {
    return refuse('KIN_LEDGER_KEY_INVALID', 'two different keys share one name and id');
  }
  const note = parseNote(source);
  if (note === undefined) return refuse('KIN_LEDGER_NOTE_INVALID', 'not a signed note');
  const good: GoodSignature[] = [];
  const unchecked: VerifierKey[] = [];
  for (const { name, keyId: id, signature } of note.signatures) {
    const key = known.get(`${name}+${id}`);
    if (key === undefined) continue;
    const parts = signedParts(key.type, name, note.text, signature);
    const check =
      parts === undefined
        ? 'bad'
        : checkSignature(parts.algorithm, key.publicKey, parts.message, parts.signature);
    if (check === 'bad') {
      return refuse('KIN_LEDGER_SIGNATURE_INVALID', `bad signature of known key ${name}`);
    }
    if (check === 'unchecked') unchecked.push(key);
    else good.push(goodSignature(key, parts?.timestampS));
  }
  if (good.length > 0) {
    const signedBy = [...new Set(good.map(({ key }) => key.name))];
    return { kind: 'valid', note, signedBy, good, unchecked };
  }
  const [first] = unchecked;
  if (first === undefined) {
    return refuse('KIN_LEDGER_SIGNATURE_INVALID', 'no signature of a known key');
  }
  return refuse('KIN_LEDGER_SIGNATURE_UNCHECKED', `not checked here: signature of ${first.name}`);
}

function goodSignature(key: VerifierKey, timestampS: bigint | undefined): GoodSignature {
  return timestampS === undefined ? { key } : { key, timestampS };
}

/** By name and id. Undefined when that would be ambiguous, or when there are too many keys. */
function keyTable(keys: readonly VerifierKey[]): Map<string, VerifierKey> | undefined {
  const known = new Map<string, VerifierKey>();
  if (keys.length > KEYS_MAX) return undefined;
  for (const key of keys) {
    const place = `${key.name}+${key.keyId}`;
    const earlier = known.get(place);
    const isSame = earlier?.type === key.type && sameBytes(earlier.publicKey, key.publicKey);
    if (earlier !== undefined && !isSame) return undefined;
    known.set(place, key);
  }
  return known;
}

function refuse(code: NoteCode, reason: string): NoteVerdict {
  return { kind: 'invalid', code, reason };
}

export interface SignOptions {
  /** Seconds since 1970, for signatures that carry a time. */
  readonly timestampS?: bigint;
}

/** The signed note: the text, a blank line, and a line of each signer in that order. */
export function signNote(
  text: string,
  signers: Signer | readonly Signer[],
  options: SignOptions = {},
): string {
  const list = 'sign' in signers ? [signers] : signers;
  if (!text.endsWith('\n')) {
    throw new LedgerError('KIN_LEDGER_NOTE_INVALID', 'a note text ends with a newline');
  }
  if (list.length === 0 || list.length > SIGNATURES_MAX) {
    const message = `a note has 1 to ${SIGNATURES_MAX} signers, not ${list.length}`;
    throw new LedgerError('KIN_LEDGER_OPTION_INVALID', message);
  }
  return `${text}\n${list.map((signer) => signatureLine(text, signer, options)).join('')}`;
}

/** One line, newline included: what a witness answers, and what `addSignatures` takes. */
export function signatureLine(text: string, signer: Signer, options: SignOptions = {}): string {
  const id = Uint8Array.from([0, 2, 4, 6], (at) =>
    Number.parseInt(signer.keyId.slice(at, at + 2), 16),
  );
  const encoded = toBase64(concat(id, signer.sign(utf8(text), options.timestampS)));
  return `\u2014 ${signer.name} ${encoded}\n`;
}

/**
 * The note with further signature lines behind those that it has; a line that is there already is
 * not added twice. Undefined when the note or a line is malformed, or when it would be too many.
 * Nothing is verified here.
 */
export function addSignatures(source: string, lines: string): string | undefined {
  const note = parseNote(source);
  if (note === undefined || !/^(\u2014 [^\n]*\n)+$/.test(lines)) return undefined;
  const present = new Set(source.slice(note.text.length + 1).split('\n'));
  let out = source;
  for (const line of lines.split('\n')) {
    if (line === '' || present.has(line)) continue;
    present.add(line);
    out += `${line}\n`;
  }
  return parseNote(out) === undefined ? undefined : out;
}
