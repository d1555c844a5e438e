// The public face of @kintsugi/ledger. Verification alone is `@kintsugi/ledger/verify`.

export type * from './api.ts';
export { LocalStore } from './local-store.ts';
export { PostgresStore, createPostgresSchema } from './postgres-store.ts';
export type { PostgresStoreOptions, SqlClient, SqlRow } from './postgres-store.ts';
export { postgresSchema } from './postgres-schema.ts';
export type { Piece, RecordPlace, RecordStore, RecordWriter, WriterOptions } from './store.ts';
export { LedgerError, isLedgerError, ledgerErrorFixes } from './errors.ts';
export type { DamagePlace, LedgerErrorCode } from './errors.ts';
export { ENTRY_BYTES_MAX, decodeEntry } from './entry.ts';
export type {
  DecodedEntry,
  IntentEntry,
  OutcomeEntry,
  OutcomeResult,
  PlainEntry,
} from './entry.ts';
export { canonicalJson } from './json.ts';
export type { JsonObject, JsonValue } from './json.ts';
export { systemClock } from './files.ts';
export type { Files, FolderLock, LedgerClock, OpenFile } from './files.ts';
export { nodeFiles } from './node-files.ts';
export { MemoryFiles } from './memory-files.ts';
export type { CrashChoices, FilesOperation, MemoryFilesOptions } from './memory-files.ts';
export { generateSigner, loadSigner, signerFromSeed } from './signer.ts';
export type { GeneratedSigner } from './signer.ts';
export type { Signer } from './note.ts';
export type { PublishLevel, PublishPort } from './levels.ts';
export { openLedger } from './open.ts';
export type { EntryFollower } from './follow.ts';
export { isReceipt } from './receipt.ts';
export { verifyLedgerDir } from './fsck.ts';
export type { FsckFinding, FsckNote, FsckOptions, FsckReport, FsckTotals } from './fsck.ts';
export { exportStatic } from './export.ts';
export type { ExportOptions } from './export.ts';
export { verifyCheckpoint, verifyConsistency, verifyProof } from './verify.ts';
export type {
  CheckpointVerdict,
  ConsistencyEvidence,
  ConsistencyVerdict,
  EntryVerdict,
  Refused,
  VerifyCode,
} from './verify.ts';
export { parseVkey } from './note.ts';
export type { TreeHead, VerifierKey } from './note.ts';
export { openEvidence } from './evidence/open-evidence.ts';
export type { EvidenceLog } from './evidence/evidence-log.ts';
export type {
  EntryScope,
  EvidenceOptions,
  ScopedAppend,
  ScopedIntent,
  TenantEntry,
} from './evidence/options.ts';
export { localKeyWrapper, rootKeyWrapper } from './private/wrapper.ts';
export type { KeyWrapper, WrapContext } from './private/wrapper.ts';
export { BASES } from './private/port.ts';
export type {
  Basis,
  BasisKind,
  ErasureBasis,
  HoldBasis,
  RestrictionBasis,
  RetentionBasis,
} from './private/port.ts';
export type { FieldState } from './private/reveal.ts';
export type { ErasureReport } from './private/erase.ts';
export type { Hold, Restriction } from './private/marks.ts';
export type { SubjectFields } from './private/private-fields.ts';
export { Redactions } from './private/redactions.ts';
export { TenantAudit } from './tenants/audit.ts';
export type { TenantAuditReport, TenantFault, TenantFaultKind } from './tenants/audit.ts';
export { isTenantId, tenantOf } from './tenants/tenant-of.ts';
export type { TenantProofRequest, TenantProofResult } from './tenants/tenant-evidence.ts';
export { tileHandler, tileListener } from './tiles.ts';
export type { TileHandler, TileResponse, TileSource } from './tiles.ts';
export type { PublishState } from './publish.ts';
export type { WitnessStatus } from './witness/client.ts';
export { startWitness } from './witness/start.ts';
export { readCheckpointsLog } from './checkpoints-log.ts';
export { formatPolicy, parsePolicy } from './policy.ts';
export type { Policy } from './policy.ts';
export type { SignerKind } from './signer.ts';
export { verifyEvidenceDir } from './evidence/verify-dir.ts';
export type {
  EvidenceFinding,
  EvidenceNote,
  EvidenceReport,
  VerifyEvidenceOptions,
} from './evidence/verify-dir.ts';
export { collectOrphansOf } from './evidence/upkeep.ts';
export type { UpkeepReport } from './evidence/upkeep.ts';
export { verifyStatic } from './static.ts';
export type { StaticFinding, StaticOptions, StaticReport, StaticSource } from './static.ts';
export type { FsckObserver, ObservedPlace } from './fsck.ts';
