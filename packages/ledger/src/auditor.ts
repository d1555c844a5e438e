// What does an auditor's own tool need beyond verifying: to read tiles, tenants' logs and frames,
// and to make a tenant's proof from a folder alone? Formats, nothing that writes a log.

export { bundle, formatTilePath, parseBundle } from './tiles.ts';
export { scanFrames, trustedEnd } from './private/frame-scan.ts';
export { findInMap, mapLeaf, mapRoot, proveInMap, updateMap } from './tenants/sparse-map.ts';
export { readEpoch, readLogStart } from './tenants/tenant-entries.ts';
export type { EpochDetail } from './tenants/tenant-entries.ts';
export {
  formatTenantProof,
  verifyTenantComplete,
  verifyTenantHead,
  verifyTenantProof,
} from './tenants/tenant-verify.ts';
export type { TenantProof, TenantTrust } from './tenants/tenant-verify.ts';
