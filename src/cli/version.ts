// Which version is this? The one of package.json, read once: it is beside `src` in a clone and
// beside `dist` in an installed package.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

function readVersion(): string {
  try {
    const text = readFileSync(join(import.meta.dirname, '..', '..', 'package.json'), 'utf8');
    const { version } = JSON.parse(text) as { readonly version?: string };
    return version ?? 'unknown';
  } catch {
    return 'unknown';
  }
}

export const VERSION = readVersion();
