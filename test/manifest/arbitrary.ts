// Which manifests are there? Random ones, made from the same table of keys that the reader walks.
import fc from 'fast-check';
import { PLAYBOOKS } from '../../src/manifest/keys.ts';
import { NAME_PATTERNS, keysOf, partOf } from '../../src/manifest/shape.ts';
import type { Key, MapShape, Shape } from '../../src/manifest/shape.ts';
import { unitText } from '../../src/manifest/units.ts';

export function arbitraryOf(shape: Shape): fc.Arbitrary<unknown> {
  switch (shape.kind) {
    case 'object':
      return arbitraryObject(Object.entries(keysOf(shape)));
    case 'map':
      return fc.dictionary(names(shape), arbitraryOf(partOf(shape.of)), {
        minKeys: shape.min,
        maxKeys: Math.min(2, shape.max),
        noNullPrototype: true,
      });
    case 'list':
      return fc.array(arbitraryOf(partOf(shape.of)), {
        minLength: shape.min,
        maxLength: Math.min(2, shape.max),
      });
    case 'variants':
      return fc.oneof(...shape.of.map((variant) => arbitraryOf(partOf(variant))));
    case 'either':
      return fc.oneof(arbitraryOf(partOf(shape.short)), arbitraryOf(partOf(shape.long)));
    case 'command':
      return fc.constantFrom('node server.js', ['node', 'server.js', 5], ['sh', '-c', 'a && b']);
    case 'text':
      if (shape.pattern === undefined) return fc.constantFrom('a', '${secret:x}', 'true', '5');
      return fc.stringMatching(new RegExp(shape.pattern, 'u')).filter((text) => {
        return (
          text.length <= shape.lengthMax && text.isWellFormed() && !/[\p{Cc}\u2028]/u.test(text)
        );
      });
    case 'choice':
      return fc.constantFrom(...shape.of);
    case 'whole':
      return fc.integer({ min: shape.min, max: shape.max });
    case 'quantity': {
      const { unit } = shape;
      if (unit === 'cores') return fc.constantFrom(0.5, 1, 64);
      if (unit === 'share') return fc.constantFrom('50%', '99.9%', 0.75);
      const whole = fc.integer({ min: Math.ceil(shape.min), max: Math.floor(shape.max) });
      return whole.map((value) => unitText(unit, value));
    }
    case 'flag':
      return fc.boolean();
  }
}

function names(shape: MapShape): fc.Arbitrary<string> {
  if (shape.names === 'playbook') return fc.constantFrom(...PLAYBOOKS);
  return fc.stringMatching(new RegExp(NAME_PATTERNS[shape.names], 'u'));
}

function arbitraryObject(keys: readonly (readonly [string, Key])[]): fc.Arbitrary<unknown> {
  const values = Object.fromEntries(
    keys.map(([name, key]) => [name, arbitraryOf(partOf(key.shape))]),
  );
  const required = keys.filter(([, key]) => key.presence === 'required').map(([name]) => name);
  return fc.record(values, { requiredKeys: required, noNullPrototype: true });
}
