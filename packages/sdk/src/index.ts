// What does a service import? Health, readiness, drain, tenant context, audit events and a
// logger for services that Kintsugi runs. No dependency; Node 22 or newer. See README.md.
export { createService } from './service.ts';
export type { DrainReport, Service, ServiceOptions } from './service.ts';
export { readEnvironment } from './environment.ts';
export type { Environment, Identity } from './environment.ts';
export {
  ASSERTION_LIFE_MS,
  ASSERTION_SKEW_MS,
  currentContext,
  currentTenant,
  signAssertion,
  tenantOf,
  verifyAssertion,
} from './tenant.ts';
export type {
  AssertionClaims,
  AssertionRefusal,
  AssertionVerdict,
  RequestContext,
  Tenant,
  VerifyOptions,
} from './tenant.ts';
export type { AuditEntry, AuditEvent } from './audit.ts';
export type { DependencyOptions, DependencyState, ReadinessStatus } from './readiness.ts';
export type { HeartbeatLine } from './heartbeat-protocol.ts';
export { createLogger, redact } from './log.ts';
export type { LogFields, LogLevel, Logger, LoggerOptions } from './log.ts';
export { SdkError } from './errors.ts';
export type { SdkErrorCode } from './errors.ts';
