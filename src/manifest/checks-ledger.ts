// Does what the manifest says of the ledger fit together? Witnesses that can form a quorum, anchors
// told apart by their names, tenants that exist, addresses that nobody on the way can answer for.
//
//   CL1. No two witnesses of a list are one: a quorum counts each key once.
//   CL2. `http:` goes to this machine only, but for media whose answers prove themselves.
import { advise, listed, problem } from './checking.ts';
import type { Checking } from './checking.ts';
import { checkText } from './checks-references.ts';
import type { DraftAnchor, DraftWitnesses } from './keys-ledger.ts';
import { nearest } from './nearest.ts';
import { unitText } from './units.ts';
import { readVkey } from './vkey.ts';
import type { VkeyFault } from './vkey.ts';

export function checkLedger(c: Checking): void {
  const { witnesses, witnessFor } = c.draft.ledger;
  if (witnesses !== undefined) checkWitnesses(c, witnesses);
  else if (witnessFor.length > 0) {
    const found = 'playbooks that wait for witnesses, and no witnesses';
    const expected = 'ledger.witnesses as well: they could never act';
    problem(c, 'KIN_MANIFEST_CONFLICT', 'ledger.witnessFor', found, expected, '[]');
  }
  checkAnchors(c);
  checkRetention(c);
}

function checkWitnesses(c: Checking, { policy, require: quorum, list }: DraftWitnesses): void {
  const path = 'ledger.witnesses';
  const given = Object.entries({ policy, require: quorum, list }).flatMap(([key, value]) =>
    value === undefined ? [] : [key],
  );
  const expected = 'either policy, or require with list';
  if (given.length === 0) {
    const suggestion = '{ policy: ./witnesses.policy }';
    problem(c, 'KIN_MANIFEST_MISSING', path, 'none of the two forms', expected, suggestion);
  } else if (policy !== undefined && given.length > 1) {
    problem(c, 'KIN_MANIFEST_CONFLICT', path, given.join(' and '), expected);
  } else if (list !== undefined && quorum === undefined) {
    const most = `require: ${Math.floor(list.length / 2) + 1}`;
    const need = 'how many of the list must cosign';
    problem(c, 'KIN_MANIFEST_MISSING', `${path}.require`, 'nothing', need, most);
  } else if (quorum !== undefined && list === undefined) {
    const need = 'the witnesses that may cosign';
    problem(c, 'KIN_MANIFEST_MISSING', `${path}.list`, 'nothing', need);
  } else if (quorum !== undefined && list !== undefined && quorum > list.length) {
    if (list.length > 0) {
      const most = `at most ${list.length}, as many as there are in the list`;
      const suggestion = String(list.length);
      problem(c, 'KIN_MANIFEST_CONFLICT', `${path}.require`, `${quorum}`, most, suggestion);
    }
  }
  checkWitnessList(c, list ?? []);
}

const KEY_FAULTS: Readonly<Record<VkeyFault, string>> = {
  damaged: 'a key whose checksum does not fit: a character is wrong, or missing (not shown)',
  'of-a-log': 'the key of a log (not shown)',
  'other-type': 'a key that is neither an Ed25519 cosigner nor ML-DSA-44 (not shown)',
};

/** CL1. */
function checkWitnessList(c: Checking, list: NonNullable<DraftWitnesses['list']>): void {
  const names = new Map<string, number>();
  const keys = new Map<string, number>();
  list.forEach(({ name, key, url }, i) => {
    const path = `ledger.witnesses.list[${i}]`;
    checkAddress(c, `${path}.url`, url, 'loopback');
    if (key === '') return;
    const vkey = readVkey(key);
    if (vkey.fault !== undefined) {
      const found = KEY_FAULTS[vkey.fault];
      const expected = 'the verifier key as the witness printed it';
      problem(c, 'KIN_MANIFEST_RANGE', `${path}.key`, found, expected);
      return;
    }
    if (name !== undefined && name !== '' && name !== vkey.name) {
      const expected = 'the name that stands in the key';
      const found = JSON.stringify(name.slice(0, 60));
      problem(c, 'KIN_MANIFEST_CONFLICT', `${path}.name`, found, expected, vkey.name);
    }
    for (const [what, seen, value] of [
      ['key', keys, vkey.publicKey],
      ['name', names, vkey.name],
    ] as const) {
      const other = seen.get(value);
      if (other === undefined) seen.set(value, i);
      else {
        const found = `the ${what} of list[${other}] again`;
        problem(c, 'KIN_MANIFEST_CONFLICT', `${path}.key`, found, 'each witness once');
        return;
      }
    }
  });
}

