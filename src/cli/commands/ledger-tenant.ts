// `ledger prove` and `ledger export --tenant`: what a person is handed as evidence. From the
// running system, or offline from a folder; everything is verified before it is printed or written.
//
//   EVI3. A proof that does not verify is never handed out.
import { existsSync, lstatSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { KinError } from '../../model/errors.ts';
import { connect } from '../connect.ts';
import type { Context } from '../context.ts';
import { answer } from '../context.ts';
import { EXIT } from '../exit.ts';
import {
  findLedger,
  givenKey,
  keyLines,
  readNamed,
  readNamedText,
  unwritable,
} from '../offline/place.ts';
import type { FoundLedger, KeyFrom, LedgerPlace } from '../offline/place.ts';
import { BUNDLE_BYTES_MAX } from '../offline/read-file.ts';
import { harmlessLine } from '../style.ts';
import { countText } from '../text.ts';
import type { Trusting } from './ledger-verify.ts';

export interface ProveOptions extends LedgerPlace {
  readonly tenant: string | undefined;
  /** Writes PREFIX.proof and PREFIX.entry too. */
  readonly out: string | undefined;
}

interface Made {
  readonly index: number;
  readonly tenant: string | undefined;
  readonly entry: Buffer;
  readonly proof: string;
  readonly vkey: string;
  readonly keyFrom: KeyFrom;
  readonly valid: boolean;
}

export async function proveCommand(
  context: Context,
  index: number,
  options: ProveOptions,
): Promise<number> {
  const made =
    options.dir === undefined
      ? await fromRunning(context, index, options)
      : await fromFolder(findLedger(context, options), index, options.tenant);
  const { valid, entry, proof, vkey, keyFrom, tenant } = made;
  const of = tenant === undefined ? 'the log' : `the log of ${tenant}`;
  if (valid && options.out !== undefined) {
    const path = resolve(context.cwd, options.out);
    write(`${path}.proof`, proof);
    write(`${path}.entry`, entry);
  }
  answer(context, { ...made, entry: entry.toString('base64') }, () => [
    valid
      ? context.paint.green(`entry ${index} is in ${of}`)
      : context.paint.red(`the proof of entry ${index} does NOT verify`),
    `key   ${harmlessLine(vkey)}`,
    ...keyLines(context, keyFrom),
    `entry ${harmlessLine(entry.toString('utf8'))}`,
    // EVI3.
    ...(valid ? ['', ...proof.trimEnd().split('\n').map(harmlessLine)] : []),
  ]);
  return valid ? EXIT.ok : EXIT.failed;
}

async function fromRunning(
  context: Context,
  index: number,
  { tenant, vkey: named }: Pick<ProveOptions, 'tenant' | 'vkey'>,
): Promise<Made> {
  const given = named === undefined ? undefined : givenKey(context, named);
  const keyFrom = given === undefined ? 'running' : 'given';
  const { client } = connect(context);
  if (tenant === undefined) {
    const { proof, ...made } = await client.ledgerProve(index);
    const { verifyProof } = await import('@kintsugi/ledger/verify');
    const vkey = given ?? made.vkey;
    const entry = Buffer.from(made.entry, 'base64');
    const verdict = verifyProof(proof, entry, vkey);
    const valid = verdict.kind === 'valid' && Number(verdict.index) === index;
    return { index, tenant, entry, proof, vkey, keyFrom, valid };
  }
  const about = { kind: 'entry', index } as const;
  const { proof, ...made } = await client.evidence.tenantProof(tenant, about);
  const { verifyTenantProof } = await import('../offline/package.ts');
  const vkey = given ?? made.vkey;
  const entry = Buffer.from(made.entry ?? '', 'base64');
  const verdict = verifyTenantProof(proof, entry, { trust: { vkey }, tenant });
  const valid = verdict.kind === 'valid' && Number(verdict.index) === index;
  return { index, tenant, entry, proof, vkey, keyFrom, valid };
}

async function fromFolder(
  found: FoundLedger,
  index: number,
  tenant: string | undefined,
): Promise<Made> {
  const { vkey, keyFrom } = found;
  if (tenant !== undefined) {
    const made = await offlineProof(found, tenant, { kind: 'entry', index });
    const entry = Buffer.from(made.entry ?? new Uint8Array(0));
    return { index, tenant, entry, proof: made.proof, vkey, keyFrom, valid: true };
  }
  const { readLog } = await import('../offline/read-log.ts');
  const { formatProof, verifyProof } = await import('@kintsugi/ledger/verify');
  let kept: Buffer | undefined;
  const log = await readLog(found, (at, entry) => {
    if (at === index) kept = Buffer.from(entry);
  });
  if (kept === undefined) {
    throw new KinError(
      index < log.size ? 'KIN_LEDGER_PRUNED' : 'KIN_LEDGER_RANGE',
      `entry ${index} is not in this copy of ${log.size} entries`,
      `Ask for an index below ${log.size} that retention has kept.`,
    );
  }
  const hashes = log.tree.inclusion(index, log.size);
  const proof = formatProof({ index: BigInt(index), hashes, checkpoint: log.checkpoint });
  const valid = verifyProof(proof, kept, vkey).kind === 'valid';
  return { index, tenant, entry: kept, proof, vkey, keyFrom, valid };
}

async function offlineProof(
  found: FoundLedger,
  tenant: string,
  about: { readonly kind: 'head' } | { readonly kind: 'entry'; readonly index: number },
): Promise<{
  readonly proof: string;
  readonly entry: Uint8Array | undefined;
  readonly entries: readonly Uint8Array[];
}> {
  const { readLog } = await import('../offline/read-log.ts');
  const { TenantCollector } = await import('../offline/tenant-logs.ts');
  const collector = new TenantCollector(tenant);
  const log = await readLog(found, (index, entry, leaf) => collector.follow(index, entry, leaf));
  const made = collector.prove(about, log, publishedIn(found), { vkey: found.vkey });
  return { ...made, entries: collector.entries(made.size) };
}

/** Best first: one with a quorum is worth more to its receiver than the newest. */
function publishedIn({ dir }: FoundLedger): readonly string[] {
  const names = ['checkpoint.witnessed', 'checkpoint'].filter((n) => existsSync(join(dir, n)));
  return names.map((name) => readNamedText({ cwd: dir }, join(dir, name)));
}

export interface ExportOptions extends LedgerPlace {
  readonly tenant: string | undefined;
}

export async function exportCommand(
  context: Context,
  out: string,
  options: ExportOptions,
): Promise<number> {
  const found = findLedger(context, options);
  const path = resolve(context.cwd, out);
  refuseFull(path);
  if (options.tenant !== undefined) return exportTenant(context, found, options.tenant, path);
  const { exportStatic } = await import('@kintsugi/ledger');
  const checkpoint = await exportStatic(found.dir, path, found.vkey);
  const { vkey, keyFrom } = found;
  const files = { checkpoint: join(path, 'checkpoint'), vkey, keyFrom };
  answer(context, { ...files, size: checkpoint.size, root: checkpoint.root }, () => [
    `${countText(checkpoint.size, 'entry', 'entries')} in ${path} as a static log (tlog-tiles)`,
    `root ${checkpoint.root}`,
    `key  ${harmlessLine(found.vkey)}`,
    ...keyLines(context, found.keyFrom),
  ]);
  return EXIT.ok;
}

const WIDTH = 256;

/** Its entries as tlog-tiles bundles, the proof of its whole log, and the key. */
async function exportTenant(
  context: Context,
  found: FoundLedger,
  tenant: string,
  path: string,
): Promise<number> {
  const { proof, entries } = await offlineProof(found, tenant, { kind: 'head' });
  const { bundle, formatTilePath } = await import('../offline/package.ts');
  for (let number = 0; number * WIDTH < entries.length; number += 1) {
    const part = entries.slice(number * WIDTH, (number + 1) * WIDTH);
    const name = formatTilePath({ kind: 'entries', number, width: part.length });
    write(join(path, name), bundle(part));
  }
  write(join(path, 'vkey'), `${found.vkey}\n`);
  // Last, so that a cut-off export is none.
  write(join(path, 'head.proof'), proof);
  const { vkey, keyFrom } = found;
  answer(context, { tenant, dir: path, size: entries.length, vkey, keyFrom }, () => [
    `${countText(entries.length, 'entry', 'entries')} of ${tenant} in ${path}, with their proof`,
    `key  ${vkey}`,
    ...keyLines(context, keyFrom),
    context.paint.dim(`check it with: kintsugi ledger verify --dir ${path}`),
  ]);
  return EXIT.ok;
}

function refuseFull(path: string): void {
  // A link that leads nowhere does not exist, and yet no folder can be made of it.
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  try {
    if (readdirSync(path).length === 0) return;
  } catch (error) {
    throw unwritable(path, error);
  }
  throw new KinError('KIN_LEDGER_OPTION_INVALID', `${path} is not empty`, 'Name another folder.');
}

function write(path: string, bytes: string | Uint8Array): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes, { flag: 'wx' });
  } catch (error) {
    throw unwritable(path, error);
  }
}

