// How does a program ask about the depth of the ledger? One call an operation of
// `evidence-routes.ts`; how calls are made is the business of `client.ts`.
import type { AddedAuditor, AuditorRow } from '../tenancy/auditors.ts';
import type {
  AnchorView,
  EraseRequest,
  ErasureView,
  HoldRequest,
  MarksView,
  MarkView,
  ProofAbout,
  PublishedView,
  PublishView,
  RestrictRequest,
  SubjectExportRequest,
  TenantEntryView,
  TenantHeadView,
  TenantLogPage,
  TenantProofView,
} from './evidence-port.ts';

/** Structurally the calls of `client.ts`. */
export interface Calls {
  readonly get: <T>(path: string) => Promise<T>;
  readonly post: <T>(path: string, body?: unknown) => Promise<T>;
  readonly remove: <T>(path: string) => Promise<T>;
  readonly pieces: (path: string, body: unknown) => AsyncGenerator<string, void, undefined>;
}

type Recorded = Promise<{ readonly index: number }>;

export interface EvidenceClient {
  readonly tenantLogs: (after: string | undefined, limit: number) => Promise<TenantLogPage>;
  readonly tenantHead: (tenant: string) => Promise<TenantHeadView>;
  readonly tenantEntries: (
    tenant: string,
    query: { readonly from: number; readonly limit: number; readonly reveal: boolean },
  ) => Promise<readonly TenantEntryView[]>;
  readonly tenantProof: (tenant: string, about: ProofAbout) => Promise<TenantProofView>;
  readonly erase: (request: EraseRequest) => Promise<ErasureView>;
  readonly hold: (request: HoldRequest) => Promise<MarkView>;
  readonly release: (id: string, ref: string) => Recorded;
  readonly restrict: (request: RestrictRequest) => Promise<MarkView>;
  readonly unrestrict: (id: string, ref: string) => Recorded;
  readonly holds: (tenant: string | undefined) => Promise<MarksView>;
  readonly subjectExport: (
    request: SubjectExportRequest,
  ) => AsyncGenerator<string, void, undefined>;
  readonly witnesses: () => Promise<PublishView>;
  readonly anchors: () => Promise<readonly AnchorView[]>;
  readonly publish: () => Promise<PublishedView>;
  readonly auditors: () => Promise<readonly AuditorRow[]>;
  readonly addAuditor: (name: string, lifetimeMs: number) => Promise<AddedAuditor>;
  readonly removeAuditor: (name: string) => Promise<{ readonly removed: string }>;
}

export function evidenceClient({ get, post, remove, pieces }: Calls): EvidenceClient {
  const of = (tenant: string): string => `/v1/tenants/${encodeURIComponent(tenant)}/ledger`;
  const id = (text: string): string => encodeURIComponent(text);
  return {
    tenantLogs: (after, limit) =>
      get(`/v1/ledger/tenants?limit=${limit}${after === undefined ? '' : `&after=${id(after)}`}`),
    tenantHead: (tenant) => get(`${of(tenant)}/head`),
    tenantEntries: (tenant, { from, limit, reveal }) =>
      get(`${of(tenant)}/entries?from=${from}&limit=${limit}&reveal=${reveal}`),
    tenantProof: (tenant, about) => get(`${of(tenant)}/proofs/${proofPath(about)}`),
    erase: (request) => post('/v1/privacy/erasures', request),
    hold: (request) => post('/v1/privacy/holds', request),
    release: (hold, ref) => post(`/v1/privacy/holds/${id(hold)}/release`, { ref }),
    restrict: (request) => post('/v1/privacy/restrictions', request),
    unrestrict: (mark, ref) => post(`/v1/privacy/restrictions/${id(mark)}/lift`, { ref }),
    holds: (tenant) =>
      get(`/v1/privacy/holds${tenant === undefined ? '' : `?tenant=${id(tenant)}`}`),
    subjectExport: (request) => pieces('/v1/privacy/exports', request),
    witnesses: () => get('/v1/ledger/witnesses'),
    anchors: () => get('/v1/ledger/anchors'),
    publish: () => post('/v1/ledger/publish'),
    auditors: () => get('/v1/auditors'),
    addAuditor: (name, lifetimeMs) => post('/v1/auditors', { name, lifetimeMs }),
    removeAuditor: (name) => remove(`/v1/auditors/${id(name)}`),
  };
}

function proofPath(about: ProofAbout): string {
  switch (about.kind) {
    case 'head':
      return 'head';
    case 'entry':
      return `entries/${about.index}`;
    case 'after':
      return `after/${about.index}`;
  }
}
