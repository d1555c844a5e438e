// Do this certificate and this key go together, and may they be served? Everything that OpenSSL
// would only say in the middle of a handshake is said here, before a client sees it.
//
//   PR1. A pair that cannot be served as it is never becomes a context.
import { constants, createPrivateKey, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { SecureContext, SecureContextOptions } from 'node:tls';
import { KinError, messageOf } from '../../model/errors.ts';
import { readPem } from './files.ts';
import { splitNames } from './peer.ts';
import type { CertificateFiles } from './settings.ts';

/** What is the same for all pairs of a listener. */
export interface Terms {
  readonly minVersion: '1.2' | '1.3';
  readonly clientCa: Buffer | undefined;
  readonly ticketKeys: Buffer;
  readonly sessionIdContext: string;
}

export interface Material {
  readonly files: CertificateFiles;
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly leaf: X509Certificate;
  readonly notAfterMs: number;
  /** Lower-case; `*.` may begin them. */
  readonly hosts: readonly string[];
}

/** Forward secrecy and authenticated encryption only, as RFC 9325 has it. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

export function readMaterial(files: CertificateFiles): Material {
  const cert = readPem(files.cert, 'certificate');
  const key = readPem(files.key, 'key');
  const leaf = readLeaf(files.cert, cert);
  const secret = readKey(files.key, key);
  if (!leaf.checkPrivateKey(secret)) {
    throw broken(`the key ${files.key} does not belong to the certificate ${files.cert}`);
  }
  const notAfterMs = Date.parse(leaf.validTo);
  if (!Number.isFinite(notAfterMs)) throw broken(`${files.cert} does not say until when it holds`);
  const hosts = files.hosts.length > 0 ? files.hosts : hostsOf(leaf);
  return { files, cert, key, leaf, notAfterMs, hosts: hosts.map((host) => host.toLowerCase()) };
}

/** May it replace one that serves? */
export function checkTimes({ files, leaf, notAfterMs }: Material, nowMs: number): void {
  if (notAfterMs <= nowMs) {
    throw new KinError(
      'KIN_TLS_EXPIRED',
      `the certificate ${files.cert} ended at ${new Date(notAfterMs).toISOString()}`,
      'Have a new one issued and put it in its place: it is taken up within seconds.',
    );
  }
  const notBeforeMs = Date.parse(leaf.validFrom);
  if (notBeforeMs > nowMs) {
    throw broken(`${files.cert} holds only from ${new Date(notBeforeMs).toISOString()} on`);
  }
}

export function contextOptions(material: Material, terms: Terms): SecureContextOptions {
  const { cert, key } = material;
  const { minVersion, clientCa, ticketKeys, sessionIdContext } = terms;
  return {
    cert,
    key,
    // Without an authority of our own nobody is asked for a certificate (TS2).
    ...(clientCa === undefined ? {} : { ca: clientCa }),
    minVersion: minVersion === '1.2' ? 'TLSv1.2' : 'TLSv1.3',
    ciphers: CIPHERS,
    honorCipherOrder: true,
    // A second handshake on one connection: only ever a way to make a server work for nothing.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    ticketKeys,
    sessionIdContext,
  };
}

/** OpenSSL has the last word: it refuses short keys and weak digests. */
export function contextOf(material: Material, terms: Terms): SecureContext {
  try {
    return createSecureContext(contextOptions(material, terms));
  } catch (error) {
    throw broken(`OpenSSL refuses ${material.files.cert}: ${opensslReason(error)}`, error);
  }
}

export function readAuthorities(path: string): Buffer {
  const bytes = readPem(path, 'certificate');
  const blocks = bytes.toString('latin1').match(/-----BEGIN CERTIFICATE-----[^-]*-----END/gu) ?? [];
  if (blocks.length === 0) throw broken(`no certificate in ${path}`);
  for (const block of blocks) readLeaf(path, Buffer.from(`${block} CERTIFICATE-----\n`));
  return bytes;
}

function readLeaf(path: string, bytes: Buffer): X509Certificate {
  try {
    return new X509Certificate(bytes);
  } catch (error) {
    throw broken(`no certificate in PEM form in ${path}`, error);
  }
}

function readKey(path: string, bytes: Buffer): KeyObject {
  try {
    return createPrivateKey(bytes);
  } catch (error) {
    // The message of OpenSSL holds nothing of the key.
    throw broken(`no key in PEM form without a passphrase in ${path}`, error);
  }
}

function hostsOf(leaf: X509Certificate): readonly string[] {
  return splitNames(leaf.subjectAltName ?? '')
    .filter(([kind]) => kind === 'DNS')
    .map(([, name]) => name);
}

function opensslReason(error: unknown): string {
  return messageOf(error).replace(/^error:[0-9A-F]+:/u, '');
}

function broken(what: string, cause?: unknown): KinError {
  return new KinError(
    'KIN_TLS_CERTIFICATE',
    what,
    'Put a PEM certificate chain, its own first, and the key that belongs to it in place.',
    { cause },
  );
}
