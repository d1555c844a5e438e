// The public face of @kintsugi/ledger. Verification alone is `@kintsugi/ledger/verify`.

export type * from './api.ts';
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
export { openLedger } from './open.ts';
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
