// How does the draft of what the gateway writes down become its part of the model?
import type { GatewaySettings } from '../model/manifest.ts';
import type { DraftAccessLog, DraftTracing } from './keys-observe.ts';

type Observed = Required<
  Pick<GatewaySettings, 'accessLog' | 'tracing' | 'serverTiming' | 'metrics'>
>;

export function buildObserve(draft: {
  readonly accessLog: DraftAccessLog;
  readonly tracing: DraftTracing;
  readonly serverTiming: Observed['serverTiming'];
  readonly metrics: Observed['metrics'];
}): Observed {
  const { otlpUrl, headers, ratio } = draft.tracing;
  const { accessLog } = draft;
  return {
    accessLog: {
      ...accessLog,
      headers: [...new Set(accessLog.headers.map((name) => name.toLowerCase()))],
    },
    tracing: { headers, ratio, ...(otlpUrl === undefined ? {} : { otlpUrl }) },
    serverTiming: draft.serverTiming,
    metrics: draft.metrics,
  };
}
