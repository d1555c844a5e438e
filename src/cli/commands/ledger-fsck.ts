// `ledger fsck` and `ledger checkpoint`: is every file of the ledger whole, and what was published?
// Offline, beside a running writer too; nothing is locked or written.
//
//   EVI4. Damage is told by file and place; what could not be looked at is told as well.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { KinError } from '../../model/errors.ts';
import { tryConnect, findStateDir } from '../connect.ts';
import type { Context } from '../context.ts';
import { answer } from '../context.ts';
import { EXIT } from '../exit.ts';
import {
  findLedger,
  findLogFolder,
  givenKey,
  keyLines,
  mapKeyOf,
  readNamedText,
} from '../offline/place.ts';
import type { FoundLedger, KeyFrom, LedgerPlace } from '../offline/place.ts';
import { FRAMES_BYTES_MAX, NAMED_BYTES_MAX, readRegular } from '../offline/read-file.ts';
import type { OfflineLog } from '../offline/read-log.ts';
import { harmlessLine } from '../style.ts';
import { countText } from '../text.ts';

export interface FsckCommandOptions extends LedgerPlace {
  readonly deep: boolean;
  readonly mapKey: string | undefined;
}

interface Finding {
  readonly code: string;
  readonly file: string;
  readonly offset: number | undefined;
  readonly index: number | undefined;
  readonly reason: string;
}

interface Checked {
  readonly what: string;
  readonly count: number;
}

interface Deep {
  readonly findings: Finding[];
  readonly checked: Checked[];
  /** Last writes that were cut off: nobody was promised anything. */
  readonly torn: string[];
  /** What was not looked at, and why. */
  readonly skipped: string[];
}

export async function fsckCommand(context: Context, options: FsckCommandOptions): Promise<number> {
  const found = findLogFolder(context, options);
  const { verifyLedgerDir } = await import('@kintsugi/ledger');
  const report = await verifyLedgerDir(found.dir, found.vkey);
  const findings: Finding[] = report.kind === 'intact' ? [] : [...report.findings];
  const checked = [
    { what: 'entries', count: report.size },
    { what: 'records', count: report.records },
    { what: 'segments', count: report.segments },
  ];
  const deep: Deep = { findings, checked, torn: [], skipped: [] };
  if (options.deep) await lookDeep(context, found, options, deep, report.kind === 'intact');
  const { root, size, notes } = report;
  const value = { ...found, root, size, notes, ...deep, deep: options.deep };
  answer(context, value, () => [
    ...fsckText(context, deep, notes),
    ...keyLines(context, found.keyFrom, found.otherKey),
  ]);
  return findings.length === 0 ? EXIT.ok : EXIT.failed;
}

type Notes = readonly { readonly file: string; readonly offset: number; readonly reason: string }[];

function fsckText({ paint }: Context, deep: Deep, notes: Notes): readonly string[] {
  const { findings, checked, torn, skipped } = deep;
  return [
    findings.length === 0
      ? paint.green('whole')
      : `${paint.red('DAMAGED')}: ${countText(findings.length, 'finding')}`,
    ...findings.map((f) => {
      const at = f.offset === undefined ? '' : ` at byte ${f.offset}`;
      const entry = f.index === undefined ? '' : `, entry ${f.index}`;
      return `  ${f.code} ${harmlessLine(f.file)}${at}${entry}: ${harmlessLine(f.reason)}`;
    }),
    ...checked.map(({ what, count }) => `  ${what} checked: ${count}`),
    ...notes.map((n) =>
      paint.dim(`  ${harmlessLine(n.file)} at byte ${n.offset}: ${harmlessLine(n.reason)}`),
    ),
    ...torn.map((text) => paint.dim(`  torn, and never acknowledged: ${harmlessLine(text)}`)),
    ...skipped.map((text) => paint.dim(`  not checked: ${harmlessLine(text)}`)),
  ];
}

async function lookDeep(
  context: Context,
  found: FoundLedger,
  options: FsckCommandOptions,
  deep: Deep,
  isIntact: boolean,
): Promise<void> {
  if (isIntact) {
    // First what was said about the log: a writer that goes on only makes the log longer.
    const claims = await claimsIn(found, deep);
    const log = await auditTenants(context, found, options, deep);
    await checkHistory(found, log, claims, deep);
  } else deep.skipped.push('tenants and checkpoints: the log itself is damaged');
  await checkFrames(found, 'payload', '.pay', deep);
  await checkFrames(found, 'keys', '.key', deep);
  if (isIntact) await checkPrivate(found, deep);
}

/** Do entries and private fields still fit: none gone without an order, no hold forgotten? */
async function checkPrivate(found: FoundLedger, deep: Deep): Promise<void> {
  const { verifyEvidenceDir } = await import('@kintsugi/ledger');
  const report = await verifyEvidenceDir(found.dir, found.vkey);
  if (report.kind === 'intact') return;
  const told = new Set(deep.findings.map(({ file, offset }) => `${file} ${offset ?? ''}`));
  for (const finding of report.findings) {
    if (finding.part !== 'payload' && finding.part !== 'keys') continue;
    if (!told.has(`${finding.file} ${finding.offset}`)) deep.findings.push(finding);
  }
}

