// Which keys say what is written down about requests? Access log, traces, timing and metrics of the
// gateway: a branch of the table in keys.ts (K1).
import {
  choice,
  flag,
  list,
  map,
  object,
  optional,
  quantity,
  standard,
  text,
  whole,
} from './shape.ts';
import type { Read } from './shape.ts';
import { address } from './keys-words.ts';

const GIB = 1024 ** 3;

const parameter = text('the name of a query parameter such as page, or "*" for all', {
  lengthMax: 100,
  pattern: String.raw`^[^\x00-\x20&=#]{1,100}$`,
  examples: ['page'],
});
const header = text('the name of a request header such as user-agent', {
  lengthMax: 100,
  pattern: "^[A-Za-z0-9!#$&'*+.^_|~-]{1,100}$",
  examples: ['user-agent'],
});
const headerValue = text('a text with ${secret:…} in it', {
  lengthMax: 4096,
  pattern: String.raw`^[^\x00-\x1f]{1,4096}$`,
  hidden: true,
  examples: ['Bearer ${secret:collector}'],
});

export const accessLog = object({
  enabled: standard(flag(), true, 'One line of JSON (ECS names) for each request.', {
    slips: ['on', 'active'],
  }),
  query: standard(
    list(parameter, 50),
    [],
    'Query parameters that are written; none by default, as they may hold personal data. `*`: all.',
    { slips: ['parameters', 'params'] },
  ),
  headers: standard(
    list(header, 16),
    [],
    'Request headers that are written. Credentials and cookies never are.',
    { slips: ['header'] },
  ),
  mask: standard(
    list(parameter, 100),
    [],
    'Of the parameters and headers above: those of which only is seen that they were there.',
    { slips: ['redact', 'hide'] },
  ),
  paths: standard(
    choice('folded', 'full', 'route'),
    'folded',
    '`folded` writes `:id` for what is no plain word, `route` only the prefix of the route, ' +
      '`full` the path as it came.',
    { slips: ['path'] },
  ),
  sample: standard(
    quantity('share', 0, 1),
    '100%',
    'Share of the successful requests that get a line; failures always do.',
    { slips: ['sampling', 'rate'] },
  ),
  maxBytes: standard(
    quantity('size', 65_536, 64 * GIB),
    '64MiB',
    'A file is closed before it is larger.',
    { slips: ['size', 'maxSize'] },
  ),
  files: standard(whole(1, 1_000), 5, 'Files that are kept for each worker, the newest included.', {
    slips: ['keep', 'count'],
  }),
});

export const tracing = object({
  otlpUrl: optional(
    address,
    'nothing is exported',
    'Collector that takes spans by OTLP over HTTP: `https:`, or `http:` of this machine.',
    { slips: ['url', 'endpoint', 'otlp'] },
  ),
  headers: standard(
    map(headerValue, 20),
    {},
    'Headers for the collector, such as `authorization`; each value holds a `${secret:…}`.',
  ),
  ratio: standard(
    quantity('share', 0, 1),
    '10%',
    'Share of the traces that begin at the gateway and are sampled; those that come in keep ' +
      'their own decision.',
    { slips: ['sample', 'sampling', 'rate'] },
  ),
});

export const serverTiming = choice('on-demand', 'always', 'never');

export const gatewayMetrics = object({
  tenants: standard(
    whole(0, 1_000),
    50,
    'Tenants that have a series of their own, the busiest; all others are `other` together.',
    { slips: ['tenantsMax', 'topTenants'] },
  ),
});

export type DraftAccessLog = Read<typeof accessLog>;
export type DraftTracing = Read<typeof tracing>;
