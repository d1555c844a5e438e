// Whom does a verifier trust? A c2sp.org/tlog-policy file: logs, witnesses, groups and the quorum
// of cosignatures that makes a checkpoint count. Reading and judging; signatures are elsewhere.
// P1. Each error names its line. A file that is too large is refused before it is read.
// P2. Names are octets; each is defined once and is a member of one group at most, so that no
//     witness counts twice.
// P3. Keys fit their role (logs 0x01 or 0x06, witnesses 0x04 or 0x06) and are listed once.

import { fromUtf8, utf8 } from './bytes.ts';
import { COSIGNATURE_TYPE, ED25519_TYPE, MLDSA44_TYPE } from './cosignature.ts';
import { parseVkey } from './note.ts';
import type { VerifierKey } from './note.ts';

const POLICY_BYTES_MAX = 1_048_576;
const LINES_MAX = 10_000;
/** Of logs, of witnesses and of groups. The specification asks for 32. */
const EACH_MAX = 256;
const URL_CHARS_MAX = 2048;
const NONE = 'none';

export interface PolicyLog {
  readonly vkey: string;
  readonly key: VerifierKey;
  readonly url?: string;
}

export interface PolicyWitness extends PolicyLog {
  /** Within the policy only; the key has a name of its own. */
  readonly name: string;
}

export interface PolicyGroup {
  readonly name: string;
  /** How many members make the group count. */
  readonly needs: number;
  readonly members: readonly string[];
}

export interface Policy {
  readonly logs: readonly PolicyLog[];
  readonly witnesses: readonly PolicyWitness[];
  readonly groups: readonly PolicyGroup[];
  /** Name of a witness or group, or `none`. */
  readonly quorum: string;
}

export type PolicyReading =
  | { readonly kind: 'valid'; readonly policy: Policy }
  | {
      readonly kind: 'invalid';
      readonly code: 'KIN_LEDGER_POLICY_INVALID';
      readonly reason: string;
    };

/** Octets become the characters U+0000 to U+00FF while lines are taken apart. */
interface Draft {
  readonly logs: PolicyLog[];
  readonly witnesses: PolicyWitness[];
  readonly groups: PolicyGroup[];
  /** From octets to what a person reads. */
  readonly names: Map<string, string>;
  readonly grouped: Set<string>;
  quorum: string | undefined;
}

export function parsePolicy(source: string | Uint8Array): PolicyReading {
  if (source.length > POLICY_BYTES_MAX) return refuse(`more than ${POLICY_BYTES_MAX} bytes`);
  if (typeof source === 'string' && !source.isWellFormed()) return refuse('the text is no Unicode');
  const octets = typeof source === 'string' ? utf8(source) : source;
  if (octets.length > POLICY_BYTES_MAX) return refuse(`more than ${POLICY_BYTES_MAX} bytes`);
  const lines = toOctetText(octets).split('\n');
  if (lines.length > LINES_MAX) return refuse(`more than ${LINES_MAX} lines`);
  if (lines.pop() !== '') return refuse('the last line does not end; is the file cut off?');
  const draft: Draft = {
    logs: [],
    witnesses: [],
    groups: [],
    names: new Map(),
    grouped: new Set(),
    quorum: undefined,
  };
  for (const [at, line] of lines.entries()) {
    const wrong = readLine(draft, line);
    if (wrong !== undefined) return refuse(`line ${at + 1}: ${wrong}`);
  }
  const { logs, witnesses, groups, quorum } = draft;
  if (quorum === undefined) return refuse('there is no quorum line');
  return { kind: 'valid', policy: { logs, witnesses, groups, quorum } };
}

