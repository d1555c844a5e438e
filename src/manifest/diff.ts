// What would `kintsugi up` change? Compares the manifest that runs with the one that is wanted and
// says for each difference what it does to replicas: nothing, a roll, a restart, a start, a stop.
//
//   DF1. Equal manifests have no change; every difference of a field is one change.
//   DF2. A value that may hold a secret is named and not shown.
import type { ServiceName } from '../model/ids.ts';
import type { Manifest, ServiceSpec } from '../model/manifest.ts';
import { flatten } from './flatten.ts';
import { parseText, referencesIn } from './reference.ts';
import type { Part } from './reference.ts';

export type ChangeSubject =
  | 'manifest'
  | 'gateway'
  | 'control'
  | 'secret'
  | 'service'
  | 'dependency'
  | 'tenant'
  | 'healing'
  | 'compliance'
  | 'ledger';

export interface Replaced {
  readonly service: ServiceName;
  readonly replicas: number;
  /** `roll`: one after the other, capacity kept. `restart`: stopped and started in place. */
  readonly how: 'roll' | 'restart';
}

export type ChangeEffect =
  /** Takes hold at once; no process is touched. */
  | { readonly kind: 'live' }
  | { readonly kind: 'starts'; readonly replicas: number; readonly spares: number }
  | { readonly kind: 'stops'; readonly replicas: number; readonly spares: number }
  | { readonly kind: 'replaces'; readonly replaced: readonly [Replaced, ...Replaced[]] }
  /** Gateway workers are replaced one after the other. */
  | { readonly kind: 'restarts-gateway' }
  /** The control plane starts anew; replicas and gateways keep running. */
  | { readonly kind: 'restarts-control' };

export interface ManifestChange {
  readonly kind: 'added' | 'removed' | 'changed';
  readonly subject: ChangeSubject;
  /** Name of the service, tenant …; empty for what exists once. */
  readonly name: string;
  /** Key inside it as the manifest spells it; empty when the whole is added or removed. */
  readonly field: string;
  readonly from: string | undefined;
  readonly to: string | undefined;
  readonly effect: ChangeEffect;
}

const LIVE: ChangeEffect = { kind: 'live' };
const live = (): ChangeEffect => LIVE;

/** Every change from `running` (undefined: nothing runs yet) to `wanted`, in reading order. */
export function diffManifest(
  running: Manifest | undefined,
  wanted: Manifest,
): readonly ManifestChange[] {
  const none: ReadonlyMap<string, never> = new Map<string, never>();
  return [
    ...singles(running, wanted),
    ...entries('secret', running?.secrets ?? none, wanted.secrets, (name) => {
      // A secret that was generated once is kept, whatever size is asked for now.
      if (running?.secrets.get(name)?.kind === wanted.secrets.get(name)?.kind) {
        if (wanted.secrets.get(name)?.kind === 'generate') return LIVE;
      }
      return replaces(users(running, wanted, (p) => p.kind === 'secret' && p.name === name));
    }),
    ...serviceChanges(running?.services ?? none, wanted.services),
    ...entries('dependency', running?.dependencies ?? none, wanted.dependencies, live),
    ...entries('tenant', running?.tenants ?? none, wanted.tenants, live),
    ...(running === undefined
      ? []
      : [
          ...fields('healing', '', running.healing, wanted.healing, live),
          ...fields('compliance', '', running.compliance, wanted.compliance, live),
          ...fields('ledger', '', running.ledger, wanted.ledger, ledgerEffect),
        ]),
  ];
}

