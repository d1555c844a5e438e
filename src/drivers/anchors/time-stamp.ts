// Does this RFC 3161 response prove that a trusted authority saw this checkpoint, and when? Parsing
// and the signature are `@sigstore/core`'s; here stands what RFC 3161, 5652 and 5816 demand beyond.
//
//   TS1. Status granted, SHA-256 imprint of exactly this text, and, when asked for, our nonce.
//   TS2. One signer, bound by its ESSCertID, whose chain ends in a given certificate, each link
//        valid at genTime, and whose only (critical) extended key usage is time stamping.
//   TS3. Revocation is not looked up: the receipt must be checkable offline.
import { createHash, timingSafeEqual, verify, X509Certificate } from 'node:crypto';
import { type ASN1Obj, RFC3161Timestamp, X509Certificate as CertificateView } from '@sigstore/core';
import { AnchorError, foreign } from './errors.ts';

const OID = {
  signedData: '1.2.840.113549.1.7.2',
  tstInfo: '1.2.840.113549.1.9.16.1.4',
  contentType: '1.2.840.113549.1.9.3',
  messageDigest: '1.2.840.113549.1.9.4',
  signingCertificate: '1.2.840.113549.1.9.16.2.12',
  signingCertificateV2: '1.2.840.113549.1.9.16.2.47',
  timeStamping: '1.3.6.1.5.5.7.3.8',
  extendedKeyUsage: '2.5.29.37',
} as const;

const HASHES: Readonly<Record<string, string>> = {
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
};
/** PKCS #1 v1.5; the first takes its hash from the signer's digest algorithm. */
const RSA: Readonly<Record<string, string | undefined>> = {
  '1.2.840.113549.1.1.1': 'as-digest',
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
};
const CHAIN_MAX = 8;
const CERTIFICATES_MAX = 32;

const wrong = (why: string): AnchorError =>
  new AnchorError('KIN_ANCHOR_ANSWER', `the time-stamp response ${why}`);
const mismatch = (why: string): AnchorError =>
  new AnchorError('KIN_ANCHOR_MISMATCH', `the time stamp ${why}`);
const untrusted = (why: string): AnchorError => new AnchorError('KIN_ANCHOR_UNTRUSTED', why);

export interface StampFacts {
  readonly genTimeMs: number;
  readonly serial: string;
  readonly policy: string;
  readonly signer: string;
}

export interface StampQuestion {
  readonly response: Buffer<ArrayBuffer>;
  readonly text: string;
  /** What we sent; undefined for an auditor, to whom it says nothing. */
  readonly nonce: bigint | undefined;
  readonly trusted: readonly X509Certificate[];
}

/** Reads PEM with one or many certificates. */
export function readCertificates(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0 || blocks.length > CERTIFICATES_MAX)
    throw new AnchorError('KIN_ANCHOR_CONFIG', 'the TSA certificates hold none, or too many');
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch {
    throw new AnchorError('KIN_ANCHOR_CONFIG', 'a TSA certificate cannot be read');
  }
}

export function checkStamp(question: StampQuestion): StampFacts {
  const stamp = parse(question.response);
  try {
    return check(stamp, question);
  } catch (error) {
    if (error instanceof AnchorError) throw error;
    // A getter of the parser met another structure than the standard's.
    throw wrong('is not built as RFC 3161 says');
  }
}

function parse(response: Buffer<ArrayBuffer>): RFC3161Timestamp {
  try {
    return RFC3161Timestamp.parse(response);
  } catch {
    throw wrong('is not DER');
  }
}

const STATUS = ['granted', 'granted with changes', 'rejected', 'waiting', 'revocation warning'];

function check(stamp: RFC3161Timestamp, question: StampQuestion): StampFacts {
  const status = Number(stamp.status);
  if (status !== 0 && status !== 1) {
    const text = stamp.root.subs[0]?.subs[1]?.subs[0]?.value.toString('latin1') ?? '';
    const name = STATUS[status] ?? `status ${status}`;
    throw new AnchorError('KIN_ANCHOR_REFUSED', `the authority says ${name}: ${foreign(text)}`);
  }
  if (stamp.root.subs[1] === undefined) throw wrong('holds no token');
  if (stamp.contentType !== OID.signedData) throw wrong('holds no signed token');
  if (stamp.eContentType !== OID.tstInfo) throw wrong('holds something else than a time stamp');
  const { tstInfo } = stamp;
  checkImprint(tstInfo.messageImprintHashAlgorithm, tstInfo.messageImprintHashedMessage, question);
  const fields = tstInfo.root.subs;
  checkNonce(fields, question.nonce);
  const genTimeMs = readTime(fields[4]?.value.toString('latin1') ?? '');
  const signer = new SignerView(stamp);
  const leaf = signer.certificate(question.trusted);
  checkSignature(stamp, signer, leaf, question.text);
  checkPurpose(leaf);
  checkChain(leaf, [...question.trusted, ...signer.embedded], question.trusted, genTimeMs);
  return {
    genTimeMs,
    serial: fields[3]?.value.toString('hex') ?? '',
    policy: fields[1]?.toOID() ?? '',
    signer: foreign(leaf.subject),
  };
}

