import { AppError } from '../../common/errors.ts';
import { fingerprint, type KeyPair } from '../../common/keys.ts';
import type { CollectorSettings } from '../config.ts';
import { writeNewFile } from '../data/new-file.ts';
import { applicationName, type OpenDatabase } from '../database.ts';
import {
  type ErasureNeeds,
  type ErasurePlan,
  type ErasureProgress,
  type ErasureReport,
  eraseEntries,
  planErasure,
  type Span,
  unfinishedErasure,
} from '../ledger/erasure/erasure.ts';
import { exportSpan } from '../ledger/erasure/export.ts';
import type { ErasureLimit } from '../ledger/erasure/plan.ts';
import type { Erasure } from '../ledger/erasure/record.ts';
import { exportLines } from '../ledger/export/export.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { postgresErasureStore } from '../postgres/erasure-run-store.ts';
import { postgresExportSource } from '../postgres/export-store.ts';
import { postgresStoredLedger } from '../postgres/stored-ledger.ts';
import { witnessesBeside } from './witnessed.ts';

export interface ErasingNeeds {
  readonly database: OpenDatabase;
  readonly keys: KeyPair;
  readonly ledger: Ledger;
}

export interface EraseRequest {
  readonly limit: ErasureLimit;
  readonly actor: string;
  readonly reason: string;
  /** Where the entries are exported to first; undefined for nowhere. */
  readonly exportTo: string | undefined;
  readonly onProgress?: ErasureProgress;
  readonly signal?: AbortSignal;
}

/** Erasure of this ledger, on this database. Calls throw as {@link eraseEntries}. */
export interface Erasing {
  /** Index of the first entry that was not erased. */
  boundary(): Promise<number>;
  plan(limit: ErasureLimit): Promise<ErasurePlan | undefined>;
  unfinished(): Promise<Erasure | undefined>;
  erase(request: EraseRequest): Promise<ErasureReport>;
}

export function createErasing(settings: CollectorSettings, { database, keys, ledger }: ErasingNeeds): Erasing {
  const { db, ownerUrl } = database;
  const store = postgresErasureStore(db, { url: ownerUrl, applicationName });
  const needs: ErasureNeeds = { store, stored: postgresStoredLedger(db), ledger, collectorKey: keys.publicKey };
  const witnesses = witnessesBeside(settings, { database, ledger });

  async function* lines({ from, to }: Span, onProgress: (done: number, of: number) => void) {
    const checkpoint = await witnesses.covering(to);
    yield* exportLines({ from, to, checkpoint, prover: ledger, source: postgresExportSource(db), onProgress });
  }

  return {
    boundary: async () => (await store.ground()).boundary,
    plan: (limit) => planErasure(store, limit),
    unfinished: () => unfinishedErasure(store, keys.publicKey),
    erase: async ({ limit, actor, reason, exportTo, signal, onProgress = () => {} }) => {
      await requireTrusted(ledger, keys);
      // Written and then read back: each is half of the step.
      const half = (offset: number) => (done: number, of: number) => onProgress('export', offset * of + done, 2 * of);
      const toFolder = (folder: string) => (span: Span) =>
        exportSpan(span, {
          folder,
          vkey: ledger.vkey,
          lines: (asked) => lines(asked, half(0)),
          writeFile: writeNewFile,
          onProgress: half(1),
        });
      return eraseEntries(
        { ...needs, onProgress, signal },
        { limit, actor, reason, exportSpan: exportTo === undefined ? undefined : toFolder(exportTo) },
      );
    },
  };
}

/** Nothing goes from a ledger that contradicts what was published: it may be needed to find out which of them is wrong. */
async function requireTrusted(ledger: Ledger, keys: KeyPair): Promise<void> {
  if (ledger.contradiction !== undefined) {
    throw new AppError(
      'ledger.tampered',
      `nothing is erased while the ledger contradicts what was published with the key ${fingerprint(keys.publicKey)}: ${ledger.contradiction.reason}. See docs/recovery.md`,
    );
  }
  await ledger.checkpoint();
}
