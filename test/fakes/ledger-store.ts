import type {
  Commit,
  LedgerStore,
  SignedBatch,
  StorableEntry,
  StoredAuthor,
  StoredEntryRef,
  TreeHead,
} from '../../collector/ledger/store.ts';
import { type ChainHead, genesis, leafData } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { encodeRange } from '../../common/merkle.ts';
import type { TileId } from '../../common/tiles.ts';

/**
 * What can go wrong with one commit: nothing is written and it rejects; it is written and rejects all the same; somebody
 * else moved the tree head just before.
 */
export type CommitFault = 'failed' | 'reply lost' | 'head moved';

export interface FakeLedgerStoreOptions {
  /** Passes between a call and its effect, and between its effect and its answer. */
  readonly pause?: () => Promise<void>;
  /** Appends as another collector would; called for each 'head moved', within which it runs without faults. */
  readonly intrude?: () => Promise<void>;
}

/** The ledger's durable side in memory. What it holds survives any number of ledgers that are started over it. */
export class FakeLedgerStore implements LedgerStore {
  /** Faults of the next commits, first to last; `undefined` for one that goes well. */
  faults: (CommitFault | undefined)[] = [];
  /** Reads that are going to fail before one succeeds. */
  failingReads = 0;
  /** Entries that no database takes, for a reason of their own. */
  refuses: (entry: StorableEntry) => boolean = () => false;
  readonly entries: StorableEntry[] = [];
  /** Indexes of entries whose bodies are gone. */
  readonly bodiless = new Set<number>();
  readonly batches: SignedBatch[] = [];
  #head: TreeHead | undefined;
  /** Settles when the last in line is done: one commit or one exclusive work at a time. */
  #turn: Promise<void> = Promise.resolve();
  readonly #tiles = new Map<string, Buffer>();
  readonly #byNumber = new Map<string, StoredEntryRef>();
  readonly #authorHeads = new Map<string, ChainHead>();
  readonly #pause: () => Promise<void>;
  readonly #intrude: () => Promise<void>;

  constructor({ pause, intrude }: FakeLedgerStoreOptions = {}) {
    this.#pause = pause ?? (() => Promise.resolve());
    this.#intrude = intrude ?? (() => Promise.resolve());
  }

  /** All that it holds, to be put back later: a backup. */
  snapshot(): () => void {
    const [entries, batches, head] = [[...this.entries], [...this.batches], this.#head];
    const maps = [this.#tiles, this.#byNumber, this.#authorHeads] as const;
    const [tiles, byNumber, authorHeads] = [new Map(this.#tiles), new Map(this.#byNumber), new Map(this.#authorHeads)];
    return () => {
      this.entries.splice(0, Number.POSITIVE_INFINITY, ...entries);
      this.batches.splice(0, Number.POSITIVE_INFINITY, ...batches);
      this.#head = head;
      for (const map of maps) map.clear();
      for (const [name, tile] of tiles) this.#tiles.set(name, tile);
      for (const [name, ref] of byNumber) this.#byNumber.set(name, ref);
      for (const [author, at] of authorHeads) this.#authorHeads.set(author, at);
    };
  }

  head(): Promise<TreeHead | undefined> {
    return this.#read(() => this.#head);
  }

  async create(head: TreeHead): Promise<void> {
    await this.#pause();
    this.#head ??= head;
    await this.#pause();
  }

  async commit(commit: Commit): Promise<boolean> {
    const fault = this.faults.shift();
    if (fault === 'head moved') await this.#withoutFaults(this.#intrude);
    return this.#inTurn(() => this.#commitNow(commit, fault));
  }

  exclusively<T>(work: (store: LedgerStore) => Promise<T>): Promise<T> {
    const commit = (commit: Commit): Promise<boolean> => {
      // Nobody can move the head of who has the store to himself: that fault waits for another commit.
      const fault = this.faults[0] === 'head moved' ? undefined : this.faults.shift();
      return this.#commitNow(commit, fault);
    };
    return this.#inTurn(() => work(this.#view(commit)));
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#turn;
    let leave = (): void => {};
    this.#turn = new Promise((resolve) => {
      leave = resolve;
    });
    await before;
    try {
      return await work();
    } finally {
      leave();
    }
  }

  #view(commit: LedgerStore['commit']): LedgerStore {
    return {
      head: () => this.head(),
      create: (head) => this.create(head),
      commit,
      exclusively: (work) => this.exclusively(work),
      settle: () => this.settle(),
      authorHead: (author) => this.authorHead(author),
      authors: (names) => this.authors(names),
      nodeKey: (node) => this.nodeKey(node),
      refs: (author, fromSeq, toSeq) => this.refs(author, fromSeq, toSeq),
      leafHashes: (from, to) => this.leafHashes(from, to),
      leaves: (from, to) => this.leaves(from, to),
      erasures: () => this.erasures(),
      tiles: (refs) => this.tiles(refs),
      lastBatch: () => this.lastBatch(),
    };
  }

  async #commitNow(commit: Commit, fault: CommitFault | undefined): Promise<boolean> {
    await this.#pause();
    if (fault === 'failed') throw unreachable();
    const moved = this.#write(commit);
    await this.#pause();
    if (fault === 'reply lost') throw unreachable();
    return moved;
  }