/** All of a tenant's entries, and that none is missing. */
export async function verifyTenantExport(
  context: Context,
  dir: string,
  { trust, keyFrom }: Trusting,
): Promise<number> {
  const { formatTilePath, parseBundle, verifyTenantComplete, verifyTenantHead } =
    await import('../offline/package.ts');
  const proof = readNamedText(context, join(dir, 'head.proof'));
  const tenant = /^tenant (\S{1,64})$/mu.exec(proof)?.[1] ?? '';
  const options = { trust, tenant };
  const head = verifyTenantHead(proof, options);
  const size = head.kind === 'valid' ? Number(head.size) : 0;
  const entries: Uint8Array[] = [];
  for (let number = 0; number * WIDTH < size; number += 1) {
    const width = Math.min(WIDTH, size - number * WIDTH);
    const path = join(dir, formatTilePath({ kind: 'entries', number, width }));
    if (existsSync(path))
      entries.push(...(parseBundle(readNamed(context, path, BUNDLE_BYTES_MAX)) ?? []));
  }
  const verdict =
    head.kind === 'valid' ? await verifyTenantComplete(entries, proof, options) : head;
  const { paint } = context;
  const valid = verdict.kind === 'valid';
  const says = valid
    ? `all ${countText(size, 'entry', 'entries')} of ${tenant} are here, and no other`
    : `${verdict.reason}: ${verdict.detail}`;
  const key = 'vkey' in trust ? { vkey: trust.vkey } : {};
  answer(context, { tenant, valid, says, size, keyFrom, ...key }, () => [
    valid
      ? `${paint.green('complete')}: ${harmlessLine(says)}`
      : `${paint.red('NOT complete')}: ${harmlessLine(says)}`,
    ...(keyFrom === 'given' || key.vkey === undefined ? [] : [`key  ${harmlessLine(key.vkey)}`]),
    ...keyLines(context, keyFrom),
  ]);
  return valid ? EXIT.ok : EXIT.failed;
}

