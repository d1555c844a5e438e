// How large is the verifier that a web page loads?
import type { RowReport } from '../../heal/bench.ts';
import { buildBrowser } from '../../../scripts/ledger/browser.ts';
import { bar } from '../bench.ts';
import type { LedgerBench } from '../bench.ts';
import { numberText } from '../rates.ts';

const BYTES = 30_000;

export async function bundleRow(bench: LedgerBench): Promise<RowReport> {
  const { bytes, gzipBytes, text } = await bench.inFolder(buildBrowser);
  const isAlone = !/\bimport\s*[("'{*]/.test(text);
  return {
    name: 'bundle',
    title: 'the verifier for a web page: one ES module, minified',
    table: [
      ['', 'bytes', 'gzipped'],
      ['kintsugi-verify.js', numberText(bytes), numberText(gzipBytes)],
    ],
    bars: [
      bar('size, minified', `< ${numberText(BYTES)} B`, `${numberText(bytes)} B`, bytes < BYTES),
      bar('imports', 'none', isAlone ? 'none' : 'some', isAlone),
    ],
    notes: [],
    inside: [],
    data: { bytes, gzipBytes },
  };
}
