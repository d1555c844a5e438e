import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readFrame } from '../../../src/drivers/gateways/frames.ts';

test('FM1: events of identity are taken whole or not at all', () => {
  const crossed = {
    kind: 'crossed',
    tenant: 'acme',
    service: 'api',
    crossing: 'host-of-another',
    requests: 3,
  };
  const wanted = { kind: 'keys-wanted', issuer: 'https://id.test' };
  for (const event of [crossed, wanted]) {
    assert.deepEqual(readFrame({ kind: 'event', event }), { kind: 'event', event });
  }
  const bad: readonly unknown[] = [
    { ...crossed, tenant: 7 },
    { ...crossed, crossing: 'of-nobody' },
    { ...crossed, requests: -1 },
    { ...crossed, requests: '3' },
    { ...wanted, issuer: '' },
    { ...wanted, issuer: 'x'.repeat(201) },
    { kind: 'keys-wanted' },
  ];
  for (const event of bad) {
    assert.equal(readFrame({ kind: 'event', event }).kind, 'malformed', JSON.stringify(event));
  }
});
