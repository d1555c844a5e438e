// A real ledger folder as the controller leaves it: two tenants, private fields, published twice.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { generateSigner, openEvidence, parsePolicy, rootKeyWrapper } from '@kintsugi/ledger';
import type { EvidenceLog } from '@kintsugi/ledger';
import { callCli, cleanEnvironment, tempFolder } from './harness.ts';
import type { Ended } from './harness.ts';

export const ORIGIN = 'clinic.kintsugi.invalid/ledger';
export const MAP_KEY = Buffer.alloc(32, 7);

export interface Folder {
  readonly dir: string;
  readonly state: string;
  readonly log: string;
  readonly vkey: string;
  /** Inside this process. */
  readonly run: (...args: readonly string[]) => Promise<Ended>;
}

export interface FolderOptions {
  readonly entries?: number;
  readonly segmentBytes?: number;
  /** Made when the key of the log is known. */
  readonly policy?: (vkey: string) => string;
  readonly afterwards?: (evidence: EvidenceLog, log: string) => Promise<void>;
}

export async function ledgerFolder(t: TestContext, options: FolderOptions = {}): Promise<Folder> {
  const dir = tempFolder(t);
  const state = join(dir, '.kintsugi');
  const log = join(state, 'ledger', 'log');
  mkdirSync(log, { recursive: true });
  const { signer } = generateSigner(ORIGIN);
  const text = options.policy?.(signer.vkey);
  const reading = text === undefined ? undefined : parsePolicy(text);
  if (reading?.kind === 'invalid') throw new Error(reading.reason);
  const evidence = await openEvidence({
    dir: log,
    origin: ORIGIN,
    signer,
    mapKey: MAP_KEY,
    wrapper: rootKeyWrapper(Buffer.alloc(32, 9), 'test'),
    segmentBytes: options.segmentBytes ?? 1024 * 1024,
    publishEveryMs: 1,
    ...(reading === undefined ? {} : { policy: reading.policy }),
  });
  try {
    await fill(evidence, options.entries ?? 6);
    await options.afterwards?.(evidence, log);
  } finally {
    await evidence.close();
  }
  writeFileSync(join(state, 'ledger', 'vkey'), `${signer.vkey}\n`);
  const env = cleanEnvironment(dir);
  const run = (...args: readonly string[]): Promise<Ended> => callCli(args, { env, cwd: dir });
  return { dir, state, log, vkey: signer.vkey, run };
}

async function fill(evidence: EvidenceLog, entries: number): Promise<void> {
  await evidence.record('controller.started', { pid: 1 });
  const all: Promise<unknown>[] = [];
  for (let i = 0; i < entries; i += 1) {
    const tenant = i % 3 === 2 ? 'globex' : 'acme';
    const fields = [{ subject: `person-${i % 2}`, fields: { ip: `10.0.0.${i % 250}` } }];
    const scope = i < 4 ? { tenant, private: fields } : { tenant };
    const written = evidence.record('service.audit', { i, marker: 'test.entry' }, { scope });
    all.push(written);
    // Each with private fields in a group of its own, so that damage in one is no torn end.
    if (i < 4) await written;
  }
  await Promise.all(all);
  await evidence.publisher.publish({ now: true });
  await evidence.record('controller.stopped', {});
  await evidence.publisher.publish({ now: true });
}
