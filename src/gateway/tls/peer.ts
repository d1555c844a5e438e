// Who did the client prove to be? Reads names out of a client certificate that the handshake has
// verified. Names are taken apart as Node writes them, so that no value can pass for another name.
//
//   PE1. No certificate, or one that was not verified, is nobody.
//   PE2. A name inside a value stays inside it: a comma or `URI:` in it makes no second name.
//   PE3. A certificate that has ended since its session began is nobody, resumed or not.
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { PeerCertificate } from '../http/hooks.ts';

const NAMES_MAX = 100;
const TEXT_MAX = 1_024;

export type PeerAnswer =
  | { readonly kind: 'none' }
  | { readonly kind: 'peer'; readonly peer: PeerCertificate }
  | { readonly kind: 'refused'; readonly reason: string };

export function peerOf(socket: TLSSocket, nowMs: number): PeerAnswer {
  const certificate = socket.getPeerX509Certificate();
  // OpenSSL calls a resumed session verified even if nobody ever showed a certificate in it.
  if (certificate === undefined) return { kind: 'none' };
  if (!socket.authorized) {
    return { kind: 'refused', reason: String(socket.authorizationError ?? 'unverified') };
  }
  const peer = peerFrom(certificate);
  if (peer.notAfterMs <= nowMs) return { kind: 'refused', reason: 'CERT_HAS_EXPIRED' };
  return { kind: 'peer', peer };
}

/** Only for a verified certificate. */
export function peerFrom(certificate: X509Certificate): PeerCertificate {
  const names = splitNames(certificate.subjectAltName ?? '');
  const of = (kind: string): string[] =>
    names.filter(([name]) => name === kind).map(([, value]) => value);
  return {
    sha256: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    subject: certificate.subject.replaceAll('\n', ', ').slice(0, TEXT_MAX),
    uris: of('URI'),
    dnsNames: of('DNS').map((name) => name.toLowerCase()),
    notAfterMs: Date.parse(certificate.validTo),
  };
}

type Name = readonly [kind: string, value: string];

/** `DNS:a, URI:"…"`: Node writes what could be misread as a JSON text. */
export function splitNames(text: string): readonly Name[] {
  const names: Name[] = [];
  let rest = text;
  while (rest !== '' && names.length < NAMES_MAX) {
    const found = /^([^:,"]{1,40}):(?:("(?:[^"\\]|\\.)*")|([^,"]*))(?:, |$)/u.exec(rest);
    if (found === null) return [];
    const value = found[2] === undefined ? (found[3] ?? '') : unquoted(found[2]);
    if (value === undefined) return [];
    if (value.length <= TEXT_MAX) names.push([found[1] ?? '', value]);
    rest = rest.slice(found[0].length);
  }
  return names;
}

function unquoted(text: string): string | undefined {
  try {
    return String(JSON.parse(text));
  } catch {
    return undefined;
  }
}
