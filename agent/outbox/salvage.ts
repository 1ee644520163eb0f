import { type ChainHead, genesis, type SignedEntry } from '../../common/entry.ts';
import { findDamagedValue, followChain, type Signer } from './chain-check.ts';
import {
  entriesAfter,
  entryKey,
  entryRange,
  generationOf,
  ownEntry,
  packRecord,
  statePrefix,
  storedBytes,
  unpackRecord,
} from './layout.ts';
import { type BatchOp, type OutboxDb, type Page, pages, writeDurably } from './level-store.ts';
import { type FoundMeta, readMeta, type Standing, type Unanchored } from './standing.ts';

/** One readable view of a damaged outbox: the folder itself, or its repaired copy. */
interface Source {
  readonly db: OutboxDb;
  readonly meta: FoundMeta;
  readonly generation: number;
}

export interface Salvaged {
  /** Of the new outbox, generation 0, before its `outbox.recovered` entry. */
  readonly standing: Standing;
  readonly entries: number;
  /** The highest numbers of an acknowledged entry and of any entry that the views tell of; undefined where they do not. */
  readonly known: { readonly acked: number | undefined; readonly head: number | undefined };
  /** False when what was told could not be kept, so that the agent has to tell everything again. */
  readonly stateKept: boolean;
}

/**
 * Copies into `target` the longest run of valid entries after the acknowledged head that the views hold together; if
 * nothing stands there, the first run after it. The views may be mixed freely, since every entry proves itself.
 *
 * A run, not whatever can be read: what comes after a hole cannot be chained to what stands before it.
 *
 * The told state is kept only from `opened`, the database as LevelDB itself opens it with every table intact, and only
 * when nothing it speaks of is missing; other views may bring back old values of it.
 */
export async function salvageInto(
  target: OutboxDb,
  opened: OutboxDb | undefined,
  views: readonly OutboxDb[],
  signer: Signer,
): Promise<Salvaged> {
  const sources = await Promise.all([...(opened ? [opened] : []), ...views].map(readSource));
  sources.sort((a, b) => (b.meta.tip?.write ?? -1) - (a.meta.tip?.write ?? -1));
  const newest = sources.find(({ meta }) => meta.chain !== undefined);
  const start = await startOfRun(sources, newest?.meta.chain?.acked);
  const copied = await copyChain(target, sources, start, signer);
  const stateKept = newest !== undefined && newest.db === opened && (await copyState(target, newest, copied.head));
  return {
    entries: copied.head.seq - start.seq,
    known: {
      acked: newest?.meta.chain?.acked.seq,
      head: highest(sources.map(({ meta }) => meta.tip?.head.seq)),
    },
    stateKept,
    standing: {
      generation: 0,
      acked: start,
      unanchored: unanchoredAfter(newest?.meta, copied, start),
      head: copied.head,
      bytes: copied.bytes,
      write: Math.max(0, ...sources.map(({ meta }) => meta.tip?.write ?? 0)),
      drops: firstKnown(sources.map(({ meta }) => meta.drops)),
      checkpoint: firstKnown(sources.map(({ meta }) => meta.checkpoint)),
    },
  };
}

async function readSource(db: OutboxDb): Promise<Source> {
  const meta = await readMeta(db);
  return { db, meta, generation: meta.chain?.generation ?? (await latestGeneration(db)) };
}

async function latestGeneration(db: OutboxDb): Promise<number> {
  try {
    for await (const key of db.keys({ ...entryRange, reverse: true, limit: 1 })) return generationOf(key) ?? 0;
  } catch {
    // Unreadable from the end; the first generation is as good a guess as any.
  }
  return 0;
}

/** The acknowledged head if an entry follows it or nothing does; else the predecessor the first later entry names. */
async function startOfRun(sources: readonly Source[], acked: ChainHead | undefined): Promise<ChainHead> {
  let lowest: ChainHead | undefined;
  for (const { db, generation } of sources) {
    const first = await firstEntry(db, generation, acked?.seq ?? 0);
    if (first && (lowest === undefined || first.seq <= lowest.seq)) lowest = { seq: first.seq - 1, hash: first.prev };
  }
  if (acked !== undefined && (lowest === undefined || lowest.seq === acked.seq)) return acked;
  return lowest ?? genesis;
}

