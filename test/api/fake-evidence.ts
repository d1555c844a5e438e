// The depth of a ledger in memory: two tenants with three entries each, and a book of what was
// asked of it, by whom. Every answer about a tenant carries its id, so that a leak shows.
import { KinError } from '../../src/model/errors.ts';
import type {
  EvidencePort,
  MarkView,
  PublishView,
  TenantEntryView,
} from '../../src/api/evidence-port.ts';
import type { Actor } from '../../src/api/port.ts';
import type { EvidenceApi } from '../../src/api/server.ts';
import { openAuditors } from '../../src/tenancy/auditors.ts';

export const TENANTS = ['acme', 'globex'] as const;
/** What the gateway would know: key → tenant. */
export const TENANT_KEYS: ReadonlyMap<string, string> = new Map([
  ['kin_clinic_acmekey', 'acme'],
  ['kin_clinic_globexkey', 'globex'],
]);

export interface Note {
  readonly kind: string;
  readonly tenant: string | undefined;
  readonly detail: Readonly<Record<string, string | number>>;
}

export interface FakeEvidence extends EvidenceApi {
  /** What `record` does before it resolves; a test may make it fail. */
  durable: () => Promise<void>;
  readonly calls: { readonly name: string; readonly actor: string; readonly tenant: string }[];
  readonly notes: Note[];
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');

export const PUBLISH: PublishView = {
  size: 12,
  publishedSize: 12,
  witnessedSize: 8,
  anchoredSize: 4,
  quorum: { kind: 'waiting', needed: 2, got: 1, of: 3, missing: ['customer'] },
  witnesses: [
    {
      name: 'auditor',
      url: 'https://witness.auditor.example',
      size: 12,
      state: { kind: 'good', since: '2026-11-20T10:00:00.000Z' },
    },
    {
      name: 'customer',
      url: 'https://ledger.customer.example',
      size: undefined,
      state: {
        kind: 'failing',
        fault: 'timeout',
        reason: 'no answer within a second',
        since: '2026-11-20T10:00:00.000Z',
      },
    },
  ],
  health: { kind: 'good' },
};

const MARK: MarkView = {
  id: 'f00d',
  tenant: 'acme',
  scope: 'subject',
  basis: { code: 'litigation', ref: 'C-1', text: 'pending or expected litigation' },
  index: 7,
};

export async function fakeEvidence(): Promise<FakeEvidence> {
  const calls: FakeEvidence['calls'] = [];
  const notes: Note[] = [];
  let kept: unknown;
  const auditors = await openAuditors({
    read: async () => kept,
    write: async (_name, value) => {
      kept = value;
    },
    nowMs: () => Date.now(),
  });
  const fake: FakeEvidence = {
    calls,
    notes,
    auditors,
    port: { ...reading(calls), ...acting(calls) },
    tenantOfKey: async (key) => TENANT_KEYS.get(key),
    note: (kind, tenant, detail) => {
      notes.push({ kind, tenant, detail });
    },
    durable: async () => undefined,
    record: async (kind, tenant, detail) => {
      await fake.durable();
      notes.push({ kind, tenant, detail });
    },
    nowMs: () => Date.now(),
  };
  return fake;
}

type Calls = FakeEvidence['calls'];

function known(tenant: string): string {
  if (TENANTS.some((one) => one === tenant)) return tenant;
  throw new KinError('KIN_LEDGER_TENANT_UNKNOWN', `the tenant ${tenant} has no log`, 'Check.');
}

function entryOf(tenant: string, index: number, reveal: boolean): TenantEntryView {
  const digest = `${tenant}-digest`;
  const shown = { kind: 'shown', digest, name: 'ip', value: tenant, disclosure: 'd' } as const;
  return {
    index,
    globalIndex: 10 + index,
    entry: base64(`{"secret-of":"${tenant}"}`),
    private: [reveal ? shown : { kind: 'sealed', digest }],
  };
}

type Reading = 'tiles' | 'tenantLogs' | 'tenantHead' | 'tenantEntries' | 'tenantProof';

function reading(calls: Calls): Pick<EvidencePort, Reading> {
  const did = (name: string, actor: Actor, tenant = ''): void => {
    calls.push({ name, actor: actor.name, tenant });
  };
  return {
    tiles: async (scope, path, actor) => {
      const tenant = scope.kind === 'tenant' ? known(scope.tenant) : 'acme and globex';
      did('tiles', actor, tenant);
      const body = Buffer.from(`${tenant} ${path}`);
      return { status: 200, headers: { 'content-type': 'text/plain' }, body };
    },
    tenantLogs: async (_page, actor) => {
      did('tenantLogs', actor);
      const logs = TENANTS.map((tenant) => ({ tenant, size: 3, root: 'cm9vdA==' }));
      return { logs, next: undefined };
    },
    tenantHead: async (tenant, actor) => {
      did('tenantHead', actor, tenant);
      const head = { tenant: known(tenant), size: 3, root: 'cm9vdA==', first: 0, provable: 3 };
      return { ...head, position: 'cG9z', vkey: 'x+1+y', checkpoint: 'x\n' };
    },
    tenantEntries: async ({ tenant, from, limit, reveal }, actor) => {
      did(reveal ? 'reveal' : 'tenantEntries', actor, tenant);
      known(tenant);
      const indexes = [0, 1, 2].filter((index) => index >= from).slice(0, limit);
      return indexes.map((index) => entryOf(tenant, index, reveal));
    },
    tenantProof: async (tenant, about, actor) => {
      did('tenantProof', actor, tenant);
      const entry = about.kind === 'entry' ? base64(`${known(tenant)} ${about.index}`) : undefined;
      return { tenant: known(tenant), proof: `proof of ${tenant}`, entry, vkey: 'x', size: 3 };
    },
  };
}

function acting(calls: Calls): Omit<EvidencePort, Reading> {
  const did = (name: string, actor: Actor, tenant = ''): void => {
    calls.push({ name, actor: actor.name, tenant });
  };
  return {
    erase: async ({ tenant, subject }, actor) => {
      did('erase', actor, tenant);
      if (subject === 'held')
        throw new KinError('KIN_LEDGER_HELD', 'hold f00d forbids it', 'Wait.');
      if (subject === 'nobody') return { kind: 'nothing-held', erasure: 'e1', index: 5 };
      return { kind: 'erased', erasure: 'e1', index: 5, payloads: 2, fields: 3, canary: 'refused' };
    },
    hold: async ({ tenant, subject }, actor) => {
      did('hold', actor, tenant);
      return { ...MARK, tenant, scope: subject === undefined ? 'tenant' : 'subject' };
    },
    release: async (_id, _ref, actor) => {
      did('release', actor);
      return { index: 8 };
    },
    restrict: async ({ tenant }, actor) => {
      did('restrict', actor, tenant);
      return { ...MARK, tenant };
    },
    unrestrict: async (_id, _ref, actor) => {
      did('unrestrict', actor);
      return { index: 9 };
    },
    holds: async (_tenant, actor) => {
      did('holds', actor);
      return { holds: [MARK], restrictions: [] };
    },
    subjectExport: async function* subjectExport({ tenant, subject }, actor) {
      did('subjectExport', actor, tenant);
      if (subject === 'gone') throw new KinError('KIN_LEDGER_ERASING', 'is being erased', 'Wait.');
      yield `{"about":{"tenant":"${tenant}"},"records":[`;
      yield '\n]}\n';
    },
    witnesses: (actor) => {
      did('witnesses', actor);
      return PUBLISH;
    },
    anchors: (actor) => {
      did('anchors', actor);
      const state = { state: 'anchored', sinceMs: 1, reason: '', size: 4, attempts: 0 } as const;
      return [{ name: 'tsa', ...state, receipt: { kind: 'rfc3161' } }];
    },
    publishNow: async (actor) => {
      did('publishNow', actor);
      return { size: 12, root: 'cm9vdA==', checkpoint: 'x\n' };
    },
  };
}
