// What does the API need of the ledger's depth: tenants' logs and proofs, private fields, witnesses
// and anchors? Plain values on both sides; the controller implements it over the real ledger, tests
// over memory. Access was decided before a call (`src/tenancy/access.ts`), reads are noted after.
//
//   EP1. Every call takes the actor, so that what it writes can say who asked.
//   EP2. With `reveal: false` nothing is decrypted: every private field is `sealed`.
import type { Actor } from './port.ts';

export type LogScope =
  | { readonly kind: 'system' }
  | { readonly kind: 'tenant'; readonly tenant: string };

/** As `tileHandler` of the ledger answers. */
export interface TileAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface PageQuery {
  readonly after: string | undefined;
  readonly limit: number;
}

export interface TenantLogView {
  readonly tenant: string;
  readonly size: number;
  /** Base64. */
  readonly root: string;
}

export interface TenantLogPage {
  readonly logs: readonly TenantLogView[];
  /** To be passed as `after`; undefined on the last page. */
  readonly next: string | undefined;
}

export interface TenantHeadView extends TenantLogView {
  /** Number of the first entry that is still served. */
  readonly first: number;
  /** How many of them the newest epoch covers, and so can be proved. */
  readonly provable: number;
  /** Of the log in the map, base64: to be pinned. */
  readonly position: string;
  readonly vkey: string;
  /** The signed checkpoint of the system log, with its cosignatures. */
  readonly checkpoint: string;
}

export interface TenantEntriesQuery {
  readonly tenant: string;
  /** Number in the tenant's log. */
  readonly from: number;
  readonly limit: number;
  readonly reveal: boolean;
}

export type PrivateFieldView =
  /** Not asked to be shown. */
  | { readonly kind: 'sealed'; readonly digest: string }
  | {
      readonly kind: 'shown';
      readonly digest: string;
      readonly name: string;
      readonly value: unknown;
      /** What a third party needs to verify the field. */
      readonly disclosure: string;
    }
  | {
      readonly kind: 'redacted';
      readonly digest: string;
      readonly by: 'erasure' | 'retention' | 'collection';
      /** The ledger entry that ordered it. */
      readonly index: number;
    }
  | {
      readonly kind: 'restricted';
      readonly digest: string;
      readonly restriction: string;
      readonly reason: string;
      readonly index: number;
    }
  | { readonly kind: 'held-back'; readonly digest: string; readonly reason: string }
  | { readonly kind: 'damaged'; readonly digest: string; readonly reason: string }
  | { readonly kind: 'missing'; readonly digest: string };

export interface TenantEntryView {
  /** Number in the tenant's log. */
  readonly index: number;
  /** Index in the system log. */
  readonly globalIndex: number;
  /** The exact bytes, base64. */
  readonly entry: string;
  readonly private: readonly PrivateFieldView[];
}

export type ProofAbout =
  | { readonly kind: 'head' }
  | { readonly kind: 'entry'; readonly index: number }
  /** For the whole log from that number on, after retention. */
  | { readonly kind: 'after'; readonly index: number };

export interface TenantProofView {
  readonly tenant: string;
  /** kintsugi/tenant-proof@v1, verifiable offline with `vkey`. */
  readonly proof: string;
  /** The proved entry's exact bytes, base64; undefined for proofs about the whole log. */
  readonly entry: string | undefined;
  readonly vkey: string;
  /** Entries of the tenant that the epoch of the proof covers. */
  readonly size: number;
}

export interface LegalBasis {
  /** From the closed lists of `BASES`. */
  readonly code: string;
  /** A case number; it stays for ever. */
  readonly ref: string;
}

export interface EraseRequest {
  readonly tenant: string;
  readonly subject: string;
  readonly basis: LegalBasis;
}

export type ErasureView =
  | {
      readonly kind: 'erased';
      readonly erasure: string;
      readonly index: number;
      readonly payloads: number;
      readonly fields: number;
      readonly canary: string;
    }
  | { readonly kind: 'nothing-held'; readonly erasure: string; readonly index: number };

export interface HoldRequest {
  readonly tenant: string;
  /** Undefined: everything of the tenant. */
  readonly subject: string | undefined;
  readonly basis: LegalBasis;
}

