// Makes X.509 certificates for the tests: a few fields of DER and one signature, so that neither a
// program of the machine nor a package is needed. Keys are fresh in each run and kept nowhere.
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

export type AltName =
  | { readonly kind: 'dns' | 'uri'; readonly value: string }
  | { readonly kind: 'ip'; readonly value: string };

export interface Wish {
  readonly name: string;
  readonly alt: readonly AltName[];
  readonly fromMs: number;
  readonly untilMs: number;
  readonly isCa: boolean;
}

export interface Issued {
  readonly pem: string;
  readonly keyPem: string;
  readonly name: string;
  readonly privateKey: KeyObject;
}

function tlv(tag: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const { length } = body;
  if (length < 128) return Buffer.concat([Buffer.from([tag, length]), body]);
  const bytes = length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...bytes]), body]);
}

const sequence = (...parts: readonly Buffer[]): Buffer => tlv(0x30, ...parts);
const text = (tag: number, value: string): Buffer => tlv(tag, Buffer.from(value, 'utf8'));
const oid = (hex: string): Buffer => tlv(0x06, Buffer.from(hex, 'hex'));

const ECDSA_SHA256 = sequence(oid('2a8648ce3d040302'));

function nameOf(common: string): Buffer {
  return sequence(tlv(0x31, sequence(oid('550403'), text(0x0c, common))));
}

function timeOf(ms: number): Buffer {
  const stamp = new Date(ms).toISOString().replace(/[-:T]|\.\d+/gu, '');
  return text(0x18, stamp);
}

function altName({ kind, value }: AltName): Buffer {
  if (kind === 'ip') return tlv(0x87, Buffer.from(value.split('.').map(Number)));
  return text(kind === 'dns' ? 0x82 : 0x86, value);
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  const flag = critical ? [tlv(0x01, Buffer.from([0xff]))] : [];
  return sequence(oid(id), ...flag, tlv(0x04, value));
}

/** `issuer` undefined: signed by itself. */
export function issue(wish: Wish, issuer?: Issued): Issued {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const extensions = [
    extension('551d13', true, sequence(...(wish.isCa ? [tlv(0x01, Buffer.from([0xff]))] : []))),
  ];
  if (wish.alt.length > 0) {
    extensions.push(extension('551d11', false, sequence(...wish.alt.map(altName))));
  }
  const body = sequence(
    tlv(0xa0, tlv(0x02, Buffer.from([2]))),
    tlv(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ECDSA_SHA256,
    nameOf(issuer?.name ?? wish.name),
    sequence(timeOf(wish.fromMs), timeOf(wish.untilMs)),
    nameOf(wish.name),
    publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(...extensions)),
  );
  const signature = sign('sha256', body, issuer?.privateKey ?? privateKey);
  const der = sequence(body, ECDSA_SHA256, tlv(0x03, Buffer.from([0]), signature));
  const base64 = der.toString('base64').replace(/(.{64})/gu, '$1\n');
  return {
    pem: `-----BEGIN CERTIFICATE-----\n${base64.trim()}\n-----END CERTIFICATE-----\n`,
    keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    name: wish.name,
    privateKey,
  };
}
