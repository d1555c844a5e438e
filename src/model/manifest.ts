// What has the user asked for? The manifest after parsing, checking and filling in of defaults:
// units are plain numbers (ms, bytes, ratios), references to secrets are still references.
import type { CheckId, DependencyName, ServiceName, TenantId } from './ids.ts';
import type { RouteMatrix } from './routing.ts';

export interface Manifest {
  readonly name: string;
  /** Folder of the manifest file, absolute: relative paths and commands start there. */
  readonly baseDir: string;
  readonly gateway: GatewaySettings;
  readonly control: { readonly host: string; readonly port: number };
  readonly secrets: ReadonlyMap<string, SecretSource>;
  readonly services: ReadonlyMap<ServiceName, ServiceSpec>;
  readonly dependencies: ReadonlyMap<DependencyName, DependencySpec>;
  readonly tenants: ReadonlyMap<TenantId, TenantSpec>;
  readonly healing: HealingSpec;
  readonly compliance: ComplianceSpec;
  readonly ledger: LedgerSpec;
}

export interface GatewaySettings {
  readonly host: string;
  readonly port: number;
  /** 1–64 processes on one port. */
  readonly workers: number;
  readonly jwt: readonly JwtIssuer[];
  /** Retries of safe requests, as a share of all requests: 0–1, default 0.2. */
  readonly retryBudget: number;
  /** Path of the file of Cedar policies; what it means stands with each route. */
  readonly policy?: string;
  /** Left out: plain HTTP/1.1. */
  readonly tls?: GatewayTls;
  /** Networks whose connections begin with a PROXY header; left out: none. */
  readonly proxyProtocol?: { readonly from: readonly string[] };
  /** These four are there but in what was stored before there was an access log. */
  readonly accessLog?: AccessLogSpec;
  readonly tracing?: TracingSpec;
  readonly serverTiming?: 'on-demand' | 'always' | 'never';
  readonly metrics?: { readonly tenants: number };
}

/** All paths are absolute. */
export interface GatewayTls {
  /** The first one answers who names no known host. */
  readonly certificates: readonly [CertificateFiles, ...CertificateFiles[]];
  /** PEM file with the authorities of client certificates; there unless `clientAuth` is none. */
  readonly clientCa?: string | undefined;
  readonly clientAuth: 'none' | 'optional' | 'required';
  readonly minVersion: '1.2' | '1.3';
  /** A plain port that only redirects here; 0: none. */
  readonly redirectPort: number;
}

export interface CertificateFiles {
  /** PEM chain, its own certificate first. */
  readonly cert: string;
  readonly key: string;
  /** By SNI, lower-case; `*.` may begin them. Empty: those in the certificate. */
  readonly hosts: readonly string[];
}

export interface AccessLogSpec {
  readonly enabled: boolean;
  /** Query parameters that are written; `*`: all. */
  readonly query: readonly string[];
  /** Lower-case. */
  readonly headers: readonly string[];
  readonly mask: readonly string[];
  readonly paths: 'folded' | 'full' | 'route';
  /** 0–1, of the successful requests. */
  readonly sample: number;
  readonly maxBytes: number;
  readonly files: number;
}

export interface TracingSpec {
  /** Left out: nothing is exported. */
  readonly otlpUrl?: string;
  /** Values hold `${secret:…}`. */
  readonly headers: ReadonlyMap<string, string>;
  /** 0–1, of the traces that begin here. */
  readonly ratio: number;
}

export interface JwtIssuer {
  readonly issuer: string;
  readonly audience: string;
  /** Path of a JWKS file or an https/http-loopback URL. */
  readonly jwks: string;
  /** Claim that names the tenant, default `tenant`. */
  readonly tenantClaim: string;
  /** Claim that lists roles, default `roles`. */
  readonly rolesClaim?: string;
}

export type SecretSource =
  | { readonly kind: 'generate'; readonly bytes: number }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'env'; readonly name: string };

export type ServiceKind = 'stateless' | 'stateful';

