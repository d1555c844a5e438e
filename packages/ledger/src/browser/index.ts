// The verifier for a web page: the same functions as `@kintsugi/ledger/verify`, with promises where
// a signature is checked. Built by scripts/ledger/browser.ts, which puts ./crypto.ts in the place
// of ../crypto.ts. `settle` runs any other verifier of this package in the same way.

import { settle } from './crypto.ts';
import * as tenants from '../tenants/tenant-verify.ts';
import * as sync from '../verify.ts';

export { settle } from './crypto.ts';
export { parseDisclosure, privateDigests, verifyDisclosure } from '../private/disclosure.ts';
export type * from '../private/disclosure.ts';
export { parseTenantProof, tenantOf } from '../tenants/tenant-verify.ts';
export type * from '../tenants/tenant-verify.ts';
export { checkConsistency, checkInclusion, emptyRoot, leafHash, nodeHash } from '../verify.ts';
export { formatPolicy, parseNote, parsePolicy, parseProof, parseTreeHead } from '../verify.ts';
export { fromBase64, parseVkey, toBase64 } from '../verify.ts';
export type * from '../verify.ts';

type Async<F extends (...args: never[]) => unknown> = (
  ...args: Parameters<F>
) => Promise<Awaited<ReturnType<F>>>;

export const verifyNote: Async<typeof sync.verifyNote> = (source, vkeys) =>
  settle(() => sync.verifyNote(source, vkeys));

export const verifyCheckpoint: Async<typeof sync.verifyCheckpoint> = (text, vkey) =>
  settle(() => sync.verifyCheckpoint(text, vkey));

export const verifyProof: Async<typeof sync.verifyProof> = (proof, entry, vkey) =>
  settle(() => sync.verifyProof(proof, entry, vkey));

export const verifyConsistency: Async<typeof sync.verifyConsistency> = (evidence, vkey) =>
  settle(() => sync.verifyConsistency(evidence, vkey));

export const verifyCheckpointUnderPolicy: Async<typeof sync.verifyCheckpointUnderPolicy> = (
  text,
  policy,
  logVkeys,
) => settle(() => sync.verifyCheckpointUnderPolicy(text, policy, logVkeys));

export const verifyProofUnderPolicy: Async<typeof sync.verifyProofUnderPolicy> = (
  proof,
  entry,
  policy,
  logVkeys,
) => settle(() => sync.verifyProofUnderPolicy(proof, entry, policy, logVkeys));

export const verifyTenantProof: Async<typeof tenants.verifyTenantProof> = (text, entry, options) =>
  settle(() => tenants.verifyTenantProof(text, entry, options));

export const verifyTenantHead: Async<typeof tenants.verifyTenantHead> = (text, options) =>
  settle(() => tenants.verifyTenantHead(text, options));

export const verifyTenantComplete: Async<typeof tenants.verifyTenantComplete> = (
  entries,
  text,
  options,
) => settle(() => tenants.verifyTenantComplete(entries, text, options));
