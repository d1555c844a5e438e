// How does the loop's ledger contract meet the transparency log? A thin adapter over the evidence
// log, its keys in 0600 files of their own, and high-water marks kept outside the log's folder.
//
//   ML1. Each key is made once; public halves stand beside the log for offline verification.
//   ML2. A medium that remembers more of the log than its folder holds refuses the start.
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import {
  PostgresStore,
  generateSigner,
  loadSigner,
  localKeyWrapper,
  openEvidence,
  parsePolicy,
  signerFromSeed,
} from '@kintsugi/ledger';
import type { EvidenceLog, HighWater, Ledger as Log, Policy, Signer } from '@kintsugi/ledger';
import { makeOwnFolder, readStateFile, writeStateFile } from '../api/state-folder.ts';
import { KinError, messageOf } from '../model/errors.ts';
import type { WitnessesSpec } from '../model/manifest.ts';
import type { EvidenceTrouble } from '../model/signal.ts';
import { redactUrl } from '../world/real/redact.ts';
import type { EntryScope, Ledger, Written } from '../world/ledger.ts';
import { troublesOf } from './evidence-troubles.ts';

export interface OpenedLedger {
  readonly ledger: Ledger;
  readonly log: Log;
  readonly evidence: EvidenceLog;
}

export interface LedgerSetup {
  readonly publishEveryMs?: number;
  /** Of a PostgreSQL server that holds the log; its payloads and keys stay in the folder. */
  readonly databaseUrl?: string | undefined;
  readonly witnesses?: WitnessesSpec;
  /** Of whatever else knows: the anchors. */
  readonly troubles?: () => readonly EvidenceTrouble[];
  readonly onPublished?: (checkpoint: string) => void;
  readonly onFatal?: (error: Error) => void;
}

const WITNESS_WAIT_MS = 10_000;
const DATABASE_WAIT_MS = 5_000;

export async function openLedgerIn(
  dir: string,
  name: string,
  highWater: HighWater | undefined,
  setup: LedgerSetup = {},
): Promise<OpenedLedger> {
  makeOwnFolder(dir);
  const origin = originOf(name);
  const { signer, seed } = signerIn(dir, origin);
  const database = setup.databaseUrl === undefined ? undefined : await inDatabase(setup, origin);
  const open: { evidence?: EvidenceLog } = {};
  let published = '';
  // The first publications come while it is being opened.
  const tellPublished = (): void => {
    const text = open.evidence?.publisher.published() ?? published;
    if (text === published) return;
    published = text;
    setup.onPublished?.(text);
  };
  const evidence = await openEvidence({
    dir: join(dir, 'log'),
    origin,
    signer,
    cosigners: [cosignerIn(dir, origin)],
    tenantSigner: (tenantOrigin) => signerFromSeed(tenantOrigin, seed).signer,
    mapKey: mapKeyIn(dir),
    wrapper: await localKeyWrapper(join(dir, 'root.key'), { create: true }),
    appendDeadlineMs: 5_000,
    onPublish: tellPublished,
    ...(setup.publishEveryMs === undefined ? {} : { publishEveryMs: setup.publishEveryMs }),
    ...policyFrom(setup.witnesses, signer.vkey),
    ...(database === undefined ? {} : { store: database.store }),
    ...(setup.onFatal === undefined ? {} : { onFatal: setup.onFatal }),
    ...(highWater === undefined ? {} : { highWater }),
  }).catch(async (error: unknown) => {
    await database?.end();
    throw error;
  });
  open.evidence = evidence;
  tellPublished();
  return { ledger: adapt(evidence, setup, () => database?.end()), log: evidence.core, evidence };
}

/** One session of its own: the writer's advisory lock lives and dies with it. */
async function inDatabase(
  { databaseUrl, onFatal }: LedgerSetup,
  origin: string,
): Promise<{ readonly store: PostgresStore; end(): Promise<void> }> {
  const client = new Client({
    connectionString: databaseUrl,
    application_name: 'kintsugi-ledger',
    keepAlive: true,
    connectionTimeoutMillis: DATABASE_WAIT_MS,
  });
  client.on('error', (error) => onFatal?.(error));
  try {
    await client.connect();
  } catch (error) {
    throw new KinError(
      'KIN_STORE_UNREACHABLE',
      `the database of the ledger does not answer (${redactUrl(messageOf(error))})`,
      'Check KINTSUGI_LEDGER_URL and that the server runs.',
      { cause: error },
    );
  }
  const logId = origin.replaceAll(/[^a-z0-9._-]/gu, '-').slice(0, 128);
  return { store: new PostgresStore({ client, logId }), end: () => client.end() };
}

export const originOf = (name: string): string => `${name}.kintsugi.invalid/ledger`;

function signerIn(dir: string, origin: string): { signer: Signer; seed: Uint8Array } {
  const path = join(dir, 'signing.key');
  const kept = readStateFile(path);
  if (kept !== undefined) {
    assertSameName(kept, origin);
    return { signer: loadSigner(kept, origin), seed: seedOf(kept) };
  }
  const made = generateSigner(origin);
  writeStateFile(path, `${made.secret}\n`);
  writeStateFile(join(dir, 'vkey'), `${made.signer.vkey}\n`);
  return { signer: made.signer, seed: seedOf(made.secret) };
}