export interface ServiceSpec {
  readonly name: ServiceName;
  readonly kind: ServiceKind;
  /** Program and arguments; `${port}` is the replica's port. Never holds a secret. */
  readonly command: readonly string[];
  /** Working folder below the release folder, default its root. */
  readonly cwd: string;
  /** The folder that is copied to make a release; default `.` (the manifest's folder). */
  readonly source: string;
  /** Values may hold `${secret:…}`, `${port:service}`, `${env:NAME:-default}`, `${state}`. */
  readonly env: ReadonlyMap<string, string>;
  /** Left out altogether when this variable is set in the environment of `up`. */
  readonly unlessEnv: string | undefined;
  /** Fixed port, or 0 for one that Kintsugi picks. */
  readonly port: number;
  readonly replicas: { readonly min: number; readonly max: number; readonly spares: number };
  readonly readiness: ProbeSpec;
  readonly liveness: ProbeSpec;
  readonly startupMs: number;
  readonly drainMs: number;
  readonly termMs: number;
  readonly resources: ResourceSpec;
  readonly dependsOn: readonly DependencyName[];
  readonly regions: readonly string[];
  /** Replicas that one tenant is spread over; left out: all. */
  readonly shardSize?: number;
  /** Most requests inside all of its replicas together. */
  readonly concurrencyMax?: number;
  readonly routes: readonly RouteSpec[];
  readonly slo: SloSpec;
  readonly rollout: RolloutSpec;
}

export interface ProbeSpec {
  readonly kind: 'http' | 'tcp';
  /** Path for `http`; ignored for `tcp`. */
  readonly path: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Consecutive failures until the probe counts as failed, 1–20. */
  readonly failures: number;
}

export interface ResourceSpec {
  /** Bytes of resident memory, undefined for no limit. */
  readonly memoryBytes: number | undefined;
  /** Cores, 0.05–64, undefined for no limit. */
  readonly cpuCores: number | undefined;
  /** Bytes of log kept for a replica, all rotated files together. */
  readonly logBytes: number;
}

export interface RouteSpec {
  readonly prefix: string;
  readonly timeoutMs: number;
  /** May the request be repeated on another replica when it is idempotent? */
  readonly retry: boolean;
  /** Tenants that this route belongs to; left out: all. */
  readonly tenants?: readonly TenantId[];
  /** What this route cannot do without; left out: what the service depends on is not its matter. */
  readonly dependencies?: readonly DependencyName[];
  /** Segment of the path, from 1, that names the tenant. */
  readonly tenantSegment?: number;
  /** Compiled from `gateway.policy`; undefined: no policy. */
  readonly allow?: RouteMatrix;
  readonly deny?: RouteMatrix;
}

export interface SloSpec {
  /** Share of good answers, 0–1, for example 0.999. */
  readonly availability: number;
  readonly latencyMs: number;
  readonly latencyTarget: number;
}

export interface RolloutSpec {
  /** Weight of the first new replica, 1–50 (% of one full replica's share of the service). */
  readonly canaryPercent: number;
  /** How long the canary, and then the whole release, is watched. */
  readonly bakeMs: number;
  /** Requests that the canary must have answered before it can be judged good, 0 = none. */
  readonly minRequests: number;
}

export interface DependencySpec {
  readonly name: DependencyName;
  readonly kind: 'postgres' | 'tcp';
  /** The supervised service that provides it, when there is one. */
  readonly service: ServiceName | undefined;
  /** URL with references, as the application's role. */
  readonly url: string;
  /** URL with references, as the owner: only for healing controls. */
  readonly adminUrl: string | undefined;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly failures: number;
}

export type TenantStatus = 'active' | 'suspended';

export interface TenantSpec {
  readonly id: TenantId;
  readonly plan: string;
  readonly region: string;
  readonly status: TenantStatus;
  readonly frameworks: readonly string[];
  readonly quotas: {
    readonly ratePerSecond: number;
    readonly burst: number;
    readonly concurrency: number;
    readonly bodyBytes: number;
  };
  readonly isolation: 'pool' | 'silo';
  /** 0–9: under overload, lower ones are shed first; left out: 5. */
  readonly priority?: number;
  /** Host names that belong to this tenant alone, lower-case. */
  readonly hosts?: readonly string[];
  /** Client certificates of this tenant: `uri:…`, `dns:…` or `sha256:<hex>`. */
  readonly certificates?: readonly string[];
}

