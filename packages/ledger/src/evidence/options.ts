// What can be done with the whole of the evidence: one log, the logs of its tenants, private fields
// that can be forgotten, and publication with witnesses? Types only.

import type { AppendOptions, IntentInput, LedgerOptions } from '../api.ts';
import type { Signer } from '../note.ts';
import type { Policy } from '../policy.ts';
import type { PrivateFieldsOptions, SubjectFields } from '../private/private-fields.ts';
import type { Random } from '../private/random.ts';
import type { KeyWrapper } from '../private/wrapper.ts';
import type { PublishState, PublisherOptions } from '../publish.ts';
import type { LedgerError } from '../errors.ts';

export interface EvidenceOptions extends Omit<LedgerOptions, 'followers'> {
  /** The folder of the log, of payloads and keys, and of `checkpoints.log`. */
  readonly dir: string;
  /** 32 secret bytes, the same for the life of the log: where each tenant stands in the map. */
  readonly mapKey: Uint8Array;
  /** Holds the root of all keys for private fields. */
  readonly wrapper: KeyWrapper;
  /** Further keys that sign what is published, such as ML-DSA-44. */
  readonly cosigners?: readonly Signer[];
  /** Signs the checkpoints of a tenant's own log, whose origin it is given. */
  readonly tenantSigner?: (origin: string) => Signer;
  readonly policy?: Policy;
  readonly witnessHttp?: PublisherOptions['http'];
  readonly witnessTimeoutMs?: number;
  readonly tenantsMax?: number;
  readonly privateFields?: Pick<
    PrivateFieldsOptions,
    'fileBytes' | 'digestsMax' | 'subjectsMax' | 'wrapperDeadlineMs'
  >;
  /** For simulations: a source that repeats. Never in production. */
  readonly random?: Random;
  /** The log was proven to be rolled back or forked; it takes nothing any more. */
  readonly onFatal?: (error: LedgerError) => void;
  readonly onPublish?: (state: PublishState) => void;
}

/** Whose entry it is, and what of it is people's. */
export interface EntryScope {
  readonly tenant: string;
  readonly private?: readonly SubjectFields[];
}

export interface ScopedAppend extends AppendOptions {
  readonly scope?: EntryScope;
}

export interface ScopedIntent extends IntentInput {
  readonly scope?: EntryScope;
}

/** An entry of a tenant's log. */
export interface TenantEntry {
  /** Its number in the tenant's log. */
  readonly number: number;
  /** Its index in the whole log. */
  readonly index: number;
  readonly bytes: Uint8Array;
}
