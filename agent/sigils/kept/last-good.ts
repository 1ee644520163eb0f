import { setImmediate as immediate } from 'node:timers/promises';
import type { Clock } from '../../../common/clock.ts';
import { toAppError } from '../../../common/errors.ts';
import type { LastGood } from '../../../common/integrity-report.ts';
import { limits } from '../../../common/limits.ts';
import { SigilChecker, type SigilFinding } from '../../../common/sigil.ts';
import { foreignBytes } from '../../../common/sigil-text.ts';
import { type CurrentRecord, CurrentRecords, type VersionSeen } from '../current-records.ts';
import { FileWindow } from '../file-window.ts';
import { Pacer } from '../pacer.ts';
import { takeSnapshot } from '../snapshot.ts';
import type { StoreFiles } from '../store-files.ts';
import { keptFiles } from './kept-files.ts';
import { type KeptSnapshot, Shelf } from './shelf.ts';

export interface LookOptions {
  readonly secrets: readonly string[];
  readonly clock: Clock;
}

/** The record under a key, and what is to be thought of it. */
export interface FoundRecord extends CurrentRecord {
  /** As it is stored; null when there is none. */
  readonly value: Buffer | null;
}

/** @throws AppError as a snapshot does; damage is in the result */
export async function recordIn(files: StoreFiles, key: Buffer, options: LookOptions): Promise<FoundRecord> {
  let value: Buffer | null = null;
  const seen: VersionSeen = (_, version) => {
    value = version && Buffer.from(version);
  };
  const found = (await look(files, [key], options, seen)).get(key.toString('latin1'));
  if (found === undefined) throw new Error('a key that was looked up has no answer');
  return { ...found, value: found.isPresent ? value : null };
}

/** What is wrong with it; undefined when nothing is, and it may be put back. */
export function whyNotGood({ isPresent, sequence, failures, uncertain }: CurrentRecord): string | undefined {
  if (uncertain) return 'a damaged place may hide a newer version';
  if (!isPresent) return sequence < 0 ? 'there is no such record' : 'it was deleted';
  const [failed] = failures;
  return failed && `${failed.detail} (${failed.check})`;
}

/**
 * For each finding of a record, by its id, the newest snapshot of the store that has that record, passing every check. What has none
 * is not in the result; nor is a record whose key is too long to be shown.
 */
export async function lastGoodOf(
  dataDir: string,
  store: string,
  findings: readonly SigilFinding[],
  options: LookOptions,
): Promise<ReadonlyMap<string, LastGood>> {
  const sought = findings.flatMap(({ id, check, key }) => {
    // A duplicate is one record too many: there is nothing to put back.
    const bytes = key === null || check === 'duplicate' ? null : foreignBytes(key);
    return bytes === null ? [] : [{ id, key: bytes }];
  });
  return sought.length === 0 ? new Map() : newestGood(await new Shelf(dataDir, store).list(), sought, options);
}

/** A key to look for, under a name of the caller's. */
interface SoughtKey {
  readonly id: string;
  readonly key: Buffer;
}

/** The first of these snapshots that has each key, passing every check; by the names. What none has is not in the result. */
export async function newestGood(
  snapshots: readonly KeptSnapshot[],
  keys: readonly SoughtKey[],
  options: LookOptions,
): Promise<ReadonlyMap<string, LastGood>> {
  const good = new Map<string, LastGood>();
  let sought = keys;
  for (const { id: snapshot, at, folder } of snapshots) {
    if (sought.length === 0) break;
    const found = await lookQuietly(
      keptFiles(folder),
      sought.map(({ key }) => key),
      options,
    );
    for (const { id, key } of sought) {
      const record = found.get(key.toString('latin1'));
      if (record !== undefined && whyNotGood(record) === undefined) good.set(id, { snapshot, at });
    }
    sought = sought.filter(({ id }) => !good.has(id));
  }
  return good;
}

/** A record of a snapshot, which is good. */
export interface GoodRecord {
  readonly snapshot: KeptSnapshot;
  readonly value: Buffer;
  readonly updatedAt: string;
}

/** A snapshot that has no good record under the key. */
export interface NoGoodRecord {
  readonly snapshot: string;
  readonly reason: string;
}

/** The good record of the newest of these snapshots that has one, or why each has none. */
export async function goodRecord(
  snapshots: readonly KeptSnapshot[],
  key: Buffer,
  options: LookOptions,
): Promise<GoodRecord | readonly NoGoodRecord[]> {
  const without: NoGoodRecord[] = [];
  for (const snapshot of snapshots) {
    try {
      const { value, ...record } = await recordIn(keptFiles(snapshot.folder), key, options);
      const reason = whyNotGood(record);
      if (reason === undefined && value !== null) return { snapshot, value, updatedAt: record.updatedAt };
      without.push({ snapshot: snapshot.id, reason: reason ?? 'there is no such record' });
    } catch (thrown) {
      without.push({ snapshot: snapshot.id, reason: toAppError(thrown).message });
    }
  }
  return without;
}

/** Nothing of a store that cannot be looked at. */
export async function lookQuietly(files: StoreFiles, keys: readonly Buffer[], options: LookOptions) {
  try {
    return await look(files, keys, options);
  } catch {
    return new Map<string, CurrentRecord>();
  }
}

async function look(files: StoreFiles, keys: readonly Buffer[], { secrets, clock }: LookOptions, seen?: VersionSeen) {
  const pacer = new Pacer(clock, () => immediate(), undefined);
  const current = new CurrentRecords(files, new SigilChecker({ secrets }), pacer, seen);
  const found = new Map<string, CurrentRecord>();
  for (let at = 0; at < keys.length; at += limits.sigilConfirmBatch) {
    for (const entry of await current.lookUp(keys.slice(at, at + limits.sigilConfirmBatch))) found.set(...entry);
  }
  const { problems } = await takeSnapshot(files, new FileWindow(), pacer);
  // Which of its tables count is not certain then.
  if (problems.length > 0) for (const [key, record] of found) found.set(key, { ...record, uncertain: true });
  return found;
}
