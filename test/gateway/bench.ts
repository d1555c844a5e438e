// How many requests a second, and how much latency on top? A short, bounded, indicative run:
//   node test/gateway/bench.ts
import { Agent, request } from 'node:http';
import { readFileSync } from 'node:fs';
import { openRig } from './rig.ts';

const SECONDS = 4;

async function once(agent: Agent, port: number, path: string, key: string): Promise<void> {
  const done = Promise.withResolvers<void>();
  const headers = { authorization: `Bearer ${key}` };
  const sent = request({ agent, port, host: '127.0.0.1', path, headers }, (response) => {
    response.resume();
    response.once('end', () => done.resolve());
  });
  sent.once('error', done.reject);
  sent.end();
  await done.promise;
}

/** CPU time of a process so far, ms (Linux; ticks of 10 ms). */
function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function measure(
  port: number,
  path: string,
  key: string,
  lanes: number,
  pid: number,
): Promise<string> {
  const agent = new Agent({ keepAlive: true, maxSockets: lanes });
  const tookMs: number[] = [];
  const beforeMs = cpuMs(pid);
  const endMs = performance.now() + SECONDS * 1_000;
  const lane = async (): Promise<void> => {
    while (performance.now() < endMs) {
      const startMs = performance.now();
      await once(agent, port, path, key);
      tookMs.push(performance.now() - startMs);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  agent.destroy();
  const usedUs = ((cpuMs(pid) - beforeMs) * 1_000) / tookMs.length;
  tookMs.sort((a, b) => a - b);
  const at = (q: number): string => (tookMs[Math.floor(tookMs.length * q)] ?? 0).toFixed(2);
  const rate = Math.round(tookMs.length / SECONDS);
  const latency = `p50 ${at(0.5)} ms p99 ${at(0.99)} ms`;
  return `${rate}/s ${latency}, ${usedUs.toFixed(0)} us CPU a request`;
}

const rig = await openRig({ replicas: 2, ownProcess: true });
const key = rig.key('acme');
const [replica] = rig.replicas;
const path = '/api/records?wait=0';
const gatewayPid = rig.gatewayPid;
for (const lanes of [1, 16]) {
  const direct = await measure(replica?.port ?? 0, path, key, lanes, replica?.child.pid ?? 0);
  console.log(`${lanes} connections, direct (CPU of the replica):  ${direct}`);
  const through = await measure(rig.port, path, key, lanes, gatewayPid);
  console.log(`${lanes} connections, gateway (CPU of the gateway): ${through}`);
}
const idleFromMs = cpuMs(gatewayPid);
await new Promise((resolve) => setTimeout(resolve, 5_000));
console.log(`idle: ${((cpuMs(gatewayPid) - idleFromMs) / 50).toFixed(2)} % of a core`);
const status = readFileSync(`/proc/${gatewayPid}/status`, 'utf8');
console.log(`memory: ${/VmRSS:\s+(\d+)/u.exec(status)?.[1] ?? '?'} KiB`);
await rig.close();
