// Which tables are there, and how does a value become a row? Keys and what is searched for stand
// in columns of their own; the rest of each value is one JSON body.
//
//   SC1. A value that is written and read again is equal to what was written, `undefined` fields
//        and the order of keys included.
//
// Bodies are `json` and not `jsonb`: jsonb sorts keys, which would change the bytes behind a plan's
// digest, and refuses the character U+0000, which a crashing service may well have written.
import type { ColumnType, Generated } from 'kysely';

/** JSON text going in, the parsed value coming out. */
type Json = ColumnType<unknown, string, string>;

interface LeaseTable {
  id: number;
  owner: string;
  epoch: number;
  until_ms: number;
}

interface RunTable {
  id: string;
  ord: Generated<number>;
  target: string;
  state: string;
  incident: string | null;
  intent_index: number | null;
  ended_at_ms: number | null;
  failure: ColumnType<unknown, string | null, string | null>;
  body: Json;
}

interface RunStepTable {
  run: string;
  key: string;
  ord: Generated<number>;
  body: Json;
}

interface IncidentTable {
  id: string;
  ord: Generated<number>;
  fingerprint: string;
  state: string;
  body: Json;
}

interface ApprovalTable {
  id: string;
  ord: Generated<number>;
  run: string;
  state: string;
  body: Json;
}

interface ReplicaTable {
  id: string;
  ord: Generated<number>;
  service: string;
  phase: string;
  body: Json;
}

interface NamedTable {
  id: string;
  ord: Generated<number>;
  body: Json;
}

interface StoryTable {
  seq: Generated<number>;
  incident: string | null;
  body: Json;
  data: ColumnType<unknown, string | null, never>;
}

interface SettingTable {
  name: string;
  body: ColumnType<unknown, string | null, string | null>;
}

export interface Schema {
  'kintsugi.lease': LeaseTable;
  'kintsugi.run': RunTable;
  'kintsugi.run_step': RunStepTable;
  'kintsugi.incident': IncidentTable;
  'kintsugi.approval': ApprovalTable;
  'kintsugi.service': NamedTable;
  'kintsugi.replica': ReplicaTable;
  'kintsugi.release': NamedTable;
  'kintsugi.quarantine': NamedTable;
  'kintsugi.tenant_hold': NamedTable;
  'kintsugi.story': StoryTable;
  'kintsugi.api_key': NamedTable;
  'kintsugi.setting': SettingTable;
}

/** The model has no null, so null stands for `undefined` in a body (SC1). */
export function encode(value: unknown): string {
  return JSON.stringify(value, (key, item: unknown) => {
    if (typeof item === 'number' && !Number.isFinite(item)) {
      throw new Error(`assertion failed: ${key} is ${item} and has no JSON form`);
    }
    if (item instanceof Map || item instanceof Set) {
      throw new Error(`assertion failed: ${key} is a Map or Set and has no JSON form`);
    }
    return item === undefined ? null : item;
  });
}

/** Turns null back into `undefined`, in place: what comes here was just parsed and is ours. */
export function decode<T>(body: unknown): T {
  return revive(body) as T;
}

function revive(value: unknown): unknown {
  if (value === null) return undefined;
  if (typeof value !== 'object') return value;
  const fields = value as Record<string, unknown>;
  for (const key of Object.keys(fields)) fields[key] = revive(fields[key]);
  return value;
}

/** Free-form data keeps its nulls; `undefined` as a whole is the SQL null. */
export function encodeFree(value: unknown): string | null {
  return JSON.stringify(value) ?? null;
}

export function orUndefined<T>(value: T | null): T | undefined {
  return value === null ? undefined : value;
}
