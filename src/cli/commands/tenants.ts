// `tenants`: who is served, and their keys. A key is shown once, when it is made.
import { connect } from '../connect.ts';
import type { Context } from '../context.ts';
import { answer } from '../context.ts';
import { EXIT } from '../exit.ts';
import { showTenants } from '../show/answers.ts';

export async function tenantsCommand(context: Context): Promise<number> {
  const tenants = await connect(context).client.tenants();
  answer(context, tenants, () => showTenants(tenants, context.nowMs(), context.paint));
  return EXIT.ok;
}

export async function createKeyCommand(
  context: Context,
  tenant: string,
  roles: readonly string[],
): Promise<number> {
  const made = await connect(context).client.createKey(tenant, roles);
  answer(context, made, () => [
    `key ${made.id} of ${made.tenant}, shown this once:`,
    made.key,
    context.paint.dim(`revoke it with: kintsugi tenants key revoke ${made.id}`),
  ]);
  return EXIT.ok;
}

export async function revokeKeyCommand(context: Context, id: string): Promise<number> {
  const done = await connect(context).client.revokeKey(id);
  answer(context, done, () => [`key ${done.revoked} no longer works`]);
  return EXIT.ok;
}

export async function liftCommand(
  context: Context,
  tenant: string,
  route: string | undefined,
): Promise<number> {
  const { lifted } = await connect(context).client.liftQuarantine(tenant, route ?? '');
  answer(context, { tenant, lifted }, () =>
    lifted.length === 0
      ? [`nothing of ${tenant} is held back`]
      : lifted.map((text) => `${text} of ${tenant} is let through again`),
  );
  return EXIT.ok;
}
