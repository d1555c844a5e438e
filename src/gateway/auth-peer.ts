// Whose client certificate is this? A connection over TLS may show one that the listener has
// verified; the table says which names or prints belong to which tenant.
//
//   CE1. A certificate that no tenant lists is no credential: the request needs another one.
//   CE2. One whose names belong to several tenants is refused: it identifies nobody.
import type { TenantRoute } from '../model/routing.ts';
import type { Routes } from './routes.ts';

/** What the listener knows of a verified certificate (`ExchangeView.peer`). */
export interface Peer {
  /** Subject alternative names. */
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  /** Of the whole certificate, hexadecimal; colons do not matter. */
  readonly sha256: string;
  readonly subject: string;
}

/** Asked by one identity: `uri:…`, `dns:…` or `sha256:<hex>`. */
export type CertificateRoutes = Pick<Routes, 'certificate'>;

/** The spelling of tables: URIs as they are, host names and prints in lower case. */
export function plainReference(reference: string): string {
  if (reference.startsWith('dns:')) return reference.toLowerCase();
  if (reference.startsWith('sha256:')) return `sha256:${plainPrint(reference.slice(7))}`;
  return reference;
}

const plainPrint = (text: string): string => text.replaceAll(':', '').toLowerCase();

export type PeerAnswer =
  | { readonly kind: 'none' }
  | { readonly kind: 'ambiguous' }
  | { readonly kind: 'tenant'; readonly tenant: TenantRoute; readonly subject: string };

const NONE: PeerAnswer = { kind: 'none' };
const AMBIGUOUS: PeerAnswer = { kind: 'ambiguous' };
const NAMES_MAX = 100;
const VISIBLE = /^[\x21-\x7e]{1,190}$/u;

export function tenantOfPeer(routes: CertificateRoutes, peer: Peer | undefined): PeerAnswer {
  if (peer === undefined) return NONE;
  const print = `sha256:${plainPrint(peer.sha256)}`;
  let tenant: TenantRoute | undefined;
  let subject = print;
  for (const name of namesOf(peer, print)) {
    const owner = routes.certificate(name);
    if (owner === undefined) continue;
    if (tenant !== undefined && tenant.id !== owner.id) return AMBIGUOUS;
    if (tenant === undefined && VISIBLE.test(name)) subject = name;
    tenant = owner;
  }
  return tenant === undefined ? NONE : { kind: 'tenant', tenant, subject: `cert:${subject}` };
}

function namesOf(peer: Peer, print: string): readonly string[] {
  return [
    ...peer.uris.slice(0, NAMES_MAX).map((uri) => `uri:${uri}`),
    ...peer.dnsNames.slice(0, NAMES_MAX).map((name) => `dns:${name.toLowerCase()}`),
    print,
  ];
}