function checkAnchors(c: Checking): void {
  const names = new Map<string, number>();
  c.draft.ledger.anchors.forEach((anchor, i) => {
    const path = `ledger.anchors[${i}]`;
    const other = names.get(anchor.name);
    if (anchor.name !== '' && other !== undefined) {
      const found = `the name of anchors[${other}] again`;
      const expected = 'a name of its own: receipts are told apart by it';
      const free = freeName(anchor.name, c.draft.ledger.anchors);
      problem(c, 'KIN_MANIFEST_CONFLICT', `${path}.name`, found, expected, free);
    } else names.set(anchor.name, i);
    checkAnchor(c, path, anchor);
  });
}

function freeName(name: string, anchors: readonly DraftAnchor[]): string {
  const taken = new Set(anchors.map((anchor) => anchor.name));
  let number = 2;
  // Ends after as many turns as there are anchors.
  while (taken.has(`${name.slice(0, 60)}-${number}`)) number += 1;
  return `${name.slice(0, 60)}-${number}`;
}

function checkAnchor(c: Checking, path: string, anchor: DraftAnchor): void {
  switch (anchor.kind) {
    case 'rfc3161':
      return checkAddress(c, `${path}.url`, anchor.url, 'anywhere');
    case 'opentimestamps':
      for (const key of ['calendars', 'upgradeFrom'] as const) {
        anchor[key].forEach((url, i) => checkAddress(c, `${path}.${key}[${i}]`, url, 'anywhere'));
      }
      return undefined;
    case 'evm':
      checkRpc(c, `${path}.rpcUrl`, anchor.rpcUrl);
      if (anchor.stuck > anchor.wait) {
        const found = `${unitText('duration', anchor.stuck)}, longer than wait`;
        const expected = `at most wait, which is ${unitText('duration', anchor.wait)}`;
        problem(c, 'KIN_MANIFEST_CONFLICT', `${path}.stuck`, found, expected);
      }
      return undefined;
    case 'file':
      return undefined;
  }
}

type Plain = 'anywhere' | 'loopback';

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/u;

/** CL2. Nothing but host and port is ever shown: a path or a query may hold a key. */
function checkAddress(c: Checking, path: string, text: string, plain: Plain): void {
  if (text === '') return;
  const expected =
    plain === 'loopback' ? 'an https: address, or http: of this machine' : 'an https: address';
  const add = (found: string, suggestion?: string): void =>
    problem(c, 'KIN_MANIFEST_RANGE', path, found, expected, suggestion);
  if (text.includes('${')) {
    add('a reference, which has no value here');
    return;
  }
  const address = URL.canParse(text) ? new URL(text) : undefined;
  if (address === undefined || !/^https?:$/u.test(address.protocol)) {
    const isHost = /^[a-z0-9-]{1,60}(?:\.[a-z0-9-]{1,60}){0,8}(?::\d{1,5})?$/iu.test(text);
    add('a text that is no http address (not shown)', isHost ? `https://${text}` : undefined);
  } else if (address.username !== '' || address.password !== '') {
    add('a user or password in the address (not shown)');
  } else if (plain === 'loopback' && address.protocol === 'http:') {
    if (LOOPBACK.test(address.hostname)) return;
    const rest = address.pathname === '/' && address.search === '' ? '' : '/…';
    add(`http: to ${address.host}, where anybody on the way could answer`, https(address, rest));
  }
}

const https = (address: URL, rest: string): string => `https://${address.host}${rest}`;

/** References stand for parts that are only known at the start. */
function checkRpc(c: Checking, path: string, text: string): void {
  if (text === '') return;
  const before = c.problems.count();
  checkText(c, path, text, { kind: 'url' });
  if (c.problems.count() > before || text.startsWith('${')) return;
  const [scheme = '', host = ''] = /^(https?:\/\/)([^/?#]*)/u.exec(text)?.slice(1) ?? [];
  // A host that is a reference is judged by the driver, which sees its value.
  const who = host.includes('@') ? 'somebody@' : '';
  const known = host.includes('${') ? `${scheme}${who}localhost` : `${scheme}${host}`;
  checkAddress(c, path, scheme === '' ? 'none:' : known, 'loopback');
  const plain = text.replaceAll(/\$\{[^}]*\}/gu, '');
  if (/[/=][A-Za-z0-9_-]{16,}(?:$|[/?&#])/u.test(plain)) {
    const advice =
      'this looks like a secret in plain text: name it under secrets and write ${secret:…}';
    advise(c, 'secret-literal', path, advice);
  }
}

function checkRetention(c: Checking): void {
  const known = [...(c.draft.tenants?.keys() ?? ['default'])];
  for (const tenant of c.draft.ledger.retention.tenants.keys()) {
    if (known.includes(tenant)) continue;
    const path = `ledger.retention.tenants.${tenant}`;
    const expected = `a name from tenants${listed(known)}`;
    const found = JSON.stringify(tenant.slice(0, 60));
    problem(c, 'KIN_MANIFEST_REFERENCE', path, found, expected, nearest(tenant, known));
  }
}
