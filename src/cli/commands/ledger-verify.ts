// `ledger verify`: is this ledger, this proof, or this export of a tenant true? Offline, with a
// public key or a tlog-policy and nothing else.
//
//   EVI1. Verification uses a key that the caller names, or says that it took the folder's own.
//   EVI2. With a policy the newest published checkpoint needs its quorum, and must be of this log.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { FsckReport } from '@kintsugi/ledger';
import { KinError } from '../../model/errors.ts';
import type { Context } from '../context.ts';
import { answer } from '../context.ts';
import { EXIT } from '../exit.ts';
import { findLedger, givenKey, readNamed, readNamedText } from '../offline/place.ts';
import type { FoundLedger, LedgerPlace } from '../offline/place.ts';
import { harmless } from '../style.ts';
import { countText } from '../text.ts';

export interface VerifyOptions extends LedgerPlace {
  readonly policy: string | undefined;
  readonly proof: string | undefined;
  readonly entry: string | undefined;
  readonly tenant: string | undefined;
}

export async function verifyCommand(context: Context, options: VerifyOptions): Promise<number> {
  if (options.proof !== undefined) return verifyOne(context, options, options.proof);
  const dir = options.dir === undefined ? undefined : resolve(context.cwd, options.dir);
  if (dir !== undefined && existsSync(join(dir, 'head.proof'))) {
    const { verifyTenantExport } = await import('./ledger-tenant.ts');
    return verifyTenantExport(context, dir, trustOf(context, options, join(dir, 'vkey')));
  }
  const found = findLedger(context, options);
  const report = await reportOf(found);
  const policy = await underPolicy(context, found, options.policy);
  answer(context, { ...found, report, ...(policy === undefined ? {} : { policy }) }, () => [
    ...reportText(context, report, found),
    ...(policy === undefined ? [] : policyText(context, policy)),
  ]);
  const good = report.kind === 'intact' && (policy === undefined || policy.kind === 'met');
  return good ? EXIT.ok : EXIT.failed;
}

/** An export has no write-ahead log: its entries are hashed again and compared with the root. */
async function reportOf(found: FoundLedger): Promise<FsckReport> {
  if (found.kind === 'log') {
    const { verifyLedgerDir } = await import('@kintsugi/ledger');
    return verifyLedgerDir(found.dir, found.vkey);
  }
  const { readLog } = await import('../offline/read-log.ts');
  const none = { first: 0, records: 0, segments: 0, notes: [] };
  try {
    const { size, root, checkpoint } = await readLog(found, () => undefined);
    return { kind: 'intact', checkpoint, size, root, ...none };
  } catch (error) {
    if (!(error instanceof KinError)) throw error;
    const code = error.code === 'KIN_LEDGER_CORRUPT' ? 'KIN_LEDGER_CORRUPT' : 'KIN_LEDGER_IO';
    const finding = { code, file: found.dir, offset: 0, index: 0, reason: error.message } as const;
    return { kind: 'damaged', findings: [finding], size: 0, root: '', ...none };
  }
}

export function reportText(
  { paint }: Context,
  report: FsckReport,
  found: Pick<FoundLedger, 'vkey' | 'keyFrom'>,
): readonly string[] {
  const own =
    found.keyFrom === 'given'
      ? []
      : [paint.dim('the key is the one in the folder: compare it with the one that you know')];
  if (report.kind === 'intact') {
    return [
      `${paint.green('intact')}: ${countText(report.size, 'entry', 'entries')}, every byte ` +
        'read, every root recomputed, every signature checked',
      `root ${report.root}`,
      `key  ${found.vkey}`,
      ...own,
    ];
  }
  return [
    `${paint.red('DAMAGED')}: ${countText(report.findings.length, 'finding')}`,
    ...report.findings.map(
      (f) => `  ${f.code} ${f.file} at byte ${f.offset}, entry ${f.index}: ${harmless(f.reason)}`,
    ),
    ...own,
  ];
}

