// What do the compliance controls of a simulation say? One control: row-level security on each
// table of the simulated database, which a fault switches off and `enforce` switches on.
//
//   SO3. `enforce` takes a genuine receipt and touches the named subjects alone.
//   SO4. While the database is away nothing is evaluated, and nothing is called satisfied.
import { assertReceipt } from '../../model/receipt.ts';
import type { CheckId } from '../../model/ids.ts';
import type { Receipt } from '../../model/receipt.ts';
import type { CheckResult } from '../../model/signal.ts';
import type { Controls } from '../controls.ts';
import type { Life } from './clock.ts';
import { unanswered } from './runtime.ts';

export interface SimControlsSetup {
  readonly life: Life;
  /** Table → is row-level security on and forced? Shared by all incarnations. */
  readonly tables: Map<string, boolean>;
  readonly isUp: () => boolean;
  /** Does this attempt to enforce fail? */
  readonly fails: () => boolean;
  readonly onEnforce: (check: CheckId, subjects: readonly string[], receipt: Receipt) => void;
}

export function openSimControls(setup: SimControlsSetup): Controls {
  const { life, tables } = setup;
  async function measure(): Promise<CheckResult> {
    if (life.dead) return unanswered();
    if (!setup.isUp()) return { kind: 'error', reason: 'the database does not answer' };
    const open = [...tables].filter(([, on]) => !on).map(([table]) => table);
    if (open.length === 0) {
      return { kind: 'satisfied', population: tables.size, detail: `${tables.size} tables` };
    }
    return {
      kind: 'not-satisfied',
      population: tables.size,
      violations: open.map((subject) => ({ subject, detail: 'row-level security is off' })),
    };
  }
  return {
    measure,
    prove: measure,
    async enforce(check, subjects, receipt) {
      if (life.dead) return unanswered();
      assertReceipt(receipt);
      if (!setup.isUp() || setup.fails()) {
        return { kind: 'failed', retryable: true, detail: 'simulated: connection lost' };
      }
      setup.onEnforce(check, subjects, receipt);
      for (const table of subjects) if (tables.has(table)) tables.set(table, true);
      return { kind: 'enforced', detail: `row-level security on for ${subjects.join(', ')}` };
    },
  };
}
