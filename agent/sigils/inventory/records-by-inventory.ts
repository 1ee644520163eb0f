import { rfc3339 } from '../../../common/clock.ts';
import type { RecordsInPlace } from '../../../common/integrity-report.ts';
import { limits } from '../../../common/limits.ts';
import { SigilChecker } from '../../../common/sigil.ts';
import { compareTimes } from '../../../common/sigil-inventory.ts';
import { cutText, foreignText } from '../../../common/sigil-text.ts';
import { CurrentRecords } from '../current-records.ts';
import { FileWindow } from '../file-window.ts';
import { fsStoreFiles } from '../fs-store-files.ts';
import type { FoundRecord } from '../look-up.ts';
import type { Pacer } from '../pacer.ts';
import { takeSnapshot } from '../snapshot.ts';
import type { KeyRange } from '../table-scan.ts';
import { inventoryPath } from './inventory-file.ts';
import { type InventoryRanges, type KnownSigil, sigilsInRanges } from './sigils-in-ranges.ts';

export interface ByInventoryOptions {
  readonly dataDir: string;
  readonly store: string;
  /** The folder of the store itself, of which only files are read. */
  readonly path: string;
  readonly secrets: readonly string[];
  readonly pacer: Pacer;
}

/** Of a store, as it is now. */
interface LiveRecords {
  of(sigil: KnownSigil): FoundRecord | undefined;
  /** Whether there was no budget left to look for it. */
  isUnread(sigil: KnownSigil): boolean;
}

/**
 * Which sigils lie in bad places of a store, by the agent's inventory: those that it has in the range of keys, but for what the store itself
 * still gives as new as the inventory knows it. There is no copy of any.
 * @returns for each range in turn; null where the inventory has nothing there, and where there is none
 * @throws AppError `state.conflict` for an inventory that is damaged, `store.*` as a snapshot does
 */
export async function recordsByInventory(
  ranges: readonly KeyRange[],
  options: ByInventoryOptions,
): Promise<readonly (RecordsInPlace | null)[]> {
  const { dataDir, store, pacer } = options;
  const known = await sigilsInRanges(inventoryPath(dataDir, store), store, ranges, pacer);
  if (known === null) return ranges.map(() => null);
  const live = await liveRecords(known, options);
  const at = rfc3339(Math.floor(known.writtenMs));
  return known.found.map(({ sigils, isWhole }) => {
    if (sigils.length === 0) return null;
    const looked = sigils.filter((sigil) => !live.isUnread(sigil));
    const there = looked.filter((sigil) => !canBeRead(sigil, live.of(sigil)));
    return recordsOf(there, at, isWhole && looked.length === sigils.length);
  });
}

async function liveRecords({ found }: InventoryRanges, { path, secrets, pacer }: ByInventoryOptions) {
  const files = fsStoreFiles(path);
  const current = new CurrentRecords(files, new SigilChecker({ secrets }), pacer);
  const byName = new Map(found.flatMap(({ sigils }) => sigils.map(({ key }) => [key.toString('latin1'), key])));
  const records = await current.lookUp([...byName.values()], { left: limits.keysOfPlacesReadBytes });
  const { problems } = await takeSnapshot(files, new FileWindow(), pacer);
  const live: LiveRecords = {
    of({ key }) {
      const record = records.get(key.toString('latin1'));
      // Which of its tables count is not certain then.
      return record && { ...record, uncertain: record.uncertain || problems.length > 0 };
    },
    isUnread: ({ key }) => current.unread.has(key.toString('latin1')),
  };
  return live;
}

/**
 * Whether it is not in a bad place, or is no worse for it. An older record elsewhere does not count: the newer one lies in the bad
 * place. Nor does a deletion, which may be older as well.
 */
function canBeRead({ updatedAt }: KnownSigil, record: FoundRecord | undefined): boolean {
  if (record === undefined) return false;
  if (!record.uncertain) return true;
  if (!record.isPresent || record.failures.length > 0) return false;
  // The same text need not be a time that can be compared.
  if (updatedAt !== '' && record.updatedAt === updatedAt) return true;
  return (compareTimes(record.updatedAt, updatedAt) ?? -1) >= 0;
}

function recordsOf(sigils: readonly KnownSigil[], at: string, isWhole: boolean): RecordsInPlace | null {
  // One that nothing was looked at of says nothing.
  if (sigils.length === 0 && !isWhole) return null;
  const shown = sigils.slice(0, limits.maxKeysOfPlace);
  return {
    ...{ by: 'inventory', snapshot: null, at, isWhole, moreKeys: sigils.length - shown.length },
    keys: shown.map(({ key, updatedAt }) => {
      const time = updatedAt === '' ? {} : { updatedAt: shownText(Buffer.from(updatedAt)) };
      return { key: shownText(key), lastGood: null, ...time };
    }),
  };
}

function shownText(bytes: Buffer): string {
  return cutText(foreignText(bytes));
}