function checkImprint(hash: string | undefined, imprint: Buffer, { text }: StampQuestion): void {
  if (hash !== 'sha256') throw mismatch('uses another hash than SHA-256');
  const digest = createHash('sha256').update(text, 'utf8').digest();
  if (imprint.length !== digest.length || !timingSafeEqual(imprint, digest))
    throw mismatch('is about another content');
}

function checkNonce(fields: readonly ASN1Obj[], nonce: bigint | undefined): void {
  if (nonce === undefined) return;
  const answered = fields.slice(5).find(({ tag }) => tag.isInteger());
  if (answered === undefined) throw mismatch('carries no nonce');
  if (answered.toInteger() !== nonce) throw mismatch('carries another nonce: it may be replayed');
}

/** GeneralizedTime in UTC with any fraction, as RFC 3161 allows it. */
function readTime(text: string): number {
  const [, y, mo, d, h, mi, s, fraction] =
    /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d{1,9}))?Z$/.exec(text) ?? [];
  const ms = Date.parse(
    `${y}-${mo}-${d}T${h}:${mi}:${s}.${(fraction ?? '').padEnd(3, '0').slice(0, 3)}Z`,
  );
  if (!Number.isFinite(ms)) throw wrong('has no readable genTime');
  return ms;
}

/** The one SignerInfo and the certificates that came along. */
class SignerView {
  readonly embedded: readonly X509Certificate[];
  readonly #issuer: Buffer;
  readonly #serial: Buffer;
  readonly #attributes: readonly ASN1Obj[];
  readonly signatureOid: string;
  readonly digestOid: string;
  readonly signature: Buffer;
  /** The signed attributes as they were signed: a SET instead of [0]. */
  readonly signed: Buffer;

  constructor(stamp: RFC3161Timestamp) {
    const signedData = need(stamp.root.subs[1]?.subs[1]?.subs[0]);
    const signers = need(signedData.subs.at(-1)).subs;
    if (signers.length !== 1) throw wrong(`has ${signers.length} signers, not one`);
    const parts = need(signers[0]).subs;
    const attributes = need(parts.find(({ tag }) => tag.isContextSpecific(0)));
    const certificates = signedData.subs.find(({ tag }) => tag.isContextSpecific(0))?.subs ?? [];
    if (certificates.length > CERTIFICATES_MAX) throw wrong('carries too many certificates');
    this.embedded = certificates.map((der) => new X509Certificate(der.toDER()));
    this.#issuer = stamp.signerIssuer;
    this.#serial = stamp.signerSerialNumber;
    this.#attributes = attributes.subs;
    this.digestOid = need(parts[2]?.subs[0]).toOID();
    this.signatureOid = need(parts[4]?.subs[0]).toOID();
    this.signature = need(parts[5]).value;
    this.signed = attributes.toDER();
    this.signed[0] = 0x31;
    if (this.attribute(OID.contentType)?.toOID() !== OID.tstInfo)
      throw wrong('signs another content type');
  }

  /** The first value of a signed attribute; one that stands twice counts as none. */
  attribute(oid: string): ASN1Obj | undefined {
    const found = this.#attributes.filter(({ subs }) => subs[0]?.toOID() === oid);
    return found.length === 1 ? found[0]?.subs[1]?.subs[0] : undefined;
  }

