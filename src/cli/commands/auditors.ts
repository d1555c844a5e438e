// `ledger auditor` and `ledger publish`, `witnesses`, `anchors`: who may read the evidence, and how
// far it has gone out. Asked of the running system.
import { connect } from '../connect.ts';
import type { Context } from '../context.ts';
import { answer } from '../context.ts';
import { EXIT } from '../exit.ts';
import { harmless } from '../style.ts';

export async function addAuditorCommand(
  context: Context,
  name: string,
  lifetimeMs: number,
): Promise<number> {
  const made = await connect(context).client.evidence.addAuditor(name, lifetimeMs);
  answer(context, made, () => [
    `token of ${made.name} until ${new Date(made.expiresAtMs).toISOString()}, shown this once:`,
    made.token,
    context.paint.dim('it reads the whole ledger, no private field, and changes nothing'),
  ]);
  return EXIT.ok;
}

export async function listAuditorsCommand(context: Context): Promise<number> {
  const rows = await connect(context).client.evidence.auditors();
  const nowMs = context.nowMs();
  answer(context, rows, () =>
    rows.length === 0
      ? ['there are no auditors']
      : rows.map((row) => {
          const until = new Date(row.expiresAtMs).toISOString();
          return `${row.name}  ${row.expiresAtMs > nowMs ? 'until' : 'expired'} ${until}`;
        }),
  );
  return EXIT.ok;
}

export async function removeAuditorCommand(context: Context, name: string): Promise<number> {
  const { removed } = await connect(context).client.evidence.removeAuditor(name);
  answer(context, { removed }, () => [`the token of ${removed} no longer works`]);
  return EXIT.ok;
}

export async function publishCommand(context: Context): Promise<number> {
  const made = await connect(context).client.evidence.publish();
  answer(context, made, () => [
    `published: ${made.size} entries`,
    '',
    ...made.checkpoint.trimEnd().split('\n').map(harmless),
  ]);
  return EXIT.ok;
}

/** Exit 1 when the quorum is not met, or publishing fails. */
export async function witnessesCommand(context: Context): Promise<number> {
  const state = await connect(context).client.evidence.witnesses();
  const { quorum, health, witnesses } = state;
  const { paint } = context;
  answer(context, state, () => [
    `${state.size} entries: ${state.publishedSize} published, ${state.witnessedSize} witnessed, ` +
      `${state.anchoredSize} anchored`,
    quorum.kind === 'none'
      ? 'no quorum is asked for'
      : `quorum ${quorum.kind}: ${quorum.got} of ${quorum.needed} needed` +
        (quorum.missing.length === 0 ? '' : `, missing ${quorum.missing.map(harmless).join(', ')}`),
    ...('reason' in health
      ? [paint.red(`publishing ${health.kind}: ${harmless(health.reason)}`)]
      : []),
    ...witnesses.map(({ name, size, state: is }) => {
      const at = size === undefined ? 'nothing yet' : `${size} entries`;
      const text = is.kind === 'failing' ? `${is.fault}: ${harmless(is.reason)}` : is.kind;
      return `  ${harmless(name)}  ${at}  ${is.kind === 'failing' ? paint.red(text) : text}`;
    }),
  ]);
  return health.kind === 'good' && quorum.kind !== 'waiting' ? EXIT.ok : EXIT.failed;
}

export async function anchorsCommand(context: Context): Promise<number> {
  const rows = await connect(context).client.evidence.anchors();
  answer(context, rows, () =>
    rows.length === 0
      ? ['there are no anchors']
      : rows.map((row) => {
          const why = row.reason === '' ? '' : `  ${harmless(row.reason)}`;
          return `${harmless(row.name)}  ${row.state}  ${row.size} entries${why}`;
        }),
  );
  return rows.some(({ state }) => state === 'failed') ? EXIT.failed : EXIT.ok;
}
