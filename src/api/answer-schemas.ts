// What does each answer to a call look like as JSON Schema? Goes with `schemas.ts`, which has the
// views.
import type { ReleaseVerdict, RollbackEligibility } from '../model/release.ts';
import type * as C from './contract.ts';
import {
  anything,
  component,
  flag,
  list,
  maybe,
  number,
  object,
  oneOf,
  text,
  time,
  variants,
  word,
} from './schema.ts';
import { control, ledgerHead } from './schemas.ts';

const eligibility = component(
  'RollbackEligibility',
  variants<RollbackEligibility>({
    eligible: { release: word() },
    ineligible: {
      reason: oneOf(
        'no-previous-release',
        'previous-release-was-bad',
        'schema-out-of-range',
        'artefact-missing',
      ),
    },
  }),
);

const release = component(
  'ReleaseSummary',
  object<C.ReleaseSummary>({
    id: text,
    service: text,
    digest: text,
    createdAtMs: time,
    verdict: variants<ReleaseVerdict>({
      new: {},
      proved: { atMs: time },
      bad: { atMs: time, reason: text },
    }),
    current: flag,
  }),
);

export const releaseList = object<C.ReleaseList>({
  service: text,
  releases: list(release),
  rollback: eligibility,
  afterDeploy: eligibility,
});

export const ledgerEntry = object<C.LedgerEntry>({
  index: number,
  atMs: time,
  kind: text,
  body: maybe(anything),
});

export const ledgerProof = object<C.LedgerProof>({
  index: number,
  entry: text,
  proof: text,
  vkey: text,
});

export const auditReport = object<C.AuditReport>({
  atMs: time,
  verdict: oneOf('satisfied', 'violated', 'incomplete'),
  controls: list(control),
  ledger: ledgerHead,
});

export const applyAnswer = object<C.ApplyAnswer>({
  dryRun: flag,
  changes: list(
    object<C.ManifestChange>({
      kind: oneOf('add', 'change', 'remove'),
      what: text,
      name: text,
      detail: text,
    }),
  ),
});

export const deployAnswer = object<C.DeployAnswer>({ release, run: text, rollback: eligibility });
export const runAnswer = object<C.RunAnswer>({ run: text });
export const scaleAnswer = object<C.ScaleAnswer>({
  service: text,
  from: number,
  to: number,
  run: maybe(text),
});
export const pauseAnswer = object<C.PauseAnswer>({ changed: list(text) });
export const keyAnswer = object<C.KeyAnswer>({ tenant: text, id: text, key: text });
export const logPart = object<C.LogPart>({ source: text, text });
export const drillSpec = object<C.DrillSpec>({
  name: text,
  does: text,
  targets: oneOf('replica', 'service', 'dependency', 'control', 'controller', 'tenant'),
  example: text,
  expect: text,
});
export const drillAnswer = object<C.DrillAnswer>({
  name: text,
  target: text,
  atMs: time,
  did: text,
});
