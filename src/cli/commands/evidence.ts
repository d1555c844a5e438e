// `audit`, `ledger head` and `ledger entries`: is everything as it must be, and what is written?
// Asked of the running system; what needs nothing but the folder is in `ledger-verify.ts`.
import { connect } from '../connect.ts';
import type { Context } from '../context.ts';
import { answer } from '../context.ts';
import { EXIT } from '../exit.ts';
import { showAudit } from '../show/answers.ts';
import { harmless } from '../style.ts';
import { countText } from '../text.ts';

export async function auditCommand(context: Context): Promise<number> {
  const report = await connect(context).client.audit();
  answer(context, report, () => showAudit(report, context.paint));
  return report.verdict === 'satisfied' ? EXIT.ok : EXIT.failed;
}

export async function headCommand(context: Context): Promise<number> {
  const head = await connect(context).client.ledgerHead();
  answer(context, head, () => [
    `${countText(head.size, 'entry', 'entries')} in ${head.origin}`,
    `root ${head.root}`,
    `key  ${head.vkey}`,
    '',
    ...head.checkpoint.trimEnd().split('\n'),
  ]);
  return EXIT.ok;
}

export async function entriesCommand(
  context: Context,
  options: { readonly from: number; readonly limit: number },
): Promise<number> {
  const entries = await connect(context).client.ledgerEntries(options.from, options.limit);
  answer(context, entries, () =>
    entries.map(
      (e) =>
        `#${e.index}  ${new Date(e.atMs).toISOString()}  ${e.kind}  ` +
        context.paint.dim(harmless(JSON.stringify(e.body))),
    ),
  );
  return EXIT.ok;
}
