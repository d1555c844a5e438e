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
import {
  findLedger,
  givenKey,
  keyBeside,
  keyLines,
  readNamed,
  readNamedText,
} from '../offline/place.ts';
import type { FoundLedger, KeyFrom, LedgerPlace } from '../offline/place.ts';
import { harmlessLine } from '../style.ts';
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
    const beside = trustOf(context, options, { kind: 'folder', file: join(dir, 'vkey') });
    return verifyTenantExport(context, dir, beside);
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
  context: Context,
  report: FsckReport,
  found: Pick<FoundLedger, 'vkey' | 'keyFrom' | 'otherKey'>,
): readonly string[] {
  const { paint } = context;
  const own = keyLines(context, found.keyFrom, found.otherKey);
  if (report.kind === 'intact') {
    return [
      `${paint.green('intact')}: ${countText(report.size, 'entry', 'entries')}, every byte ` +
        'read, every root recomputed, every signature checked',
      `root ${report.root}`,
      `key  ${harmlessLine(found.vkey)}`,
      ...own,
    ];
  }
  return [
    `${paint.red('DAMAGED')}: ${countText(report.findings.length, 'finding')}`,
    ...report.findings.map(
      (f) =>
        `  ${f.code} ${harmlessLine(f.file)} at byte ${f.offset}, entry ${f.index}: ` +
        harmlessLine(f.reason),
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
    return [`${paint.red('quorum NOT met')}: ${policy.code}: ${harmlessLine(policy.reason)}`];
  }
  const by =
    policy.cosigned.length === 0
      ? 'nobody (it asks for none)'
      : policy.cosigned.map(harmlessLine).join(', ');
  return [`${paint.green('quorum met')} for ${policy.size} entries: cosigned by ${by}`];
}

export type Trust =
  | { readonly vkey: string }
  | { readonly policy: string; readonly logVkeys: readonly string[] };

export interface Trusting {
  readonly trust: Trust;
  readonly keyFrom: KeyFrom;
}

/** Which key counts when the caller names none. */
type Shipped =
  | { readonly kind: 'folder'; readonly file: string }
  | { readonly kind: 'proof'; readonly vkey: string }
  | undefined;

function trustOf(context: Context, options: VerifyOptions, shipped: Shipped): Trusting {
  const given = options.vkey === undefined ? undefined : givenKey(context, options.vkey);
  if (options.policy !== undefined) {
    const policy = readNamedText(context, options.policy);
    const logVkeys = given === undefined ? [] : [given];
    return { trust: { policy, logVkeys }, keyFrom: 'given' };
  }
  if (given !== undefined) return { trust: { vkey: given }, keyFrom: 'given' };
  if (shipped?.kind === 'folder' && existsSync(shipped.file)) {
    return { trust: { vkey: keyBeside(shipped.file) }, keyFrom: 'folder' };
  }
  if (shipped?.kind === 'proof' && options.dir === undefined) {
    return { trust: { vkey: shipped.vkey }, keyFrom: 'proof' };
  }
  const { vkey, keyFrom } = findLedger(context, options);
  return { trust: { vkey }, keyFrom };
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
  const shipped =
    given.vkey === undefined ? undefined : ({ kind: 'proof', vkey: given.vkey } as const);
  const { trust, keyFrom } = trustOf(context, options, shipped);
  const verdict = await judge(given, trust, options.tenant);
  const { paint } = context;
  const key = 'vkey' in trust ? { vkey: trust.vkey } : {};
  answer(context, { ...verdict, keyFrom, ...key }, () => [
    verdict.valid
      ? `${paint.green('valid')}: ${harmlessLine(verdict.says)}`
      : `${paint.red('NOT valid')}: ${verdict.code}: ${harmlessLine(verdict.says)}`,
    ...(keyFrom === 'given' || key.vkey === undefined ? [] : [`key  ${harmlessLine(key.vkey)}`]),
    ...keyLines(context, keyFrom),
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
