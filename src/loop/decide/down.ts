// When is a dependency down, for deciding? The same count that its detector uses, from its spec.
import type { DependencyView } from '../../model/picture.ts';

export function isDown(dependency: DependencyView): boolean {
  return dependency.track.failures >= dependency.spec.failures;
}
