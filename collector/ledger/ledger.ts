import type { KeyObject } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { hashBytes } from '../../common/encoding.ts';
import { type ChainHead, collectorAuthor, type LoggedEntry, type SignedEntry, splitLeaf } from '../../common/entry.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { type KeyPair, rawPublicKey } from '../../common/keys.ts';
import type { Statement } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { emptyRange } from '../../common/merkle.ts';
import { formatVerifierKey, signatureTypes, verifierKey } from '../../common/note.ts';
import { consistencyProof, inclusionProofs, type SharedProofs } from '../../common/proof.ts';
import { type TileId, tileWidth } from '../../common/tiles.ts';
import { BundleReader } from './bundle-reader.ts';
import {
  type CheckpointFile,
  type Contradiction,
  type EvidenceFolder,
  forgetfulEvidence,
  forgetfulFile,
} from './checkpoint-file.ts';
import { HistoryGuard } from './guard.ts';
import { requireOwnLedger } from './ownership.ts';
import type { Place, Plan } from './plan.ts';
import { type PublishedCheckpoint, Publisher } from './publisher.ts';
import { Sequencer, type WishSize } from './sequencer.ts';
import type { LedgerStore } from './store.ts';
import type { Tail } from './tail.ts';
import { TileReader } from './tile-reader.ts';

export interface LedgerOptions {
  readonly store: LedgerStore;
  /** Name of the log in every checkpoint, e.g. `sigilwatch.local/ledger`. */
  readonly origin: string;
  /** The collector's key: signs checkpoints and the collector's own entries. */
  readonly keys: KeyPair;
  /** Where that is kept, for messages. */
  readonly keyPath?: string;
  readonly clock: Clock;
  /** What is remembered outside the database; without it, as much as this process has seen. */
  readonly memory?: LedgerMemory;
  /** Passes a number of milliseconds; without it, real ones. */
  readonly wait?: (ms: number) => Promise<unknown>;
}

/** What a ledger knows of its own past that the database cannot make it forget. */
export interface LedgerMemory {
  readonly file: CheckpointFile;
  readonly evidence: EvidenceFolder;
  readonly logger: Logger;
}

/** The transparency log: appends, publishes and proves. Everything it answers is durable. */
export class Ledger {
  readonly origin: string;
  /** Verifier key (C2SP signed-note) that checkpoints of this ledger are checked with. */
  readonly vkey: string;
  readonly #store: LedgerStore;
  readonly #keys: KeyPair;
  readonly #keyPath: string;
  readonly #clock: Clock;
  readonly #guard: HistoryGuard;
  readonly #publisher: Publisher;
  readonly #sequencer: Sequencer;
  readonly #tiles: TileReader;
  readonly #bundles: BundleReader;
  /** `number/hash` of what was put on record against each node. */
  readonly #toldEquivocations = new Map<string, Set<string>>();

