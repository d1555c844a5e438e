// How does the controller answer for the ledger's depth? The API's evidence port over the evidence
// log, its publisher and its anchors. Access is decided before; what is written says who asked.
//
//   EV1. Nothing of another tenant can be reached through a tenant's calls: each starts from its
//        id.
import { BASES, isTenantId, tileHandler } from '@kintsugi/ledger';
import type { BasisKind, EvidenceLog, Hold, Restriction, TileHandler } from '@kintsugi/ledger';
import type {
  AnchorView,
  ErasureView,
  EvidencePort,
  LegalBasis,
  LogScope,
  MarkView,
  PrivateFieldView,
  ProofAbout,
  PublishView,
  PublishedView,
  TenantEntriesQuery,
  TenantEntryView,
  TenantHeadView,
  TenantLogPage,
  TenantProofView,
} from '../api/evidence-port.ts';
import type { EvidenceApi } from '../api/server.ts';
import { KinError } from '../model/errors.ts';
import { openAuditors } from '../tenancy/auditors.ts';
import type { Controller } from './parts.ts';

/** What the API needs for the routes on evidence: who may ask, and where asking is written down. */
export async function evidenceApi(controller: Controller): Promise<EvidenceApi> {
  const { world, lease, keys } = controller;
  const nowMs = (): number => world.clock.nowMs();
  const auditors = await openAuditors({
    read: (setting) => world.store.setting(setting),
    write: (setting, value) => world.store.putSetting(setting, value, lease.epoch),
    nowMs,
  });
  return {
    port: evidencePort(controller),
    auditors,
    tenantOfKey: async (key) => keys.tenantOf(key),
    note(kind, tenant, detail) {
      world.ledger.note(kind, detail, tenant === undefined ? undefined : { tenant, private: [] });
    },
    async record(kind, tenant, detail) {
      const options = tenant === undefined ? {} : { scope: { tenant } };
      await controller.evidence.record(kind, detail, options);
    },
    nowMs,
  };
}

type Parts = Pick<Controller, 'evidence' | 'anchors'>;

const LOGS_MAX = 1_000;

export function evidencePort({ evidence, anchors }: Parts): EvidencePort {
  const { core, privacy, publisher } = evidence;
  const system = tileHandler(evidence.systemTiles());
  return {
    tiles: (scope, path) => tilesOf(evidence, system, scope)('GET', `/${path}`),
    tenantLogs: async ({ after, limit }) => logsOf(evidence, after, limit),
    tenantHead: async (tenant) => headOf(evidence, tenant),
    tenantEntries: (query) => entriesOf(evidence, query),
    tenantProof: (tenant, about) => proofOf(evidence, tenant, about),
    async erase({ tenant, subject, basis }) {
      const report = await privacy.erase({ tenant, subject, basis: basisOf('erasure', basis) });
      return report satisfies ErasureView;
    },
    async hold({ tenant, subject, basis }) {
      const who = subject === undefined ? { tenant } : { tenant, subject };
      return holdView(await privacy.placeHold({ ...who, basis: basisOf('hold', basis) }));
    },
    release: (hold, ref) => privacy.releaseHold(hold, ref),
    async restrict({ tenant, subject, basis }) {
      const made = await privacy.restrict({
        tenant,
        subject,
        basis: basisOf('restriction', basis),
      });
      return restrictionView(made);
    },
    unrestrict: (restriction, ref) => privacy.unrestrict(restriction, ref),
    async holds(tenant) {
      const { holds, restrictions } = privacy.marks();
      const isWanted = (one: { readonly tenant: string }): boolean =>
        tenant === undefined || one.tenant === tenant;
      return {
        holds: holds.filter(isWanted).map(holdView),
        restrictions: restrictions.filter(isWanted).map(restrictionView),
      };
    },
    subjectExport: ({ tenant, subject, ref }) =>
      privacy.exportSubject({ tenant, subject, ref, source: evidence.exportSource(tenant) }),
    witnesses: () => publishView(evidence),
    anchors: () =>
      [...anchors.states()].map(([name, state]): AnchorView => ({
        name,
        state: state.kind,
        sinceMs: state.sinceMs,
        reason: state.reason,
        size: state.size,
        attempts: state.attempts,
        receipt: anchors.newest(name) ?? null,
      })),
    async publishNow(): Promise<PublishedView> {
      const { size, root } = await core.publish();
      const checkpoint = publisher.published() ?? core.checkpoint().text;
      return { size, root, checkpoint };
    },
  };
}

function tilesOf(evidence: EvidenceLog, system: TileHandler, scope: LogScope): TileHandler {
  if (scope.kind === 'system') return system;
  known(evidence, scope.tenant);
  return tileHandler(evidence.tenantTiles(scope.tenant), { cache: 'private' });
}

