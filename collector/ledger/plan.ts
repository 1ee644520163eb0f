import type { KeyObject } from 'node:crypto';
import { signBatch } from '../../common/batch.ts';
import {
  assertFollows,
  type ChainHead,
  collectorAuthor,
  headAfter,
  type LoggedEntry,
  type SignedEntry,
  sealEntry,
} from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { rawPublicKey } from '../../common/keys.ts';
import type { Statement } from '../../common/kinds.ts';
import { hashLeaf, leafInputs, rootOf } from '../../common/merkle.ts';
import { project } from './projections.ts';
import type { Commit, LedgerStore, SignedBatch, StagedEntry, StoredEntryRef, TreeHead } from './store.ts';
import { growTail, type Tail } from './tail.ts';

/** Where an entry stands. */
export interface Place {
  readonly seq: number;
  readonly index: number;
}

/** What is known of the authors as of a tail. Valid exactly as long as that tail is the end of the log. */
export interface KnownAuthors {
  readonly heads: ReadonlyMap<string, ChainHead>;
  /** Keys in force; undefined for an author without one. */
  readonly keys: ReadonlyMap<string, AuthorKey | undefined>;
}

interface AuthorKey {
  readonly raw: Buffer;
  /** A key object that was found to be this key, so that the same one need not be looked into again. */
  readonly same?: KeyObject;
}

/** Entries of groups that are not durable yet. */
export type Ahead = readonly (readonly StagedEntry[])[];

export const nothingKnown: KnownAuthors = { heads: new Map(), keys: new Map() };

/**
 * Lays a group of wishes out after the tail, before anything is written. Every wish is granted or refused by itself;
 * entries that the ledger already has are not laid out again but answered with the place they have.
 */
export class Plan {
  readonly #store: LedgerStore;
  readonly #tail: Tail;
  /** Chain heads and keys as of the tail plus this plan. Valid exactly if the tail still is the end of the log at commit. */
  readonly #heads: Map<string, ChainHead>;
  readonly #keys: Map<string, AuthorKey | undefined>;
  readonly #ahead: Ahead;
  readonly #staged: StagedEntry[] = [];

  /** @param ahead what lies between the store and `tail`: staged by earlier plans that are still being written. */
  constructor(store: LedgerStore, tail: Tail, { heads, keys }: KnownAuthors = nothingKnown, ahead: Ahead = []) {
    this.#store = store;
    this.#tail = tail;
    this.#ahead = ahead;
    this.#heads = new Map(heads);
    this.#keys = new Map(keys);
  }

