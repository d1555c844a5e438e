// The replica of the runtime tests: one program with several bad habits, chosen by its argument.
// Plain JavaScript: its environment is the order's, where no compiled code is kept, and with types
// to strip each of the hundred starts would take twice as long.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';

const [habit = 'serve', detail = ''] = process.argv.slice(2);
/** @type {number[]} */
const children = [];

/** @param {string} code */
function child(code, isDetached = false) {
  const made = spawn(process.execPath, ['-e', code], { stdio: 'ignore', detached: isDetached });
  if (made.pid !== undefined) children.push(made.pid);
}

const STUBBORN = 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)';
/** @type {Buffer[]} */
const hoard = [];

switch (habit) {
  case 'exit':
    process.exit(Number(detail));
    break;
  case 'deaf':
    process.on('SIGTERM', () => undefined);
    break;
  case 'family':
    child(STUBBORN);
    child(STUBBORN, true);
    break;
  case 'talk':
    // Synchronous: would block for ever on a pipe that nobody reads.
    for (let line = 0; line < Number(detail); line += 1)
      console.log(`line ${line} ${'x'.repeat(80)}`);
    break;
  case 'hog':
    setInterval(() => hoard.push(Buffer.alloc(8 * 1024 * 1024, 1)), 5);
    break;
  default:
    break;
}

const server = createServer((request, response) => {
  if (request.url === '/exit') process.exit(7);
  if (request.url === '/talk') {
    console.log('y'.repeat(1000));
  }
  response.end(
    JSON.stringify({ pid: process.pid, env: process.env, cwd: process.cwd(), children }),
  );
});
server.listen(Number(process.env.PORT), process.env.HOST);
if (habit !== 'deaf') process.on('SIGTERM', () => process.exit(0));
