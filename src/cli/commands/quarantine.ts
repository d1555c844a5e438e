// `quarantine`: a whole tenant is held to less for a while, or let go again.
import type { HoldOrder } from '../../api/hold-contract.ts';
import { KinError } from '../../model/errors.ts';
import { connect } from '../connect.ts';
import type { Context } from '../context.ts';
import { answer } from '../context.ts';
import { EXIT } from '../exit.ts';
import { holdLine } from '../show/held.ts';
import { table } from '../text.ts';

export interface QuarantineOptions {
  readonly mode: string | undefined;
  readonly rate: number | undefined;
  readonly service: string | undefined;
  readonly replica: string | undefined;
  readonly forMs: number | undefined;
  readonly reason: string | undefined;
  readonly lift: boolean;
}

const MODES: ReadonlySet<string> = new Set(['deny', 'throttle', 'read-only', 'pin']);
const isMode = (mode: string | undefined): mode is HoldOrder['mode'] =>
  mode !== undefined && MODES.has(mode);

export async function quarantineCommand(
  context: Context,
  tenant: string | undefined,
  options: QuarantineOptions,
): Promise<number> {
  if (tenant === undefined) return listHeld(context);
  const { client } = connect(context);
  if (options.lift) {
    const lifted = await client.releaseTenant(tenant);
    answer(context, lifted, () => [`${tenant} is let through again (run ${lifted.run})`]);
    return EXIT.ok;
  }
  const held = await client.holdTenant(tenant, orderOf(options));
  answer(context, held, () => [
    `${tenant}: ${held.hold === undefined ? 'lifted' : holdLine(held.hold, context.nowMs())}`,
    context.paint.dim(`run ${held.run}; end it with: kintsugi quarantine ${tenant} --lift`),
  ]);
  return EXIT.ok;
}

async function listHeld(context: Context): Promise<number> {
  const tenants = await connect(context).client.tenants();
  const held = tenants.flatMap(({ id, hold }) => (hold === undefined ? [] : [{ id, hold }]));
  answer(context, held, () =>
    held.length === 0
      ? ['no tenant is under quarantine']
      : table(held.map(({ id, hold }) => [id, holdLine(hold, context.nowMs())])),
  );
  return EXIT.ok;
}

function orderOf(options: QuarantineOptions): HoldOrder {
  const { mode, rate, service, replica, forMs, reason } = options;
  if (!isMode(mode)) throw usage('--mode is missing', 'deny, throttle, read-only or pin');
  if (reason === undefined) throw usage('--reason is missing', 'why; it stands in the ledger');
  if (mode === 'throttle' && rate === undefined)
    throw usage('--rate is missing', 'how many a second');
  if (mode === 'pin' && (service === undefined || replica === undefined)) {
    throw usage('--service and --replica are missing', 'which replica it is kept to');
  }
  return { mode, ratePerSecond: rate, service, replica, forMs, reason };
}

const usage = (what: string, want: string): KinError =>
  new KinError('KIN_USAGE', what, `Give it: ${want}. See "kintsugi quarantine --help".`);
