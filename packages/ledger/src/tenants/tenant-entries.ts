// Which entries does the ledger itself write about tenants' logs, and how are they recognised?
//
//   ledger.map-key  system   {sha256}             once, before the first tenant: which key places
//   ledger.log      tenant   {position}           first leaf of each tenant's log
//   ledger.epoch    system   {logs, map, size}    heads of all logs over the entries [0, size)
//   ledger.minimum  tenant   {index}              entries of this log below it are given up
//
// TE1. Each has one spelling only (canonical JSON, base64 with padding): what reads back as one of
//      them is byte-identical to what the builder here makes of its parts.

import { fromBase64, fromUtf8, toBase64, utf8 } from '../bytes.ts';
import { checkSalt, checkTenantId, isSalt, isTenantId } from './tenant-of.ts';

const KIND_END = '","v":1}';
/** Longer than any entry of these four kinds. */
const BYTES_MAX = 400;
const AT = '[0-9T:.Z+-]{1,40}';
const START = `^{"at":"(?<at>${AT})","detail":`;
const HASH = '[A-Za-z0-9+/]{43}=';
const COUNT = '0|[1-9][0-9]{0,15}';
const SALT = '[A-Za-z0-9_-]{22}';
const ID = '[a-z0-9][a-z0-9._-]{0,63}';
const OWNED = `,"salt":"(?<salt>${SALT})","tenant":"(?<tenant>${ID})","v":1}$`;

const LOG = new RegExp(`${START}{"position":"(?<position>${HASH})"},"kind":"ledger[.]log"${OWNED}`);
const MINIMUM = new RegExp(
  `${START}{"index":(?<index>${COUNT})},"kind":"ledger[.]minimum"${OWNED}`,
);
const EPOCH = new RegExp(
  `${START}{"logs":(?<logs>${COUNT}),"map":"(?<map>${HASH})",` +
    `"size":(?<size>${COUNT})},"kind":"ledger[.]epoch","v":1}$`,
);
const MAP_KEY = new RegExp(
  `${START}{"sha256":"(?<sha256>${HASH})"},"kind":"ledger[.]map-key","v":1}$`,
);

export interface LogStart {
  readonly at: string;
  readonly salt: string;
  readonly tenant: string;
  readonly position: Uint8Array;
}

export interface EpochDetail {
  /** How many logs the map holds. */
  readonly logs: number;
  readonly map: Uint8Array;
  /** The heads are those over the entries [0, size) of the system log. */
  readonly size: number;
}

export interface MinimumMark {
  readonly at: string;
  readonly salt: string;
  readonly tenant: string;
  readonly index: number;
}

export function logStartEntry(start: LogStart): Uint8Array {
  const detail = `{"position":"${toBase64(start.position)}"}`;
  return owned(start.at, detail, 'ledger.log', start);
}

export function minimumEntry(mark: MinimumMark): Uint8Array {
  return owned(mark.at, `{"index":${mark.index}}`, 'ledger.minimum', mark);
}

export function epochEntry(at: string, { logs, map, size }: EpochDetail): Uint8Array {
  const detail = `{"logs":${logs},"map":"${toBase64(map)}","size":${size}}`;
  return utf8(`{"at":"${at}","detail":${detail},"kind":"ledger.epoch${KIND_END}`);
}

export function mapKeyEntry(at: string, digest: Uint8Array): Uint8Array {
  const detail = `{"sha256":"${toBase64(digest)}"}`;
  return utf8(`{"at":"${at}","detail":${detail},"kind":"ledger.map-key${KIND_END}`);
}

function owned(
  at: string,
  detail: string,
  kind: string,
  owner: { readonly salt: string; readonly tenant: string },
): Uint8Array {
  checkSalt(owner.salt);
  checkTenantId(owner.tenant);
  const tail = `"salt":"${owner.salt}","tenant":"${owner.tenant}`;
  return utf8(`{"at":"${at}","detail":${detail},"kind":"${kind}",${tail}${KIND_END}`);
}

export function readLogStart(entry: Uint8Array): LogStart | undefined {
  const parts = partsOf(entry, LOG);
  if (parts === undefined) return undefined;
  const { at = '', salt = '', tenant = '' } = parts;
  const position = fromBase64(parts['position'] ?? '');
  if (position === undefined || !isSalt(salt) || !isTenantId(tenant)) return undefined;
  return { at, salt, tenant, position };
}

export function readMinimum(entry: Uint8Array): MinimumMark | undefined {
  const parts = partsOf(entry, MINIMUM);
  const index = Number(parts?.['index']);
  if (parts === undefined || !Number.isSafeInteger(index)) return undefined;
  const { at = '', salt = '', tenant = '' } = parts;
  return isSalt(salt) ? { at, salt, tenant, index } : undefined;
}

export function readEpoch(entry: Uint8Array): EpochDetail | undefined {
  const parts = partsOf(entry, EPOCH);
  if (parts === undefined) return undefined;
  const map = fromBase64(parts['map'] ?? '');
  const logs = Number(parts['logs']);
  const size = Number(parts['size']);
  if (map === undefined || !Number.isSafeInteger(logs) || !Number.isSafeInteger(size)) {
    return undefined;
  }
  return { logs, map, size };
}

export function readMapKey(entry: Uint8Array): Uint8Array | undefined {
  const parts = partsOf(entry, MAP_KEY);
  return parts === undefined ? undefined : fromBase64(parts['sha256'] ?? '');
}

function partsOf(entry: Uint8Array, shape: RegExp): Record<string, string> | undefined {
  if (entry.length > BYTES_MAX) return undefined;
  return shape.exec(fromUtf8(entry) ?? '')?.groups;
}

const EPOCH_END = utf8(`"kind":"ledger.epoch${KIND_END}`);
const MAP_KEY_END = utf8(`"kind":"ledger.map-key${KIND_END}`);
const LOG_MARK = utf8('"kind":"ledger.log');
const MINIMUM_MARK = utf8('"kind":"ledger.minimum');

/** A few byte compares, so that following costs nothing for all other entries. */
export function mayBeEpoch(entry: Uint8Array): boolean {
  return entry.length <= BYTES_MAX && endsIn(entry, entry.length, EPOCH_END);
}

export function mayBeMapKey(entry: Uint8Array): boolean {
  return entry.length <= BYTES_MAX && endsIn(entry, entry.length, MAP_KEY_END);
}

/** What follows the name of the kind, without the id. */
const OWNED_CHARS = `","salt":"","tenant":"${KIND_END}`.length + 22;

export function mayBeLogStart(entry: Uint8Array, tenant: string): boolean {
  return entry.length <= BYTES_MAX && endsIn(entry, kindEnd(entry, tenant), LOG_MARK);
}

export function mayBeMinimum(entry: Uint8Array, tenant: string): boolean {
  return entry.length <= BYTES_MAX && endsIn(entry, kindEnd(entry, tenant), MINIMUM_MARK);
}

function kindEnd(entry: Uint8Array, tenant: string): number {
  return entry.length - OWNED_CHARS - tenant.length;
}

function endsIn(bytes: Uint8Array, end: number, part: Uint8Array): boolean {
  if (end < part.length) return false;
  for (let back = 1; back <= part.length; back++) {
    if (bytes[end - back] !== part[part.length - back]) return false;
  }
  return true;
}
