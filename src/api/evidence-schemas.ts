// What do the answers about tenants' logs, private fields, witnesses and anchors look like as JSON
// Schema? One constant a type of `evidence-port.ts`; the compiler holds the two together.
import type { AuditorRow } from '../tenancy/auditors.ts';
import type * as E from './evidence-port.ts';
import {
  anything,
  component,
  list,
  maybe,
  number,
  object,
  oneOf,
  text,
  time,
  variants,
} from './schema.ts';

const logView = { tenant: text, size: number, root: text };

export const tenantLogPage = component(
  'TenantLogPage',
  object<E.TenantLogPage>({ logs: list(object<E.TenantLogView>(logView)), next: maybe(text) }),
);

export const tenantHead = component(
  'TenantHead',
  object<E.TenantHeadView>({
    ...logView,
    first: number,
    provable: number,
    position: text,
    vkey: text,
    checkpoint: text,
  }),
);

const privateField = component(
  'PrivateField',
  variants<E.PrivateFieldView>({
    sealed: { digest: text },
    shown: { digest: text, name: text, value: anything, disclosure: text },
    redacted: { digest: text, by: oneOf('erasure', 'retention', 'collection'), index: number },
    restricted: { digest: text, restriction: text, reason: text, index: number },
    'held-back': { digest: text, reason: text },
    damaged: { digest: text, reason: text },
    missing: { digest: text },
  }),
);

export const tenantEntry = component(
  'TenantEntry',
  object<E.TenantEntryView>({
    index: number,
    globalIndex: number,
    entry: text,
    private: list(privateField),
  }),
);

export const tenantProof = component(
  'TenantProof',
  object<E.TenantProofView>({
    tenant: text,
    proof: text,
    entry: maybe(text),
    vkey: text,
    size: number,
  }),
);

export const erasure = component(
  'Erasure',
  variants<E.ErasureView>({
    erased: { erasure: text, index: number, payloads: number, fields: number, canary: text },
    'nothing-held': { erasure: text, index: number },
  }),
);

export const mark = component(
  'PrivacyMark',
  object<E.MarkView>({
    id: text,
    tenant: text,
    scope: oneOf('tenant', 'subject'),
    basis: object<E.MarkView['basis']>({ code: text, ref: text, text }),
    index: number,
  }),
);

export const marks = object<E.MarksView>({ holds: list(mark), restrictions: list(mark) });
export const recordedAt = object<{ readonly index: number }>({ index: number });

const counts = { needed: number, got: number, of: number, missing: list(text) };

export const publishState = component(
  'PublishState',
  object<E.PublishView>({
    size: number,
    publishedSize: number,
    witnessedSize: number,
    anchoredSize: number,
    quorum: variants<E.QuorumView>({ none: {}, waiting: counts, met: counts }),
    witnesses: list(
      object<E.WitnessView>({
        name: text,
        url: text,
        size: maybe(number),
        state: variants<E.WitnessView['state']>({
          unasked: {},
          good: { since: text },
          failing: { fault: text, reason: text, since: text },
        }),
      }),
    ),
    health: variants<E.PublishView['health']>({
      good: {},
      failing: { reason: text, since: text },
      stopped: { reason: text, since: text },
      closed: {},
    }),
  }),
);

export const anchor = component(
  'Anchor',
  object<E.AnchorView>({
    name: text,
    state: oneOf('anchored', 'pending', 'failed'),
    sinceMs: time,
    reason: text,
    size: number,
    attempts: number,
    receipt: maybe(anything),
  }),
);

export const published = object<E.PublishedView>({ size: number, root: text, checkpoint: text });

const auditorFields = { name: text, createdAtMs: time, expiresAtMs: time };
export const auditor = component('Auditor', object<AuditorRow>(auditorFields));
export const addedAuditor = object<AuditorRow & { readonly token: string }>({
  ...auditorFields,
  token: text,
});