/** Says what is wrong with the line, if something is. */
function readLine(draft: Draft, line: string): string | undefined {
  // oxlint-disable-next-line no-control-regex -- the specification forbids exactly these
  if (/[\u0000-\u0008\u000b-\u001f\u007f]/.test(line)) return 'a control character';
  const [keyword, ...items] = line.split(/[ \t]+/).filter((item) => item !== '');
  if (keyword === undefined || keyword.startsWith('#')) return undefined;
  switch (keyword) {
    case 'log':
      return readLog(draft, items);
    case 'witness':
      return readWitness(draft, items);
    case 'group':
      return readGroup(draft, items);
    case 'quorum':
      return readQuorum(draft, items);
    default:
      return `"${shown(keyword)}" is none of log, witness, group, quorum`;
  }
}

function readLog(draft: Draft, items: readonly string[]): string | undefined {
  const [vkey, url] = items;
  if (vkey === undefined || items.length > 2) return 'it is "log <vkey> [<url>]"';
  if (draft.logs.length >= EACH_MAX) return `more than ${EACH_MAX} logs`;
  const log = readKey(vkey, url, [ED25519_TYPE, MLDSA44_TYPE]);
  if (typeof log === 'string') return log;
  if (draft.logs.some(({ key }) => isSameKey(key, log.key))) return 'this log is listed twice';
  draft.logs.push(log);
  return undefined;
}

function readWitness(draft: Draft, items: readonly string[]): string | undefined {
  const [name, vkey, url] = items;
  if (name === undefined || vkey === undefined || items.length > 3) {
    return 'it is "witness <name> <vkey> [<url>]"';
  }
  if (draft.witnesses.length >= EACH_MAX) return `more than ${EACH_MAX} witnesses`;
  const witness = readKey(vkey, url, [COSIGNATURE_TYPE, MLDSA44_TYPE]);
  if (typeof witness === 'string') return witness;
  const isListed = draft.witnesses.some(({ key }) => isSameKey(key, witness.key));
  if (isListed) return 'this witness is listed twice';
  const wrong = define(draft, name);
  if (wrong !== undefined) return wrong;
  draft.witnesses.push({ name: shown(name), ...witness });
  return undefined;
}

function readGroup(draft: Draft, items: readonly string[]): string | undefined {
  const [name, threshold, ...members] = items;
  if (name === undefined || threshold === undefined || members.length === 0) {
    return 'it is "group <name> all|any|<k> <name>..."';
  }
  if (draft.groups.length >= EACH_MAX) return `more than ${EACH_MAX} groups`;
  for (const member of members) {
    if (!draft.names.has(member)) return `"${shown(member)}" is not defined above`;
    if (draft.grouped.has(member)) return `"${shown(member)}" is a member already`;
    draft.grouped.add(member);
  }
  const needs = readThreshold(threshold, members.length);
  if (needs === undefined) return `the threshold is all, any or 1 to ${members.length}`;
  const wrong = define(draft, name);
  if (wrong !== undefined) return wrong;
  draft.groups.push({ name: shown(name), needs, members: members.map(shown) });
  return undefined;
}

function readThreshold(text: string, count: number): number | undefined {
  if (text === 'all') return count;
  if (text === 'any') return 1;
  const needs = /^[1-9][0-9]{0,3}$/.test(text) ? Number(text) : 0;
  return needs >= 1 && needs <= count ? needs : undefined;
}

function readQuorum(draft: Draft, items: readonly string[]): string | undefined {
  const [name] = items;
  if (name === undefined || items.length > 1) return 'it is "quorum <name>"';
  if (draft.quorum !== undefined) return 'there are two quorum lines';
  if (name !== NONE && !draft.names.has(name)) return `"${shown(name)}" is not defined above`;
  draft.quorum = shown(name);
  return undefined;
}

function readKey(
  vkey: string,
  url: string | undefined,
  types: readonly number[],
): PolicyLog | string {
  const text = shown(vkey);
  const key = parseVkey(text);
  if (key === undefined) return 'the verifier key is damaged or of an unknown type';
  if (!types.includes(key.type)) return `a key of type ${key.type} does not fit here`;
  if (url === undefined) return { vkey: text, key };
  return url.length > URL_CHARS_MAX ? 'the URL is too long' : { vkey: text, key, url: shown(url) };
}

