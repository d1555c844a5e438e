// What does a platform write its evidence into? The log, with each entry in its tenant's own log as
// well, people's fields kept apart, and every tree published. Built by `openEvidence`.
// EL1. An entry that commits to private fields is appended only when the fields are durable.
// EL2. A tenant's log begins with its place in the map before anything else is recorded for it.
// EL3. What may wait for nobody (`queued`) loses its private fields rather than its entry, and the
//      entry says so.
// EL4. What would be refused begins no log: a tenant's first entry is looked at before anything is
//      written for the tenant.

import type { Appended, Intent, Ledger } from '../api.ts';
import { checkPlainKind, encodeEntry, entryMembers } from '../entry.ts';
import { LedgerError, typedError } from '../errors.ts';
import { intentEntry } from '../intent-entry.ts';
import { parseNote, parseTreeHead } from '../note.ts';
import type { Signer } from '../note.ts';
import { OWN } from '../own.ts';
import { checkSubject } from '../private/checks.ts';
import { checkFields } from '../private/payload.ts';
import type { PrivateFields } from '../private/private-fields.ts';
import type { RetentionBasis } from '../private/port.ts';
import type { ExportSource } from '../private/subject-export.ts';
import { privateDigests, privateMember } from '../private/disclosure.ts';
import type { Publisher } from '../publish.ts';
import type { LogBeginnings } from '../tenants/log-beginnings.ts';
import { tenantProof } from '../tenants/tenant-evidence.ts';
import type { TenantProofRequest, TenantProofResult } from '../tenants/tenant-evidence.ts';
import { minimumEntry } from '../tenants/tenant-entries.ts';
import type { TenantLogs } from '../tenants/tenant-logs.ts';
import type { TileSource } from '../tiles.ts';
import type { CoreReads } from './core-reads.ts';
import type { EntryScope, ScopedAppend, ScopedIntent, TenantEntry } from './options.ts';
import { systemSource, tenantSource } from './tile-sources.ts';

export interface EvidenceParts {
  readonly core: Ledger;
  readonly reads: CoreReads;
  readonly tenants: TenantLogs;
  readonly beginnings: LogBeginnings;
  readonly privacy: PrivateFields;
  readonly publisher: Publisher;
  readonly salt: () => string;
  readonly now: () => string;
  readonly tenantSigner: ((origin: string) => Signer) | undefined;
  /** Lock of the folder, where the log itself lies elsewhere. */
  readonly folder: { close(): Promise<void> } | undefined;
}

const PAGE = 256;

const sizeOf = (checkpoint: string): number =>
  Number(parseTreeHead(parseNote(checkpoint)?.text ?? '')?.size ?? 0n);

/** As long as any digest. */
const SAMPLE_DIGEST = 'A'.repeat(43);

interface Members {
  readonly tenant: string;
  readonly salt: string;
  readonly private?: readonly string[];
}

export class EvidenceLog {
  readonly #parts: EvidenceParts;

  constructor(parts: EvidenceParts) {
    this.#parts = parts;
    const { tenants, publisher } = parts;
    tenants.proveTo(() =>
      [publisher.witnessed(), publisher.published()].map((text) => sizeOf(text ?? '')),
    );
  }

  /** The log itself: proofs, receipts, reading, pruning. */
  get core(): Ledger {
    return this.#parts.core;
  }

  get tenants(): TenantLogs {
    return this.#parts.tenants;
  }

  get privacy(): PrivateFields {
    return this.#parts.privacy;
  }

  get publisher(): Publisher {
    return this.#parts.publisher;
  }

  async record(kind: string, detail: unknown, options: ScopedAppend = {}): Promise<Appended> {
    const { scope, wait, deadlineMs } = options;
    const { core } = this.#parts;
    if (scope === undefined) return core.record(kind, detail, options);
    if (!this.tenants.has(scope.tenant)) {
      checkPlainKind(kind, options[OWN]);
      this.#checkFirst(scope, { kind, detail: detail ?? null });
    }
    let members: Members;
    let said = detail;
    try {
      members = await this.#members(scope, deadlineMs);
    } catch (cause) {
      if (wait !== 'queued' || scope.private === undefined) throw cause;
      // EL3.
      members = await this.#members({ tenant: scope.tenant }, deadlineMs);
      said = { detail, privateFieldsLost: scope.private.length };
    }
    return await core.record(kind, said, { ...options, members });
  }

  async intent({ scope, ...input }: ScopedIntent): Promise<Intent> {
    const { core } = this.#parts;
    if (scope === undefined) return core.intent(input);
    if (!this.tenants.has(scope.tenant)) {
      checkPlainKind(input.kind, input[OWN]);
      this.#checkFirst(scope, intentEntry(input, Date.parse(this.#parts.now())));
    }
    const members = await this.#members(scope, input.appendDeadlineMs);
    return core.intent({ ...input, members });
  }

  /** At most 1000 entries of a tenant, none that retention has given up. */
  async tenantEntries(tenant: string, from: number, limit: number): Promise<TenantEntry[]> {
    const { tenants, reads } = this.#parts;
    const found: TenantEntry[] = [];
    for (const [step, index] of tenants.positions(tenant, from, limit).entries()) {
      const [bytes] = await reads.entries(index, 1);
      if (bytes !== undefined) found.push({ number: from + step, index, bytes });
    }
    return found;
  }

