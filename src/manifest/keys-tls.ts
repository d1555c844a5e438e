// Which keys do TLS in front and the PROXY protocol have? Branches of the table in keys.ts (K1).
import { choice, list, object, optional, required, standard, text, whole } from './shape.ts';
import type { Read } from './shape.ts';
import { keyPath, path } from './keys-words.ts';

const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?';
/** Labels have bounds: nothing to go back and forth over (W1). */
const servedHost = text('a host name in lower case such as api.example.com or *.example.com', {
  pattern: String.raw`^(?:\*\.)?(?:${LABEL}\.){0,20}${LABEL}$`,
  lengthMax: 253,
  examples: ['api.example.com'],
});
const cidr = text('an address or a network such as 10.0.0.0/8 or fd00::/8', {
  pattern: String.raw`^[0-9A-Fa-f.:]{2,45}(?:/\d{1,3})?$`,
  examples: ['10.0.0.0/8'],
});

const CERT =
  'PEM file: the certificate, then those that lead to its root. Taken up when it changes.';
const KEY = 'PEM file with its key, readable by the user of the gateway only (`chmod 600`).';
const HOSTS = 'Hosts that it is served for; `*.` covers one label.';

const certKey = required(path, CERT, { slips: ['certificate', 'certFile', 'crt'] });
const keyKey = required(keyPath, KEY, { slips: ['keyFile', 'privateKey'] });

export const tls = object({
  cert: certKey,
  key: keyKey,
  hosts: standard(list(servedHost, 100), [], `${HOSTS} Empty: the names in it.`),
  certificates: standard(
    list(
      object({
        hosts: standard(list(servedHost, 100), [], `${HOSTS} Empty: the names in it.`, {
          slips: ['host', 'serverNames'],
        }),
        cert: certKey,
        key: keyKey,
      }),
      500,
    ),
    [],
    'More certificates, chosen by the host that a client asks for (SNI); others get the first.',
    { slips: ['certs', 'sni'] },
  ),
  clientCa: optional(
    path,
    'nobody is asked for one',
    'PEM file with the authorities whose client certificates are accepted.',
    { slips: ['ca', 'clientCaFile'] },
  ),
  clientAuth: standard(
    choice('none', 'optional', 'required'),
    'none',
    'Are clients asked for a certificate? One that does not verify is refused in any case.',
    { slips: ['mtls', 'clientCertificates'] },
  ),
  minVersion: standard(
    text('1.2 or 1.3', { pattern: String.raw`^1\.[23]$`, loose: true, examples: ['1.3'] }),
    '1.2',
    'Oldest version of TLS that is spoken.',
  ),
  redirectPort: standard(
    whole(0, 65_535),
    0,
    'A plain port that answers each request with 308 to https; 0: none.',
    { slips: ['httpPort'] },
  ),
});

export const proxyProtocol = object({
  from: required(
    list(cidr, 100, 1),
    'Load balancers that must say for whom they connect; headers of others are refused.',
    { slips: ['trusted', 'cidrs'] },
  ),
});

export type DraftTls = Read<typeof tls>;
export type DraftProxyProtocol = Read<typeof proxyProtocol>;
