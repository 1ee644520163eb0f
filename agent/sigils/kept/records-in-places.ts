import { setImmediate as immediate } from 'node:timers/promises';
import type { LastGood, RecordsInPlace } from '../../../common/integrity-report.ts';
import { limits } from '../../../common/limits.ts';
import type { SigilFinding } from '../../../common/sigil.ts';
import { cutText, foreignBytes, foreignText } from '../../../common/sigil-text.ts';
import { fsStoreFiles } from '../fs-store-files.ts';
import { recordsByInventory } from '../inventory/records-by-inventory.ts';
import { Pacer } from '../pacer.ts';
import type { ReadingBudget } from '../reading-budget.ts';
import type { KeyRange } from '../table-scan.ts';
import { keptFiles } from './kept-files.ts';
import { type KeysFound, KeysInRanges } from './keys-in-ranges.ts';
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
 * that can be read there, and the newest good copy of each. Where no snapshot can say, the sigils that the agent's inventory has there; null
 * where that has none. Findings without a range, or beyond the bound, are not
 * in the result.
 * @throws AppError `validation.config` for a folder of snapshots that cannot be read
 */
export async function recordsInPlaces(
  findings: readonly SigilFinding[],
  { dataDir, store, path, maxPlaces, ...options }: PlacesOptions,
): Promise<ReadonlyMap<string, RecordsInPlace | null>> {
  const places = findings.flatMap(placeOf).slice(0, maxPlaces);
  const snapshots = places.length === 0 ? [] : await new Shelf(dataDir, store).list();
  const told = await keysOf(places, snapshots, path, options);
  // All at once: each look reads the logs of a snapshot.
  const listed = [...told].flatMap(([id, { keys }]) => shownOf(keys).map((key) => ({ id: nameOf(id, key), key })));
  const good = await newestGood(snapshots, listed, options);
  const untold = places.filter(({ id }) => !told.has(id));
  const known = await byInventory(untold, { dataDir, store, path, ...options });
  return new Map(
    places.map(({ id }) => {
      const kept = told.get(id);
      const records = kept && recordsOf(kept, (key) => good.get(nameOf(id, key)) ?? null);
      return [id, records ?? known.get(id) ?? null];
    }),
  );
}

/** By the ids of the places, as far as the inventory says something. */
async function byInventory(
  places: readonly Place[],
  { dataDir, store, path, secrets, clock }: Omit<PlacesOptions, 'maxPlaces'>,
): Promise<ReadonlyMap<string, RecordsInPlace | null>> {
  if (places.length === 0) return new Map();
  const pacer = new Pacer(clock, () => immediate(), undefined);
  const ranges = places.map(({ range }) => range);
  // An inventory that cannot be read, or a store that cannot be looked at beside it, says nothing.
  const found = await recordsByInventory(ranges, { dataDir, store, path, secrets, pacer }).catch(() => []);
  return new Map(places.map(({ id }, nth) => [id, found[nth] ?? null]));
}

/** What a snapshot says of a place. */
interface ToldKeys extends KeysFound {
  readonly snapshot: KeptSnapshot;
}

/** By the ids of the places; nothing of one that no snapshot can be read at. */
async function keysOf(
  places: readonly Place[],
  snapshots: readonly KeptSnapshot[],
  path: string,
  options: LookOptions,
): Promise<ReadonlyMap<string, ToldKeys>> {
  const told = new Map<string, ToldKeys>();
  if (snapshots.length === 0) return told;
  const withoutFrom = await placesWithoutFrom(places, path, options);
  const budget = { left: limits.keysOfPlacesReadBytes };
  for (const snapshot of snapshots) {
    const left = places.filter(({ id }) => !told.has(id));
    if (left.length === 0) break;
    for (const [{ id, range }, { keys, isWhole }] of await keysIn(snapshot, left, budget, options)) {
      const there = withoutFrom.has(id) ? keys.filter((key) => !key.equals(range.from)) : keys;
      // One that nothing was read of says nothing.
      if (there.length > 0 || isWhole) told.set(id, { keys: there, isWhole, snapshot });
    }
  }
  return told;
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

function shownOf(keys: readonly Buffer[]): readonly Buffer[] {
  return keys.slice(0, limits.maxKeysOfPlace);
}

/** One key of one place. */
function nameOf(id: string, key: Buffer): string {
  return `${id} ${key.toString('latin1')}`;
}

function recordsOf(
  { keys, isWhole, snapshot }: ToldKeys,
  lastGoodOf: (key: Buffer) => LastGood | null,
): RecordsInPlace {
  const shown = shownOf(keys);
  return {
    ...{ snapshot: snapshot.id, at: snapshot.at, isWhole, moreKeys: keys.length - shown.length },
    keys: shown.map((key) => ({ key: cutText(foreignText(key)), lastGood: lastGoodOf(key) })),
  };
}
