// A process that appends until it is killed and prints each acknowledged index. Used by
// node-files.test.ts; the folder and the key text come over stdin.
import { text } from 'node:stream/consumers';
import { loadSigner, openLedger } from '../src/index.ts';

const input: { dir: string; secret: string } = JSON.parse(await text(process.stdin));
const signer = loadSigner(input.secret);
const ledger = await openLedger({
  dir: input.dir,
  origin: signer.name,
  signer,
  segmentBytes: 128 * 1024,
});
process.stdout.write(`open ${ledger.size}\n`);
let next = 0;
async function write(): Promise<void> {
  // Ends when the process is killed, at the latest after this many.
  while (next < 200_000) {
    const n = next++;
    const { index, checkpoint } = await ledger.record('test.entry', { pid: process.pid, n });
    process.stdout.write(`ack ${index} ${n} ${checkpoint.size} ${checkpoint.root}\n`);
  }
}
await Promise.all(Array.from({ length: 4 }, write));
await ledger.close();