export async function tenantLogsCommand(context: Context, options: LedgerPlace): Promise<number> {
  const rows = options.dir === undefined ? await running(context) : await offline(context, options);
  answer(context, rows, () =>
    rows.length === 0
      ? ['no tenant has a log yet']
      : rows.map((r) => `${r.tenant}  ${countText(r.size, 'entry', 'entries')}  ${r.root}`),
  );
  return EXIT.ok;
}

interface Row {
  readonly tenant: string;
  readonly size: number;
  readonly root: string;
}

const PAGES_MAX = 1_000;

async function running(context: Context): Promise<readonly Row[]> {
  const { client } = connect(context);
  const rows: Row[] = [];
  let after: string | undefined;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const { logs, next } = await client.evidence.tenantLogs(after, 1_000);
    rows.push(...logs);
    if (next === undefined) break;
    after = next;
  }
  return rows;
}

async function offline(context: Context, options: LedgerPlace): Promise<readonly Row[]> {
  const { readLog } = await import('../offline/read-log.ts');
  const { TenantCollector } = await import('../offline/tenant-logs.ts');
  const collector = new TenantCollector();
  await readLog(findLedger(context, options), (index, entry, leaf) =>
    collector.follow(index, entry, leaf),
  );
  // Of a pruned log, only what is still there can be counted.
  return collector.tenants().map(({ tenant, tree, indexes }) => ({
    tenant,
    size: indexes.length,
    root: Buffer.from(tree.rootAt(indexes.length)).toString('base64'),
  }));
}
