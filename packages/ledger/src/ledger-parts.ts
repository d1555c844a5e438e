// What is an open ledger made of? The parts that opening puts together, types only.

import type { RecoveryReport } from './api.ts';
import type { Committer } from './commit.ts';
import type { Files, FolderLock, LedgerClock } from './files.ts';
import type { EntryFollower } from './follow.ts';
import type { History } from './history.ts';
import type { IntentBook } from './intents.ts';
import type { RecordStore, RecordWriter } from './store.ts';
import type { HashTree } from './tree.ts';

export interface LedgerParts {
  readonly store: RecordStore;
  readonly origin: string;
  readonly vkey: string;
  readonly files: Files;
  readonly clock: LedgerClock;
  readonly lock: FolderLock;
  readonly wal: RecordWriter;
  readonly tree: HashTree;
  readonly history: History;
  readonly intents: IntentBook;
  readonly followers: readonly EntryFollower[];
  readonly namesInBase: readonly string[];
  readonly committer: Committer;
  readonly salt: (() => string) | undefined;
  readonly appendDeadlineMs: number;
  readonly publishEveryMs: number;
  readonly allowUnsigned: boolean;
  readonly recovery: RecoveryReport;
}
