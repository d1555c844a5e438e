// Which settings of the worker do the rows use? In one place: its environment, and what its table
// says about the log.
import type { ObserveRule } from '../../src/model/routing.ts';
import type { Certificate } from './bench.ts';

/** One certificate for every name. */
export const TLS_ENV = ({ certPath, keyPath }: Certificate): Record<string, string> => ({
  KINTSUGI_GATEWAY_TLS: JSON.stringify({
    certificates: [{ cert: certPath, key: keyPath, hosts: [] }],
    clientAuth: 'none',
    minVersion: '1.3',
    redirectPort: 0,
  }),
});

/** As nginx without an access log. */
export const NO_LOG: ObserveRule = { tracing: { ratio: 0.1 }, serverTiming: 'on-demand' };

/** A line for each request, nothing sampled away; a trace header, no export. */
export const OBSERVE: ObserveRule = {
  accessLog: {
    query: [],
    headers: ['user-agent'],
    mask: [],
    paths: 'folded',
    sample: 1,
    maxBytes: 67_108_864,
    files: 2,
  },
  tracing: { ratio: 0.1 },
  serverTiming: 'on-demand',
};
