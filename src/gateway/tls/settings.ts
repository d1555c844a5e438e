// How is TLS spoken in front? Paths and choices only, as they come from the manifest by one
// variable of the environment; no key is ever in it.
//
//   TS1. A setting that is unknown or malformed stops the worker: TLS is never left out by mistake.
//   TS2. Client certificates are asked for only with an authority of one's own: never with the
//        public ones that Node knows.
import { KinError } from '../../model/errors.ts';
import type { CertificateFiles, GatewayTls } from '../../model/manifest.ts';
import { isRecord } from '../lines.ts';

export type TlsSettings = GatewayTls;
export type ClientAuth = GatewayTls['clientAuth'];
export type { CertificateFiles } from '../../model/manifest.ts';

export const CERTIFICATES_MAX = 1_000;

export function readTls(text: string): TlsSettings {
  const value = parse(text);
  if (!isRecord(value)) throw fault('not a JSON object');
  const { certificates, clientCa, clientAuth, minVersion, redirectPort } = value as Partial<
    Record<keyof TlsSettings, unknown>
  >;
  if (!Array.isArray(certificates) || certificates.length > CERTIFICATES_MAX) {
    throw fault('certificates is not a list');
  }
  const [first, ...rest] = certificates.map(readFiles);
  if (first === undefined) throw fault('no certificate');
  if (clientAuth !== 'none' && clientAuth !== 'optional' && clientAuth !== 'required') {
    throw fault('clientAuth is not none, optional or required');
  }
  if (clientCa !== undefined && !isPath(clientCa)) throw fault('clientCa is not an absolute path');
  if (clientAuth !== 'none' && clientCa === undefined) {
    throw fault(`clientAuth is ${clientAuth} without clientCa`);
  }
  if (minVersion !== '1.2' && minVersion !== '1.3') throw fault('minVersion is not 1.2 or 1.3');
  const isPort = typeof redirectPort === 'number' && Number.isInteger(redirectPort);
  if (!isPort || redirectPort < 0 || redirectPort > 65_535) throw fault('redirectPort is no port');
  return { certificates: [first, ...rest], clientCa, clientAuth, minVersion, redirectPort };
}

function readFiles(value: unknown): CertificateFiles {
  if (!isRecord(value)) throw fault('a certificate is not an object');
  const { cert, key, hosts } = value as Partial<Record<keyof CertificateFiles, unknown>>;
  if (!isPath(cert) || !isPath(key)) throw fault('cert or key is not an absolute path');
  const isHosts = Array.isArray(hosts) && hosts.every((host) => typeof host === 'string');
  if (!isHosts) throw fault('hosts is not a list of names');
  return { cert, key, hosts };
}

function isPath(value: unknown): value is string {
  return typeof value === 'string' && value.startsWith('/') && !value.includes('\0');
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function fault(what: string): KinError {
  return new KinError(
    'KIN_TLS_SETTING',
    `KINTSUGI_GATEWAY_TLS cannot be used: ${what}`,
    'Start the gateway with `kintsugi up`, which sets it from `gateway.tls` of the manifest.',
  );
}
