// The words of `quarantine`.
import { Argument, Option } from 'commander';
import type { Spec } from './spec.ts';
import { rate, span, text, yes } from './spec.ts';

export const quarantine: Spec = {
  words: 'quarantine',
  about: 'hold a whole tenant to less, or let it go; lists who is held without arguments',
  args: [new Argument('[tenant]', 'id of the tenant')],
  options: [
    new Option('--mode <mode>', 'what it is held to').choices([
      'deny',
      'throttle',
      'read-only',
      'pin',
    ]),
    new Option('--rate <n>', 'throttle: requests a second').argParser(rate),
    new Option('--service <service>', 'pin: of which service'),
    new Option('--replica <id>', 'pin: its only replica, which serves nobody else'),
    new Option('--for <time>', 'ends by itself after 30s, 10m, 12h, 7d').argParser(span),
    new Option('--reason <text>', 'why; it stands in the ledger'),
    new Option('--lift', 'let it go'),
    new Option('--list', 'who is held (the same as no tenant)'),
  ],
  run: async (context, [tenant], o) =>
    (await import('./commands/quarantine.ts')).quarantineCommand(
      context,
      yes(o['list']) ? undefined : text(tenant),
      {
        mode: text(o['mode']),
        rate: typeof o['rate'] === 'number' ? o['rate'] : undefined,
        service: text(o['service']),
        replica: text(o['replica']),
        forMs: typeof o['for'] === 'number' ? o['for'] : undefined,
        reason: text(o['reason']),
        lift: yes(o['lift']),
      },
    ),
};
