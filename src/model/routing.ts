// What does a gateway need to know? Everything in one value, applied atomically; and what it says
// back. This is the whole seam between control plane and data plane: newline-delimited JSON frames
// on a unix socket, gateway → controller `hello` first. A table travels in parts, of which only
// those are sent that the gateway does not have.
import type { DependencyName, ReleaseId, ReplicaId, ServiceName, TenantId } from './ids.ts';
import type { EdgeCell, GatewayEvent, Suspect, TrafficCell } from './signal.ts';
import type { QuarantineRule } from './plan.ts';

export interface RoutingTable {
  /** Format of this value. */
  readonly v: 1;
  /** Grows with every change; a gateway never goes back. */
  readonly version: number;
  readonly services: readonly ServiceRoute[];
  readonly tenants: readonly TenantRoute[];
  readonly quarantines: readonly QuarantineRule[];
  readonly jwt: readonly JwtRule[];
  /** 0–1: retries as a share of requests. */
  readonly retryBudget: number;
  /** Tenants that are held to less than their limits for now; most are not. */
  readonly tenantRules?: readonly TenantRule[];
  /** What the controller knows to be down: routes that need it are refused at once. */
  readonly downDependencies?: readonly DependencyName[];
  /** What is written down about requests; undefined: nothing. */
  readonly observe?: ObserveRule;
}

export interface ObserveRule {
  /** Undefined: no access log. */
  readonly accessLog?: AccessLogRule;
  readonly tracing: TracingRule;
  readonly serverTiming: 'always' | 'never' | 'on-demand';
}

export interface AccessLogRule {
  /** Query parameters that are shown; `*`: all. */
  readonly query: readonly string[];
  /** Request headers that are shown, lower-case. */
  readonly headers: readonly string[];
  /** Parameters and headers whose values are never shown. */
  readonly mask: readonly string[];
  /** `folded`: what is no plain word becomes `:id`. `route`: only the route's prefix. */
  readonly paths: 'folded' | 'full' | 'route';
  /** Share of successful requests that have a line, 0–1; failures always have one. */
  readonly sample: number;
  /** A file is closed before it grows past this. */
  readonly maxBytes: number;
  /** Files kept for each worker, the open one included, ≥ 1. */
  readonly files: number;
}

export interface TracingRule {
  /** Share of the traces that begin here, 0–1. */
  readonly ratio: number;
  /** OTLP over HTTP: https, or http of this machine. Undefined: nothing is exported. */
  readonly otlpUrl?: string;
  /** For the collector; may hold secrets, never shown. */
  readonly otlpHeaders?: Readonly<Record<string, string>>;
}

/** A whole tenant under quarantine. The last rule of a tenant counts. */
export interface TenantRule {
  readonly tenant: TenantId;
  /**
   * `deny`: nothing passes. `throttle`: `ratePerSecond` at most. `read-only`: GET, HEAD and OPTIONS
   * only. `pin`: only the replicas named, and those serve nobody else.
   */
  readonly mode: 'deny' | 'throttle' | 'read-only' | 'pin';
  /** For `throttle`, > 0. */
  readonly ratePerSecond?: number;
  /** For `pin`. */
  readonly replicas?: readonly ReplicaId[];
  readonly reason: string;
}

export interface ServiceRoute {
  readonly name: ServiceName;
  readonly prefixes: readonly PrefixRoute[];
  readonly replicas: readonly ReplicaRoute[];
  /** For the gateway's own look at a replica that it suspects. */
  readonly healthPath: string | undefined;
  /** Base64url HMAC key for the identity assertion to this service. */
  readonly assertionKey: string;
  /** Replicas that must keep receiving traffic whatever they look like, ≥ 1. */
  readonly minRouted: number;
  /** Is a replica slower than this (ms), and far slower than its siblings, an outlier? */
  readonly slowMs: number;
  /** Replicas that one tenant is spread over (shuffle sharding), ≥ 1; undefined: all. */
  readonly shardSize?: number;
  /** Most requests inside all of its replicas together; the limit in force adapts below it. */
  readonly concurrencyMax?: number;
}

