// Which operations hold a whole tenant to less, and what do they take and answer?
import type { HoldAnswer, HoldOrder, HoldSummary } from './hold-contract.ts';
import type { Route } from './route.ts';
import { post, remove } from './route.ts';
import { component, integer, maybe, number, object, oneOf, string, text, time } from './schema.ts';

const NAME = string(1, 60);
const LONGEST_MS = 30 * 24 * 3_600_000;

export const hold = object<HoldSummary>({
  mode: oneOf('deny', 'throttle', 'read-only', 'pin'),
  text,
  reason: text,
  actor: text,
  sinceMs: time,
  untilMs: maybe(time),
});

const holdAnswer = component(
  'HoldAnswer',
  object<HoldAnswer>({ tenant: text, run: text, hold: maybe(hold) }),
);

export const holdRoutes: readonly Route[] = [
  post({
    id: 'holdTenant',
    url: '/v1/tenants/:tenant/quarantine',
    tag: 'administer',
    summary: 'Hold a whole tenant to less: refuse, throttle, read only, or one replica of its own',
    params: object<{ tenant: string }>({ tenant: NAME }),
    body: object<HoldOrder>({
      mode: oneOf('deny', 'throttle', 'read-only', 'pin'),
      ratePerSecond: maybe(number),
      service: maybe(string(1, 200)),
      replica: maybe(string(1, 200)),
      forMs: maybe(integer(1_000, LONGEST_MS)),
      reason: string(1, 500),
    }),
    answer: holdAnswer,
    run: ({ control, params, body, actor }) => control.holdTenant(params.tenant, body, actor),
  }),
  remove({
    id: 'releaseTenant',
    url: '/v1/tenants/:tenant/quarantine',
    tag: 'administer',
    summary: 'Lift what a whole tenant is held to',
    params: object<{ tenant: string }>({ tenant: NAME }),
    answer: holdAnswer,
    run: ({ control, params, actor }) => control.releaseTenant(params.tenant, actor),
  }),
];
