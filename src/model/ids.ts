// Which ids exist, and how one is made. Every id is branded here and nowhere else, so that a
// tenant's id can never be passed where a replica's is wanted.
//
//   I1. An id is made only from a string that matches its grammar; a bad one is a KinError.
import { KinError } from './errors.ts';

type Brand<B extends string> = string & { readonly __brand: B };

export type ServiceName = Brand<'ServiceName'>;
export type ReplicaId = Brand<'ReplicaId'>;
export type ReleaseId = Brand<'ReleaseId'>;
export type TenantId = Brand<'TenantId'>;
export type DependencyName = Brand<'DependencyName'>;
export type CheckId = Brand<'CheckId'>;
export type RunId = Brand<'RunId'>;
export type PlanId = Brand<'PlanId'>;
export type IncidentId = Brand<'IncidentId'>;
export type ApprovalId = Brand<'ApprovalId'>;
/** What a plan acts on, as `kind:name`; at most one live plan holds a target. */
export type Target = Brand<'Target'>;
/** Says which abnormality this is, stable over time: `kind:subject`. */
export type Fingerprint = Brand<'Fingerprint'>;

/** Names in the manifest: lower case, digits and dashes, 1–40 characters, starts with a letter. */
const NAME = /^[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?$/u;
const FREE = /^[\x21-\x7e]{1,200}$/u;

function named(what: string, text: string): string {
  if (NAME.test(text)) return text;
  throw new KinError(
    'KIN_NAME_INVALID',
    `${what} ${JSON.stringify(text.slice(0, 60))} is not a name`,
    'Use 1–40 lower-case letters, digits and dashes, starting with a letter.',
  );
}

function free(what: string, text: string): string {
  if (FREE.test(text)) return text;
  throw new KinError('KIN_NAME_INVALID', `${what} is not a printable id`, 'Use an id as listed.');
}

export const isName = (text: string): boolean => NAME.test(text);
export const serviceName = (text: string): ServiceName => named('service', text) as ServiceName;
export const tenantId = (text: string): TenantId => named('tenant', text) as TenantId;
export const dependencyName = (text: string): DependencyName =>
  named('dependency', text) as DependencyName;
export const checkId = (text: string): CheckId => named('check', text) as CheckId;
export const replicaId = (service: ServiceName, ordinal: number): ReplicaId =>
  `${service}-${ordinal}` as ReplicaId;
export const asReplicaId = (text: string): ReplicaId => free('replica', text) as ReplicaId;
export const releaseId = (text: string): ReleaseId => free('release', text) as ReleaseId;
export const runId = (text: string): RunId => free('run', text) as RunId;
export const planId = (text: string): PlanId => free('plan', text) as PlanId;
export const incidentId = (text: string): IncidentId => free('incident', text) as IncidentId;
export const approvalId = (text: string): ApprovalId => free('approval', text) as ApprovalId;
export const target = (kind: string, name: string): Target => `${kind}:${name}` as Target;
export const fingerprint = (kind: string, subject: string): Fingerprint =>
  `${kind}:${subject}` as Fingerprint;

/** The number at the end of a replica id: `records-12` → 12; 0 when there is none. */
export function ordinalOf(replica: ReplicaId): number {
  const dash = replica.lastIndexOf('-');
  const ordinal = Number(replica.slice(dash + 1));
  return Number.isSafeInteger(ordinal) && ordinal > 0 ? ordinal : 0;
}
