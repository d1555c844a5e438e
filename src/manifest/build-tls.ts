// How does the draft of TLS become its part of the model? Paths become absolute, and the first
// certificate joins the others.
import { resolve } from 'node:path';
import type { GatewaySettings, GatewayTls } from '../model/manifest.ts';
import type { DraftProxyProtocol, DraftTls } from './keys-tls.ts';

type Front = Pick<GatewaySettings, 'tls' | 'proxyProtocol'>;

export function buildTls(
  draft: {
    readonly tls: DraftTls | undefined;
    readonly proxyProtocol: DraftProxyProtocol | undefined;
  },
  baseDir: string,
): Front {
  const { tls, proxyProtocol } = draft;
  return {
    ...(tls === undefined ? {} : { tls: front(tls, baseDir) }),
    ...(proxyProtocol === undefined ? {} : { proxyProtocol }),
  };
}

function front(draft: DraftTls, baseDir: string): GatewayTls {
  const files = ({ cert, key, hosts }: Pick<DraftTls, 'cert' | 'key' | 'hosts'>) => ({
    cert: resolve(baseDir, cert),
    key: resolve(baseDir, key),
    hosts,
  });
  const { clientCa, clientAuth, redirectPort } = draft;
  return {
    certificates: [files(draft), ...draft.certificates.map(files)],
    ...(clientCa === undefined ? {} : { clientCa: resolve(baseDir, clientCa) }),
    clientAuth,
    minVersion: draft.minVersion === '1.3' ? '1.3' : '1.2',
    redirectPort,
  };
}
