// A controller that is going to be killed: opens the runtime in the folder that it is given, starts
// the replicas that it is told to, says so, and waits.
import { openProcessRuntime } from '../../../src/drivers/process/process-runtime.ts';
import { asReplicaId } from '../../../src/model/ids.ts';
import { testReceipt, type Habit } from '../../contract/runtime.ts';
import { collectingLog, orderOf, realClock } from '../bench.ts';

const [dir = '', from = '0', to = '0', ...replicas] = process.argv.slice(2);
const runtime = await openProcessRuntime({
  dir,
  instance: 'test',
  portRange: { from: Number(from), to: Number(to) },
  log: collectingLog([]),
  clock: realClock,
});
await runtime.adopt(new Set(replicas.map((each) => asReplicaId(each.split(':')[0] ?? ''))));
for (const replica of replicas) {
  const [id = '', habit = 'serve'] = replica.split(':');
  await runtime.start(orderOf(id, habit as Habit), testReceipt());
}
console.log(JSON.stringify(runtime.list()));
setInterval(() => undefined, 60_000);
