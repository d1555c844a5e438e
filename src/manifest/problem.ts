// What is wrong with a manifest, where, and what should stand there instead? Every problem is found
// in one pass and shown together, so that a file is mended in one go.
//
//   PR1. A problem names file, line and column, what was found, what was expected, and a suggestion
//        where there is one.
//   PR2. No text of a problem ever repeats a value that may be a secret.
import { KinError } from '../model/errors.ts';

export const PROBLEM_CODES = [
  'KIN_MANIFEST_SYNTAX',
  'KIN_MANIFEST_UNKNOWN_KEY',
  'KIN_MANIFEST_TYPE',
  'KIN_MANIFEST_UNIT',
  'KIN_MANIFEST_RANGE',
  'KIN_MANIFEST_REFERENCE',
  'KIN_MANIFEST_CONFLICT',
  'KIN_MANIFEST_COMMAND',
  'KIN_MANIFEST_MISSING',
  'KIN_MANIFEST_TOO_LARGE',
  'KIN_MANIFEST_NOT_FOUND',
  'KIN_POLICY_SYNTAX',
  'KIN_POLICY_REFERENCE',
  'KIN_POLICY_UNDECIDABLE',
] as const;

export type ProblemCode = (typeof PROBLEM_CODES)[number];

/** 1-based, as editors count; line 0 means the whole file. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

export const WHOLE_FILE: Place = { line: 0, column: 0 };

export interface ManifestProblem {
  readonly code: ProblemCode;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** Where in the manifest: `services.records.drain`; empty for the file itself. */
  readonly path: string;
  readonly found: string;
  readonly expected: string;
  /** What to write instead, when it can be guessed. */
  readonly suggestion: string | undefined;
}

export type AdviceKind =
  | 'secret-literal'
  | 'host-open'
  | 'probe-overlap'
  | 'framework-unknown'
  | 'framework-unchecked'
  | 'region-unserved'
  | 'control-not-healable'
  | 'nobody-may-enter'
  | 'anchor-inside';

/** Allowed, and still worth a second look. */
export interface ManifestWarning {
  readonly kind: AdviceKind;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly path: string;
  readonly text: string;
}

const FIXES: Readonly<Record<ProblemCode, string>> = {
  KIN_MANIFEST_SYNTAX: 'Correct the YAML at the place named; two spaces an indent, no tabs.',
  KIN_MANIFEST_UNKNOWN_KEY: 'Correct or remove the key; docs/reference/manifest.md lists all keys.',
  KIN_MANIFEST_TYPE: 'Write a value of the kind that is expected there.',
  KIN_MANIFEST_UNIT: 'Write the number with one of the units that are accepted there.',
  KIN_MANIFEST_RANGE: 'Choose a value inside the limits.',
  KIN_MANIFEST_REFERENCE: 'Refer to something that the manifest or the environment has.',
  KIN_MANIFEST_CONFLICT: 'Change one of the two settings that exclude each other.',
  KIN_MANIFEST_COMMAND: 'Name a program and a script that exist on this machine.',
  KIN_MANIFEST_MISSING: 'Add the key.',
  KIN_MANIFEST_TOO_LARGE: 'Make the manifest smaller, or split it into several installations.',
  KIN_MANIFEST_NOT_FOUND: 'Correct the path, or create the file.',
  KIN_POLICY_SYNTAX: 'Correct the policy at the place named; see docs/guide/identity.md.',
  KIN_POLICY_REFERENCE: 'Name a role, an action or a declared route, or declare the route.',
  KIN_POLICY_UNDECIDABLE:
    'Write the policy with role, method and route alone; leave the rest to the service.',
};

/** Everything that is wrong with one manifest; `problems` is never empty, in file order. */
export class ManifestErrors extends KinError {
  readonly problems: readonly [ManifestProblem, ...ManifestProblem[]];

  constructor(problems: readonly [ManifestProblem, ...ManifestProblem[]]) {
    super(problems[0].code, problemsText(problems), FIXES[problems[0].code]);
    this.name = 'ManifestErrors';
    this.problems = problems;
  }
}

const PROBLEMS_MAX = 50;

/** Collects problems and warnings of one file; counts past its limit without keeping them. */
export class ProblemList {
  readonly file: string;
  private readonly problems: ManifestProblem[] = [];
  private readonly warnings: ManifestWarning[] = [];

  constructor(file: string) {
    this.file = file;
  }

  add(
    code: ProblemCode,
    place: Place,
    path: string,
    what: { readonly found: string; readonly expected: string; readonly suggestion?: string },
    file = this.file,
  ): void {
    this.problems.push({
      code,
      file,
      line: place.line,
      column: place.column,
      path,
      found: what.found,
      expected: what.expected,
      suggestion: what.suggestion,
    });
  }

  warn(kind: AdviceKind, place: Place, path: string, text: string): void {
    this.warnings.push({ kind, file: this.file, ...place, path, text });
  }

  count(): number {
    return this.problems.length;
  }

  sortedWarnings(): readonly ManifestWarning[] {
    return this.warnings.toSorted(byPlace).slice(0, PROBLEMS_MAX);
  }

  /** Throws all that was found, when anything was. */
  throwIfAny(): void {
    const [first, ...rest] = this.problems.toSorted(byPlace);
    if (first !== undefined) throw new ManifestErrors([first, ...rest]);
  }
}

function byPlace(a: Place, b: Place): number {
  return a.line - b.line || a.column - b.column;
}

export function placeText(at: Place & { readonly file: string }): string {
  return at.line === 0 ? at.file : `${at.file}:${at.line}:${at.column}`;
}

/** One problem as two or three lines. */
export function problemText(problem: ManifestProblem): string {
  const where = problem.path === '' ? '' : `${problem.path}: `;
  const lines = [
    `${placeText(problem)} ${problem.code}`,
    `  ${where}found ${problem.found}, expected ${problem.expected}`,
  ];
  if (problem.suggestion !== undefined) lines.push(`  did you mean ${problem.suggestion}?`);
  return lines.join('\n');
}

/** All problems for a terminal, at most fifty of them spelled out. */
export function problemsText(problems: readonly ManifestProblem[]): string {
  const shown = problems.slice(0, PROBLEMS_MAX).map(problemText);
  const more = problems.length - shown.length;
  if (more > 0) shown.push(`and ${more} more`);
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
  return `${count} in the manifest\n${shown.join('\n')}`;
}

export function warningText(warning: ManifestWarning): string {
  const where = warning.path === '' ? '' : `${warning.path}: `;
  return `${placeText(warning)} warning\n  ${where}${warning.text}`;
}
