// Which system is simulated? The clinic of examples/ in small: a database, three services that need
// it, three tenants, one control. Probes are slower than the defaults, so that an hour is cheap.
import { STANDARD_LEDGER } from '../../src/manifest/index.ts';
import { checkId, dependencyName, serviceName, tenantId } from '../../src/model/ids.ts';
import type { ServiceName } from '../../src/model/ids.ts';
import type {
  HealingSpec,
  Manifest,
  ProbeSpec,
  ServiceSpec,
  TenantSpec,
} from '../../src/model/manifest.ts';

export const READY_PATH = '/readyz';
export const DATABASE = serviceName('database');
export const POSTGRES = dependencyName('postgres');
export const RLS = checkId('rls-enforced');
export const SERVICES = ['records', 'billing', 'scheduling'].map(serviceName);
export const TENANTS = ['northside', 'lakeview', 'sunrise'].map(tenantId);
export const TABLES = ['patients', 'notes', 'invoices', 'payments'];
export const MEMORY_BYTES = 256 * 1_048_576;
export const NEEDS: ReadonlyMap<ServiceName, ServiceName> = new Map(
  SERVICES.map((name) => [name, DATABASE]),
);

export interface Tuning {
  /** Interval and timeout of probes. */
  readonly probeMs: number;
  readonly healing?: Partial<HealingSpec>;
  readonly bakeMs?: number;
}

function service(
  name: ServiceName,
  replicas: ServiceSpec['replicas'],
  tuning: Tuning,
): ServiceSpec {
  const probe = (path: string): ProbeSpec => ({
    kind: 'http',
    path,
    intervalMs: tuning.probeMs,
    timeoutMs: 500,
    failures: 2,
  });
  return {
    name,
    kind: 'stateless',
    command: ['node', 'server.ts'],
    cwd: '.',
    source: '.',
    env: new Map(),
    unlessEnv: undefined,
    port: 0,
    replicas,
    readiness: probe(READY_PATH),
    liveness: probe('/healthz'),
    startupMs: 10_000,
    drainMs: 3_000,
    termMs: 2_000,
    resources: { memoryBytes: MEMORY_BYTES, cpuCores: 1, logBytes: 1_048_576 },
    dependsOn: [POSTGRES],
    regions: ['eu', 'us'],
    routes: [{ prefix: `/${name}`, timeoutMs: 5_000, retry: true }],
    slo: { availability: 0.999, latencyMs: 300, latencyTarget: 0.99 },
    rollout: { canaryPercent: 20, bakeMs: tuning.bakeMs ?? 8_000, minRequests: 20 },
  };
}

function database(tuning: Tuning): ServiceSpec {
  const probe: ProbeSpec = {
    kind: 'tcp',
    path: '',
    intervalMs: tuning.probeMs,
    timeoutMs: 500,
    failures: 2,
  };
  return {
    ...service(DATABASE, { min: 1, max: 1, spares: 0 }, tuning),
    kind: 'stateful',
    readiness: probe,
    liveness: probe,
    dependsOn: [],
    routes: [],
    startupMs: 30_000,
    drainMs: 0,
    termMs: 5_000,
    resources: { memoryBytes: undefined, cpuCores: undefined, logBytes: 1_048_576 },
  };
}

const tenant = (id: TenantSpec['id'], region: string): TenantSpec => ({
  id,
  plan: 'standard',
  region,
  status: 'active',
  frameworks: ['gdpr'],
  quotas: { ratePerSecond: 200, burst: 400, concurrency: 50, bodyBytes: 1_048_576 },
  isolation: 'pool',
});

export function settingOf(tuning: Tuning): Manifest {
  const [records, billing, scheduling] = SERVICES;
  if (records === undefined || billing === undefined || scheduling === undefined) {
    throw new Error('unreachable: three services are listed');
  }
  const specs = [
    database(tuning),
    service(records, { min: 3, max: 6, spares: 1 }, tuning),
    service(billing, { min: 2, max: 4, spares: 0 }, tuning),
    service(scheduling, { min: 2, max: 4, spares: 0 }, tuning),
  ];
  return {
    name: 'clinic',
    baseDir: '/clinic',
    gateway: { host: '127.0.0.1', port: 8080, workers: 1, jwt: [], retryBudget: 0.2 },
    control: { host: '127.0.0.1', port: 8081 },
    secrets: new Map(),
    services: new Map(specs.map((spec) => [spec.name, spec])),
    dependencies: new Map([
      [
        POSTGRES,
        {
          name: POSTGRES,
          kind: 'postgres',
          service: DATABASE,
          url: 'postgres://app@db/clinic',
          adminUrl: 'postgres://owner@db/clinic',
          intervalMs: tuning.probeMs,
          timeoutMs: 500,
          failures: 2,
        },
      ],
    ]),
    tenants: new Map(TENANTS.map((id, i) => [id, tenant(id, i === 2 ? 'us' : 'eu')])),
    healing: {
      mode: 'automatic',
      budget: { maxUnavailable: 1, maxConcurrent: 2, maxPerHour: 30 },
      freezeWindows: [],
      playbooks: new Map(),
      approvalDeadlineMs: 900_000,
      ineffectiveMax: 3,
      ...tuning.healing,
    },
    ledger: STANDARD_LEDGER,
    compliance: {
      frameworks: ['gdpr'],
      checks: [
        {
          id: RLS,
          kind: 'rls-enforced',
          dependency: POSTGRES,
          schema: 'public',
          tables: TABLES,
          tenantColumn: 'tenant_id',
          setting: 'app.tenant',
          intervalMs: 10_000,
          heal: 'automatic',
          frameworks: ['gdpr'],
        },
      ],
    },
  };
}
