// Which texts may a manifest hold? The grammars of names, paths, URLs and times, each with the
// words that an error message uses for it.
//
//   W1. No pattern backtracks: each is linear in the length of its text.
import { NAME_PATTERNS, choice, quantity, text } from './shape.ts';
import type { QuantityShape } from './shape.ts';

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;
export const GIB = 1024 ** 3;

/** Every playbook that `healing.playbooks` and `ledger.witnessFor` may name. */
export const PLAYBOOKS = [
  'replace',
  'recycle',
  'promote',
  'rollback',
  'restart-dependency',
  'quarantine-tenant-route',
  'enforce-control',
  'trial-start',
  'scale',
  'rollout',
] as const;

export const name = text(
  'a name: 1–40 lower-case letters, digits and dashes, starting with a letter',
  {
    pattern: NAME_PATTERNS.name,
    examples: ['records'],
  },
);
export const variable = text('the name of an environment variable such as DATABASE_URL', {
  pattern: NAME_PATTERNS.variable,
  examples: ['DATABASE_URL'],
});
export const host = text('a host name or IP address such as 127.0.0.1', {
  pattern: String.raw`^[A-Za-z0-9:.\[\]_-]{1,253}$`,
  examples: ['127.0.0.1'],
});
/** Labels have bounds: nothing to go back and forth over (W1). */
const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?';
export const ownHost = text('a host name in lower case, without port, such as acme.example.com', {
  pattern: String.raw`^(?:${LABEL}\.){0,20}${LABEL}$`,
  lengthMax: 253,
  examples: ['acme.example.com'],
});
export const certificate = text(
  'a client certificate: uri:… or dns:… (lower case), or sha256: and 64 hex digits (lower case)',
  {
    pattern: String.raw`^(?:uri:[!#-\[\]-~]{1,1000}|dns:[a-z0-9*._-]{1,253}|sha256:[0-9a-f]{64})$`,
    lengthMax: 1004,
    examples: ['uri:spiffe://example.com/acme'],
  },
);
export const path = text('a path such as ./folder/file', {
  pattern: String.raw`^[^\x00-\x1f]{1,1024}$`,
  examples: ['./services'],
});
export const urlPath = text('a URL path that starts with "/", without query or spaces', {
  pattern: String.raw`^/(?:[\w.~!$&'()*+,;=:@%-]+(?:/[\w.~!$&'()*+,;=:@%-]+)*/?)?$`,
  lengthMax: 200,
  examples: ['/readyz'],
});
export const url = text('a URL as text; ${secret:…}, ${port:…} and ${env:…} may stand in it', {
  lengthMax: 4096,
  hidden: true,
  pattern: String.raw`^[^\s]{1,4096}$`,
  examples: ['postgres://app:${secret:db-app}@127.0.0.1:${port:database}/clinic'],
});
export const value = text('a text, a number or a boolean', {
  lengthMax: 32_768,
  hidden: true,
  loose: true,
});
export const word = text('a text', { lengthMax: 200, pattern: String.raw`^[^\x00-\x1f]{1,200}$` });
export const instant = text('a time with its offset such as 2026-12-24T18:00:00+01:00', {
  pattern: String.raw`^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d)$`,
  examples: ['2026-12-24T18:00:00+01:00'],
});

/** Stands in receipts and in foreign media, for ever. */
export const OUTSIDE_NAME = '^[a-z0-9][a-z0-9._-]{0,63}$';
export const outsideName = text(
  'a name: 1–64 lower-case letters, digits, dots, dashes and underscores',
  { pattern: OUTSIDE_NAME, examples: ['tsa'] },
);
/** An Ed25519 key has 44 digits, an ML-DSA-44 key 1752. */
export const VKEY = String.raw`^[^\s+\x00-\x1f]{1,255}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{42,1752}={0,2}$`;
// Hidden: who takes the wrong line of a key file has taken the private one.
export const vkey = text('the verifier key of a witness, one line name+id+base64', {
  pattern: VKEY,
  lengthMax: 2100,
  hidden: true,
  examples: ['witness.example/w+26e44a48+BAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH'],
});
export const vkeyName = text('the name in the key, without spaces and "+"', {
  pattern: String.raw`^[^\s+\x00-\x1f]{1,255}$`,
  examples: ['witness.example/w'],
});
// Hidden: the path or query of an address may hold the key of an account.
export const address = text('an address that starts with https://', {
  pattern: String.raw`^[^\s]{1,2048}$`,
  lengthMax: 2048,
  hidden: true,
  examples: ['https://witness.example'],
});
export const account = text('an EVM address: "0x and 40 hexadecimal digits", in quotes', {
  pattern: '^0x[0-9a-fA-F]{40}$',
  examples: [`0x${'7'.repeat(40)}`],
});
// Hidden: a key is pasted here sooner or later.
export const keyPath = text('the path of a file that holds the key, mode 600', {
  pattern: String.raw`^[^\x00-\x1f]{1,1024}$`,
  hidden: true,
  examples: ['/etc/kintsugi/anchor.key'],
});

export const choiceOfPlaybook = choice('automatic', 'ask', 'off');

export const duration = (min: number, max: number): QuantityShape => quantity('duration', min, max);
