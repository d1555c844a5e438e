// A process to be killed: opens the store in argv[2], writes settings one by one, and prints each
// number once it was acknowledged. With argv[3] it stops after that many and stays alive.
import { openStore } from '../../../src/store/open.ts';
import { SILENT } from '../../../src/world/real/log.ts';

const [, , dir = '', count = 'Infinity'] = process.argv;
const store = await openStore({ dir, log: SILENT });
const lease = await store.lease(`writer-${process.pid}`, Date.now(), 1);
if (lease.kind !== 'held') throw new Error('the lease is taken');
console.log('open');
for (let i = 1; i <= Number(count); i += 1) {
  await store.putSetting('acked', i, lease.epoch);
  console.log(i);
}
setInterval(() => undefined, 1000);