async function auditTenants(
  context: Context,
  found: FoundLedger,
  options: FsckCommandOptions,
  deep: Deep,
): Promise<OfflineLog> {
  const { TenantAudit } = await import('@kintsugi/ledger');
  const { readLog } = await import('../offline/read-log.ts');
  const mapKey = mapKeyOf(context, found, options.mapKey);
  const audit = new TenantAudit(mapKey === undefined ? {} : { mapKey });
  let first: number | undefined;
  const log = await readLog(found, (index, entry, leaf) => {
    first ??= index;
    if (first === 0) audit.follow(index, entry, leaf);
  });
  if ((first ?? 0) > 0) {
    deep.skipped.push(`tenants: retention removed the entries below ${first}`);
    return log;
  }
  if (mapKey === undefined) {
    deep.skipped.push('positions against the map key: it cannot be read here');
  }
  const { tenants, epochs, faults } = audit.report();
  deep.checked.push({ what: "tenants' logs", count: tenants }, { what: 'epochs', count: epochs });
  for (const { index, kind, detail } of faults) {
    const reason = `${kind}: ${detail}`;
    deep.findings.push({ code: CORRUPT, file: 'tenants', offset: undefined, index, reason });
  }
  return log;
}

const CORRUPT = 'KIN_LEDGER_CORRUPT';

interface Claim {
  readonly note: string;
  readonly place: Pick<Finding, 'file' | 'offset' | 'index'>;
}

async function claimsIn(found: FoundLedger, deep: Deep): Promise<readonly Claim[]> {
  const { nodeFiles, readCheckpointsLog } = await import('@kintsugi/ledger');
  const claims: Claim[] = [];
  let lines = 0;
  const file = 'checkpoints.log';
  try {
    for await (const line of readCheckpointsLog(nodeFiles(), found.dir)) {
      lines += 1;
      if (line.kind !== 'published') continue;
      claims.push({ note: line.note, place: { file, offset: undefined, index: line.size } });
    }
  } catch (error) {
    deep.findings.push(findingOf(error, file));
  }
  deep.checked.push({ what: 'lines of checkpoints.log', count: lines });
  const witnessed = readIfThere(join(found.dir, 'checkpoint.witnessed'))?.toString('utf8');
  if (witnessed === undefined) return claims;
  const place = { file: 'checkpoint.witnessed', offset: undefined, index: undefined };
  return [...claims, { note: witnessed, place }];
}

/** Whatever was published once must be a prefix of what is there. */
async function checkHistory(
  found: FoundLedger,
  log: OfflineLog,
  claims: readonly Claim[],
  deep: Deep,
): Promise<void> {
  for (const { note, place } of claims) {
    const reason = await doubtAbout(note, found.vkey, log);
    if (reason !== undefined) deep.findings.push({ ...place, ...reason });
  }
}

async function doubtAbout(
  note: string,
  vkey: string,
  log: OfflineLog,
): Promise<{ readonly code: string; readonly reason: string } | undefined> {
  const { verifyCheckpoint } = await import('@kintsugi/ledger/verify');
  const verdict = verifyCheckpoint(note, vkey);
  if (verdict.kind === 'invalid') return { code: verdict.code, reason: verdict.reason };
  const size = Number(verdict.head.size);
  if (size > log.size) {
    const reason = `${size} entries were published, the log holds ${log.size}`;
    return { code: 'KIN_LEDGER_ROLLED_BACK', reason };
  }
  try {
    const root = Buffer.from(log.tree.rootAt(size)).toString('base64');
    if (root === verdict.head.root) return undefined;
    return { code: 'KIN_LEDGER_FORKED', reason: `another tree of ${size} entries was published` };
  } catch (error) {
    // Below what retention has kept, the root of that size cannot be computed any more.
    if (error instanceof KinError && error.code === 'KIN_LEDGER_PRUNED') return undefined;
    throw error;
  }
}

