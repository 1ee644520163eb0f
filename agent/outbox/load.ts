import type { KeyObject } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { headAfter, sealEntry } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { checkDb, type Signer } from './chain-check.ts';
import {
  copyFolder,
  type FolderState,
  finishInstallation,
  install,
  lookAt,
  type OutboxPaths,
  pruneQuarantines,
  quarantinePath,
  remove,
} from './folder.ts';
import { entryKey, entryRange, generationOf, packRecord, storedBytes } from './layout.ts';
import { createDb, type OutboxDb, openDb, repairDb, troubleOf, writeDurably, writeFailure } from './level-store.ts';
import { type Salvaged, salvageInto } from './salvage.ts';
import { emptyStanding, type Standing, standingOps } from './standing.ts';
import { findTableDamage, looseValues } from './table-check.ts';
import type { Mark } from './write-mark.ts';

export interface LoadOptions {
  readonly paths: OutboxPaths;
  readonly signer: Signer;
  readonly privateKey: KeyObject;
  readonly now: () => number;
  /** The last batch known to have been acknowledged. */
  readonly last: Mark;
}

/** What was done about a damaged outbox. The `outbox.recovered` entry that says so is already in the queue. */
export interface Recovery {
  readonly reason: string;
  /** Entries that could be kept. */
  readonly salvaged: number;
  /** Entries that had been numbered, were not acknowledged, and could not be kept; undefined where nothing tells. */
  readonly missing: number | undefined;
  /** False: the `state` is empty and everything has to be told again. */
  readonly stateKept: boolean;
  /** Where the damaged folder is now; undefined when there was none left. */
  readonly quarantine: string | undefined;
}

export interface Loaded {
  readonly db: OutboxDb;
  readonly standing: Standing;
  readonly recovery: Recovery | undefined;
}

/**
 * Opens the outbox, whatever state its folder is in: sound, missing, damaged, or half installed by an interrupted
 * start. The same code runs at the start of the agent and after a failed write.
 * @throws AppError `state.conflict` when another process or owner has it, `outbox.full` and `outbox.write_failed` when
 * the system is the trouble and not the folder; nothing is moved then.
 */
export async function loadOutbox(options: LoadOptions): Promise<Loaded> {
  try {
    await finishInstallation(options.paths);
    const folder = await lookAt(options.paths.dir);
    if (folder.there) return await openOrRecover(options, folder);
    if (options.last.write > 0) {
      return await recover(options, folder, { opened: undefined, damaged: [] }, 'the outbox folder is gone');
    }
    await createFresh(options);
    return await openSound(options, undefined);
  } catch (cause) {
    throw writeFailure(cause, options.paths.dir);
  }
}

async function createFresh({ paths, signer }: LoadOptions): Promise<void> {
  const db = await createDb(paths.building);
  await writeDurably(db, standingOps(undefined, emptyStanding, signer));
  await db.close();
  await install(paths, { there: false }, '');
}

async function openOrRecover(options: LoadOptions, folder: FolderState): Promise<Loaded> {
  const { live, all: damaged } = await findTableDamage(options.paths.dir);
  if (live.length > 0) {
    return recover(options, folder, { opened: undefined, damaged }, `damaged tables: ${live.join(', ')}`);
  }
  let db: OutboxDb;
  try {
    db = await openDb(options.paths.dir);
  } catch (cause) {
    if (cause instanceof AppError || troubleOf(cause) !== 'damaged') throw cause;
    return recover(options, folder, { opened: undefined, damaged }, `LevelDB cannot open it: ${innermost(cause)}`);
  }
  const verdict = await checkDb(db, options.signer, options.last.write).catch(async (cause) => {
    await db.close();
    throw cause;
  });
  if (!verdict.sound) return recover(options, folder, { opened: db, damaged }, verdict.reason);
  await sweep(db, verdict.standing);
  return { db: await unmapped(db, verdict.standing), standing: verdict.standing, recovery: undefined };
}

/** The check has walked through every table, and LevelDB would keep them mapped: memory that grows with the queue. */
async function unmapped(db: OutboxDb, { bytes }: Standing): Promise<OutboxDb> {
  if (bytes < limits.outboxCompactAfterBytes) return db;
  await db.close();
  return openDb(db.location);
}

/** Deletes what an interrupted trim or re-base left. */
async function sweep(db: OutboxDb, { generation, acked }: Standing): Promise<void> {
  await db.clear({ gte: entryRange.gte, lt: entryKey(generation, acked.seq + 1) });
  await db.clear({ gte: entryKey(generation + 1, 0), lt: entryRange.lt });
}

/** What is known of a damaged outbox: the database if LevelDB opens it, and tables it must not be given. */
interface Wreck {
  readonly opened: OutboxDb | undefined;
  readonly damaged: readonly string[];
}

