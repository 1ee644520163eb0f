import type { Clock } from '../../common/clock.ts';
import { fsStoreFiles } from '../sigils/fs-store-files.ts';
import type { NamedStore } from '../sigils/full-scan.ts';
import type { ScanCounts } from '../sigils/scan-counts.ts';

const barCells = 24;
/** A terminal is told no more often than this. */
const redrawMs = 100;
const clearLine = '\r\u001b[K';

export interface ScanBar {
  readonly progress: (done: ScanCounts) => void;
  /** So much was read before, and not in this time. */
  readonly before: (read: ScanCounts) => void;
  /** Leaves the terminal as it was. */
  readonly end: () => void;
}

/** One line that redraws itself: share, records and their rate. */
export async function scanBar(store: NamedStore, write: (text: string) => void, clock: Clock): Promise<ScanBar> {
  const total = typeof store.place === 'string' ? await storeBytes(store.place) : undefined;
  const startedMs = clock.monotonicMs();
  let drawnMs = Number.NEGATIVE_INFINITY;
  let recordsBefore = 0;
  return {
    progress: ({ bytes, records }) => {
      const nowMs = clock.monotonicMs();
      if (nowMs - drawnMs < redrawMs) return;
      drawnMs = nowMs;
      const rate = Math.round(((records - recordsBefore) * 1000) / Math.max(nowMs - startedMs, 1));
      // How much a table holds is not known before it has been read.
      const share = total === undefined ? '' : `${bar(total === 0 ? 0 : Math.min(bytes / total, 1))} `;
      write(`${clearLine}${share}${store.name}: ${records} records, ${rate}/s`);
    },
    before: (read) => {
      recordsBefore = read.records;
    },
    end: () => write(clearLine),
  };
}

function bar(share: number): string {
  const full = Math.floor(share * barCells);
  return `[${'='.repeat(full)}${' '.repeat(barCells - full)}] ${String(Math.floor(share * 100)).padStart(3)}%`;
}

/** Size of tables and logs, to show how far a scan has come: 0 for a store that cannot be read, of which the scan says why. */
export async function storeBytes(path: string): Promise<number> {
  const files = fsStoreFiles(path);
  try {
    const names = (await files.list()).filter((name) => /\.(ldb|sst|log)$/.test(name));
    const sizes = await Promise.all(names.map(async (name) => (await files.stamp(name))?.bytes ?? 0));
    return sizes.reduce((sum, bytes) => sum + bytes, 0);
  } catch {
    return 0;
  }
}
