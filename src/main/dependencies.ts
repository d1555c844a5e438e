// Which dependencies do the gateways have to know to be down? Told within a second of the loop's
// knowing, and when they are back: a route that needs one is refused at once, not after a timeout.
//
//   DW1. A table is pushed when the set changes, and only then.
import type { DependencyView } from '../model/picture.ts';
import type { DependencyName } from '../model/ids.ts';
import { messageOf } from '../model/errors.ts';
import type { Manifest } from '../model/manifest.ts';
import type { Controller } from './parts.ts';

const LOOK_MS = 1_000;

/** One that has never answered is not known to be down: it may just be starting. */
export const isDown = ({ track, spec }: DependencyView): boolean =>
  track.last !== undefined && track.failures >= spec.failures && track.okAtMs !== undefined;

/** Those that are down and that a route names, in order. */
export function downNow(
  views: Iterable<DependencyView>,
  manifest: Pick<Manifest, 'services'>,
): readonly DependencyName[] {
  const down = [...views].filter(isDown).map(({ spec }) => spec.name);
  if (down.length === 0) return [];
  const needed = new Set<string>();
  for (const { routes } of manifest.services.values()) {
    for (const { dependencies = [] } of routes) for (const name of dependencies) needed.add(name);
  }
  return down.filter((name) => needed.has(name)).toSorted();
}

/** DW1. Answers how to stop. */
export function watchDown(controller: Controller): () => void {
  const { loop, settings, world } = controller;
  const timer = setInterval(() => {
    const down = downNow(loop.state.canvas.dependencies.values(), settings.manifest);
    const before = settings.down ?? [];
    if (down.length === before.length && down.every((name, i) => name === before[i])) return;
    settings.down = down;
    loop.state.book.publish().catch((error: unknown) => {
      world.log.warn('table not pushed', { error: messageOf(error) });
    });
  }, LOOK_MS);
  return () => clearInterval(timer);
}
