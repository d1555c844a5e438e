import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { allowedMethods, matrixVerdict } from '../../../src/gateway/matrix.ts';
import { METHODS, OTHER } from '../../../src/model/rights.ts';
import { maskOf, methodBit, methodVerdict } from '../../../src/gateway/matrix.ts';
import type { RouteMatrix } from '../../../src/model/routing.ts';

const may = (
  allow: RouteMatrix | undefined,
  deny: RouteMatrix | undefined,
  roles: readonly string[],
  method: string,
  subject = 'user:ann',
): string => {
  const rights = {
    ...(allow === undefined ? {} : { allow }),
    ...(deny === undefined ? {} : { deny }),
  };
  return matrixVerdict(rights, roles, subject, method);
};

describe('the matrix of a route', () => {
  test('MX1: without one everybody passes, with an empty one nobody', () => {
    assert.equal(may(undefined, undefined, [], 'GET'), 'allowed');
    assert.equal(may(undefined, undefined, [], 'BREW'), 'allowed');
    assert.equal(may({}, undefined, ['admin'], 'GET'), 'not-allowed');
    assert.equal(may(undefined, { '*': ['GET'] }, [], 'POST'), 'not-allowed');
  });

  test('MX1 MX2: roles add up, everybody’s row and the credential’s kind count, deny wins', () => {
    const allow = { clerk: ['GET', 'POST'], '*': ['HEAD'], '@key': ['DELETE'] };
    assert.equal(may(allow, undefined, ['clerk'], 'POST'), 'allowed');
    assert.equal(may(allow, undefined, ['guest'], 'POST'), 'not-allowed');
    assert.equal(may(allow, undefined, ['guest', 'clerk'], 'POST'), 'allowed');
    assert.equal(may(allow, undefined, [], 'HEAD'), 'allowed');
    assert.equal(may(allow, undefined, [], 'DELETE'), 'not-allowed');
    assert.equal(may(allow, undefined, [], 'DELETE', 'key:k1'), 'allowed');
    assert.equal(may(allow, { guest: ['*'] }, ['guest', 'clerk'], 'POST'), 'not-allowed');
    assert.equal(may(allow, { '@key': ['GET'] }, ['clerk'], 'GET', 'key:k1'), 'not-allowed');
    assert.equal(may(allow, { '@key': ['GET'] }, ['clerk'], 'GET'), 'allowed');
    // A user who is named like a row of a kind is not of that kind.
    assert.equal(may(allow, undefined, [], 'DELETE', 'user:@key'), 'not-allowed');
    assert.equal(may(allow, undefined, ['__proto__', 'constructor'], 'GET'), 'not-allowed');
  });

  test('MX3: methods that no policy names share one place; letters’ case is not folded', () => {
    for (const method of ['PROPFIND', 'get', 'OTHER', 'TRACE', '']) {
      assert.equal(may({ '*': [...METHODS] }, undefined, [], method), 'not-allowed', method);
      assert.equal(may({ '*': ['*'] }, undefined, [], method), 'allowed', method);
      assert.equal(may({ '*': [OTHER] }, undefined, [], method), 'allowed', method);
      assert.equal(may({ '*': ['*'] }, { '*': [OTHER] }, [], method), 'not-allowed', method);
    }
  });

  test('the mask of a flow says the same as looking up each time', () => {
    const method = fc.constantFrom(...METHODS, OTHER, '*');
    const role = fc.constantFrom('a', 'b', '*', '@user', '@key');
    const matrix = fc.dictionary(role, fc.uniqueArray(method));
    const holds = (rows: RouteMatrix, names: readonly string[], wanted: string): boolean =>
      names.some((name) => rows[name]?.some((m) => m === '*' || m === wanted) === true);
    fc.assert(
      fc.property(matrix, matrix, fc.subarray(['a', 'b']), (allow, deny, roles) => {
        const mask = allowedMethods({ allow, deny }, roles, 'user:x');
        const names = [...roles, '*', '@user'];
        for (const one of [...METHODS, OTHER]) {
          const wanted = holds(allow, names, one) && !holds(deny, names, one);
          assert.equal(methodVerdict(mask, one), wanted ? 'allowed' : 'not-allowed');
        }
      }),
    );
    const bits = [...METHODS, OTHER].map(methodBit);
    assert.deepEqual(new Set(bits).size, METHODS.length + 1);
    assert.equal(maskOf(['*']), maskOf([...METHODS, OTHER]));
  });
});