function define(draft: Draft, name: string): string | undefined {
  if (name === NONE) return '"none" is reserved';
  const text = shown(name);
  // Octets that are no UTF-8 may read like a name that is: then nobody could tell them apart.
  const isTaken = draft.names.has(name) || [...draft.names.values()].includes(text);
  if (isTaken) return `"${text}" is defined twice`;
  draft.names.set(name, text);
  return undefined;
}

function isSameKey(a: VerifierKey, b: VerifierKey): boolean {
  return a.publicKey.length === b.publicKey.length && a.publicKey.join() === b.publicKey.join();
}

function toOctetText(octets: Uint8Array): string {
  const parts: string[] = [];
  for (let at = 0; at < octets.length; at += 4096) {
    parts.push(String.fromCharCode(...octets.subarray(at, at + 4096)));
  }
  return parts.join('');
}

function shown(octetText: string): string {
  // oxlint-disable-next-line no-control-regex -- what is ASCII stays as it is
  if (/^[\u0000-\u007f]*$/.test(octetText)) return octetText;
  const octets = Uint8Array.from(octetText, (char) => char.charCodeAt(0));
  return fromUtf8(octets) ?? octetText;
}

function refuse(reason: string): PolicyReading {
  return { kind: 'invalid', code: 'KIN_LEDGER_POLICY_INVALID', reason };
}

/** One spelling of a policy: what it is parsed to gives the same policy again. */
export function formatPolicy(policy: Policy): string {
  const withUrl = (line: string, url?: string): string =>
    url === undefined ? line : `${line} ${url}`;
  return [
    ...policy.logs.map(({ vkey, url }) => withUrl(`log ${vkey}`, url)),
    ...policy.witnesses.map(({ name, vkey, url }) => withUrl(`witness ${name} ${vkey}`, url)),
    ...policy.groups.map(({ name, needs, members }) =>
      ['group', name, needs, ...members].join(' '),
    ),
    `quorum ${policy.quorum}\n`,
  ].join('\n');
}

export type QuorumVerdict =
  | { readonly kind: 'met' }
  | {
      readonly kind: 'unmet';
      /** Such as "both: 1 of 2 (north: 1 of 2)". */
      readonly reason: string;
      /** Witnesses of the quorum that have not cosigned. */
      readonly missing: readonly string[];
    };

/** `cosigned` holds the policy's names of the witnesses with a good cosignature. */
export function judgeQuorum(policy: Policy, cosigned: ReadonlySet<string>): QuorumVerdict {
  if (policy.quorum === NONE) return { kind: 'met' };
  const states = new Map<string, MemberState>();
  for (const { name } of policy.witnesses) {
    const isMet = cosigned.has(name);
    states.set(name, { isMet, why: '', missing: isMet ? [] : [name] });
  }
  // Groups name only what stands above them, so one pass suffices.
  for (const group of policy.groups) states.set(group.name, judgeGroup(group, states));
  const quorum = states.get(policy.quorum);
  if (quorum?.isMet === true) return { kind: 'met' };
  const why = quorum?.why === '' ? 'no cosignature' : quorum?.why;
  const reason = `${policy.quorum}: ${why ?? 'not defined'}`;
  return { kind: 'unmet', reason, missing: quorum?.missing ?? [] };
}

interface MemberState {
  readonly isMet: boolean;
  readonly why: string;
  readonly missing: readonly string[];
}

function judgeGroup(group: PolicyGroup, states: ReadonlyMap<string, MemberState>): MemberState {
  let count = 0;
  const missing: string[] = [];
  const below: string[] = [];
  for (const name of group.members) {
    const state = states.get(name);
    if (state?.isMet === true) count += 1;
    else if (state !== undefined && state.why !== '') below.push(`${name}: ${state.why}`);
    missing.push(...(state?.missing ?? []));
  }
  const why = `${count} of ${group.needs}${below.length === 0 ? '' : ` (${below.join('; ')})`}`;
  return { isMet: count >= group.needs, why, missing };
}
