// What does the rest of the program use of this folder?
export { loadManifest, loadManifestText } from './load.ts';
export type { LoadOptions, LoadedManifest } from './load.ts';
export { ManifestErrors, problemText, problemsText, warningText } from './problem.ts';
export type { ManifestProblem, ManifestWarning, ProblemCode } from './problem.ts';
export { settleManifest } from './build.ts';
export { replicaPath, resolveCommand, resolveEnv, resolveText } from './reference.ts';
export type { ResolveInputs, ResolveNames, Variables } from './reference.ts';
export { loadSecrets } from './secrets.ts';
export { diffManifest } from './diff.ts';
export type { ChangeEffect, ChangeSubject, ManifestChange, Replaced } from './diff.ts';
export { changesText } from './diff-text.ts';
export { manifestFromJson, manifestToJson } from './json.ts';
export { guessManifest } from './guess.ts';
export type { GuessQuestion, ManifestGuess, QuestionId } from './guess.ts';
export { PLAYBOOKS } from './keys.ts';
export { STANDARD_LEDGER, resolveAnchors } from './build-ledger.ts';