async function firstEntry(db: OutboxDb, generation: number, after: number) {
  for await (const page of readable(db, entriesAfter(generation, after))) {
    for (const [, value] of page) {
      const record = unpackRecord(value);
      if (record !== undefined) return ownEntry(record.bytes);
    }
  }
  return undefined;
}

interface Copied {
  readonly head: ChainHead;
  readonly bytes: number;
  /** The first entry of this run that says the outbox had been damaged before. */
  readonly earlierRecovery: number | undefined;
}

async function copyChain(
  target: OutboxDb,
  sources: readonly Source[],
  acked: ChainHead,
  signer: Signer,
): Promise<Copied> {
  let copied: Copied = { head: acked, bytes: 0, earlierRecovery: undefined };
  for (let before = -1; before !== copied.head.seq; ) {
    before = copied.head.seq;
    for (const source of sources) copied = await copyRun(target, source, copied, signer);
  }
  return copied;
}

async function copyRun(target: OutboxDb, source: Source, from: Copied, signer: Signer): Promise<Copied> {
  let copied = from;
  for await (const page of readable(source.db, entriesAfter(source.generation, from.head.seq))) {
    const { entries, head, broken } = await followChain(copied.head, page, source.generation, signer);
    if (entries.length > 0) await writeDurably(target, entries.map(putEntry));
    copied = {
      head,
      bytes: entries.reduce((sum, { bytes }) => sum + storedBytes(bytes.length), copied.bytes),
      earlierRecovery:
        copied.earlierRecovery ?? entries.find(({ entry }) => entry.kind === 'outbox.recovered')?.entry.seq,
    };
    if (broken !== undefined) return copied;
  }
  return copied;
}

function putEntry(signed: SignedEntry): BatchOp {
  return { type: 'put', key: entryKey(0, signed.entry.seq), value: packRecord(signed) };
}

/** All or nothing: half of what was told would make the agent resolve and open the wrong drifts. */
async function copyState(target: OutboxDb, { db, meta }: Source, head: ChainHead): Promise<boolean> {
  if (meta.tip?.head.seq !== head.seq || meta.tip.head.hash !== head.hash) return false;
  try {
    if ((await findDamagedValue(db)) !== undefined) return false;
    for await (const page of pages(db, { gte: statePrefix, lt: `${statePrefix}\u{10ffff}` })) {
      await writeDurably(
        target,
        page.map(([key, value]) => ({ type: 'put', key, value })),
      );
    }
    return true;
  } catch {
    return false;
  }
}

/**
 * Which numbers may have been sent. Those given while there was no head to go on from never were, and only the record of the
 * chain says so for sure; without it they begin with an earlier `outbox.recovered`, or with number 1 in a new folder.
 */
function unanchoredAfter(meta: FoundMeta | undefined, copied: Copied, start: ChainHead): Unanchored {
  if (meta?.chain !== undefined) {
    const { acked, unanchored } = meta.chain;
    const keep = unanchored === null || unanchored.based ? copied.head.seq : unanchored.keep;
    const ackedKnown = (unanchored?.ackedKnown ?? true) && start.seq === acked.seq;
    return { keep: Math.max(start.seq, Math.min(keep, copied.head.seq)), ackedKnown, based: false };
  }
  const provisionalFrom = start.seq === 0 ? 1 : (copied.earlierRecovery ?? copied.head.seq + 1);
  return { keep: provisionalFrom - 1, ackedKnown: false, based: false };
}

/** Pages until the first one that cannot be read. */
async function* readable(db: OutboxDb, range: { gte: string; lt: string }): AsyncGenerator<Page> {
  const source = pages(db, range);
  try {
    while (true) {
      const step = await source.next().catch(() => undefined);
      if (step === undefined || step.done) return;
      yield step.value;
    }
  } finally {
    await source.return(undefined).catch(() => undefined);
  }
}

function highest(numbers: readonly (number | undefined)[]): number | undefined {
  const known = numbers.filter((number) => number !== undefined);
  return known.length === 0 ? undefined : Math.max(...known);
}

function firstKnown<T>(found: readonly (T | null | undefined)[]): T | null {
  return found.find((value) => value !== undefined) ?? null;
}
