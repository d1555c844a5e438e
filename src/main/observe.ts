// What do the gateways write down about requests, and what did they count? The rule for the table,
// made from the manifest and its secrets, and the metrics that come back.
import type { Metric } from '../api/exposition.ts';
import { resolveText } from '../manifest/index.ts';
import type { ResolveInputs } from '../manifest/index.ts';
import type { Manifest } from '../model/manifest.ts';
import type { ObserveRule } from '../model/routing.ts';
import type { Controller } from './parts.ts';

const TENANTS_NAMED = 50;

export function tenantsNamed({ gateway }: Manifest): number {
  return gateway.metrics?.tenants ?? TENANTS_NAMED;
}

export function edgeMetrics({ edge, settings }: Controller): readonly Metric[] {
  edge.limitTenants(tenantsNamed(settings.manifest));
  return edge.metrics();
}

/** For `RoutingTable.observe`: its headers hold secrets, as the table does anyway. */
export function observeRule(manifest: Manifest, inputs: ResolveInputs): ObserveRule {
  const { accessLog, tracing, serverTiming } = manifest.gateway;
  const names = { name: manifest.name };
  const headers = [...(tracing?.headers ?? [])].map(
    ([name, text]) => [name, resolveText(text, names, inputs)] as const,
  );
  const exported =
    tracing?.otlpUrl === undefined
      ? {}
      : { otlpUrl: tracing.otlpUrl, otlpHeaders: Object.fromEntries(headers) };
  return {
    ...logRule(accessLog),
    tracing: { ratio: tracing?.ratio ?? 1, ...exported },
    serverTiming: serverTiming ?? 'on-demand',
  };
}

function logRule(spec: Manifest['gateway']['accessLog']): Pick<ObserveRule, 'accessLog'> {
  if (spec === undefined || !spec.enabled) return {};
  const { enabled: _, ...accessLog } = spec;
  return { accessLog };
}