/** The same key under the name of a tenant's log signs that log's checkpoints. */
function seedOf(secret: string): Uint8Array {
  const encoded = /^PRIVATE\+KEY\+[^+]+\+[0-9a-f]{8}\+(\S+)/u.exec(secret)?.[1] ?? '';
  return Uint8Array.from(Buffer.from(encoded, 'base64').subarray(1));
}

/** Signs what is published with ML-DSA-44, for the day when Ed25519 falls. */
function cosignerIn(dir: string, origin: string): Signer {
  const path = join(dir, 'cosigning.key');
  const kept = readStateFile(path);
  if (kept !== undefined) return loadSigner(kept, origin, 'ml-dsa-44');
  const made = generateSigner(origin, 'ml-dsa-44');
  writeStateFile(path, `${made.secret}\n`);
  writeStateFile(join(dir, 'vkey.ml-dsa-44'), `${made.signer.vkey}\n`);
  return made.signer;
}

/** Where each tenant stands in the map: whoever has it can tell which position is whose. */
function mapKeyIn(dir: string): Uint8Array {
  const path = join(dir, 'map.key');
  const kept = readStateFile(path)?.trim();
  if (kept !== undefined && /^[0-9a-f]{64}$/u.test(kept)) return Buffer.from(kept, 'hex');
  if (kept !== undefined) {
    throw new KinError(
      'KIN_STATE_FILE_INVALID',
      `${path} does not hold a map key`,
      'Restore the file from a backup: without it no tenant can be proved any more.',
    );
  }
  const made = randomBytes(32);
  writeStateFile(path, `${made.toString('hex')}\n`);
  return made;
}

/** A folder's history is one manifest's: a second one would go on with the first one's evidence. */
function assertSameName(secret: string, origin: string): void {
  const kept = /^PRIVATE\+KEY\+([^+]+)\+/u.exec(secret)?.[1] ?? origin;
  if (kept === origin) return;
  throw new KinError(
    'KIN_MANIFEST_OTHER',
    `this state folder belongs to another manifest: its ledger is ${kept}, not ${origin}`,
    'Keep the name, or start the other manifest with its own --state folder.',
  );
}

/** The public key beside a log, for verification without a running controller. */
export function vkeyIn(dir: string): string | undefined {
  const path = join(dir, 'vkey');
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
}

function policyFrom(spec: WitnessesSpec | undefined, vkey: string): { policy?: Policy } {
  if (spec === undefined || spec.kind === 'none') return {};
  const reading = parsePolicy(spec.kind === 'policy' ? policyFile(spec.file) : listed(spec, vkey));
  if (reading.kind === 'valid') return { policy: reading.policy };
  throw new KinError(
    'KIN_LEDGER_POLICY_INVALID',
    `the policy of the witnesses cannot be used: ${reading.reason}`,
    'Correct the file that ledger.witnesses.policy names; docs/guide/witnesses.md shows one.',
  );
}

function policyFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new KinError(
      'KIN_LEDGER_POLICY_INVALID',
      `${path} cannot be read (${messageOf(error)})`,
      'Correct the path in ledger.witnesses.policy.',
      { cause: error },
    );
  }
}

function listed(spec: Extract<WitnessesSpec, { kind: 'list' }>, vkey: string): string {
  const names = spec.list.map((_, at) => `w${at + 1}`);
  return [
    `log ${vkey}`,
    ...spec.list.map(({ key, url }, at) => `witness ${names[at] ?? ''} ${key} ${url}`),
    `group all ${spec.require} ${names.join(' ')}`,
    'quorum all',
    '',
  ].join('\n');
}

function adapt(
  evidence: EvidenceLog,
  setup: LedgerSetup,
  end: () => Promise<void> | undefined,
): Ledger {
  const log = evidence.core;
  const written = (done: { readonly index: number; readonly leafHash: string }): Written => ({
    index: done.index,
    leafHash: done.leafHash,
  });
  return {
    async intent(subject, detail, { deadlineMs, level, tenant }) {
      const intent = await evidence.intent({
        kind: 'plan.intent',
        subject,
        detail,
        deadlineMs,
        wait: level,
        levelDeadlineMs: WITNESS_WAIT_MS,
        ...(tenant === undefined ? {} : { scope: { tenant } }),
      });
      return { index: intent.index, leafHash: intent.receipt.leafHash };
    },
    async outcome(index, result, detail) {
      return written(await log.closeIntent(index, { result, detail }));
    },
    async record(kind, detail) {
      return written(await log.record(kind, detail));
    },
    note(kind, detail, scope?: EntryScope) {
      const options = scope === undefined ? {} : { scope };
      evidence.record(kind, detail, { wait: 'queued', ...options }).catch(() => {
        // Its tenant's log could not even begin: without it the log takes the event, or counts it.
        const plain = { detail, tenantNotWritten: scope?.tenant ?? null };
        log.record(kind, plain, { wait: 'queued' }).catch(() => undefined);
      });
    },
    openIntents: () =>
      log
        .openIntents()
        .filter(({ kind }) => kind === 'plan.intent')
        .map(({ index, subject, detail }) => ({ index, subject, detail })),
    troubles: () => [...troublesOf(evidence), ...(setup.troubles?.() ?? [])],
    head: () => ({ size: log.size, checkpoint: log.checkpoint().text }),
    async close() {
      await evidence.close();
      await end();
    },
  };
}