  constructor({ store, origin, keys, keyPath = 'collector.key', clock, memory = forgetful(), wait }: LedgerOptions) {
    const logKey = verifierKey(origin, signatureTypes.ed25519, keys.publicKey);
    this.origin = origin;
    this.vkey = formatVerifierKey(logKey);
    this.#store = store;
    this.#keys = keys;
    this.#keyPath = keyPath;
    this.#clock = clock;
    this.#guard = new HistoryGuard({ logKey, ...memory });
    this.#tiles = new TileReader(store);
    this.#sequencer = new Sequencer({
      ...{ store, clock, wait, guard: this.#guard },
      privateKey: keys.privateKey,
      // The next proofs are about them.
      onTiles: (tiles) => this.#tiles.learn(tiles),
    });
    this.#bundles = new BundleReader({
      store,
      clock,
      collectorKey: keys.publicKey,
      hashes: (index, width) => this.#leafHashes(index, width),
    });
    this.#publisher = new Publisher({ origin, keys, store, tails: this.#sequencer, guard: this.#guard, ...memory });
  }

  /** Set once the database and what was published were found to contradict each other: nothing is signed or recorded any more. */
  get contradiction(): Contradiction | undefined {
    return this.#publisher.contradiction;
  }

  /** Entries waiting to be written. */
  get queuedEntries(): number {
    return this.#sequencer.queuedEntries;
  }

  /**
   * Makes the ledger's first entry when there is none, and makes sure that this is the ledger of this key.
   * @throws AppError `state.conflict` or `ledger.tampered` as {@link requireOwnLedger}; `ledger.tampered` or
   *   `ledger.checkpoint_file` as {@link Publisher.resume}; before anything is written or signed.
   */
  async start(): Promise<void> {
    await this.#publisher.resume();
    await this.#store.create({ origin: this.origin, range: emptyRange });
    const collectorKey = rawPublicKey(this.#keys.publicKey).toString('base64');
    await this.#sequencer.submit(oneStatement, async (plan) => {
      if (!plan.first) return;
      await this.#lay(plan, { kind: 'ledger.created', body: { origin: this.origin, collectorKey } });
    });
    const owner = { origin: this.origin, collectorKey, keyPath: this.#keyPath };
    await this.#store.exclusively((store) => requireOwnLedger(store, owner));
    // From here on the checkpoint file knows all that anybody can have been shown before.
    await this.#publisher.checkpoint();
  }

  /**
   * Appends consecutive entries of one author, in order. Entries that are there already keep their place.
   * @param signedWith the key their signatures were checked with; none when that key needs no enrolment.
   * @throws AppError `ledger.sequence` for a gap; `ledger.equivocation` for another entry under a taken number, which is
   *   itself put on record; `auth.revoked` when `signedWith` is not the author's key any more; `ledger.tampered` once the
   *   ledger is contradicted; `state.busy` or a database error, both retryable.
   */
  async append(entries: readonly SignedEntry[], signedWith?: KeyObject): Promise<readonly Place[]> {
    try {
      return await this.#submit(sizeOf(entries), (plan) => plan.append(entries, signedWith));
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code === 'ledger.equivocation') await this.#recordEquivocation(error, entries);
      throw error;
    }
  }

  /** Puts a statement of the collector itself on record. */
  record(statement: Statement): Promise<LoggedEntry> {
    return this.#submit(oneStatement, (plan) => this.#lay(plan, statement));
  }

  /**
   * The signed tree head of the ledger as it is now, with what other collectors appended. Signed after the commit.
   * @param enough size of a tree that will do for the caller; one that was committed from here is taken as it is known here.
   * @throws AppError `ledger.tampered` when the ledger contradicts what was published before.
   */
  checkpoint(enough?: number): Promise<PublishedCheckpoint> {
    return this.#publisher.checkpoint(enough);
  }

  /**
   * Compares a checkpoint that somebody holds with the ledger.
   * @throws AppError `auth.signature` or `ledger.proof` when it is not one of ours, which says nothing; `ledger.tampered`
   *   when it is and the ledger does not contain its tree: from then on nothing more is signed.
   */
  confront(note: string): Promise<void> {
    return this.#publisher.confront(note);
  }

  /** Inclusion proofs of `indexes` in the tree of `size`, sharing their nodes. */
  async inclusion(indexes: readonly number[], size: number): Promise<SharedProofs> {
    return inclusionProofs(indexes, size, this.#tiles.at(await this.#tailOf(size)));
  }

  /** Proof that the tree of `newSize` extends the one of `oldSize` (RFC 6962). */
  async consistency(oldSize: number, newSize: number): Promise<readonly Buffer[]> {
    return consistencyProof(oldSize, newSize, this.#tiles.at(await this.#tailOf(newSize)));
  }

  /** Bytes of a hash tile with `width` hashes; undefined beyond the end of the log. */
  async tile(level: number, index: number, width: number): Promise<Buffer | undefined> {
    const tail = await this.#tailWith({ level, index }, width);
    if (tail === undefined) return undefined;
    const tile = await this.#tiles.tile(tail, { level, index });
    return tile.subarray(0, width * hashBytes);
  }

  /**
   * Bytes of an entry bundle with `width` entries; undefined beyond the end of the log.
   * @throws AppError `resource.gone` when bodies in it were erased; `ledger.tampered` when it is not as it was logged.
   */
  async bundle(index: number, width: number): Promise<Buffer | undefined> {
    if ((await this.#tailWith({ level: 0, index }, width)) === undefined) return undefined;
    return this.#bundles.read(index, width);
  }

  async #leafHashes(index: number, width: number): Promise<Buffer> {
    const hashes = await this.tile(0, index, width);
    if (hashes !== undefined) return hashes;
    throw new AppError('ledger.tampered', `the tree has become smaller than bundle ${index}`, { details: { index } });
  }

  /** Where an author's chain stands in the ledger. */
  authorHead(author: string): Promise<ChainHead> {
    return this.#store.authorHead(author);
  }

  /** An author's entry by its number, with its place; undefined when there is none or its body is not kept any more. */
  async entryOf(author: string, seq: number) {
    const [ref] = await this.#store.refs(author, seq, seq);
    return ref === undefined ? undefined : this.leafAt(ref.index);
  }

  /** The entry at an index; undefined when there is none or its body is not kept any more. */
  async leafAt(index: number) {
    const [leaf] = await this.#store.leaves(index, index + 1);
    return leaf === undefined ? undefined : { ...splitLeaf(leaf), index };
  }

  /** Takes nothing more and waits for what is being written. */
  async close(): Promise<void> {
    await this.#sequencer.close();
    await this.#publisher.close();
  }

  /** Looks at the moment of laying out, so that what already waits in line is not committed after a contradiction either. */
  #submit<T>(size: WishSize, layOut: (plan: Plan) => Promise<T>): Promise<T> {
    return this.#sequencer.submit(size, async (plan) => {
      await this.#guard.requireTrusted();
      return layOut(plan);
    });
  }

  #lay(plan: Plan, statement: Statement): Promise<LoggedEntry> {
    return plan.record(statement, { privateKey: this.#keys.privateKey, now: this.#clock.now() });
  }

  async #tailOf(size: number): Promise<Tail> {
    const tail = await this.#tailWhere((known) => size <= known);
    if (tail !== undefined) return tail;
    throw new AppError('ledger.proof', `the ledger does not have ${size} entries`);
  }

  async #tailWith(tile: TileId, width: number): Promise<Tail | undefined> {
    return width < 1 ? undefined : this.#tailWhere((known) => width <= tileWidth(tile, known));
  }

  /** The tail as it is known here if it reaches far enough, else as it is now; undefined when that does not either. */
  async #tailWhere(reaches: (size: number) => boolean): Promise<Tail | undefined> {
    const known = await this.#sequencer.tail();
    if (reaches(known.head.range.size)) return known;
    const latest = await this.#sequencer.latestTail();
    return reaches(latest.head.range.size) ? latest : undefined;
  }

  /** Keeps the offered entry beside the accepted one: both are signed, so together they prove the double use. */
  async #recordEquivocation(error: AppError, entries: readonly SignedEntry[]): Promise<void> {
    const offered = entries.find(({ entry }) => entry.seq === error.details.seq);
    if (offered === undefined) return;
    const { author: node, seq } = offered.entry;
    const evidence = { accepted: String(error.details.accepted), offered: String(error.details.offered) };
    const name = `${seq}/${evidence.offered}`;
    const told = this.#toldEquivocations.get(node) ?? new Set();
    // Once is evidence; a node that repeats itself must neither fill the ledger with it nor use up what others need.
    if (told.has(name) || told.size >= limits.maxEquivocationsToldPerNode) return;
    this.#toldEquivocations.set(node, told.add(name));
    const text = offered.bytes.toString('utf8');
    const body = {
      node,
      seq,
      ...evidence,
      offeredText: text.length <= limits.maxEvidenceChars ? text : null,
      offeredSignature: offered.signature.toString('base64'),
    };
    try {
      await this.record({ kind: 'ledger.equivocation', body });
    } catch (thrown) {
      // Not known to be on record, so it is told again when the entry is offered again.
      told.delete(name);
      throw thrown;
    }
  }
}

/** The collector's own statements are small and few. */
const oneStatement: WishSize = { author: collectorAuthor, entries: 1, bytes: 1_024 };

function sizeOf(entries: readonly SignedEntry[]): WishSize {
  const author = entries[0]?.entry.author ?? collectorAuthor;
  return { author, entries: entries.length, bytes: entries.reduce((sum, { bytes }) => sum + bytes.length, 0) };
}

function forgetful(): LedgerMemory {
  const silent = () => {};
  const logger = { debug: silent, info: silent, warn: silent, error: silent };
  return { file: forgetfulFile(), evidence: forgetfulEvidence(), logger };
}