export interface HealingSpec {
  readonly mode: 'automatic' | 'suggest' | 'off';
  readonly budget: {
    /** Replicas of one service that may be out at once, by anybody's doing; at least 1 stays. */
    readonly maxUnavailable: number;
    /** Disruptive runs at one time over all services. */
    readonly maxConcurrent: number;
    /** Disruptive runs of one service in a sliding hour. */
    readonly maxPerHour: number;
  };
  readonly freezeWindows: readonly FreezeWindow[];
  /** How each playbook may run; a playbook that is not named runs as its default says. */
  readonly playbooks: ReadonlyMap<string, PlaybookChoice>;
  readonly approvalDeadlineMs: number;
  /** Attempts of the same kind on the same fault until a person is asked. */
  readonly ineffectiveMax: number;
}

export interface FreezeWindow {
  readonly reason: string;
  /** Wall times, ms since the epoch: from ≤ t < to. */
  readonly fromMs: number;
  readonly toMs: number;
}

export type PlaybookChoice = 'automatic' | 'ask' | 'off';

export interface ComplianceSpec {
  readonly frameworks: readonly string[];
  readonly checks: readonly CheckSpec[];
}

export interface CheckSpec {
  readonly id: CheckId;
  readonly kind: 'rls-enforced';
  readonly dependency: DependencyName;
  readonly schema: string;
  /** Empty: every table that has the tenant column. */
  readonly tables: readonly string[];
  readonly tenantColumn: string;
  readonly setting: string;
  readonly intervalMs: number;
  readonly heal: PlaybookChoice;
  readonly frameworks: readonly string[];
}

/** All paths are absolute. */
export interface LedgerSpec {
  /** Between two published checkpoints while the log grows, 200 ms–1 h. */
  readonly publishEveryMs: number;
  readonly witnesses: WitnessesSpec;
  /** Playbooks whose intents must be witnessed before they act; each once. */
  readonly witnessFor: readonly string[];
  readonly anchorEveryMs: number;
  /** An anchor is due after so many entries as well; 0: only time counts. */
  readonly anchorEntries: number;
  /** Names are unique. */
  readonly anchors: readonly LedgerAnchorSpec[];
  readonly retention: RetentionSpec;
  /** File outside the state folder that remembers the newest head. */
  readonly highWater: string | undefined;
}

export type WitnessesSpec =
  | { readonly kind: 'none' }
  /** A tlog-policy file. */
  | { readonly kind: 'policy'; readonly file: string }
  /** 1 ≤ `require` ≤ length of `list`; names and keys are unique. */
  | { readonly kind: 'list'; readonly require: number; readonly list: readonly WitnessSpec[] };

export interface WitnessSpec {
  /** The name in its key. */
  readonly name: string;
  /** Verifier key, `name+id+base64`: public. */
  readonly key: string;
  readonly url: string;
}

export interface RetentionSpec {
  /** Undefined: for ever. */
  readonly keepMs: number | undefined;
  /** Of tenants that differ from `keepMs`. */
  readonly tenantsMs: ReadonlyMap<TenantId, number>;
}

/** What the anchor drivers take, with `rpcUrl` still holding its references. */
export type LedgerAnchorSpec =
  | Rfc3161AnchorSpec
  | EvmAnchorSpec
  | OpenTimestampsAnchorSpec
  | FileAnchorSpec;

export interface Rfc3161AnchorSpec {
  readonly kind: 'rfc3161';
  readonly name: string;
  readonly url: string;
  readonly certificatesFile: string;
  readonly timeoutMs: number;
}

export interface EvmAnchorSpec {
  readonly kind: 'evm';
  readonly name: string;
  /** May hold `${secret:…}` and `${env:…}`; never shown. */
  readonly rpcUrl: string;
  readonly chainId: number;
  readonly contract: string;
  readonly owner: string;
  /** Left out: the anchor can only verify. */
  readonly keyFile?: string;
  readonly fromBlock: number;
  readonly timeoutMs: number;
  readonly maxFeeGwei: number;
  readonly confirmations: number;
  readonly pollMs: number;
  readonly stuckMs: number;
  readonly waitMs: number;
}

export interface OpenTimestampsAnchorSpec {
  readonly kind: 'opentimestamps';
  readonly name: string;
  readonly calendars: readonly string[];
  readonly upgradeFrom: readonly string[];
  readonly timeoutMs: number;
}

export interface FileAnchorSpec {
  readonly kind: 'file';
  readonly name: string;
  /** A file for `append`, an existing folder for `objects`. */
  readonly path: string;
  readonly layout: 'append' | 'objects';
}
