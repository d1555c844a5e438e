// Which commands show and keep the evidence?
import { Argument, Option } from 'commander';
import { ledger } from './ledger-commands.ts';
import { must, numeric, whole, LIMIT } from './spec.ts';
import type { Spec } from './spec.ts';

export const evidence: readonly Spec[] = [
  {
    words: 'audit',
    about: 'run every check now; exit 1 unless all of them are evaluated and hold',
    run: async (context) => (await import('./commands/evidence.ts')).auditCommand(context),
  },
  {
    words: 'ledger head',
    about: 'size, root and signed checkpoint',
    run: async (context) => (await import('./commands/evidence.ts')).headCommand(context),
  },
  {
    words: 'ledger entries',
    about: 'entries from an index on',
    options: [
      new Option('--from <index>', 'first index').argParser(whole(0, 1e15)).default(0),
      LIMIT,
    ],
    run: async (context, _args, o) =>
      (await import('./commands/evidence.ts')).entriesCommand(context, {
        from: numeric(o['from']),
        limit: numeric(o['limit']),
      }),
  },
  ...ledger,
  {
    words: 'tenants list',
    about: 'tenants and their keys (never the secrets)',
    run: async (context) => (await import('./commands/tenants.ts')).tenantsCommand(context),
  },
  {
    words: 'tenants key create',
    about: 'a new API key of a tenant, shown once',
    args: [new Argument('<tenant>', 'id of the tenant')],
    options: [new Option('--role <role...>', 'roles that the policy of routes gives rights to')],
    run: async (context, [tenant], o) =>
      (await import('./commands/tenants.ts')).createKeyCommand(
        context,
        must(tenant),
        Array.isArray(o['role']) ? o['role'].map(must) : [],
      ),
  },
  {
    words: 'tenants key revoke',
    about: 'an API key stops working at once',
    args: [new Argument('<id>', 'id of the key')],
    run: async (context, [id]) =>
      (await import('./commands/tenants.ts')).revokeKeyCommand(context, must(id)),
  },
  {
    words: 'tenants lift',
    about: 'let a route through again that was held back; without a route, all of that tenant',
    args: [
      new Argument('<tenant>', 'id of the tenant'),
      new Argument('[route]', '"METHOD /path" as `kintsugi tenants` shows it'),
    ],
    run: async (context, [tenant, route]) =>
      (await import('./commands/tenants.ts')).liftCommand(
        context,
        must(tenant),
        route === undefined ? undefined : must(route),
      ),
  },
];
