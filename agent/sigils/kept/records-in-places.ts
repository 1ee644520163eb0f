import { setImmediate as immediate } from 'node:timers/promises';
import type { RecordsInPlace } from '../../../common/integrity-report.ts';
import { limits } from '../../../common/limits.ts';
import type { SigilFinding } from '../../../common/sigil.ts';
import { cutText, foreignBytes, foreignText } from '../../../common/sigil-text.ts';
import { fsStoreFiles } from '../fs-store-files.ts';
import { Pacer } from '../pacer.ts';
import type { KeyRange } from '../table-scan.ts';
import { keptFiles } from './kept-files.ts';
import { type KeysFound, KeysInRanges, type ReadingBudget } from './keys-in-ranges.ts';
import { type LookOptions, lookQuietly, newestGood } from './last-good.ts';
import { type KeptSnapshot, Shelf } from './shelf.ts';

export interface PlacesOptions extends LookOptions {
  readonly dataDir: string;
  readonly store: string;
  /** The folder of the store itself, of which only files are read. */
  readonly path: string;
  /** How many findings of bad places are looked into. */
  readonly maxPlaces: number;
}

/** A bad place whose keys are known by their bounds. */
interface Place {
  readonly id: string;
  readonly range: KeyRange;
}

/**
 * For findings of bad places in files, by their ids, which records were there: the keys that the newest snapshot has in the range, of those
 * that can be read there, and the newest good copy of each. Null where no snapshot can say; findings without a range, or beyond the bound, are not
 * in the result.
 * @throws AppError `validation.config` for a folder of snapshots that cannot be read
 */
export async function recordsInPlaces(
  findings: readonly SigilFinding[],
  { dataDir, store, path, maxPlaces, ...options }: PlacesOptions,
): Promise<ReadonlyMap<string, RecordsInPlace | null>> {
  const places = findings.flatMap(placeOf).slice(0, maxPlaces);
  const records = new Map<string, RecordsInPlace | null>(places.map(({ id }) => [id, null]));
  if (places.length === 0) return records;
  const snapshots = await new Shelf(dataDir, store).list();
  const withoutFrom = await placesWithoutFrom(places, path, options);
  const budget = { left: limits.keysOfPlacesReadBytes };
  let left: readonly Place[] = places;
  for (const snapshot of snapshots) {
    const found = await keysIn(snapshot, left, budget, options);
    for (const [{ id, range }, { keys, isWhole }] of found) {
      const there = withoutFrom.has(id) ? keys.filter((key) => !key.equals(range.from)) : keys;
      // Of a range that nothing was read of, an older snapshot says no more.
      if (there.length === 0 && !isWhole) continue;
      records.set(id, await recordsOf(there, isWhole, snapshot, snapshots, options));
    }
    left = left.filter(({ id }) => records.get(id) === null);
    if (left.length === 0) break;
  }
  return records;
}

/** One whose bounds were too long to be shown cannot be looked into. */
function placeOf({ id, key, keyRange }: SigilFinding): Place[] {
  const [from, to] = keyRange === null ? [null, null] : [foreignBytes(keyRange.from), foreignBytes(keyRange.to)];
  return key !== null || from === null || to === null ? [] : [{ id, range: { from, to } }];
}

/**
 * A block begins behind the last key of the one before, except for the first of a table; its finding does not say which it is. If
 * that key can be read in the store itself, it is not in the bad block.
 */
async function placesWithoutFrom(places: readonly Place[], path: string, options: LookOptions) {
  const keys = places.map(({ range }) => range.from);
  const found = await lookQuietly(fsStoreFiles(path), keys, options);
  const isElsewhere = ({ range }: Place) => found.get(range.from.toString('latin1'))?.uncertain === false;
  return new Set(places.filter(isElsewhere).map(({ id }) => id));
}

async function keysIn(
  { folder }: KeptSnapshot,
  places: readonly Place[],
  budget: ReadingBudget,
  { clock }: LookOptions,
): Promise<readonly (readonly [Place, KeysFound])[]> {
  const pacer = new Pacer(clock, () => immediate(), undefined);
  const ranges = places.map(({ range }) => range);
  // A snapshot that cannot be read says nothing.
  const found = await new KeysInRanges(keptFiles(folder), pacer, budget).list(ranges).catch(() => []);
  return places.flatMap((place, nth): [Place, KeysFound][] => {
    const keys = found[nth] ?? null;
    return keys === null ? [] : [[place, keys]];
  });
}

async function recordsOf(
  keys: readonly Buffer[],
  isWhole: boolean,
  { id, at }: KeptSnapshot,
  snapshots: readonly KeptSnapshot[],
  options: LookOptions,
): Promise<RecordsInPlace> {
  const listed = keys.slice(0, limits.maxKeysOfPlace);
  const good = await newestGood(
    snapshots,
    listed.map((key) => ({ id: key.toString('latin1'), key })),
    options,
  );
  return {
    ...{ snapshot: id, at, isWhole, moreKeys: keys.length - listed.length },
    keys: listed.map((key) => {
      return { key: cutText(foreignText(key)), lastGood: good.get(key.toString('latin1')) ?? null };
    }),
  };
}
