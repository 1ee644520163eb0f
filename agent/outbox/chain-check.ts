import type { KeyObject } from 'node:crypto';
import type { ChainHead, SignedEntry } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { verifyBytesAsync } from '../../common/keys.ts';
import {
  entriesAfter,
  entryKey,
  entryRange,
  ownEntry,
  statePrefix,
  storedBytes,
  unpackRecord,
  unsealText,
} from './layout.ts';
import { type OutboxDb, type Page, pages, troubleOf } from './level-store.ts';
import { type FoundMeta, knownMetaKeys, type Owner, readMeta, type Standing } from './standing.ts';

/** What a chain is checked against. */
export interface Signer extends Owner {
  readonly publicKey: KeyObject;
}

/** How far a run of records continues a chain. */
export interface Followed {
  readonly entries: readonly SignedEntry[];
  readonly head: ChainHead;
  /** Why it ended before the last record; undefined when it did not. */
  readonly broken: string | undefined;
}

/** Follows the records of `generation` after `from` for as long as hash, signature, number and link are right. */
export async function followChain(from: ChainHead, page: Page, generation: number, signer: Signer): Promise<Followed> {
  // On the thread pool and all at once: half the time of one after the other.
  const records = await Promise.all(
    page.map(async ([key, value]) => {
      const record = unpackRecord(value);
      const genuine =
        record !== undefined && (await verifyBytesAsync(signer.publicKey, record.bytes, record.signature));
      return { key, record: genuine ? record : undefined };
    }),
  );
  const entries: SignedEntry[] = [];
  let head = from;
  for (const { key, record } of records) {
    const broken = (why: string): Followed => ({ entries, head, broken: `entry ${head.seq + 1} ${why}` });
    if (key !== entryKey(generation, head.seq + 1)) return broken('is missing');
    if (record === undefined) return broken('is damaged');
    const entry = ownEntry(record.bytes);
    if (entry === undefined || entry.author !== signer.author) return broken(`is not an entry of ${signer.author}`);
    if (entry.seq !== head.seq + 1 || entry.prev !== head.hash) return broken('does not follow the one before it');
    entries.push({ entry, bytes: record.bytes, signature: record.signature });
    head = { seq: entry.seq, hash: record.hash };
  }
  return { entries, head, broken: undefined };
}

export type Verdict =
  | { readonly sound: true; readonly standing: Standing }
  | { readonly sound: false; readonly reason: string };

/**
 * Checks everything the outbox is about to rely on: meta records, the whole chain after the acknowledged head, state.
 * `lastWrite` is the number of the last batch known to have been acknowledged.
 * @throws AppError `state.conflict` when the outbox belongs to another node or key.
 */
export async function checkDb(db: OutboxDb, signer: Signer, lastWrite: number): Promise<Verdict> {
  const meta = await readMeta(db);
  refuseForeign(db.location, meta, signer);
  const { chain, tip, drops, checkpoint } = meta;
  const unsound = (reason: string): Verdict => ({ sound: false, reason });
  if (chain === undefined || tip === undefined) return unsound('the record of the chain is missing or damaged');
  if (drops === undefined || checkpoint === undefined) return unsound('a meta record is damaged');
  if (tip.write < lastWrite) return unsound(`${lastWrite - tip.write} acknowledged writes are missing`);
  try {
    const { head, bytes, broken } = await measureChain(db, chain.acked, chain.generation, signer);
    if (broken !== undefined) return unsound(broken);
    if (head.seq !== tip.head.seq || head.hash !== tip.head.hash) {
      return unsound(`entries ${head.seq + 1} to ${tip.head.seq} are missing`);
    }
    const stray = await findDamagedValue(db);
    if (stray !== undefined) return unsound(`record ${stray} is damaged`);
    const { generation, acked, unanchored } = chain;
    return {
      sound: true,
      standing: { generation, acked, unanchored, head, bytes, write: tip.write, drops, checkpoint },
    };
  } catch (cause) {
    if (troubleOf(cause) !== 'damaged') throw cause;
    return unsound(cause instanceof Error ? cause.message : String(cause));
  }
}

/** Moving somebody's sound outbox aside because the key file was swapped would be damage of our own making. */
function refuseForeign(dir: string, { chain }: FoundMeta, signer: Owner): void {
  if (chain === undefined) return;
  if (chain.author === signer.author && chain.fingerprint === signer.fingerprint) return;
  throw new AppError(
    'state.conflict',
    `${dir} holds the outbox of ${chain.author} (${chain.fingerprint}), this agent is ${signer.author} (${signer.fingerprint}); ` +
      'put the right key back, or move the folder away',
    { details: { dir, author: chain.author, fingerprint: chain.fingerprint } },
  );
}

async function measureChain(db: OutboxDb, acked: ChainHead, generation: number, signer: Signer) {
  let head = acked;
  let bytes = 0;
  for await (const page of pages(db, entriesAfter(generation, acked.seq))) {
    const followed = await followChain(head, page, generation, signer);
    head = followed.head;
    for (const entry of followed.entries) bytes += storedBytes(entry.bytes.length);
    if (followed.broken !== undefined) return { head, bytes, broken: followed.broken };
  }
  return { head, bytes, broken: undefined };
}

/** The first key outside the entries whose value is not what was stored under it, or that nobody ever stores. */
export async function findDamagedValue(db: OutboxDb): Promise<string | undefined> {
  for await (const page of pages(db, { lt: entryRange.gte })) if (page[0]) return page[0][0];
  for await (const page of pages(db, { gte: entryRange.lt })) {
    const damaged = page.find(
      ([key, value]) =>
        !(knownMetaKeys.has(key) || key.startsWith(statePrefix)) || unsealText(key, value) === undefined,
    );
    if (damaged) return damaged[0];
  }
  return undefined;
}
