// What exactly is held back when a tenant's route is? One tenant, one service, one method, one
// route with its ids folded: never more (P9).
import { fingerprint } from './ids.ts';
import type { Fingerprint } from './ids.ts';
import type { Suspect } from './signal.ts';

export type TenantRouteKey = Pick<Suspect, 'tenant' | 'service' | 'method' | 'route'>;

export function quarantineId(of: TenantRouteKey): Fingerprint {
  return fingerprint('quarantine', `${of.tenant}/${of.service}/${of.method}/${of.route}`);
}
