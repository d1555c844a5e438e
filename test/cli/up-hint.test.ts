import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { examplePath } from '../../src/cli/up/example-path.ts';
import { tempFolder } from './harness.ts';

test('the hint of `up` names an operation that answers, not a bare prefix', (t) => {
  const clinic = join(import.meta.dirname, '..', '..', 'examples', 'clinic');
  assert.equal(examplePath(clinic, '/records'), '/records/patients');
  assert.equal(examplePath(clinic, '/nothing'), undefined);
  const dir = tempFolder(t);
  assert.equal(examplePath(dir, '/a'), undefined);
  const get = {};
  const required = { get, parameters: [{ name: 'q', in: 'query', required: true }] };
  const paths = {
    '/a/x/longer': { get },
    '/a/y': { get },
    '/a/{id}': { get },
    '/ab': { get },
    '/a/q': required,
    '/a/p': { post: {} },
    '/a/;rm': { get },
  };
  writeFileSync(join(dir, 'openapi.json'), JSON.stringify({ paths }));
  assert.equal(examplePath(dir, '/a'), '/a/y');
  assert.equal(examplePath(dir, '/'), '/ab');
  writeFileSync(join(dir, 'openapi.json'), '{');
  assert.equal(examplePath(dir, '/a'), undefined);
});
