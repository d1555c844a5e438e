// `validate`, `plan`, `init`: what the manifest says, what it would change, and a first one.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { changesText, diffManifest, guessManifest, problemText } from '../../manifest/index.ts';
import type { GuessQuestion, QuestionId } from '../../manifest/index.ts';
import { ManifestErrors, loadManifestText } from '../../manifest/index.ts';
import { KinError } from '../../model/errors.ts';
import type { Manifest } from '../../model/manifest.ts';
import { blastRadius, blastText } from '../../model/shards.ts';
import { MANIFEST_NAME, manifestPath, stateDirOf, tryConnect } from '../connect.ts';
import type { Context } from '../context.ts';
import { answer } from '../context.ts';
import { EXIT } from '../exit.ts';
import { loadFor } from '../manifest.ts';
import { showChanges } from '../show/answers.ts';
import { countText } from '../text.ts';

export async function validateCommand(
  context: Context,
  manifest: string | undefined,
): Promise<number> {
  const path = manifestPath(context, manifest);
  try {
    const { manifest: good, warnings, leftOut } = await loadFor(context, path);
    const counts = [
      countText(good.services.size, 'service'),
      countText(good.dependencies.size, 'dependency', 'dependencies'),
      countText(good.tenants.size, 'tenant'),
      countText(good.compliance.checks.length, 'check'),
    ].join(', ');
    answer(context, { valid: true, path, problems: [], warnings, leftOut }, () => [
      `${context.paint.green('valid')}: ${path} (${counts})`,
    ]);
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof ManifestErrors) || !context.globals.json) throw error;
    const { problems } = error;
    context.term.out(`${JSON.stringify({ valid: false, path, problems, warnings: [] })}\n`);
    return EXIT.configuration;
  }
}

export async function planCommand(context: Context, manifest: string | undefined): Promise<number> {
  const path = manifestPath(context, manifest);
  const loaded = await loadFor(context, path);
  const radius = blastOf(loaded.manifest);
  const connection = tryConnect(context, stateDirOf(context, path));
  if (connection === undefined) {
    const changes = diffManifest(undefined, loaded.manifest);
    answer(context, { running: false, changes, ...radius }, () => [
      'nothing runs: `kintsugi up` would start all of it',
      '',
      ...changesText(loaded.manifest.name, changes).trimEnd().split('\n'),
      ...blastLines(radius.blast),
    ]);
    return EXIT.ok;
  }
  const source = { path, text: readFileSync(path, 'utf8') };
  const plan = await connection.client.applyManifest(source, true);
  answer(context, { running: true, changes: plan.changes, ...radius }, () => [
    ...showChanges(plan.changes, context.paint),
    ...blastLines(radius.blast),
  ]);
  return EXIT.ok;
}

type Blast = readonly { readonly service: string; readonly text: string }[];

/** How far one tenant's trouble could reach: of the services that spread tenants over shards. */
function blastOf(manifest: Manifest): { readonly blast?: Blast } {
  const blast = [...manifest.services.values()].flatMap(({ name, shardSize, replicas }) => {
    if (shardSize === undefined) return [];
    return [{ service: name, text: blastText(blastRadius(replicas.min, shardSize)) }];
  });
  return blast.length === 0 ? {} : { blast };
}

function blastLines(blast: Blast = []): readonly string[] {
  if (blast.length === 0) return [];
  return ['', ...blast.map(({ service, text }) => `${service}: ${text}`)];
}

export interface InitOptions {
  /** Take every guess without asking. */
  readonly yes: boolean;
  readonly force: boolean;
  readonly print: boolean;
}

export async function initCommand(context: Context, options: InitOptions): Promise<number> {
  const path = join(context.cwd, MANIFEST_NAME);
  if (!options.print && !options.force && existsSync(path)) {
    throw new KinError(
      'KIN_MANIFEST_EXISTS',
      `${path} exists already`,
      'Edit it, or overwrite it with --force.',
    );
  }
  let guess = await guessManifest(context.cwd);
  const asks = !options.yes && context.term.isTty && process.stdin.isTTY && !context.globals.json;
  if (asks && guess.questions.length > 0) {
    guess = await guessManifest(context.cwd, await askAll(guess.questions));
  }
  if (options.print) {
    context.term.out(guess.yaml);
    return EXIT.ok;
  }
  writeFileSync(path, guess.yaml, { mode: 0o644, flag: options.force ? 'w' : 'wx' });
  const problems = await problemsOf(context, guess.yaml, path);
  answer(context, { path, guesses: guess.questions, problems }, () => [
    `wrote ${path}`,
    ...guess.questions.map((q) => `  ${q.id}: ${q.guess === '' ? '–' : q.guess} (${q.why})`),
    ...(problems.length === 0 ? [] : ['', 'still to be corrected in it:', ...problems]),
    '',
    'next: kintsugi validate, then kintsugi up',
  ]);
  return EXIT.ok;
}

type Answers = Partial<Record<QuestionId, string>>;

/** Enter takes the guess. */
async function askAll(questions: readonly GuessQuestion[]): Promise<Answers> {
  const prompt = createInterface({ input: process.stdin, output: process.stdout });
  const answers: Answers = {};
  try {
    for (const question of questions) {
      const text = await prompt.question(`${question.ask} [${question.guess}] `);
      answers[question.id] = text.trim() === '' ? question.guess : text.trim();
    }
  } finally {
    prompt.close();
  }
  return answers;
}

async function problemsOf(context: Context, yaml: string, path: string): Promise<string[]> {
  try {
    await loadManifestText(yaml, path, { env: context.env });
    return [];
  } catch (error) {
    if (error instanceof ManifestErrors) return error.problems.map(problemText);
    throw error;
  }
}
