// Which logs does a witness serve? A text in the form of c2sp.org/tlog-policy of which only the
// `log` lines count, so that one file can be the policy of a verifier and the list of a witness.
// WL1. Several lines with one key name are several keys of one log; a line that is not understood
//      is an error and never skipped.

import { LedgerError } from '../errors.ts';
import { parseVkey } from '../note.ts';
import type { WitnessedLog } from './witness.ts';

const LOGS_MAX = 4096;
const CHARS_MAX = 8_000_000;

export function parseWitnessLogs(text: string): readonly WitnessedLog[] {
  if (text.length > CHARS_MAX) throw invalid('the list of logs is too large');
  const logs = new Map<string, string[]>();
  for (const [at, line] of text.split('\n').entries()) {
    const items = line.split(/[ \t]+/).filter((item) => item !== '');
    const [word, vkey = ''] = items;
    if (word === undefined || word.startsWith('#')) continue;
    // The rest of a policy is about cosignatures of others.
    if (word === 'witness' || word === 'group' || word === 'quorum') continue;
    const key = parseVkey(vkey);
    if (word !== 'log' || items.length > 3 || key === undefined) {
      throw invalid(`line ${at + 1} of the list of logs is not "log <vkey> [<url>]"`);
    }
    const keys = logs.get(key.name) ?? [];
    if (!keys.includes(vkey)) keys.push(vkey);
    logs.set(key.name, keys);
    if (logs.size > LOGS_MAX || keys.length > 16) throw invalid('too many logs or keys');
  }
  return checkLogs([...logs].map(([origin, vkeys]) => ({ origin, vkeys })));
}

export function checkLogs(logs: readonly WitnessedLog[]): readonly WitnessedLog[] {
  if (logs.length === 0) throw invalid('a witness needs at least one log');
  const seen = new Set<string>();
  for (const { origin, vkeys } of logs) {
    if (origin === '' || origin.includes('\n')) throw invalid('a log has an origin of one line');
    if (seen.has(origin)) throw invalid(`${origin} is listed twice`);
    seen.add(origin);
    if (vkeys.length === 0) throw invalid(`${origin} has no key`);
    for (const vkey of vkeys) {
      if (parseVkey(vkey) === undefined) throw invalid(`${origin}: not a verifier key`);
    }
  }
  return logs;
}

function invalid(why: string): LedgerError {
  return new LedgerError('KIN_LEDGER_OPTION_INVALID', why);
}
