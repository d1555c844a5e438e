// What is a release? A read-only folder, named by the digest of everything in it, so that the same
// id always means the same bytes.
import type { ReleaseId, ServiceName } from './ids.ts';

export interface Release {
  readonly id: ReleaseId;
  readonly service: ServiceName;
  /** `sha256:` and 64 hex digits over the sorted list of paths, modes and contents. */
  readonly digest: string;
  /** Absolute folder, read-only. */
  readonly dir: string;
  readonly command: readonly string[];
  /** Working folder below `dir`. */
  readonly cwd: string;
  /** Environment template: references stay references, secrets are never in here. */
  readonly env: Readonly<Record<string, string>>;
  readonly createdAtMs: number;
  /** Lowest and highest data schema that it can run on, when it declares them. */
  readonly schema: { readonly min: number; readonly max: number } | undefined;
  readonly verdict: ReleaseVerdict;
}

/** `proved` served traffic through its bake; `bad` was rolled back and is never used again. */
export type ReleaseVerdict =
  | { readonly kind: 'new' }
  | { readonly kind: 'proved'; readonly atMs: number }
  | { readonly kind: 'bad'; readonly atMs: number; readonly reason: string };

/** Can the service go back to this release, and if not, why? */
export type RollbackEligibility =
  | { readonly kind: 'eligible'; readonly release: ReleaseId }
  | { readonly kind: 'ineligible'; readonly reason: RollbackRefusal };

export type RollbackRefusal =
  | 'no-previous-release'
  | 'previous-release-was-bad'
  | 'schema-out-of-range'
  | 'artefact-missing';
