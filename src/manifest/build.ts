// How does a draft without problems become the Manifest of the model? Names become branded ids,
// keys get their model names, and nothing is decided any more.
import { checkId, dependencyName, serviceName, tenantId } from '../model/ids.ts';
import type {
  CheckSpec,
  DependencySpec,
  Manifest,
  SecretSource,
  ServiceSpec,
  TenantSpec,
} from '../model/manifest.ts';
import { assert } from '../model/errors.ts';
import {
  burstOf,
  frameworksOf,
  probeOf,
  replicasOf,
  routesOf,
  tenantsOf,
  urlOf,
} from './derive.ts';
import { buildLedger } from './build-ledger.ts';
import { buildObserve } from './build-observe.ts';
import { buildTls } from './build-tls.ts';
import type { Draft, DraftTenant } from './keys.ts';
import { tenant } from './keys.ts';
import type { DraftDependency, DraftService } from './keys-service.ts';
import { standIn } from './shape-words.ts';

/** A tenant with nothing but defaults: who is let in when the manifest names nobody. */
export const STANDARD_TENANT = standIn(tenant) as DraftTenant;

export function buildManifest(draft: Draft, baseDir: string): Manifest {
  const { gateway, control, healing } = draft;
  return {
    name: draft.name,
    baseDir,
    gateway: {
      host: gateway.host,
      port: gateway.port,
      workers: gateway.workers,
      jwt: gateway.jwt,
      ...(gateway.policy === undefined ? {} : { policy: gateway.policy }),
      retryBudget: gateway.retryBudget,
      ...buildObserve(gateway),
      ...buildTls(gateway, baseDir),
    },
    control: { host: control.host, port: control.port },
    secrets: mapped(draft.secrets, (name) => name, secretSource),
    services: mapped(draft.services, serviceName, (spec, name) => buildService(draft, spec, name)),
    dependencies: mapped(draft.dependencies, dependencyName, buildDependency),
    tenants: mapped(tenantsOf(draft, STANDARD_TENANT), tenantId, buildTenant),
    healing: {
      mode: healing.mode,
      budget: healing.budget,
      freezeWindows: healing.freezeWindows.map(({ reason, from, to }) => ({
        reason,
        fromMs: Date.parse(from),
        toMs: Date.parse(to),
      })),
      playbooks: healing.playbooks,
      approvalDeadlineMs: healing.approvalDeadline,
      ineffectiveMax: healing.ineffectiveMax,
    },
    compliance: {
      frameworks: frameworksOf(draft),
      checks: draft.compliance.checks.map(buildCheck),
    },
    ledger: buildLedger(draft.ledger, baseDir),
  };
}

function mapped<A, B, K extends string>(
  from: ReadonlyMap<string, A>,
  id: (name: string) => K,
  build: (value: A, name: string) => B,
): ReadonlyMap<K, B> {
  return new Map([...from].map(([name, value]) => [id(name), build(value, name)]));
}

function secretSource(secret: {
  readonly generate: number | undefined;
  readonly file: string | undefined;
  readonly env: string | undefined;
}): SecretSource {
  if (secret.file !== undefined) return { kind: 'file', path: secret.file };
  if (secret.env !== undefined) return { kind: 'env', name: secret.env };
  assert(secret.generate !== undefined, 'a secret has exactly one source once it is checked');
  return { kind: 'generate', bytes: secret.generate };
}

function buildService(draft: Draft, spec: DraftService, name: string): ServiceSpec {
  return {
    name: serviceName(name),
    kind: spec.kind,
    command: spec.command,
    cwd: spec.cwd,
    source: spec.source,
    env: spec.env,
    unlessEnv: spec.unlessEnv,
    port: spec.port,
    replicas: replicasOf(spec),
    readiness: probeOf(spec.readiness),
    liveness: probeOf(spec.liveness),
    startupMs: spec.startup,
    drainMs: spec.drain,
    termMs: spec.term,
    resources: {
      memoryBytes: spec.resources.memory,
      cpuCores: spec.resources.cpu,
      logBytes: spec.resources.logs,
    },
    dependsOn: spec.dependsOn.map(dependencyName),
    regions: spec.regions,
    ...(spec.shard === undefined ? {} : { shardSize: spec.shard }),
    ...(spec.concurrency === undefined ? {} : { concurrencyMax: spec.concurrency }),
    routes: routesOf(draft, name).map(({ path: _path, ...route }) => route),
    slo: {
      availability: spec.slo.availability,
      latencyMs: spec.slo.latency,
      latencyTarget: spec.slo.latencyTarget,
    },
    rollout: {
      canaryPercent: spec.rollout.canary,
      bakeMs: spec.rollout.bake,
      minRequests: spec.rollout.minRequests,
    },
  };
}

function buildDependency(spec: DraftDependency, name: string): DependencySpec {
  const url = urlOf(spec);
  assert(url !== undefined, 'a dependency has a URL once it is checked');
  return {
    name: dependencyName(name),
    kind: spec.kind,
    service: spec.service === undefined ? undefined : serviceName(spec.service),
    url,
    adminUrl: spec.adminUrl,
    intervalMs: spec.interval,
    timeoutMs: spec.timeout,
    failures: spec.failures,
  };
}

function buildTenant(spec: DraftTenant, name: string): TenantSpec {
  return {
    id: tenantId(name),
    plan: spec.plan,
    region: spec.region,
    status: spec.status,
    frameworks: spec.frameworks,
    quotas: {
      ratePerSecond: spec.quotas.rate,
      burst: burstOf(spec),
      concurrency: spec.quotas.concurrency,
      bodyBytes: spec.quotas.body,
    },
    isolation: spec.isolation,
    ...(spec.priority === undefined ? {} : { priority: spec.priority }),
    ...(spec.hosts === undefined ? {} : { hosts: spec.hosts }),
    ...(spec.certificates === undefined ? {} : { certificates: spec.certificates }),
  };
}

function buildCheck(spec: Draft['compliance']['checks'][number]): CheckSpec {
  return {
    id: checkId(spec.id),
    kind: spec.kind,
    dependency: dependencyName(spec.dependency),
    schema: spec.schema,
    tables: spec.tables,
    tenantColumn: spec.tenantColumn,
    setting: spec.setting,
    intervalMs: spec.interval,
    heal: spec.heal,
    frameworks: spec.frameworks,
  };
}

/**
 * The manifest without the services that the environment replaces (`unlessEnv`). A dependency that
 * such a service would have provided is then run by others: it can be watched and not restarted.
 */
export function settleManifest(
  manifest: Manifest,
  env: Readonly<Record<string, string | undefined>>,
): Manifest {
  const out = new Set(
    [...manifest.services.values()].filter((s) => isReplaced(s.unlessEnv, env)).map((s) => s.name),
  );
  if (out.size === 0) return manifest;
  return {
    ...manifest,
    services: new Map([...manifest.services].filter(([name]) => !out.has(name))),
    dependencies: new Map(
      [...manifest.dependencies].map(([name, spec]) => {
        const gone = spec.service !== undefined && out.has(spec.service);
        return [name, gone ? { ...spec, service: undefined } : spec];
      }),
    ),
  };
}

export function isReplaced(
  unlessEnv: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): boolean {
  return unlessEnv !== undefined && env[unlessEnv] !== undefined && env[unlessEnv] !== '';
}