export interface RestrictRequest {
  readonly tenant: string;
  readonly subject: string;
  readonly basis: LegalBasis;
}

/** A hold or a restriction in force. Subjects appear nowhere. */
export interface MarkView {
  readonly id: string;
  readonly tenant: string;
  readonly scope: 'tenant' | 'subject';
  readonly basis: LegalBasis & { readonly text: string };
  /** The entry that recorded it. */
  readonly index: number;
}

export interface MarksView {
  readonly holds: readonly MarkView[];
  readonly restrictions: readonly MarkView[];
}

export interface SubjectExportRequest {
  readonly tenant: string;
  readonly subject: string;
  readonly ref: string;
}

export interface WitnessView {
  readonly name: string;
  readonly url: string;
  /** The largest size that it acknowledged. */
  readonly size: number | undefined;
  readonly state:
    | { readonly kind: 'unasked' }
    | { readonly kind: 'good'; readonly since: string }
    | {
        readonly kind: 'failing';
        readonly fault: string;
        readonly reason: string;
        readonly since: string;
      };
}

export type QuorumView =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'waiting';
      readonly needed: number;
      readonly got: number;
      readonly of: number;
      readonly missing: readonly string[];
    }
  | {
      readonly kind: 'met';
      readonly needed: number;
      readonly got: number;
      readonly of: number;
      readonly missing: readonly string[];
    };

export interface PublishView {
  readonly size: number;
  readonly publishedSize: number;
  readonly witnessedSize: number;
  readonly anchoredSize: number;
  readonly quorum: QuorumView;
  readonly witnesses: readonly WitnessView[];
  readonly health:
    | { readonly kind: 'good' }
    | { readonly kind: 'failing'; readonly reason: string; readonly since: string }
    | { readonly kind: 'stopped'; readonly reason: string; readonly since: string }
    | { readonly kind: 'closed' };
}

export interface AnchorView {
  readonly name: string;
  readonly state: 'anchored' | 'pending' | 'failed';
  readonly sinceMs: number;
  readonly reason: string;
  /** The newest size that the medium holds; 0 before the first. */
  readonly size: number;
  readonly attempts: number;
  /** The newest receipt as it stands in `anchors.log`. */
  readonly receipt: unknown;
}

export interface PublishedView {
  readonly size: number;
  readonly root: string;
  readonly checkpoint: string;
}

export interface EvidencePort {
  /** `path`: as tlog-tiles spells it, below the log: `checkpoint`, `tile/0/000` … */
  tiles(scope: LogScope, path: string, actor: Actor): Promise<TileAnswer>;
  tenantLogs(page: PageQuery, actor: Actor): Promise<TenantLogPage>;
  /** This and the next two: KIN_LEDGER_TENANT_UNKNOWN. */
  tenantHead(tenant: string, actor: Actor): Promise<TenantHeadView>;
  tenantEntries(query: TenantEntriesQuery, actor: Actor): Promise<readonly TenantEntryView[]>;
  /** KIN_LEDGER_NO_PROOF with the ledger's reason while there is none. */
  tenantProof(tenant: string, about: ProofAbout, actor: Actor): Promise<TenantProofView>;

  erase(request: EraseRequest, actor: Actor): Promise<ErasureView>;
  hold(request: HoldRequest, actor: Actor): Promise<MarkView>;
  release(hold: string, ref: string, actor: Actor): Promise<{ readonly index: number }>;
  restrict(request: RestrictRequest, actor: Actor): Promise<MarkView>;
  unrestrict(restriction: string, ref: string, actor: Actor): Promise<{ readonly index: number }>;
  /** `tenant` undefined: of all. */
  holds(tenant: string | undefined, actor: Actor): Promise<MarksView>;
  /** The pieces, joined, are one JSON document. Rejects at the first piece, or not at all. */
  subjectExport(request: SubjectExportRequest, actor: Actor): AsyncIterable<string>;

  witnesses(actor: Actor): PublishView;
  anchors(actor: Actor): readonly AnchorView[];
  /** Resolves when a checkpoint at least as new as the log is public. */
  publishNow(actor: Actor): Promise<PublishedView>;
}
