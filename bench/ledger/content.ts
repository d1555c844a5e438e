// What is written? The same bytes and the same events for every contender.
import { randomBytes } from 'node:crypto';
import { ENTRY_BYTES, TENANTS } from './job.ts';

const POOL_BYTES = 256 * 1024;
/** Opaque bytes are not JSON, so they do not begin like an object. */
const BRACE = 0x7b;

/** Entry N of 1 KB; another view of the same random bytes each time, so nothing is made. */
export function opaqueEntries(): (n: number) => Uint8Array {
  const pool = Uint8Array.from(randomBytes(POOL_BYTES), (byte) => (byte === BRACE ? 0 : byte));
  return (n) => {
    const at = (n * 61) % (POOL_BYTES - ENTRY_BYTES);
    return pool.subarray(at, at + ENTRY_BYTES);
  };
}

export interface BenchEvent {
  readonly tenant: string;
  /** The person whose data the private fields are. */
  readonly subject: string;
  readonly kind: string;
  readonly detail: Readonly<Record<string, string | number>>;
  readonly fields: Readonly<Record<string, string>>;
}

/** How many people each tenant's events are about. */
export const SUBJECTS = 4;

export const tenantName = (n: number): string => `tenant-${String(n).padStart(5, '0')}`;

/** One access to a record, as an API server of a clinic would report it. */
export function eventOf(n: number): BenchEvent {
  // A step that is prime to the number of tenants: neighbours in a group belong to many tenants.
  const tenant = (n * 389) % TENANTS;
  return {
    tenant: tenantName(tenant),
    subject: `person-${Math.floor(n / TENANTS) % SUBJECTS}`,
    kind: 'access.read',
    detail: {
      decision: 'permit',
      policy: 'records-of-own-unit',
      record: `record/${n % 100_000}`,
      request: `01jd4k8m${String(n).padStart(12, '0')}`,
      status: 200,
    },
    fields: {
      actor: `dr.${n % 977}@clinic-${tenant}.example`,
      address: `10.${n % 251}.${n % 241}.${n % 239}`,
      agent: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
      path: `/v1/patients/${n % 50_000}/records/${n % 1000}`,
    },
  };
}
