// What does a reader of the manual need to know of the manifest? docs/reference/manifest.md, made
// from the table of keys, so that no key, unit or default can be missing or out of date.
import { MANIFEST } from './keys.ts';
import { PROBLEM_CODES } from './problem.ts';
import { CHECKS, INTRO, REFERENCES } from './reference-prose.ts';
import type { ProblemCode } from './problem.ts';
import { keysOf, partOf, variantsOf } from './shape.ts';
import type { Key, ObjectShape, Shape } from './shape.ts';
import { fallbackText } from './shape-words.ts';
import { UNITS, unitText } from './units.ts';

interface Section {
  readonly path: string;
  readonly shape: ObjectShape;
}

/** The whole page. */
export function referencePage(): string {
  const seen = new Map<ObjectShape, string>();
  const sections: Section[] = [];
  collect(MANIFEST, '', sections, seen);
  const keys = sections.map((section) => sectionText(section, seen));
  return [INTRO, '## Keys', '', ...keys, unitsText(), REFERENCES, CHECKS, codesText()].join('\n');
}

/** Every object of the table, each once, at the path where it is met first. */
function collect(
  shape: Shape,
  path: string,
  sections: Section[],
  seen: Map<ObjectShape, string>,
): void {
  if (shape.kind === 'list') collect(partOf(shape.of), `${path}[]`, sections, seen);
  if (shape.kind === 'map') collect(partOf(shape.of), `${path}.<name>`, sections, seen);
  if (shape.kind === 'variants') {
    for (const [word, variant] of variantsOf(shape)) {
      collect(variant, `${path} of kind ${word}`, sections, seen);
    }
  }
  if (shape.kind === 'either') collect(partOf(shape.long), path, sections, seen);
  if (shape.kind !== 'object' || seen.has(shape)) return;
  seen.set(shape, path);
  sections.push({ path, shape });
  for (const [name, key] of Object.entries(keysOf(shape))) {
    collect(partOf(key.shape), path === '' ? name : `${path}.${name}`, sections, seen);
  }
}

function sectionText(section: Section, seen: ReadonlyMap<ObjectShape, string>): string {
  const rows = Object.entries(keysOf(section.shape)).map(([name, key]) => {
    const at = section.path === '' ? name : `${section.path}.${name}`;
    const value = valueText(partOf(key.shape), at, seen);
    return `| \`${name}\` | ${value} | ${defaultText(key)} | ${aboutText(key)} |`;
  });
  const title = section.path === '' ? 'The manifest' : `\`${section.path}\``;
  const head = '| key | value | default | meaning |\n| --- | --- | --- | --- |';
  return `### ${title}\n\n${head}\n${rows.join('\n')}\n`;
}

function aboutText(key: Key): string {
  const also = key.plain === undefined ? '' : ` Also \`${key.plain}\`, a plain number.`;
  return `${key.about}${also}`.replaceAll('|', '\\|');
}

function defaultText(key: Key): string {
  if (key.presence === 'required') return '**required**';
  if (key.presence === 'optional') return fallbackText(key);
  const shape = partOf(key.shape);
  if (shape.kind === 'object') return 'its defaults';
  if (shape.kind === 'map') return 'none';
  return `\`${fallbackText(key)}\``;
}

function valueText(shape: Shape, at: string, seen: ReadonlyMap<ObjectShape, string>): string {
  switch (shape.kind) {
    case 'object': {
      const where = seen.get(shape) ?? at;
      return where === at ? 'keys, see below' : `keys, as \`${where}\``;
    }
    case 'map':
      return `up to ${shape.max} by name: ${valueText(partOf(shape.of), `${at}.<name>`, seen)}`;
    case 'list':
      return `list, up to ${shape.max}: ${valueText(partOf(shape.of), `${at}[]`, seen)}`;
    case 'either': {
      const long = valueText(partOf(shape.long), at, seen);
      return `${valueText(partOf(shape.short), at, seen)}, or ${long}`;
    }
    case 'variants':
      return 'keys by `kind`, see below';
    case 'command':
      return 'text, or list of texts';
    case 'text':
      return shape.accepts.replaceAll('|', '\\|');
    case 'choice':
      return shape.of.map((word) => `\`${word}\``).join(', ');
    case 'whole':
      return `whole number, ${shape.min} to ${shape.max}`;
    case 'quantity': {
      const max = unitText(shape.unit, shape.max);
      return `${shape.unit}, ${unitText(shape.unit, shape.min)} to ${max}`;
    }
    case 'flag':
      return '`true`, `false`';
  }
}

function unitsText(): string {
  const written = Object.entries(UNITS).filter(([unit]) => unit !== 'number');
  const rows = written.map(([unit, { accepts, bare }]) => {
    return `| ${unit} | ${accepts} | ${bare ? 'yes' : 'no, an error'} |`;
  });
  const head = '| quantity | written as | plain number |\n| --- | --- | --- |';
  return [
    '## Units',
    '',
    'The unit stands in the value. A number without its unit is an error that names candidates;',
    'nothing is guessed. Where the table of keys says "Also `…Ms`", that second spelling takes a',
    'plain number of the base unit (milliseconds, bytes, requests a second, percent, cores); only',
    'one of the two may be written.',
    '',
    head,
    ...rows,
    '',
  ].join('\n');
}

const CODES: Readonly<Record<ProblemCode, string>> = {
  KIN_MANIFEST_SYNTAX: 'It is not YAML, not UTF-8, or indented with tabs.',
  KIN_MANIFEST_UNKNOWN_KEY: 'A key that the table above does not have.',
  KIN_MANIFEST_TYPE: 'A value of another kind than its key takes.',
  KIN_MANIFEST_UNIT: 'A quantity without its unit, or with one that it does not have.',
  KIN_MANIFEST_RANGE: 'A value outside its limits, or not in its list.',
  KIN_MANIFEST_REFERENCE: 'A name or `${…}` that refers to nothing, or in a circle.',
  KIN_MANIFEST_CONFLICT: 'Two settings that exclude each other, or a secret in a command.',
  KIN_MANIFEST_COMMAND: 'A program or script that does not exist, or that needs a shell.',
  KIN_MANIFEST_MISSING: 'A key that is required, here or because of another.',
  KIN_MANIFEST_TOO_LARGE: 'More than the limits of a manifest.',
  KIN_MANIFEST_NOT_FOUND: 'A file or folder that does not exist or cannot be read.',
  KIN_POLICY_SYNTAX: 'A policy that Cedar cannot read, or that does not fit the schema for routes.',
  KIN_POLICY_REFERENCE: 'A policy that names a role, action or route that cannot be.',
  KIN_POLICY_UNDECIDABLE: 'A policy that looks at more than role, method and route.',
};

function codesText(): string {
  const rows = PROBLEM_CODES.map((code) => `| \`${code}\` | ${CODES[code]} |`);
  return ['## Errors', '', '| code | cause |', '| --- | --- |', ...rows, ''].join('\n');
}