/** What the open log was given holds until it is opened again; what is asked each time does not. */
function ledgerEffect(field: string): ChangeEffect {
  return /^(?:witnessFor|retention)(?:$|[.[])/u.test(field) ? LIVE : { kind: 'restarts-control' };
}

function singles(running: Manifest | undefined, wanted: Manifest): readonly ManifestChange[] {
  if (running === undefined) return [];
  const head = ({ name, baseDir }: Manifest): unknown => ({ name, baseDir });
  const named = (field: string): ChangeEffect =>
    field === 'name' ? replaces(users(running, wanted, (part) => part.kind === 'name')) : LIVE;
  const gateway = (field: string): ChangeEffect =>
    /^(?:host|port|workers|tls|proxyProtocol)(?:$|[.[])/u.test(field)
      ? { kind: 'restarts-gateway' }
      : LIVE;
  const control = (): ChangeEffect => ({ kind: 'restarts-control' });
  return [
    ...fields('manifest', '', head(running), head(wanted), named),
    ...fields('gateway', '', running.gateway, wanted.gateway, gateway),
    ...fields('control', '', running.control, wanted.control, control),
  ];
}

/** Services that run before and after and refer to something. */
function users(
  running: Manifest | undefined,
  wanted: Manifest,
  refers: (part: Part) => boolean,
): readonly ServiceSpec[] {
  return [...wanted.services.values()].filter((service) => {
    if (running?.services.has(service.name) !== true) return false;
    return [...service.env.values(), ...service.command].some((text) => {
      const answer = parseText(text);
      return answer.kind === 'ok' && [...referencesIn(answer.parts)].some(refers);
    });
  });
}

function replaces(services: readonly ServiceSpec[]): ChangeEffect {
  const [first, ...rest] = services.map((service): Replaced => {
    const how = service.kind === 'stateful' || service.port !== 0 ? 'restart' : 'roll';
    const { min, spares } = service.replicas;
    return { service: service.name, replicas: min + spares, how };
  });
  return first === undefined ? LIVE : { kind: 'replaces', replaced: [first, ...rest] };
}

// Keys that a running replica never sees: the control plane and the gateway act on them.
const LIVE_FIELDS = new RegExp(
  '^(?:readiness|liveness|startup|drain|term|dependsOn|routes|shard|concurrency|slo|rollout|' +
    'unlessEnv)(?:$|[.[])',
  'u',
);

function serviceChanges(
  before: ReadonlyMap<string, ServiceSpec>,
  after: ReadonlyMap<string, ServiceSpec>,
): readonly ManifestChange[] {
  const changes: ManifestChange[] = [];
  for (const name of new Set([...before.keys(), ...after.keys()])) {
    const old = before.get(name);
    const spec = after.get(name);
    if (old === undefined && spec !== undefined) {
      changes.push(whole('added', 'service', name, scale('starts', spec)));
    } else if (old !== undefined && spec === undefined) {
      changes.push(whole('removed', 'service', name, scale('stops', old)));
    } else if (old !== undefined && spec !== undefined) {
      const effect = (field: string): ChangeEffect => fieldEffect(field, old, spec);
      changes.push(...fields('service', name, old, spec, effect));
    }
  }
  return changes;
}

function scale(kind: 'starts' | 'stops', spec: ServiceSpec): ChangeEffect {
  return { kind, replicas: spec.replicas.min, spares: spec.replicas.spares };
}

function fieldEffect(field: string, old: ServiceSpec, spec: ServiceSpec): ChangeEffect {
  if (field === 'replicas.min') {
    const more = spec.replicas.min - old.replicas.min;
    return { kind: more > 0 ? 'starts' : 'stops', replicas: Math.abs(more), spares: 0 };
  }
  if (field === 'replicas.spares') {
    const more = spec.replicas.spares - old.replicas.spares;
    return { kind: more > 0 ? 'starts' : 'stops', replicas: 0, spares: Math.abs(more) };
  }
  if (field === 'replicas.max' || LIVE_FIELDS.test(field)) return LIVE;
  return replaces([spec]);
}

function entries<V>(
  subject: ChangeSubject,
  before: ReadonlyMap<string, V>,
  after: ReadonlyMap<string, V>,
  effect: (name: string) => ChangeEffect,
): readonly ManifestChange[] {
  const changes: ManifestChange[] = [];
  for (const name of new Set([...before.keys(), ...after.keys()])) {
    if (!before.has(name)) changes.push(whole('added', subject, name, LIVE));
    else if (!after.has(name)) changes.push(whole('removed', subject, name, LIVE));
    else {
      const [old, spec] = [before.get(name), after.get(name)];
      changes.push(...fields(subject, name, old, spec, () => effect(name)));
    }
  }
  return changes;
}

function whole(
  kind: 'added' | 'removed',
  subject: ChangeSubject,
  name: string,
  effect: ChangeEffect,
): ManifestChange {
  return { kind, subject, name, field: '', from: undefined, to: undefined, effect };
}

function fields(
  subject: ChangeSubject,
  name: string,
  before: unknown,
  after: unknown,
  effect: (field: string) => ChangeEffect,
): ManifestChange[] {
  const old = flatten(before);
  const next = flatten(after);
  const changes: ManifestChange[] = [];
  for (const field of new Set([...old.keys(), ...next.keys()])) {
    const from = old.get(field);
    const to = next.get(field);
    if (from?.exact === to?.exact) continue;
    const values = { from: from?.shown, to: to?.shown };
    changes.push({ kind: 'changed', subject, name, field, ...values, effect: effect(field) });
  }
  return changes;
}