  /** All entries of a tenant that are served, page by page. */
  async *tenantPages(tenant: string): AsyncGenerator<readonly TenantEntry[], void, undefined> {
    const { tenants } = this.#parts;
    if (!tenants.has(tenant)) return;
    const size = tenants.head(tenant)?.size ?? 0;
    for (let from = tenants.minimum(tenant); from < size; from += PAGE) {
      yield await this.tenantEntries(tenant, from, Math.min(PAGE, size - from));
    }
  }

  /** One text that leads from the tenant's entry, or its whole log, to a published checkpoint. */
  tenantProof(request: TenantProofRequest): Promise<TenantProofResult> {
    const { tenants, reads, publisher, core } = this.#parts;
    const text = publisher.witnessed() ?? publisher.published() ?? core.checkpoint().text;
    return tenantProof(
      tenants,
      {
        checkpoint: { text, size: sizeOf(text) },
        inclusion: (index, size) => reads.inclusion(index, size),
        readEntry: async (index) => (await reads.entries(index, 1))[0] ?? new Uint8Array(0),
      },
      request,
    );
  }

  /** For the tlog-tiles API of the whole log. */
  systemTiles(): TileSource {
    const { reads, publisher } = this.#parts;
    return systemSource(reads, () => {
      const text = publisher.published();
      return text === undefined ? undefined : { text, size: sizeOf(text) };
    });
  }

  /** For the tlog-tiles API of one tenant's log, as it is now. */
  tenantTiles(tenant: string): TileSource {
    const { tenants, reads, tenantSigner, core } = this.#parts;
    if (tenantSigner === undefined) {
      throw new LedgerError('KIN_LEDGER_OPTION_INVALID', 'tenants have no signer here');
    }
    const signer = tenantSigner(`${core.origin}/tenants/${tenant}`);
    return tenantSource({ tenant, tenants, core: reads, signer });
  }

  /**
   * Gives up a tenant's entries below a log index: neither served nor disclosed from now on. What
   * no log needs any more goes from the disk with `prune`.
   */
  async retain(tenant: string, beforeIndex: number, basis: RetentionBasis): Promise<number> {
    const { tenants, privacy, reads, salt, now } = this.#parts;
    const number = tenants.countBelow(tenant, beforeIndex);
    if (number <= tenants.minimum(tenant)) return tenants.minimum(tenant);
    await privacy.retain({ tenant, before: { index: beforeIndex }, basis });
    const mark = { at: now(), salt: salt(), tenant, index: number };
    await reads.appendOwn(minimumEntry(mark));
    return number;
  }

  /** Where a subject's fields stand and how they are proved, for the export of one person. */
  exportSource(tenant: string): ExportSource {
    const { reads } = this.#parts;
    let places: Promise<ReadonlyMap<string, TenantEntry>> | undefined;
    const find = (): Promise<ReadonlyMap<string, TenantEntry>> => (places ??= this.#places(tenant));
    return {
      locate: async (_tenant, digest) => (await find()).get(digest)?.index,
      entry: async (index) => (await reads.entries(index, 1))[0] ?? new Uint8Array(0),
      prove: async (index) => {
        const number = this.#parts.tenants.countBelow(tenant, index);
        const made = await this.tenantProof({ tenant, about: { kind: 'entry', index: number } });
        if (made.kind === 'proof') return made.text;
        // Younger than the newest epoch: the log itself proves it.
        return this.#parts.core.prove(index);
      },
    };
  }

  async close(): Promise<void> {
    const { publisher, privacy, core } = this.#parts;
    const problems: unknown[] = [];
    const attempt = async (work: () => Promise<unknown>): Promise<void> => {
      await work().catch((cause: unknown) => problems.push(cause));
    };
    if (core.stats().state.kind === 'open') await attempt(() => publisher.publish({ now: true }));
    await attempt(() => publisher.close());
    core.publishThrough(undefined);
    await attempt(() => privacy.close());
    await attempt(() => core.close());
    await attempt(async () => this.#parts.folder?.close());
    const [first] = problems;
    if (first !== undefined) throw typedError(first, 'closing the evidence');
  }

  /** Without a promise of its own where nothing is waited for: every entry comes through here. */
  #members(scope: EntryScope, deadlineMs: number | undefined): Members | Promise<Members> {
    const { beginnings, privacy, salt } = this.#parts;
    const { tenant, private: fields } = scope;
    const begun = (members: Members): Members | Promise<Members> =>
      beginnings.ensure(tenant)?.then(() => members) ?? members;
    if (fields === undefined || fields.length === 0) return begun({ tenant, salt: salt() });
    const options = deadlineMs === undefined ? undefined : { deadlineMs };
    return privacy
      .seal(tenant, fields, options)
      .then((digests) => begun({ tenant, salt: salt(), private: digests }));
  }

  /** EL4: an id, a limit, a kind, plain values and a size that would be refused later as well. */
  #checkFirst({ tenant, private: groups = [] }: EntryScope, entry: object): void {
    const { tenants, salt, now } = this.#parts;
    tenants.admit(tenant);
    let count = 0;
    for (const { subject, fields } of groups) {
      checkSubject(subject);
      count += checkFields(fields);
    }
    const digests = Array.from({ length: count }, () => SAMPLE_DIGEST);
    const members = { tenant, salt: salt(), private: privateMember(digests) };
    encodeEntry({ v: 1, at: now(), ...entry, ...entryMembers(members) });
  }

  async #places(tenant: string): Promise<ReadonlyMap<string, TenantEntry>> {
    const found = new Map<string, TenantEntry>();
    for await (const page of this.tenantPages(tenant)) {
      for (const entry of page) {
        for (const digest of privateDigests(entry.bytes)) found.set(digest, entry);
      }
    }
    return found;
  }
}
