// Is anything read differently from Node's own parser, and do lying replicas leak? A short run of
// scripts/gateway/fuzz-http.ts and scripts/gateway/lies.ts, which run for as long as one likes.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import type { RowReport } from '../../heal/bench.ts';
import { bar, OTHER_CORE } from '../bench.ts';
import type { GatewayBench } from '../bench.ts';
import { pinned } from '../peers.ts';

const SCRIPTS = join(import.meta.dirname, '../../../scripts/gateway');

function run(name: string, args: readonly string[]): Promise<{ code: number; out: string }> {
  const [file = '', ...all] = pinned(OTHER_CORE, [process.execPath, join(SCRIPTS, name), ...args]);
  return new Promise((resolve) => {
    execFile(file, all, { encoding: 'utf8', maxBuffer: 64 * 1_048_576 }, (error, out, problem) => {
      resolve({ code: error === null ? 0 : 1, out: out === '' ? problem : out });
    });
  });
}

export async function fuzzRow(bench: GatewayBench): Promise<RowReport> {
  const { quick } = bench.options;
  const cases = quick ? 20_000 : 500_000;
  const requests = quick ? 3_000 : 50_000;
  const fuzz = await run('fuzz-http.ts', [
    '--cases',
    String(cases),
    '--sample',
    quick ? '0' : '250',
  ]);
  const lies = await run('lies.ts', ['--requests', String(requests)]);
  const lines = (text: string): string[] => text.trim().split('\n').slice(0, 12);
  const sum = /"leaks":(\d+),"desyncs":(\d+)/u.exec(lies.out);
  return {
    name: 'fuzz',
    title: 'strictness: the grammar fuzzer against llhttp, and lying replicas',
    table: [],
    bars: [
      bar(
        `${cases} cases`,
        '0 framed differently',
        fuzz.code === 0 ? '0' : 'some',
        fuzz.code === 0,
      ),
      bar(
        `${requests} requests to liars`,
        '0 leaks, 0 desyncs',
        sum === null ? 'no result' : `${sum[1]} leaks, ${sum[2]} desyncs`,
        lies.code === 0,
      ),
    ],
    notes: [...lines(fuzz.out), ...lines(lies.out)],
    inside: [],
    data: { fuzz: fuzz.out.slice(0, 10_000), lies: lies.out.slice(0, 10_000) },
  };
}
