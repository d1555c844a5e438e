// How does the draft of the ledger become the LedgerSpec of the model? Paths become absolute, keys
// get their model names; and, at the start, references in addresses become their values.
import { resolve } from 'node:path';
import { assert } from '../model/errors.ts';
import { tenantId } from '../model/ids.ts';
import type {
  EvmAnchorSpec,
  LedgerAnchorSpec,
  LedgerSpec,
  WitnessesSpec,
} from '../model/manifest.ts';
import { ledger } from './keys-ledger.ts';
import type { DraftAnchor, DraftLedger, DraftWitnesses } from './keys-ledger.ts';
import { resolveText } from './reference.ts';
import type { ResolveInputs, ResolveNames } from './reference.ts';
import { standIn } from './shape-words.ts';
import { readVkey } from './vkey.ts';

export function buildLedger(draft: DraftLedger, baseDir: string): LedgerSpec {
  const { retention, highWater } = draft;
  return {
    publishEveryMs: draft.publishEvery,
    witnesses: buildWitnesses(draft.witnesses, baseDir),
    witnessFor: [...new Set(draft.witnessFor)],
    anchorEveryMs: draft.anchorEvery,
    anchorEntries: draft.anchorEntries,
    anchors: draft.anchors.map((anchor) => buildAnchor(anchor, baseDir)),
    retention: {
      keepMs: retention.keep,
      tenantsMs: new Map([...retention.tenants].map(([name, ms]) => [tenantId(name), ms])),
    },
    highWater: highWater === undefined ? undefined : resolve(baseDir, highWater),
  };
}

/** What holds for a manifest that says nothing of the ledger. */
export const STANDARD_LEDGER: LedgerSpec = buildLedger(standIn(ledger) as DraftLedger, '/');

function buildWitnesses(draft: DraftWitnesses | undefined, baseDir: string): WitnessesSpec {
  if (draft === undefined) return { kind: 'none' };
  if (draft.policy !== undefined) return { kind: 'policy', file: resolve(baseDir, draft.policy) };
  assert(
    draft.list !== undefined && draft.require !== undefined,
    'witnesses are a policy or a list once they are checked',
  );
  const list = draft.list.map(({ name, key, url }) => ({
    name: name ?? readVkey(key).name,
    key,
    url,
  }));
  return { kind: 'list', require: draft.require, list };
}

function buildAnchor(draft: DraftAnchor, baseDir: string): LedgerAnchorSpec {
  const { name } = draft;
  switch (draft.kind) {
    case 'rfc3161': {
      const { kind, url, timeout } = draft;
      const certificatesFile = resolve(baseDir, draft.certificatesFile);
      return { kind, name, url, certificatesFile, timeoutMs: timeout };
    }
    case 'evm':
      return buildEvm(draft, baseDir);
    case 'opentimestamps': {
      const { kind, calendars, upgradeFrom, timeout } = draft;
      return { kind, name, calendars, upgradeFrom, timeoutMs: timeout };
    }
    case 'file': {
      const { kind, layout } = draft;
      return { kind, name, path: resolve(baseDir, draft.path), layout };
    }
  }
}

function buildEvm(draft: DraftAnchor & { readonly kind: 'evm' }, baseDir: string): EvmAnchorSpec {
  const { kind, name, rpcUrl, chainId, contract, owner, keyFile, fromBlock } = draft;
  const key = keyFile === undefined ? {} : { keyFile: resolve(baseDir, keyFile) };
  return {
    kind,
    name,
    rpcUrl,
    chainId,
    contract,
    owner,
    ...key,
    fromBlock,
    timeoutMs: draft.timeout,
    maxFeeGwei: draft.maxFee,
    confirmations: draft.confirmations,
    pollMs: draft.poll,
    stuckMs: draft.stuck,
    waitMs: draft.wait,
  };
}

/** The anchors as their drivers take them: secrets stand in the result, so it is never shown. */
export function resolveAnchors(
  spec: Pick<LedgerSpec, 'anchors'>,
  names: ResolveNames,
  inputs: ResolveInputs,
): readonly LedgerAnchorSpec[] {
  return spec.anchors.map((anchor) =>
    anchor.kind === 'evm'
      ? { ...anchor, rpcUrl: resolveText(anchor.rpcUrl, names, inputs) }
      : anchor,
  );
}
