// How is the applied manifest kept in the store? As JSON whose maps are lists of pairs, so that
// their order stays. References to secrets stay references: no value of a secret is in it.
//
//   MJ1. `manifestFromJson(manifestToJson(m))` equals `m`.
//   MJ2. A text of another version, or of another shape, is refused with `KIN_MANIFEST_STORED`.
import { KinError } from '../model/errors.ts';
import { STANDARD_LEDGER } from './build-ledger.ts';
import { checkId, dependencyName, serviceName, tenantId } from '../model/ids.ts';
import type {
  DependencySpec,
  GatewaySettings,
  LedgerSpec,
  Manifest,
  PlaybookChoice,
  SecretSource,
  ServiceSpec,
  TenantSpec,
  TracingSpec,
} from '../model/manifest.ts';

const VERSION = 1;

type Stored<K extends string, V> = readonly (readonly [K, V])[];

type StoredService = Omit<ServiceSpec, 'env' | 'unlessEnv'> & {
  readonly env: Stored<string, string>;
  readonly unlessEnv?: string;
};

type StoredLedger = Omit<LedgerSpec, 'retention' | 'highWater'> & {
  readonly retention: { readonly keepMs?: number; readonly tenantsMs: Stored<string, number> };
  readonly highWater?: string;
};

type StoredGateway = Omit<GatewaySettings, 'tracing'> & {
  readonly tracing?: Omit<TracingSpec, 'headers'> & { readonly headers: Stored<string, string> };
};

interface StoredManifest {
  readonly v: typeof VERSION;
  readonly manifest: Omit<
    Manifest,
    'gateway' | 'secrets' | 'services' | 'dependencies' | 'tenants' | 'healing' | 'ledger'
  > & {
    readonly gateway: StoredGateway;
    readonly secrets: Stored<string, SecretSource>;
    readonly services: Stored<string, StoredService>;
    readonly dependencies: Stored<string, DependencySpec>;
    readonly tenants: Stored<string, TenantSpec>;
    readonly healing: Omit<Manifest['healing'], 'playbooks'> & {
      readonly playbooks: Stored<string, PlaybookChoice>;
    };
    /** Not there in what was stored before the manifest had this section. */
    readonly ledger?: StoredLedger;
  };
}

export function manifestToJson(manifest: Manifest): string {
  const services = [...manifest.services].map(([name, spec]) => [
    name,
    { ...spec, env: [...spec.env] },
  ]);
  const { ledger } = manifest;
  const { retention } = ledger;
  return JSON.stringify({
    v: VERSION,
    manifest: {
      ...manifest,
      gateway: storedGateway(manifest.gateway),
      secrets: [...manifest.secrets],
      services,
      dependencies: [...manifest.dependencies],
      tenants: [...manifest.tenants],
      healing: { ...manifest.healing, playbooks: [...manifest.healing.playbooks] },
      ledger: { ...ledger, retention: { ...retention, tenantsMs: [...retention.tenantsMs] } },
    },
  });
}

export function manifestFromJson(json: string): Manifest {
  try {
    const stored = JSON.parse(json) as StoredManifest;
    if (stored.v !== VERSION) throw new Error('its version is not known here');
    return rebuild(stored.manifest);
  } catch (error) {
    throw new KinError(
      'KIN_MANIFEST_STORED',
      'the manifest kept in the store cannot be read',
      'Run `kintsugi up` with the manifest file: it is applied and stored anew.',
      { cause: error },
    );
  }
}

/** Brands every name again, and gives keys back that JSON leaves out because they are undefined. */
function rebuild(stored: StoredManifest['manifest']): Manifest {
  const { healing, compliance } = stored;
  return {
    name: textIn(stored.name),
    baseDir: textIn(stored.baseDir),
    gateway: gateway(stored.gateway),
    control: stored.control,
    secrets: new Map(stored.secrets),
    services: new Map(stored.services.map(([name, spec]) => [serviceName(name), service(spec)])),
    dependencies: new Map(
      stored.dependencies.map(([name, spec]) => [
        dependencyName(name),
        { ...spec, service: spec.service, adminUrl: spec.adminUrl },
      ]),
    ),
    tenants: new Map(stored.tenants.map(([name, spec]) => [tenantId(name), spec])),
    healing: { ...healing, playbooks: new Map(healing.playbooks) },
    compliance: {
      ...compliance,
      checks: compliance.checks.map((check) => ({ ...check, id: checkId(check.id) })),
    },
    ledger: stored.ledger === undefined ? STANDARD_LEDGER : ledger(stored.ledger),
  };
}

function storedGateway({ tracing, ...rest }: GatewaySettings): StoredGateway {
  if (tracing === undefined) return rest;
  return { ...rest, tracing: { ...tracing, headers: [...tracing.headers] } };
}

function gateway({ tracing, ...rest }: StoredGateway): GatewaySettings {
  if (tracing === undefined) return rest;
  return { ...rest, tracing: { ...tracing, headers: new Map(tracing.headers) } };
}

function ledger(stored: StoredLedger): LedgerSpec {
  const { keepMs, tenantsMs } = stored.retention;
  const tenants = new Map(tenantsMs.map(([name, ms]) => [tenantId(name), ms]));
  return {
    ...stored,
    retention: { keepMs, tenantsMs: tenants },
    highWater: stored.highWater,
  };
}

function service(stored: StoredService): ServiceSpec {
  const { memoryBytes, cpuCores, logBytes } = stored.resources;
  return {
    ...stored,
    env: new Map(stored.env),
    unlessEnv: stored.unlessEnv,
    resources: { memoryBytes, cpuCores, logBytes },
  };
}

function textIn(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new Error('a text is missing');
}
