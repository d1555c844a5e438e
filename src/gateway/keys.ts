// What does an API key look like? `kin_<env>_<id>_<secret>_<crc>`: a prefix that secret scanners
// find, the instance it belongs to, a public id to look it up by, 32 random bytes, and a checksum
// that tells a typing error from a wrong key without asking anybody. Only a MAC of the secret is
// kept: HMAC-SHA-256 under a pepper. 256 bits of randomness need no slow password hash.
//
//   K1. A key is made from given random bytes and from nothing else.
//   K2. MACs are compared in constant time.
//   K3. A text with a wrong checksum is no key. Grammar and checksum are public: the time that they
//       take tells nothing of the secret, which is only ever looked at through its MAC.
import { createHmac, createSecretKey, timingSafeEqual } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { crc32 } from 'node:zlib';

export const KEY_ID_BYTES = 9;
export const KEY_SECRET_BYTES = 32;
export const KEY_CHARS_MAX = 200;

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const GRAMMAR =
  /^(kin_([a-z0-9][a-z0-9-]{0,39})_([0-9A-Za-z]{8,20})_([0-9A-Za-z]{32,64}))_([0-9a-z]{7})$/u;

export interface ParsedKey {
  readonly env: string;
  readonly id: string;
  readonly secret: string;
}

export interface MintedKey extends ParsedKey {
  /** The whole key: shown once, never stored. */
  readonly key: string;
}

function base62(bytes: Uint8Array): string {
  const width = Math.ceil((bytes.length * 8) / Math.log2(62));
  let number = BigInt(`0x${Buffer.from(bytes).toString('hex') || '0'}`);
  let text = '';
  for (let i = 0; i < width; i += 1) {
    text = (DIGITS[Number(number % 62n)] ?? '0') + text;
    number /= 62n;
  }
  return text;
}

function checksum(text: string): string {
  return crc32(text).toString(36).padStart(7, '0');
}

/** `env`: name of the instance. `idBytes`: ≥ 9, `secretBytes`: ≥ 32 random bytes. */
export function mintKey(env: string, idBytes: Uint8Array, secretBytes: Uint8Array): MintedKey {
  const id = base62(idBytes.subarray(0, KEY_ID_BYTES));
  const secret = base62(secretBytes.subarray(0, KEY_SECRET_BYTES));
  const body = `kin_${env}_${id}_${secret}`;
  const key = `${body}_${checksum(body)}`;
  if (parseKey(key) === undefined) {
    throw new Error('assertion failed: a key needs an instance name and enough random bytes');
  }
  return { key, env, id, secret };
}

/** Undefined when this is no key of ours, or was mistyped. */
export function parseKey(text: string): ParsedKey | undefined {
  if (text.length > KEY_CHARS_MAX) return undefined;
  const found = GRAMMAR.exec(text);
  const [, body, env, id, secret, crc] = found ?? [];
  if (body === undefined || env === undefined || id === undefined) return undefined;
  if (secret === undefined || crc !== checksum(body)) return undefined;
  return { env, id, secret };
}

let pepperText = '';
let pepperKey: KeyObject | undefined;

/** An instance has one pepper: reading it anew for each request would cost as much as the MAC. */
function pepperOf(pepper: string): KeyObject {
  if (pepperKey !== undefined && pepper === pepperText) return pepperKey;
  pepperKey = createSecretKey(Buffer.from(pepper, 'base64url'));
  pepperText = pepper;
  return pepperKey;
}

/** Base64url MAC of the secret part; `pepper` is base64url. */
export function keyMac(pepper: string, secret: string): string {
  return createHmac('sha256', pepperOf(pepper)).update(secret).digest('base64url');
}

export function sameMac(given: string, expected: string): boolean {
  const a = Buffer.from(given);
  const b = Buffer.from(expected);
  return a.length === b.length && timingSafeEqual(a, b);
}
