// How does a folder become a platform's evidence? The log is opened with the tenants' views behind
// it, then the private fields, then the publisher; what a crash cut off is finished before anybody
// may write.
// OE1. A map key, a witness or a high-water mark that contradicts the log closes everything again.

import type { Ledger } from '../api.ts';
import { LedgerError } from '../errors.ts';
import { systemClock } from '../files.ts';
import type { Files } from '../files.ts';
import { nodeFiles } from '../node-files.ts';
import { openCore } from '../open.ts';
import type { Core } from '../open.ts';
import type { CoreReads } from './core-reads.ts';
import { openPrivateFields } from '../private/private-fields.ts';
import type { PrivateFields } from '../private/private-fields.ts';
import { PrivacyBook } from '../private/privacy-book.ts';
import { systemRandom } from '../private/random.ts';
import type { Random } from '../private/random.ts';
import { openPublisher } from '../publish.ts';
import type { PublishClock, Publisher } from '../publish.ts';
import { LogBeginnings } from '../tenants/log-beginnings.ts';
import { epochEntry } from '../tenants/tenant-entries.ts';
import { TenantLogs } from '../tenants/tenant-logs.ts';
import { EvidenceLog } from './evidence-log.ts';
import type { EvidenceOptions } from './options.ts';
import { privacyLedger } from './privacy-port.ts';

export async function openEvidence(options: EvidenceOptions): Promise<EvidenceLog> {
  const clock = fullClock(options);
  const files = options.files ?? nodeFiles();
  const now = (): string => new Date(clock.nowMs()).toISOString();
  const opened: { close(): Promise<unknown> }[] = [];
  const salt = entrySalts(options.random ?? systemRandom());
  const book = new PrivacyBook();
  let reads: CoreReads | undefined;
  let publisher: Publisher | undefined;
  const tenants = new TenantLogs({
    mapKey: options.mapKey,
    readLeaf: async (index) => (await reads?.leaves(index, 1))?.[0] ?? new Uint8Array(0),
    ...(options.tenantsMax === undefined ? {} : { tenantsMax: options.tenantsMax }),
  });
  try {
    const folder = options.store === undefined ? undefined : await lockFolder(files, options.dir);
    if (folder !== undefined) opened.push(folder);
    const core = await openCore(
      { ...options, files, clock, salt, followers: [tenants, book] },
      async (open) => {
        reads = open.reads;
        refuseOtherKey(tenants);
        publisher = await publish(options, open, tenants, files, clock);
        opened.push(publisher);
        open.ledger.publishThrough(publisher);
      },
    );
    if (publisher === undefined) throw new LedgerError('KIN_LEDGER_CLOSED', 'nothing publishes');
    // What was opened last is closed first, and the publisher needs the log.
    opened.splice(opened.indexOf(publisher), 0, core.ledger);
    const privacy = await privateFields(options, files);
    opened.push(privacy);
    const append = (entry: Uint8Array): Promise<unknown> => core.reads.appendOwn(entry);
    const beginnings = new LogBeginnings({ tenants, append, now, salt });
    const { tenantSigner } = options;
    const parts = { core: core.ledger, reads: core.reads, tenants, beginnings, privacy, publisher };
    const log = new EvidenceLog({ ...parts, salt, now, tenantSigner, folder });
    await privacy.start(
      privacyLedger({
        core: core.ledger,
        intent: (input) => log.intent(input),
        record: (kind, detail, scoped) => log.record(kind, detail, scoped),
        standing: () => book.standing(),
        pages: (tenant) => log.tenantPages(tenant),
      }),
    );
    return log;
  } catch (cause) {
    for (const one of opened.toReversed()) await one.close().catch(() => undefined);
    throw cause;
  }
}

/** A log that lies elsewhere locks itself there; payloads and keys are still in the folder. */
async function lockFolder(files: Files, dir: string): Promise<{ close(): Promise<void> }> {
  await files.mkdir(dir);
  const lock = await files.lock(dir);
  return { close: () => lock.release() };
}

const SALT_BYTES = 16;
const SALTS_PER_BATCH = 64;

/** 16 bytes, as `tenantOf` wants them; those of disclosures are longer. */
function entrySalts(random: Random): () => string {
  let batch = Buffer.alloc(0);
  let at = 0;
  return () => {
    if (at >= batch.length) {
      batch = Buffer.from(random(SALT_BYTES * SALTS_PER_BATCH));
      at = 0;
    }
    at += SALT_BYTES;
    return batch.toString('base64url', at - SALT_BYTES, at);
  };
}

/** OE1. */
function refuseOtherKey(tenants: TenantLogs): void {
  if (tenants.keyState !== 'lost') return;
  throw new LedgerError('KIN_LEDGER_WRONG_KEY', 'the map key is not the one of this log');
}

function fullClock(options: EvidenceOptions): PublishClock {
  const clock = options.clock ?? systemClock;
  const sleep = clock.sleep?.bind(clock);
  if (sleep === undefined) {
    throw new LedgerError('KIN_LEDGER_OPTION_INVALID', 'the clock of the evidence cannot sleep');
  }
  return { nowMs: () => clock.nowMs(), monotonicMs: () => clock.monotonicMs(), sleep };
}

function privateFields(options: EvidenceOptions, files: Files): Promise<PrivateFields> {
  const { dir, wrapper, clock, random } = options;
  return openPrivateFields({
    files,
    dir,
    wrapper,
    ...options.privateFields,
    ...(clock === undefined ? {} : { clock }),
    ...(random === undefined ? {} : { random }),
  });
}

function publish(
  options: EvidenceOptions,
  core: Core,
  tenants: TenantLogs,
  files: Files,
  clock: PublishClock,
): Promise<Publisher> {
  const { ledger, reads } = core;
  const { cosigners, policy, witnessHttp, witnessTimeoutMs, publishEveryMs, onPublish } = options;
  return openPublisher({
    log: publishedLog(ledger),
    vkey: ledger.vkey,
    files,
    dir: options.dir,
    documents: core.documents,
    clock,
    async appendEpoch() {
      const draft = tenants.draftEpoch();
      if (draft !== undefined)
        await reads.appendOwn(epochEntry(new Date(clock.nowMs()).toISOString(), draft));
    },
    checkPlace: () => ledger.checkPlace(),
    onFatal(error) {
      reads.fail(error);
      options.onFatal?.(error);
    },
    ...(cosigners === undefined ? {} : { signers: cosigners }),
    ...(policy === undefined ? {} : { policy }),
    ...(witnessHttp === undefined ? {} : { http: witnessHttp }),
    ...(witnessTimeoutMs === undefined ? {} : { witnessTimeoutMs }),
    ...(publishEveryMs === undefined ? {} : { publishEveryMs }),
    ...(onPublish === undefined ? {} : { onChange: onPublish }),
  });
}

function publishedLog(ledger: Ledger): {
  checkpoint: Ledger['checkpoint'];
  consistency(before: number, after: number): Promise<readonly string[]>;
} {
  return {
    checkpoint: () => ledger.checkpoint(),
    consistency: (before, after) => ledger.consistency(before, after),
  };
}
