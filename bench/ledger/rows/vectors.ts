// Does the verifier answer as other people's vectors say?
import type { RowReport } from '../../heal/bench.ts';
import { percentText } from '../../heal/numbers.ts';
import { bar } from '../bench.ts';
import { numberText } from '../rates.ts';
import { countGenerated, countPublished, publishedFolder } from '../vectors.ts';

export async function vectorsRow(): Promise<RowReport> {
  await Promise.resolve();
  const folder = publishedFolder();
  const published = folder === undefined ? [] : countPublished(folder);
  const counts = [...published, ...countGenerated()];
  const right = counts.reduce((sum, count) => sum + count.right, 0);
  const all = counts.reduce((sum, count) => sum + count.all, 0);
  return {
    name: 'vectors',
    title: 'vectors: the published answer, valid or refused',
    table: [
      ['', 'right', 'of'],
      ...counts.map((count) => [count.name, numberText(count.right), numberText(count.all)]),
    ],
    bars: [
      bar(
        'vectors that get their answer',
        '100 %',
        `${percentText(right / all)}: ${right} of ${all}`,
        right === all && all > 0,
      ),
    ],
    notes:
      folder === undefined
        ? ['the published vectors are not on this machine (KINTSUGI_VECTORS names their folder)']
        : [],
    inside: [],
    data: { isPublishedThere: folder !== undefined, counts },
  };
}