export interface PrefixRoute {
  readonly prefix: string;
  readonly timeoutMs: number;
  readonly retry: boolean;
  /** Tenants that this route belongs to; undefined: all. */
  readonly tenants?: readonly TenantId[];
  /** What this route cannot do without: a breaker each. */
  readonly dependencies?: readonly DependencyName[];
  /** Methods that each role may use here, compiled from policy; undefined: no policy. */
  readonly allow?: RouteMatrix;
  /** Methods that each role may not use here, whatever else it is allowed. */
  readonly deny?: RouteMatrix;
  /** Segment of the path, from 1, that must be the id of the credential's tenant. */
  readonly tenantSegment?: number;
}

/**
 * Role → methods in capitals; `*` as role: everybody known; as method: all. Nothing else passes.
 * `@key`, `@user` and `@cert` are roles of a kind of credential; the method `OTHER` is each that
 * has no row of its own in gateway/matrix.ts.
 */
export type RouteMatrix = Readonly<Record<string, readonly string[]>>;

export interface ReplicaRoute {
  readonly id: ReplicaId;
  readonly release: ReleaseId;
  readonly host: string;
  readonly port: number;
  /** 1–100 relative share, or 0: finish what is inside, send nothing new. */
  readonly weight: number;
  readonly region: string;
}

export interface TenantRoute {
  readonly id: TenantId;
  readonly region: string;
  readonly status: 'active' | 'suspended';
  readonly ratePerSecond: number;
  readonly burst: number;
  readonly concurrency: number;
  readonly bodyBytes: number;
  readonly keys: readonly KeyRule[];
  /** 0–9, default 5: under overload, lower ones are shed first. */
  readonly priority?: number;
  /** Host names that belong to this tenant alone, lower-case, without port. */
  readonly hosts?: readonly string[];
  /** Client certificates of this tenant: `uri:…` (SAN), `dns:…` (SAN) or `sha256:<hex>`. */
  readonly certificates?: readonly string[];
}

/** An API key as the gateway knows it: never the secret itself. */
export interface KeyRule {
  readonly id: string;
  /** Base64url HMAC-SHA-256(pepper, secret part). */
  readonly mac: string;
  readonly expiresAtMs: number | undefined;
  /** For the matrix of a route; undefined: none. */
  readonly roles?: readonly string[];
}

export interface JwtRule {
  readonly issuer: string;
  readonly audience: string;
  readonly tenantClaim: string;
  /** Claim that lists roles, a string or an array of them; undefined: `roles`. */
  readonly rolesClaim?: string;
  /** JWKS document, fetched by the controller. */
  readonly jwks: { readonly keys: readonly Readonly<Record<string, unknown>>[] };
}

/** Controller → gateway. */
export type ToGateway =
  /**
   * A table, as the digests of its parts by family. A family that is left out is that of the offer
   * before on this connection.
   */
  | {
      readonly kind: 'table';
      readonly version: number;
      readonly parts: Readonly<Record<string, readonly string[]>>;
    }
  /** A part of the table that was offered last: so many raw bytes follow the line. */
  | { readonly kind: 'part'; readonly digest: string; readonly bytes: number }
  /** Forget what was held against this replica (its dependency came back, it is new). */
  | { readonly kind: 'forgive'; readonly replicas: readonly ReplicaId[] }
  /** What another worker saw die: together they know sooner what kills replicas. */
  | {
      readonly kind: 'death';
      readonly replica: ReplicaId;
      readonly suspects: readonly Suspect[];
    }
  | { readonly kind: 'bye' };

/** Gateway → controller. */
export type FromGateway =
  | {
      readonly kind: 'hello';
      readonly worker: string;
      readonly pid: number;
      readonly version: number;
    }
  /** It lacks these parts of the table that was offered as this version. */
  | { readonly kind: 'want'; readonly version: number; readonly parts: readonly string[] }
  /** This version is in force: with it each request is judged from now on. */
  | { readonly kind: 'applied'; readonly version: number }
  /** This version is not used, now or later; what was in force stays in force. */
  | { readonly kind: 'refused'; readonly version: number; readonly reason: string }
  | {
      readonly kind: 'flush';
      readonly cells: readonly TrafficCell[];
      readonly inFlight: readonly InFlight[];
      /** The same window as clients saw it, for the metrics. */
      readonly edge?: readonly EdgeCell[];
    }
  | { readonly kind: 'event'; readonly event: GatewayEvent };

export interface InFlight {
  readonly replica: ReplicaId;
  readonly count: number;
  readonly oldestMs: number;
}