  get authors(): KnownAuthors {
    return { heads: this.#heads, keys: this.#keys };
  }

  /** Reads in one go what has to be known of the authors of a group: one after the other, each would wait for all before it. */
  async meet(authors: readonly string[]): Promise<void> {
    const unknown = [...new Set(authors)].filter((author) => !(this.#heads.has(author) && this.#keys.has(author)));
    if (unknown.length === 0) return;
    for (const [author, { head, key }] of await this.#store.authors(unknown)) {
      if (!this.#heads.has(author)) this.#heads.set(author, head);
      if (!this.#keys.has(author)) this.#keys.set(author, keyOf(key));
    }
  }

  get staged(): readonly StagedEntry[] {
    return this.#staged;
  }

  get empty(): boolean {
    return this.#staged.length === 0;
  }

  /** Whether what is laid out next would be the ledger's first entry. */
  get first(): boolean {
    return this.#tail.head.range.size === 0 && this.empty;
  }

  /**
   * Lays out consecutive entries of one author.
   * @param signedWith the key their signatures were checked with; none when that key needs no enrolment.
   * @throws AppError `ledger.sequence` for a gap, `ledger.equivocation` (details: `seq`, `accepted`, `offered`) when
   *   another entry already stands under the same number, `auth.revoked` when new entries would come to stand where
   *   `signedWith` is not the author's key any more. Nothing of the wish is laid out then.
   */
  async append(entries: readonly SignedEntry[], signedWith?: KeyObject): Promise<readonly Place[]> {
    const author = entries[0]?.entry.author;
    if (author === undefined) return [];
    assertConsecutive(entries);
    const head = await this.#headOf(author);
    const known = entries.filter(({ entry }) => entry.seq <= head.seq);
    const places = await this.#placesOf(author, known);
    const fresh = entries.slice(known.length);
    const heads = chain(head, fresh);
    if (fresh.length > 0 && signedWith !== undefined) await this.#requireInForce(author, signedWith);
    return [...places, ...this.#stage(fresh, heads)];
  }

  /** Signs a statement as the collector's next entry and lays it out. */
  async record(statement: Statement, by: { privateKey: KeyObject; now: number }): Promise<LoggedEntry> {
    const head = await this.#headOf(collectorAuthor);
    const signed = sealEntry(statement, { author: collectorAuthor, head, ...by });
    this.#learnKey(statement);
    const index = this.#tail.head.range.size + this.#staged.length;
    this.#stage([signed], [headAfter(signed)]);
    return { ...signed, index };
  }

  /**
   * The one transaction that makes the plan true, and the tail after it.
   * @param by the collector's key, and when the entries were received, Unix milliseconds.
   */
  commit(by: { privateKey: KeyObject; now: number }): { commit: Commit; tail: Tail } {
    const { tail, tiles } = growTail(
      this.#tail,
      this.#staged.map((entry) => entry.leafHash),
    );
    const projections = project(this.#staged);
    const received = signedBatch(tail.head, { ...by, from: this.#tail.head.range.size });
    return {
      tail,
      commit: { from: this.#tail.head, to: tail.head, entries: this.#staged, tiles, projections, received },
    };
  }

  async #headOf(author: string): Promise<ChainHead> {
    const known = this.#heads.get(author);
    if (known !== undefined) return known;
    const head = await this.#store.authorHead(author);
    this.#heads.set(author, head);
    return head;
  }

  /**
   * A session is cut when its key is revoked or replaced, but what it sent before may still be under way. Only here, where
   * the order of the log is made, is it certain that nothing stands behind the entry that ended its key.
   */
  async #requireInForce(author: string, signedWith: KeyObject): Promise<void> {
    if (!this.#keys.has(author)) this.#keys.set(author, keyOf(await this.#store.nodeKey(author)));
    const key = this.#keys.get(author);
    if (key !== undefined && key.same === signedWith) return;
    if (key?.raw.equals(rawPublicKey(signedWith))) {
      this.#keys.set(author, { raw: key.raw, same: signedWith });
      return;
    }
    throw new AppError('auth.revoked', `the key of ${author} was revoked or replaced`, { details: { node: author } });
  }

  #learnKey({ kind, body }: Statement): void {
    if (kind === 'node.enrolled') this.#keys.set(body.node, keyOf(Buffer.from(body.publicKey, 'base64')));
    if (kind === 'node.revoked') this.#keys.set(body.node, undefined);
  }

  /** @param heads the chain heads after each of the entries, which are of one author. */
  #stage(entries: readonly SignedEntry[], heads: readonly ChainHead[]): Place[] {
    // One piece of memory for all: they go into the database as they lie there.
    const leaves = leafInputs(entries.map(({ bytes, signature }) => [bytes, signature]));
    const places: Place[] = [];
    for (const [at, { entry, bytes, signature }] of entries.entries()) {
      const [leaf, head] = [leaves[at], heads[at]];
      if (leaf === undefined || head === undefined) break;
      const index = this.#tail.head.range.size + this.#staged.length;
      this.#heads.set(entry.author, head);
      this.#staged.push({ entry, bytes, signature, index, leaf, leafHash: hashLeaf(leaf), hash: head.hash });
      places.push({ seq: head.seq, index });
    }
    return places;
  }

  /** Places of entries whose numbers are taken, provided that it is by the very same entries. */
  async #placesOf(author: string, known: readonly SignedEntry[]): Promise<readonly Place[]> {
    const [first, last] = [known[0], known.at(-1)];
    if (first === undefined || last === undefined) return [];
    const stored = await this.#store.refs(author, first.entry.seq, last.entry.seq);
    const taken = new Map<number, StoredEntryRef>(stored.map((ref) => [ref.seq, ref]));
    for (const staged of [...this.#ahead, this.#staged]) {
      for (const { entry, index, hash } of staged) {
        if (entry.author === author) taken.set(entry.seq, { author, seq: entry.seq, index, hash });
      }
    }
    return known.map((signed) => samePlace(signed, taken.get(signed.entry.seq)));
  }
}

/** The tree with the time it was reached from the one of size `from`, signed. */
export function signedBatch(
  { origin, range }: TreeHead,
  by: { privateKey: KeyObject; now: number; from: number },
): SignedBatch {
  const batch = { origin, from: by.from, size: range.size, root: rootOf(range), receivedAtMs: by.now };
  return { batch, signature: signBatch(batch, by.privateKey) };
}

/** What is known and what is new of a wish are told apart by number, and read from the store as one span. */
function assertConsecutive(entries: readonly SignedEntry[]): void {
  for (const [at, { entry }] of entries.entries()) {
    const before = entries[at - 1]?.entry;
    if (before === undefined || (entry.author === before.author && entry.seq === before.seq + 1)) continue;
    throw new AppError('ledger.sequence', `entry ${entry.seq} of ${entry.author} does not follow ${before.seq}`, {
      details: { author: entry.author, seq: entry.seq, headSeq: before.seq },
    });
  }
}

/** The chain heads after each of the entries. @throws AppError `ledger.sequence` where one does not follow the one before. */
function chain(head: ChainHead, entries: readonly SignedEntry[]): ChainHead[] {
  let last = head;
  return entries.map((signed) => {
    assertFollows(last, signed.entry);
    last = headAfter(signed);
    return last;
  });
}

function keyOf(raw: Buffer | undefined): AuthorKey | undefined {
  return raw && { raw };
}

function samePlace(signed: SignedEntry, taken: StoredEntryRef | undefined): Place {
  const { author, seq } = signed.entry;
  if (taken === undefined) {
    throw new AppError('ledger.tampered', `entry ${seq} of ${author} is missing although later ones are there`);
  }
  const offered = headAfter(signed).hash;
  if (taken.hash !== offered) {
    throw new AppError('ledger.equivocation', `${author} signed two different entries with number ${seq}`, {
      details: { node: author, seq, accepted: taken.hash, offered },
    });
  }
  return { seq, index: taken.index };
}