  /** What is there is as durable here as it gets. */
  settle(): Promise<void> {
    return this.#read(() => undefined);
  }

  authorHead(author: string): Promise<ChainHead> {
    return this.#read(() => this.#authorHeads.get(author) ?? genesis);
  }

  authors(names: readonly string[]): Promise<ReadonlyMap<string, StoredAuthor>> {
    return this.#read(
      () =>
        new Map(names.map((name) => [name, { head: this.#authorHeads.get(name) ?? genesis, key: this.#keyOf(name) }])),
    );
  }

  nodeKey(node: string): Promise<Buffer | undefined> {
    return this.#read(() => this.#keyOf(node));
  }

  #keyOf(node: string): Buffer | undefined {
    let key: Buffer | undefined;
    for (const { entry } of this.entries) {
      if (entry.kind === 'node.enrolled' && entry.body.node === node) key = Buffer.from(entry.body.publicKey, 'base64');
      if (entry.kind === 'node.revoked' && entry.body.node === node) key = undefined;
    }
    return key;
  }

  refs(author: string, fromSeq: number, toSeq: number): Promise<readonly StoredEntryRef[]> {
    return this.#read(() => {
      const found: StoredEntryRef[] = [];
      for (let seq = fromSeq; seq <= toSeq; seq++) {
        const ref = this.#byNumber.get(`${author}/${seq}`);
        if (ref !== undefined) found.push(ref);
      }
      return found;
    });
  }

  leafHashes(from: number, to: number): Promise<Buffer> {
    return this.#read(() => Buffer.concat(this.entries.slice(from, to).map((entry) => entry.leafHash)));
  }

  leaves(from: number, to: number): Promise<readonly Buffer[]> {
    return this.#read(() =>
      this.entries
        .slice(from, to)
        .filter(({ index }) => !this.bodiless.has(index))
        .map(leafData),
    );
  }

  erasures() {
    return this.#read(() => this.entries.filter(({ entry }) => entry.kind === 'ledger.erased'));
  }

  tiles(refs: readonly TileId[]): Promise<readonly (Buffer | undefined)[]> {
    return this.#read(() => refs.map(({ level, index }) => this.#tiles.get(`${level}/${index}`)));
  }

  lastBatch() {
    return this.#read(() => this.batches.at(-1)?.batch);
  }

  async #read<T>(answer: () => T): Promise<T> {
    await this.#pause();
    if (this.failingReads > 0) {
      this.failingReads -= 1;
      throw unreachable();
    }
    const value = answer();
    await this.#pause();
    return value;
  }

  async #withoutFaults(work: () => Promise<void>): Promise<void> {
    const later = this.faults;
    this.faults = [];
    await work();
    this.faults = later;
  }

  /** All or nothing, and without a pause in between. */
  #write({ from, to, entries, tiles, received }: Commit): boolean {
    if (this.#head === undefined || !encodeRange(this.#head.range).equals(encodeRange(from.range))) return false;
    this.#requireStorable(from, to, entries);
    this.#head = to;
    this.entries.push(...entries);
    this.batches.push(received);
    for (const { level, index, hashes } of tiles) this.#tiles.set(`${level}/${index}`, hashes);
    for (const { entry, index, hash } of entries) {
      const { author, seq } = entry;
      this.#byNumber.set(`${author}/${seq}`, { author, seq, index, hash });
      this.#authorHeads.set(author, { seq, hash });
    }
    return true;
  }

  /** The constraints that the tables have. */
  #requireStorable(from: TreeHead, to: TreeHead, entries: readonly StorableEntry[]): void {
    const numbers = new Set<string>();
    for (const [at, logged] of entries.entries()) {
      const number = `${logged.entry.author}/${logged.entry.seq}`;
      if (logged.index !== from.range.size + at) throw new Error(`index ${logged.index} is not the next one`);
      if (this.#byNumber.has(number) || numbers.has(number)) throw new Error(`${number} is taken`);
      if (this.refuses(logged)) throw new Error(`${number} cannot be stored`);
      numbers.add(number);
    }
    if (this.batches.some(({ batch }) => batch.size === to.range.size))
      throw new Error(`a batch of size ${to.range.size} is there`);
    if (to.range.size !== from.range.size + entries.length)
      throw new Error('the tree head is not where the entries end');
  }
}

function unreachable(): AppError {
  return new AppError('database.unreachable', 'the database does not answer', { retryable: true });
}
