// How do private fields write into the log? Through the same intents and outcomes as every act, and
// as entries of the tenant whose people they are about.

import type { Ledger } from '../api.ts';
import { OWN } from '../own.ts';
import type { PrivacyLedger } from '../private/port.ts';
import type { Standing } from '../private/privacy-book.ts';
import { privateDigests } from '../private/disclosure.ts';
import type { ScopedAppend, ScopedIntent, TenantEntry } from './options.ts';

export interface PrivacyWriters {
  readonly core: Ledger;
  intent(input: ScopedIntent): Promise<{ readonly index: number }>;
  record(
    kind: string,
    detail: unknown,
    options: ScopedAppend,
  ): Promise<{ readonly kind: string; readonly index?: number }>;
  /** What the log says is in force. */
  standing(): Standing;
  /** The entries of a tenant that are still served, in pages. */
  pages(tenant: string): AsyncIterable<readonly TenantEntry[]>;
}

const PRIVACY = 'privacy.';

export function privacyLedger(writers: PrivacyWriters): PrivacyLedger {
  const { core } = writers;
  return {
    async intent({ action, subject, tenant, detail }) {
      const { index } = await writers.intent({
        kind: action,
        subject,
        detail,
        scope: { tenant },
        [OWN]: true,
      });
      return { index };
    },
    outcome: (index, outcome) => core.closeIntent(index, outcome),
    async record(kind, detail, tenant) {
      const done = await writers.record(kind, detail, { scope: { tenant }, [OWN]: true });
      return { index: done.index ?? -1 };
    },
    standing: () => writers.standing(),
    openIntents: () =>
      core
        .openIntents()
        .filter(({ kind }) => kind.startsWith(PRIVACY))
        .map(({ index, kind, detail }) => ({ index, action: kind, detail })),
    async locate(tenant, digests) {
      const found = new Map<string, number>();
      const wanted = new Set(digests);
      for await (const page of writers.pages(tenant)) {
        for (const { index, bytes } of page) {
          for (const digest of privateDigests(bytes)) {
            if (wanted.has(digest)) found.set(digest, index);
          }
        }
        if (found.size === wanted.size) break;
      }
      return digests.map((digest) => found.get(digest));
    },
    async *digestsBelow(tenant, before) {
      for await (const page of writers.pages(tenant)) {
        const below = page.filter(({ index }) => index < before);
        yield below.flatMap(({ bytes }) => privateDigests(bytes));
        if (below.length < page.length) return;
      }
    },
  };
}