export type PolicyReport =
  | {
      readonly kind: 'met';
      readonly size: number;
      readonly cosigned: readonly string[];
    }
  | { readonly kind: 'unmet'; readonly code: string; readonly reason: string };

const CHECKPOINT_FILES = ['checkpoint.witnessed', 'checkpoint'] as const;

/** EVI2. */
async function underPolicy(
  context: Context,
  found: FoundLedger,
  file: string | undefined,
): Promise<PolicyReport | undefined> {
  if (file === undefined) return undefined;
  const policy = readNamedText(context, file);
  const { verifyCheckpointUnderPolicy } = await import('@kintsugi/ledger/verify');
  const { readLog } = await import('../offline/read-log.ts');
  let last: PolicyReport = { kind: 'unmet', code: 'KIN_LEDGER_QUORUM_UNMET', reason: NONE };
  for (const name of CHECKPOINT_FILES) {
    if (!existsSync(join(found.dir, name))) continue;
    const text = readNamedText(context, join(found.dir, name));
    const verdict = verifyCheckpointUnderPolicy(text, policy, [found.vkey]);
    if (verdict.kind === 'invalid') {
      const { code, reason } = verdict;
      last = { kind: 'unmet', code, reason: `${name}: ${reason}` };
      continue;
    }
    const size = Number(verdict.head.size);
    const { tree } = await readLog(found, () => undefined);
    const root = size <= tree.size ? Buffer.from(tree.rootAt(size)).toString('base64') : '';
    if (root !== verdict.head.root) {
      const reason = `${name}: witnesses cosigned another tree of ${size} entries`;
      return { kind: 'unmet', code: 'KIN_LEDGER_FORKED', reason };
    }
    return { kind: 'met', size, cosigned: verdict.cosigned.map((one) => one.name) };
  }
  return last;
}

const NONE = 'no published checkpoint lies in the folder';

function policyText({ paint }: Context, policy: PolicyReport): readonly string[] {
  if (policy.kind === 'unmet') {
    return [`${paint.red('quorum NOT met')}: ${policy.code}: ${harmless(policy.reason)}`];
  }
  const by =
    policy.cosigned.length === 0 ? 'nobody (it asks for none)' : policy.cosigned.join(', ');
  return [`${paint.green('quorum met')} for ${policy.size} entries: cosigned by ${by}`];
}

type Trust = { readonly vkey: string } | { readonly policy: string; readonly logVkeys: string[] };

/** `beside`: a file with a key that counts when the caller names none. */
function trustOf(context: Context, options: VerifyOptions, beside?: string): Trust {
  const given = options.vkey === undefined ? undefined : givenKey(context, options.vkey);
  if (options.policy !== undefined) {
    const policy = readNamedText(context, options.policy);
    return { policy, logVkeys: given === undefined ? [] : [given] };
  }
  if (given !== undefined) return { vkey: given };
  if (beside !== undefined && existsSync(beside)) {
    return { vkey: readNamedText(context, beside).trim() };
  }
  return { vkey: findLedger(context, options).vkey };
}

interface Given {
  readonly proof: string;
  readonly entry: Buffer | undefined;
  readonly vkey: string | undefined;
}

/** A proof as text, or the JSON that `ledger prove --json` prints. */
function givenProof(context: Context, file: string, entryFile: string | undefined): Given {
  const text = readNamedText(context, file);
  const entry = entryFile === undefined ? undefined : readNamed(context, entryFile);
  if (!text.startsWith('{')) return { proof: text, entry, vkey: undefined };
  try {
    const value = JSON.parse(text) as Readonly<Record<string, unknown>>;
    const of = (name: string): string | undefined =>
      typeof value[name] === 'string' ? value[name] : undefined;
    const inside = of('entry');
    const bytes = inside === undefined ? undefined : Buffer.from(inside, 'base64');
    return { proof: of('proof') ?? '', entry: entry ?? bytes, vkey: of('vkey') };
  } catch {
    return { proof: text, entry, vkey: undefined };
  }
}