/** Builds a new outbox from what can be read, moves the damaged one aside and opens the new one. */
async function recover(options: LoadOptions, folder: FolderState, wreck: Wreck, reason: string): Promise<Loaded> {
  const { paths } = options;
  const target = await createDb(paths.building);
  const quarantine = await quarantinePath(paths.dir, options.now());
  let salvaged: Salvaged;
  let missing: number | undefined;
  try {
    salvaged = await salvageFrom(target, wreck, folder, options);
    missing = missingAfter(salvaged, options.last);
    await finishRecovered(
      target,
      salvaged,
      { reason, missing, quarantine: folder.there ? quarantine : 'none' },
      options,
    );
  } finally {
    await target.close();
    await wreck.opened?.close();
  }
  await install(paths, folder, quarantine);
  await remove(paths.repair);
  await remove(paths.loose);
  await pruneQuarantines(paths.dir);
  return openSound(options, {
    reason,
    salvaged: salvaged.entries,
    missing,
    stateKept: salvaged.stateKept,
    quarantine: folder.there ? quarantine : undefined,
  });
}

/** What the mark and the records of the wreck say was numbered, less what was acknowledged and what was kept. */
function missingAfter({ standing, entries, known }: Salvaged, { seqs }: Mark): number | undefined {
  const acked = seqs === undefined ? known.acked : Math.max(seqs.acked, known.acked ?? 0);
  const head = seqs === undefined ? known.head : Math.max(seqs.head, known.head ?? 0);
  if (acked === undefined || head === undefined) return undefined;
  const kept = Math.min(entries, Math.max(0, standing.head.seq - acked));
  return Math.max(0, head - acked - kept);
}

async function salvageFrom(
  target: OutboxDb,
  { opened, damaged }: Wreck,
  folder: FolderState,
  { paths, signer }: LoadOptions,
): Promise<Salvaged> {
  const repaired = folder.there ? await openRepairedCopy(paths, damaged) : undefined;
  const loose = damaged.length > 0 ? await gatherLoose(paths, damaged) : undefined;
  const views = [repaired, loose].filter((db) => db !== undefined);
  try {
    return await salvageInto(target, opened, views, signer);
  } finally {
    for (const view of views) await view.close();
  }
}

/** LevelDB's repair throws tables away that it does not like, so it never sees the original. */
async function openRepairedCopy(
  { dir, repair }: OutboxPaths,
  damaged: readonly string[],
): Promise<OutboxDb | undefined> {
  try {
    await copyFolder(dir, repair);
    for (const name of damaged) await remove(join(repair, name));
    await repairDb(repair);
    return await openDb(repair);
  } catch {
    // Not a database any more, or no room for a copy: the other views have to do.
    return undefined;
  }
}

/** The entries in what is still right of damaged tables. Only entries: they alone prove themselves. */
async function gatherLoose({ dir, loose }: OutboxPaths, damaged: readonly string[]): Promise<OutboxDb> {
  await remove(loose);
  const db = await createDb(loose);
  // LevelDB removes what it does not need when it opens the folder, and so it did if it was opened first.
  const left = new Set(await readdir(dir));
  for (const name of damaged.filter((one) => left.has(one))) {
    for await (const [key, value] of looseValues(join(dir, name))) {
      if (generationOf(key) !== undefined) await db.put(key, value);
    }
  }
  return db;
}

/** The entry that says so and the meta records, in one batch: without them the new outbox is not one. */
async function finishRecovered(
  target: OutboxDb,
  salvaged: Salvaged,
  { reason, missing, quarantine }: { reason: string; missing: number | undefined; quarantine: string },
  { signer, privateKey, now, last }: LoadOptions,
): Promise<void> {
  const { standing } = salvaged;
  const counts = { salvaged: salvaged.entries, ...(missing === undefined ? {} : { missing }) };
  const body = { reason: reason.slice(0, 1_000), ...counts, quarantine };
  const by = { author: signer.author, head: standing.head, now: now(), privateKey };
  const signed = sealEntry({ kind: 'outbox.recovered', body }, by);
  const after: Standing = {
    ...standing,
    head: headAfter(signed),
    bytes: standing.bytes + storedBytes(signed.bytes.length),
    write: Math.max(standing.write, last.write) + 1,
  };
  await writeDurably(target, [
    { type: 'put', key: entryKey(0, signed.entry.seq), value: packRecord(signed) },
    ...standingOps(undefined, after, signer),
  ]);
}

async function openSound({ paths, signer, last }: LoadOptions, recovery: Recovery | undefined): Promise<Loaded> {
  const db = await openDb(paths.dir);
  const verdict = await checkDb(db, signer, last.write);
  if (verdict.sound) return { db, standing: verdict.standing, recovery };
  await db.close();
  throw new AppError('outbox.corrupt', `${paths.dir} was damaged as soon as it was written: ${verdict.reason}`, {
    details: { dir: paths.dir, reason: verdict.reason },
  });
}

function innermost(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  return thrown.cause === undefined ? thrown.message : innermost(thrown.cause);
}
