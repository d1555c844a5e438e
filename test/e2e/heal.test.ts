// Does a real system heal? Every scenario of the issue, on real processes under load.
// Runs alone: what clients see while it heals is part of what is asserted.
import { test } from 'node:test';
import './replicas.ts';
import './causes.ts';
import { assertEnded } from './harness.ts';
import { theatre } from './house.ts';

test('all of it is in the ledger, which verifies offline; nothing is left running', async () => {
  await assertEnded(theatre());
});
