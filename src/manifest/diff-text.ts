// How is a plan of changes told to a person? One block a subject, one line a field, what it does to
// running replicas at the end of the line, and a summary of who is touched.
import type { ChangeEffect, ManifestChange, Replaced } from './diff.ts';

const SIGNS = { added: '+', removed: '-', changed: '~' } as const;

/** The text of `kintsugi plan`, without colour. */
export function changesText(name: string, changes: readonly ManifestChange[]): string {
  if (changes.length === 0) return `${name}: nothing to change\n`;
  const count = changes.length === 1 ? '1 change' : `${changes.length} changes`;
  const blocks = [...grouped(changes).values()].flatMap(blockLines);
  return [`${name}: ${count}`, '', ...blocks, '', ...summary(changes), ''].join('\n');
}

function grouped(changes: readonly ManifestChange[]): ReadonlyMap<string, ManifestChange[]> {
  return Map.groupBy(changes, (change) => `${change.subject} ${change.name}`);
}

function blockLines(changes: readonly ManifestChange[]): readonly string[] {
  const [first] = changes;
  if (first === undefined) return [];
  const title = `${SIGNS[first.kind]} ${first.subject}${first.name === '' ? '' : ` ${first.name}`}`;
  if (first.field === '') return [row(title, effectText(first.effect))];
  const rows = changes.map((change) => {
    const { from = '(none)', to = '(none)' } = change;
    return row(`    ${change.field}: ${from} → ${to}`, effectText(change.effect));
  });
  return [title, ...rows];
}

const WIDTH = 56;

function row(left: string, right: string): string {
  return `${left.padEnd(WIDTH)}  ${right}`;
}

function effectText(effect: ChangeEffect): string {
  switch (effect.kind) {
    case 'live':
      return 'live';
    case 'starts':
    case 'stops':
      return `${effect.kind} ${countText(effect)}`;
    case 'replaces':
      return effect.replaced.map(replacedText).join(', ');
    case 'restarts-gateway':
      return 'replaces the gateway workers one by one';
    case 'restarts-control':
      return 'restarts the control plane only';
  }
}

function countText(of: { readonly replicas: number; readonly spares: number }): string {
  const replicas = of.replicas === 1 ? '1 replica' : `${of.replicas} replicas`;
  const spares = of.spares === 1 ? '1 spare' : `${of.spares} spares`;
  if (of.spares === 0) return replicas;
  return of.replicas === 0 ? spares : `${replicas}, ${spares}`;
}

function replacedText(replaced: Replaced): string {
  const { service, replicas } = replaced;
  return replaced.how === 'roll' ? `rolls ${service} (${replicas})` : `restarts ${service}`;
}

function summary(changes: readonly ManifestChange[]): readonly string[] {
  const replaced = new Map<string, Replaced>();
  for (const { effect } of changes) {
    if (effect.kind !== 'replaces') continue;
    for (const one of effect.replaced) replaced.set(one.service, one);
  }
  const all = [...replaced.values()];
  const rolled = all.filter((one) => one.how === 'roll').map((r) => `${r.service} (${r.replicas})`);
  const restarted = all.filter((one) => one.how === 'restart').map((r) => r.service);
  const lines: string[] = [];
  if (rolled.length > 0) lines.push(`Rolled one by one, capacity kept: ${rolled.join(', ')}.`);
  if (restarted.length > 0) lines.push(`Restarted in place, a short gap: ${restarted.join(', ')}.`);
  const stopped = changes.some((change) => change.effect.kind === 'stops');
  if (stopped) lines.push('Stopped replicas are drained first.');
  return lines.length === 0 ? ['No running replica is touched.'] : lines;
}