  certificate(trusted: readonly X509Certificate[]): X509Certificate {
    const leaf = [...trusted, ...this.embedded].find((candidate) => {
      const view = CertificateView.parse(Buffer.from(candidate.raw));
      return view.issuer.equals(this.#issuer) && view.serialNumber.equals(this.#serial);
    });
    if (leaf === undefined) throw untrusted('the certificate of the signer is not at hand');
    if (!this.#isBoundTo(leaf)) throw untrusted('the time stamp names another certificate');
    return leaf;
  }

  /** ESSCertID: without it another certificate with the same key could be slipped in. */
  #isBoundTo(leaf: X509Certificate): boolean {
    const v2 = this.attribute(OID.signingCertificateV2)?.subs[0]?.subs[0];
    const id = v2 ?? this.attribute(OID.signingCertificate)?.subs[0]?.subs[0];
    const first = id?.subs[0];
    if (id === undefined || first === undefined) return false;
    // ESSCertIDv2 may open with its hash algorithm; without one it is SHA-256.
    const named = first.tag.constructed ? HASHES[need(first.subs[0]).toOID()] : 'sha256';
    const hash = v2 === undefined ? 'sha1' : named;
    const said = (first.tag.constructed ? id.subs[1] : first)?.value;
    if (hash === undefined || said === undefined) return false;
    return createHash(hash).update(leaf.raw).digest().equals(said);
  }
}

function need<T>(value: T | undefined): T {
  if (value === undefined) throw wrong('is not built as RFC 3161 says');
  return value;
}

function checkSignature(
  stamp: RFC3161Timestamp,
  signer: SignerView,
  leaf: X509Certificate,
  text: string,
): void {
  const kind = leaf.publicKey.asymmetricKeyType;
  if (kind !== 'rsa') {
    // Without a known name the library would fall back to the default of the key's kind.
    if (kind !== 'ed25519' && (kind !== 'ec' || stamp.signatureAlgorithm === undefined))
      throw untrusted('the time stamp is signed by an algorithm that is not accepted');
    try {
      stamp.verify(Buffer.from(text, 'utf8'), leaf.publicKey);
    } catch {
      throw untrusted('the signature of the time stamp is wrong');
    }
    return;
  }
  // The library resolves ECDSA only; RSA, which most public authorities use, is checked here.
  const digestHash = HASHES[signer.digestOid];
  const named = RSA[signer.signatureOid];
  const hash = named === 'as-digest' ? digestHash : named;
  if (digestHash === undefined || hash === undefined)
    throw untrusted('the time stamp is signed by an algorithm that is not accepted');
  const digest = createHash(digestHash).update(stamp.tstInfo.raw).digest();
  const said = signer.attribute(OID.messageDigest)?.value;
  if (said === undefined || !digest.equals(said))
    throw untrusted('the signature is about another time stamp');
  if (!verify(hash, signer.signed, leaf.publicKey, signer.signature))
    throw untrusted('the signature of the time stamp is wrong');
}

function checkPurpose(leaf: X509Certificate): void {
  const usages = leaf.keyUsage ?? [];
  const extension = CertificateView.parse(Buffer.from(leaf.raw)).extension(OID.extendedKeyUsage);
  if (usages.length !== 1 || usages[0] !== OID.timeStamping || extension?.critical !== true)
    throw untrusted('the certificate of the signer is not for time stamping alone');
}

function checkChain(
  leaf: X509Certificate,
  pool: readonly X509Certificate[],
  trusted: readonly X509Certificate[],
  atMs: number,
): void {
  const isTrusted = (one: X509Certificate): boolean =>
    trusted.some(({ fingerprint256 }) => fingerprint256 === one.fingerprint256);
  let expired: X509Certificate | undefined;
  let level: readonly X509Certificate[] = [leaf];
  const seen = new Set<string>();
  for (let depth = 0; depth < CHAIN_MAX && level.length > 0; depth += 1) {
    const valid = level.filter((one) => {
      if (isValidAt(one, atMs)) return true;
      expired ??= one;
      return false;
    });
    if (valid.some(isTrusted)) return;
    for (const { fingerprint256 } of valid) seen.add(fingerprint256);
    level = pool.filter(
      (issuer) =>
        !seen.has(issuer.fingerprint256) &&
        issuer.ca &&
        valid.some((one) => one.checkIssued(issuer) && one.verify(issuer.publicKey)),
    );
  }
  if (expired !== undefined)
    throw untrusted(`a certificate was not valid at genTime: ${foreign(expired.subject)}`);
  throw untrusted('the chain of the signer does not end in a given TSA certificate');
}

function isValidAt(certificate: X509Certificate, atMs: number): boolean {
  return certificate.validFromDate.getTime() <= atMs && atMs <= certificate.validToDate.getTime();
}