async function verifyOne(context: Context, options: VerifyOptions, file: string): Promise<number> {
  const given = givenProof(context, file, options.entry);
  const named = options.vkey ?? options.dir ?? options.policy;
  const trust =
    named === undefined && given.vkey !== undefined
      ? { vkey: given.vkey }
      : trustOf(context, options);
  const keyFrom = named === undefined && given.vkey !== undefined ? 'proof' : 'given';
  const verdict = await judge(given, trust, options.tenant);
  const { paint } = context;
  answer(context, { ...verdict, keyFrom }, () => [
    verdict.valid
      ? `${paint.green('valid')}: ${verdict.says}`
      : `${paint.red('NOT valid')}: ${verdict.code}: ${harmless(verdict.says)}`,
    ...(keyFrom === 'proof'
      ? [paint.dim('the key is the one in the file: compare it with the one that you know')]
      : []),
  ]);
  return verdict.valid ? EXIT.ok : EXIT.failed;
}

type Judged =
  | { readonly valid: true; readonly says: string; readonly index?: number; readonly size: number }
  | { readonly valid: false; readonly says: string; readonly code: string };

async function judge(
  { proof, entry }: Given,
  trust: Trust,
  wanted: string | undefined,
): Promise<Judged> {
  if (proof.startsWith('kintsugi/tenant-proof@v1\n')) {
    return judgeTenantProof(proof, entry, trust, wanted);
  }
  if (wanted !== undefined) {
    return { valid: false, code: 'KIN_LEDGER_PROOF_INVALID', says: 'it is no proof of a tenant' };
  }
  if (entry === undefined) throw entryMissing();
  const { verifyProof, verifyProofUnderPolicy } = await import('@kintsugi/ledger/verify');
  const verdict =
    'vkey' in trust
      ? verifyProof(proof, entry, trust.vkey)
      : verifyProofUnderPolicy(proof, entry, trust.policy, trust.logVkeys);
  if (verdict.kind === 'invalid') return { valid: false, code: verdict.code, says: verdict.reason };
  const { head } = verdict;
  const index = Number(verdict.index);
  const says = `entry ${index} is in ${head.origin}, of ${head.size} entries`;
  return { valid: true, says, index, size: Number(head.size) };
}

async function judgeTenantProof(
  proof: string,
  entry: Uint8Array | undefined,
  trust: Trust,
  wanted: string | undefined,
): Promise<Judged> {
  const { verifyTenantHead, verifyTenantProof } = await import('../offline/package.ts');
  const tenant = wanted ?? /^tenant (\S{1,64})$/mu.exec(proof)?.[1] ?? '';
  const options = { trust, tenant };
  const isEntry = /^entry \d+$/mu.test(proof.split('\n').slice(0, 4).join('\n'));
  if (isEntry) {
    if (entry === undefined) throw entryMissing();
    const verdict = verifyTenantProof(proof, entry, options);
    if (verdict.kind === 'invalid') {
      return { valid: false, code: verdict.code, says: `${verdict.reason}: ${verdict.detail}` };
    }
    const index = Number(verdict.index);
    const says = `entry ${index} is in the log of ${tenant}, of ${verdict.size} entries`;
    return { valid: true, says, index, size: Number(verdict.size) };
  }
  const verdict = verifyTenantHead(proof, options);
  if (verdict.kind === 'invalid') {
    return { valid: false, code: verdict.code, says: `${verdict.reason}: ${verdict.detail}` };
  }
  const says = `the log of ${tenant} has ${verdict.size} entries in ${verdict.head.origin}`;
  return { valid: true, says, size: Number(verdict.size) };
}

function entryMissing(): KinError {
  return new KinError(
    'KIN_USAGE',
    'the proof is about one entry, and the entry is missing',
    'Pass its exact bytes: --entry FILE.',
  );
}
