// Is tenant isolation in PostgreSQL as it was promised? `measure` reads the catalogue as the
// application, `enforce` switches row-level security on as the owner, and `prove` tries as the
// application what must be impossible.
//
//   CO3. What cannot be measured is an error or not evaluated, never satisfied (P11).
//   CO4. Nothing throws but an act without a receipt, and no message holds a password.
import type { CheckId } from '../../model/ids.ts';
import type { CheckSpec } from '../../model/manifest.ts';
import { assertReceipt } from '../../model/receipt.ts';
import type { CheckResult } from '../../model/signal.ts';
import type { Log } from '../../world/clock.ts';
import type { Controls } from '../../world/controls.ts';
import { judge } from './catalogue.ts';
import { enforceRls, impossible } from './enforce.ts';
import { prove } from './prove.ts';
import { inSession, readFacts, reasonOf } from './session.ts';

export interface DependencyUrls {
  /** As the application's role. */
  readonly appUrl: string;
  /** As the owner of the tables; without it nothing is enforced. */
  readonly adminUrl?: string | undefined;
}

export type UrlsOf = (dependency: string) => DependencyUrls | undefined;

export interface ControlsOptions {
  readonly checks?: readonly CheckSpec[];
  readonly urls?: UrlsOf;
  /** Tenants in whose name proofs look; with fewer than two a proof is not evaluated. */
  readonly tenants?: readonly string[];
  readonly log: Log;
}

export interface OpenControls extends Controls {
  configure(checks: readonly CheckSpec[], urls: UrlsOf, tenants?: readonly string[]): void;
  close(): Promise<void>;
}

export function openControls(options: ControlsOptions): OpenControls {
  const { log } = options;
  let { checks = [], urls = () => undefined, tenants = [] } = options;
  const specOf = (id: CheckId): CheckSpec | undefined => checks.find((check) => check.id === id);

  async function look(
    id: CheckId,
    work: (spec: CheckSpec, appUrl: string) => Promise<CheckResult>,
  ): Promise<CheckResult> {
    const spec = specOf(id);
    if (spec === undefined) return { kind: 'error', reason: `there is no check ${id}` };
    const known = urls(spec.dependency);
    if (known === undefined) return { kind: 'error', reason: `${spec.dependency} has no address` };
    try {
      return await work(spec, known.appUrl);
    } catch (error) {
      const reason = reasonOf(error);
      log.debug('a control could not be measured', { check: id, reason });
      return { kind: 'error', reason };
    }
  }

  return {
    measure: (id) =>
      look(id, (spec, appUrl) =>
        inSession(appUrl, 'read only', async (query) => judge(spec, await readFacts(query, spec))),
      ),
    prove: (id) =>
      look(id, (spec, appUrl) =>
        inSession(appUrl, 'read only', (query) => prove(query, spec, tenants)),
      ),
    async enforce(id, subjects, receipt) {
      assertReceipt(receipt);
      const spec = specOf(id);
      if (spec === undefined) return impossible(`there is no check ${id}`);
      const adminUrl = urls(spec.dependency)?.adminUrl;
      if (adminUrl === undefined) return impossible(`${spec.dependency} has no adminUrl`);
      return await enforceRls(spec, subjects, adminUrl);
    },
    configure(nextChecks, nextUrls, nextTenants) {
      checks = nextChecks;
      urls = nextUrls;
      tenants = nextTenants ?? tenants;
    },
    // Nothing stays open between two calls.
    close: async () => undefined,
  };
}