/** Sealed fields and wrapped keys: every frame has its checksums, whoever may open it. */
async function checkFrames(
  found: FoundLedger,
  folder: string,
  end: string,
  deep: Deep,
): Promise<void> {
  const { scanFrames, trustedEnd } = await import('../offline/package.ts');
  const dir = join(found.dir, folder);
  let names: string[];
  try {
    names = readdirSync(dir).filter((name) => name.endsWith(end));
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    if (code !== 'ENOENT') deep.skipped.push(`${folder}: it cannot be read (${code})`);
    return;
  }
  let frames = 0;
  let next: ReturnType<typeof scanFrames> | undefined;
  // Newest first, because each file says how far the one before it was good.
  for (const name of names.toSorted().toReversed()) {
    const bytes = readIfThere(join(dir, name), FRAMES_BYTES_MAX);
    if (bytes === undefined) {
      deep.skipped.push(`${folder}/${name}: it cannot be read`);
      continue;
    }
    const scan = scanFrames(bytes, trustedEnd(next));
    next = scan;
    frames += scan.frames.length;
    const file = `${folder}/${name}`;
    for (const { from, reason } of scan.damaged) {
      deep.findings.push({ code: CORRUPT, file, offset: from, index: undefined, reason });
    }
    for (const { from, reason } of scan.torn) {
      deep.torn.push(`${file} at byte ${from}: ${reason}`);
    }
    for (const { offset, state, bodyIntact } of scan.frames) {
      const bad =
        state.kind === 'unclear'
          ? 'neither kept nor removed'
          : state.kind === 'live' && !bodyIntact
            ? 'the body was changed'
            : undefined;
      if (bad === undefined) continue;
      deep.findings.push({ code: CORRUPT, file, offset, index: undefined, reason: bad });
    }
  }
  deep.checked.push({ what: `frames in ${folder}`, count: frames });
}

function readIfThere(path: string, most = NAMED_BYTES_MAX): Buffer | undefined {
  try {
    return readRegular(path, most);
  } catch {
    return undefined;
  }
}

function findingOf(error: unknown, file: string): Finding {
  const reason = error instanceof Error ? error.message : String(error);
  return { code: CORRUPT, file, offset: undefined, index: undefined, reason };
}

export interface CheckpointOptions extends LedgerPlace {
  readonly policy: string | undefined;
}

/** Of the running system, or with `--dir` the newest that lies in the folder. */
export async function checkpointCommand(
  context: Context,
  options: CheckpointOptions,
): Promise<number> {
  const connection =
    options.dir === undefined ? tryConnect(context, findStateDir(context)) : undefined;
  const given = options.vkey === undefined ? undefined : givenKey(context, options.vkey);
  const shown =
    connection === undefined
      ? fromFolder(context, options)
      : fromRunning(await connection.client.ledgerHead(), given);
  const { verifyCheckpoint, verifyCheckpointUnderPolicy, parseNote } =
    await import('@kintsugi/ledger/verify');
  const verdict =
    options.policy === undefined
      ? verifyCheckpoint(shown.checkpoint, shown.vkey)
      : verifyCheckpointUnderPolicy(shown.checkpoint, readNamedText(context, options.policy), [
          shown.vkey,
        ]);
  const signers = parseNote(shown.checkpoint)?.signatures.map(({ name }) => name) ?? [];
  const valid = verdict.kind === 'valid';
  const reason = valid ? undefined : `${verdict.code}: ${verdict.reason}`;
  const head = valid ? { size: Number(verdict.head.size), root: verdict.head.root } : {};
  const { checkpoint, vkey, from, keyFrom } = shown;
  const value = { valid, reason, ...head, from, vkey, keyFrom, signers, checkpoint };
  answer(context, value, () => [
    valid
      ? context.paint.green(
          options.policy === undefined ? 'signed by the log' : 'signed, and the quorum is met',
        )
      : context.paint.red(`NOT valid: ${harmlessLine(reason ?? '')}`),
    `key  ${harmlessLine(vkey)}`,
    // A name in a note that does not verify is what somebody wrote there.
    `${valid ? 'by  ' : 'claimed, and not verified:'} ${signers.map(harmlessLine).join(', ')}`,
    ...keyLines(context, keyFrom),
    '',
    ...checkpoint.trimEnd().split('\n').map(harmlessLine),
  ]);
  return valid ? EXIT.ok : EXIT.failed;
}

interface Shown {
  readonly checkpoint: string;
  readonly vkey: string;
  readonly keyFrom: KeyFrom;
  readonly from: string;
}

function fromRunning(
  { checkpoint, vkey }: { readonly checkpoint: string; readonly vkey: string },
  given: string | undefined,
): Shown {
  const key =
    given === undefined ? { vkey, keyFrom: 'running' } : { vkey: given, keyFrom: 'given' };
  return { checkpoint, ...(key as Pick<Shown, 'vkey' | 'keyFrom'>), from: 'running' };
}

function fromFolder(context: Context, options: CheckpointOptions): Shown {
  const { dir, vkey, keyFrom } = findLedger(context, options);
  // With a policy, the newest one that has a quorum is what was asked for.
  const names =
    options.policy === undefined ? ['checkpoint'] : ['checkpoint.witnessed', 'checkpoint'];
  for (const name of names) {
    const text = readIfThere(join(dir, name))?.toString('utf8');
    if (text !== undefined) return { checkpoint: text, vkey, keyFrom, from: name };
  }
  throw new KinError(
    'KIN_LEDGER_NOT_FOUND',
    `no checkpoint was published in ${dir}`,
    'Start the system once: it publishes by itself.',
  );
}