/** EV1: asked by a well-formed id that has a log, or not at all. */
function known({ tenants }: EvidenceLog, tenant: string): void {
  if (isTenantId(tenant) && tenants.has(tenant)) return;
  throw new KinError(
    'KIN_LEDGER_TENANT_UNKNOWN',
    'there is no log of this tenant',
    'A tenant’s log begins with the first entry about it; see `kintsugi ledger tenants`.',
  );
}

function logsOf({ tenants }: EvidenceLog, after: string | undefined, limit: number): TenantLogPage {
  const count = Math.max(1, Math.min(LOGS_MAX, limit));
  const names = tenants.list(count, after);
  const logs = names.flatMap((tenant) => {
    const head = tenants.head(tenant);
    return head === undefined ? [] : [{ tenant, size: head.size, root: base64(head.root) }];
  });
  return { logs, next: names.length < count ? undefined : names.at(-1) };
}

async function headOf(evidence: EvidenceLog, tenant: string): Promise<TenantHeadView> {
  known(evidence, tenant);
  const { tenants, publisher, core } = evidence;
  const head = tenants.head(tenant);
  const made = await evidence.tenantProof({ tenant, about: { kind: 'head' } });
  return {
    tenant,
    size: head?.size ?? 0,
    root: base64(head?.root ?? new Uint8Array(0)),
    first: tenants.minimum(tenant),
    provable: made.kind === 'proof' ? made.size : 0,
    position: base64(tenants.position(tenant)),
    vkey: core.vkey,
    checkpoint: publisher.witnessed() ?? publisher.published() ?? core.checkpoint().text,
  };
}

async function entriesOf(
  evidence: EvidenceLog,
  { tenant, from, limit, reveal }: TenantEntriesQuery,
): Promise<readonly TenantEntryView[]> {
  known(evidence, tenant);
  const size = evidence.tenants.head(tenant)?.size ?? 0;
  if (from >= size) return [];
  const page = await evidence.tenantEntries(tenant, from, Math.min(limit, size - from));
  return Promise.all(
    page.map(async ({ number, index, bytes }) => ({
      index: number,
      globalIndex: index,
      entry: base64(bytes),
      private: await fieldsOf(evidence, bytes, index, tenant, reveal),
    })),
  );
}

async function fieldsOf(
  { privacy }: EvidenceLog,
  bytes: Uint8Array,
  index: number,
  tenant: string,
  reveal: boolean,
): Promise<readonly PrivateFieldView[]> {
  if (reveal) return privacy.reveal(bytes, { tenant, index });
  const parsed: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
  const digests: unknown =
    typeof parsed === 'object' && parsed !== null && 'private' in parsed ? parsed.private : [];
  if (!Array.isArray(digests)) return [];
  return digests.map((digest): PrivateFieldView => ({ kind: 'sealed', digest: String(digest) }));
}

async function proofOf(
  evidence: EvidenceLog,
  tenant: string,
  about: ProofAbout,
): Promise<TenantProofView> {
  known(evidence, tenant);
  const made = await evidence.tenantProof({ tenant, about });
  if (made.kind === 'refused') {
    throw new KinError(
      'KIN_LEDGER_NO_PROOF',
      `there is no proof yet: ${made.reason}`,
      'Ask again after the next publication, or publish now: kintsugi ledger publish.',
    );
  }
  const number = about.kind === 'entry' ? about.index : undefined;
  const [entry] = number === undefined ? [] : await evidence.tenantEntries(tenant, number, 1);
  return {
    tenant,
    proof: made.text,
    entry: entry === undefined ? undefined : base64(entry.bytes),
    vkey: evidence.core.vkey,
    size: made.size,
  };
}

function publishView({ publisher }: EvidenceLog): PublishView {
  const state = publisher.state();
  return {
    ...state,
    witnesses: state.witnesses.map(({ name, url, size, state: now }) => ({
      name,
      url,
      size,
      state:
        now.kind === 'failing'
          ? { kind: now.kind, fault: now.fault, reason: now.reason, since: now.since }
          : now,
    })),
    health:
      state.health.kind === 'stopped'
        ? { kind: 'stopped', reason: state.health.reason, since: state.health.since }
        : state.health,
  };
}

/** A code of the closed list of its kind; the ledger checks the reference. */
function basisOf<Kind extends BasisKind>(
  kind: Kind,
  { code, ref }: LegalBasis,
): { readonly code: keyof (typeof BASES)[Kind] & string; readonly ref: string } {
  if (Object.hasOwn(BASES[kind], code)) {
    return { code: code as keyof (typeof BASES)[Kind] & string, ref };
  }
  throw new KinError(
    'KIN_API_BAD_REQUEST',
    `"${code.slice(0, 60)}" is no basis of a ${kind}`,
    `Use one of: ${Object.keys(BASES[kind]).join(', ')}.`,
  );
}

function holdView({ hold, tenant, tag, basis, index }: Hold): MarkView {
  return { id: hold, tenant, scope: tag === null ? 'tenant' : 'subject', basis, index };
}

function restrictionView({ restriction, tenant, basis, index }: Restriction): MarkView {
  return { id: restriction, tenant, scope: 'subject', basis, index };
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
