// `ledger erase`, `hold`, `release`, `restrict`, `unrestrict`, `holds`, `subject-export`: what the
// law asks for about a person. Asked of the running system, which alone holds the keys.
//
//   PRV1. An erasure says what it will do and needs a yes; without a terminal it needs --yes.
//   PRV2. A subject may be given on stdin (-), so that it stands in no list of processes.
//   PRV3. What is exported about a person goes into a new file of mode 0600, whole or not at all.
import { open, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import type { LegalBasis, MarkView } from '../../api/evidence-port.ts';
import { KinError } from '../../model/errors.ts';
import { connect } from '../connect.ts';
import type { Context } from '../context.ts';
import { answer, lines } from '../context.ts';
import { EXIT } from '../exit.ts';
import { unwritable } from '../offline/place.ts';
import { harmless } from '../style.ts';
import { countText } from '../text.ts';

const SUBJECT_CHARS_MAX = 512;

/** PRV2. */
async function subjectOf(given: string): Promise<string> {
  if (given !== '-') return given;
  let text = '';
  for await (const part of process.stdin) {
    text += String(part);
    if (text.length > 4 * SUBJECT_CHARS_MAX) break;
  }
  const subject = text.split('\n')[0]?.trim() ?? '';
  if (subject !== '') return subject;
  throw new KinError('KIN_USAGE', 'no subject came on stdin', 'Write it on one line.');
}

export async function eraseCommand(
  context: Context,
  tenant: string,
  given: string,
  options: LegalBasis & { readonly yes: boolean },
): Promise<number> {
  const subject = await subjectOf(given);
  const { code, ref } = options;
  // PRV1.
  if (!options.yes) await confirm(context, tenant, given === '-' ? 'the person named' : subject);
  const request = { tenant, subject, basis: { code, ref } };
  const done = await connect(context).client.evidence.erase(request);
  answer(context, done, () =>
    done.kind === 'nothing-held'
      ? [`nothing is stored about this person; entry ${done.index} says that it was asked`]
      : [
          `${countText(done.fields, 'field')} of ${countText(done.payloads, 'record')} destroyed`,
          `entry ${done.index} orders it (erasure ${done.erasure})`,
          `a canary that was sealed under the key: ${done.canary}`,
          'every proof is as valid as before, and shows these fields as redacted',
        ],
  );
  return EXIT.ok;
}

async function confirm(context: Context, tenant: string, subject: string): Promise<void> {
  const what = [
    `This destroys, for good, the key and every private field that ${tenant} has about`,
    `  ${harmless(subject)}`,
    'The entries and their proofs stay; the fields will read as "redacted". The ledger keeps the',
    'tenant, the basis and the case number, and nothing about the person. It cannot be undone;',
    'backups of the keys that are older bring the person back until they expire.',
  ];
  const { term, globals } = context;
  const canAsk = term.isTty && process.stdin.isTTY && !globals.json;
  if (!canAsk) {
    throw new KinError(
      'KIN_CONFIRMATION_REFUSED',
      `nobody said yes: ${what.join(' ').replaceAll(/\s+/gu, ' ')}`,
      'Pass --yes when that is what is wanted.',
    );
  }
  lines(context, what);
  const prompt = createInterface({ input: process.stdin, output: process.stdout });
  const said = await prompt.question(`Type the tenant (${tenant}) to go on: `);
  prompt.close();
  if (said.trim() === tenant) return;
  throw new KinError('KIN_CONFIRMATION_REFUSED', 'nothing was erased', 'Type the tenant as shown.');
}

function markText(what: string, { id, tenant, scope, basis, index }: MarkView): string {
  const of = scope === 'tenant' ? `all of ${tenant}` : `one person of ${tenant}`;
  return `${what} ${id} on ${of} (${basis.code}, ${harmless(basis.ref)}; entry ${index})`;
}

export async function holdCommand(
  context: Context,
  tenant: string,
  given: string | undefined,
  { code, ref }: LegalBasis,
): Promise<number> {
  const subject = given === undefined ? undefined : await subjectOf(given);
  const basis = { code, ref };
  const mark = await connect(context).client.evidence.hold({ tenant, subject, basis });
  answer(context, mark, () => [markText('hold', mark)]);
  return EXIT.ok;
}

export async function restrictCommand(
  context: Context,
  tenant: string,
  given: string,
  { code, ref }: LegalBasis,
): Promise<number> {
  const subject = await subjectOf(given);
  const basis = { code, ref };
  const mark = await connect(context).client.evidence.restrict({ tenant, subject, basis });
  answer(context, mark, () => [markText('restriction', mark)]);
  return EXIT.ok;
}

export async function liftCommand(
  context: Context,
  what: 'hold' | 'restriction',
  id: string,
  ref: string,
): Promise<number> {
  const { evidence } = connect(context).client;
  const { index } =
    what === 'hold' ? await evidence.release(id, ref) : await evidence.unrestrict(id, ref);
  answer(context, { id, index }, () => [`${what} ${harmless(id)} has ended; entry ${index}`]);
  return EXIT.ok;
}

export async function holdsCommand(context: Context, tenant: string | undefined): Promise<number> {
  const marks = await connect(context).client.evidence.holds(tenant);
  answer(context, marks, () => {
    const all = [
      ...marks.holds.map((mark) => markText('hold', mark)),
      ...marks.restrictions.map((mark) => markText('restriction', mark)),
    ];
    return all.length === 0 ? ['nothing is held or restricted'] : all;
  });
  return EXIT.ok;
}

/** Into a file that only this user can read, or to stdout. */
export async function subjectExportCommand(
  context: Context,
  tenant: string,
  given: string,
  options: { readonly ref: string; readonly out: string | undefined },
): Promise<number> {
  const request = { tenant, subject: await subjectOf(given), ref: options.ref };
  const pieces = connect(context).client.evidence.subjectExport(request);
  if (options.out === undefined) {
    for await (const piece of pieces) context.term.out(piece);
    return EXIT.ok;
  }
  const path = resolve(context.cwd, options.out);
  const bytes = await keep(path, pieces);
  answer(context, { path, bytes }, () => [`${bytes} bytes in ${path}`]);
  return EXIT.ok;
}

/** PRV3. */
async function keep(path: string, pieces: AsyncGenerator<string>): Promise<number> {
  // A refusal comes with the first piece: then there is no file yet.
  const first = await pieces.next();
  const file = await open(path, 'wx', 0o600).catch((error: unknown) => {
    throw unwritable(path, error);
  });
  let bytes = 0;
  try {
    const put = async (text: string): Promise<void> => {
      bytes += (await file.write(text)).bytesWritten;
    };
    if (first.done !== true) await put(first.value);
    for await (const piece of pieces) await put(piece);
    await file.close();
    return bytes;
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(path, { force: true });
    throw error instanceof KinError ? error : unwritable(path, error);
  }
}
