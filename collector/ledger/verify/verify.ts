import type { KeyObject } from 'node:crypto';
import type { Checkpoint } from '../../../common/checkpoint.ts';
import { decodeDecimal } from '../../../common/encoding.ts';
import { type VerifySignature, verifyBytesAsync } from '../../../common/keys.ts';
import { encodeRange } from '../../../common/merkle.ts';
import { signatureTypes, type VerifierKey, verifierKey } from '../../../common/note.ts';
import { fullTileWidth } from '../../../common/tiles.ts';
import { brokenErasures, type Erasure, readErasures } from '../erasure/record.ts';
import type { FullTile } from '../store.ts';
import { Authors, checkAuthors } from './authors.ts';
import { BatchCheck } from './batches.ts';
import { checkStoredCheckpoint } from './checkpoints.ts';
import { EntryCheck, signatureOf, signedBytes } from './entry.ts';
import { Erasures } from './erasures.ts';
import { Found, type LedgerFault, shortened } from './fault.ts';
import { Signatures } from './signatures.ts';
import type { Reading, StoredEntry, StoredExtent, StoredLedger } from './source.ts';
import { continueFrom, rootBefore, type VerifiedPart, verifiedPart } from './state.ts';
import { GrowingTree } from './tree.ts';

/*
 * Verification of a stored ledger from its entries alone: everything else that is stored and that later entries are
 * judged by (hashes, columns, tiles, batches, tree head, chain heads, node keys) is derived again and compared. Believes nobody
 * but the holder of the collector's key.
 */

export { faults, type LedgerFault, tampered } from './fault.ts';
export type { VerifiedPart } from './state.ts';

/** A checkpoint kept from earlier, its signature already verified: the ledger must contain its tree. */
export interface KeptTree extends Pick<Checkpoint, 'size' | 'root'> {
  /** What people know it by. */
  readonly name: string;
}

export interface Expectations {
  readonly origin: string;
  readonly collectorKey: KeyObject;
  /** Read before the verification begins, so that the ledger has grown beyond them. */
  readonly checkpoints?: readonly KeptTree[];
  /** Checks signatures, which is most of the work: on the thread pool unless said otherwise, not at all when false. */
  readonly signatures?: VerifySignature | false;
  /** Goes on where an earlier run with the same expectations was interrupted, and trusts what that had found. */
  readonly continue?: VerifiedPart | undefined;
  /** Called with what is verified so far, where a later run can go on from. */
  readonly keep?: (part: VerifiedPart) => Promise<void>;
  /** Ends the run early. */
  readonly stop?: AbortSignal;
  /** Called every few hundred entries with the number of entries verified so far. */
  readonly onProgress?: (verified: number, size: number) => void;
}

export interface VerifyReport {
  /** Entries in order. */
  readonly size: number;
  /** Of those. */
  readonly root: Buffer;
  readonly authors: number;
  readonly batches: number;
  readonly tiles: number;
  /** Entries whose bodies are gone because retention dropped them. */
  readonly erased: number;
  /** Whether it was stopped before the end; nothing is known then of what comes after `size`. */
  readonly interrupted: boolean;
  readonly fault: LedgerFault | undefined;
}

/** Entries that are read at once. A multiple of the entries in a tile, so that parts end where tiles do. */
const stretchEntries = 16 * fullTileWidth;

/** Verifies all that is stored. Streams: memory does not grow with the ledger. Rejects only when it cannot read. */
export async function verifyLedger(stored: StoredLedger, expected: Expectations): Promise<VerifyReport> {
  const run = new Verification(stored, expected);
  const fault = await firstFault(run);
  return { ...run.counts, fault };
}

async function firstFault(run: Verification): Promise<LedgerFault | undefined> {
  try {
    await run.run();
    return undefined;
  } catch (thrown) {
    if (thrown instanceof Found) return thrown.found;
    throw thrown;
  }
}

/** Something that the root of the first `size` entries must agree with. */
interface Mark {
  readonly size: number;
  /** @throws Found */
  readonly check: (root: Buffer) => void;
}

class Verification {
  readonly #stored: StoredLedger;
  readonly #expected: Expectations;
  readonly #signatures: Signatures | undefined;
  readonly #logKey: VerifierKey;
  #tree = new GrowingTree();
  #authors: Authors;
  #batches: BatchCheck;
  #erasures = new Erasures([]);
  #tiles = 0;
  #erased = 0;
  #interrupted = false;

  constructor(stored: StoredLedger, expected: Expectations) {
    this.#stored = stored;
    this.#expected = expected;
    const { signatures = verifyBytesAsync } = expected;
    this.#signatures = signatures === false ? undefined : new Signatures(signatures);
    this.#logKey = verifierKey(expected.origin, signatureTypes.ed25519, expected.collectorKey);
    this.#authors = new Authors(expected.collectorKey);
    this.#batches = this.#batchesFrom(0, 0);
  }

  get counts() {
    return {
      size: this.#tree.size,
      root: this.#tree.root(),
      authors: this.#authors.count,
      batches: this.#batches.count,
      tiles: this.#tiles,
      erased: this.#erased,
      interrupted: this.#interrupted,
    };
  }

  async run(): Promise<void> {
    const extent = await this.#stored.extent();
    if (extent === undefined) throw new Found('head', null, 'the ledger has no tree head');
    const size = checkExtent(extent, this.#expected);
    const { collectorKey } = this.#expected;
    const statements = await this.#stored.erasures(size);
    const erasures = readErasures(statements, collectorKey).filter(({ to, index }) => to <= index);
    const broken = brokenErasures(statements, collectorKey);
    this.#erasures = new Erasures(erasures, broken, this.#expected.continue?.erasures);
    const marks = this.#marks(erasures);
    await this.#begin(marks, size);
    await this.#verifyEntries(size, marks);
    await this.#signatures?.settled();
    if (!this.#interrupted) this.#checkEnd(extent, size);
  }

  /** Those that hold whatever batches say, by size. */
  #marks(erasures: readonly Erasure[]): readonly Mark[] {
    const { checkpoints = [] } = this.#expected;
    const kept = checkpoints.map(({ name, size, root }) => ({
      size,
      check: (derived: Buffer) => {
        if (derived.equals(root)) return;
        const message = `the first ${size} entries do not lead to the root in ${name}: history was rewritten`;
        throw new Found('checkpoint', null, message);
      },
    }));
    const said = erasures.map(({ index, to, root }) => ({
      size: to,
      check: (derived: Buffer) => {
        if (derived.toString('hex') === root) return;
        throw new Found('root', index, `the entry says that ${to} entries led to another root than they do`);
      },
    }));
    return [...kept, ...said].sort((a, b) => a.size - b.size);
  }

  /** From the first entry, or from where an earlier run was interrupted. */
  async #begin(marks: readonly Mark[], size: number): Promise<void> {
    const part = this.#expected.continue;
    if (part !== undefined) {
      const begun = await continueFrom(part, {
        ...this.#expected,
        signatures: this.#signatures !== undefined,
        stored: this.#stored,
        size,
      });
      this.#tree = begun.tree;
      this.#authors = begun.authors;
      this.#batches = this.#batchesFrom(part.batchedTo, part.batches);
      this.#tiles = part.tiles;
      this.#erased = part.erased;
    }
    for (const mark of marks) {
      if (mark.size <= this.#tree.size) mark.check(await rootBefore(this.#stored, mark.size, this.#tree.size));
    }
  }

  #batchesFrom(size: number, count: number): BatchCheck {
    const { origin, collectorKey } = this.#expected;
    return new BatchCheck({ origin, collectorKey, signatures: this.#signatures }, size, count);
  }

  async #verifyEntries(size: number, marks: readonly Mark[]): Promise<void> {
    const { origin, collectorKey } = this.#expected;
    const check = new EntryCheck({ origin, collectorKey, authors: this.#authors, erasures: this.#erasures });
    const begin = (from: number) =>
      from < size ? this.#stored.read(from, Math.min(from + stretchEntries, size)) : undefined;
    let reading = begin(this.#tree.size);
    let next: Reading | undefined;
    try {
      while (reading !== undefined && !this.#interrupted) {
        const to = Math.min(this.#tree.size + stretchEntries, size);
        // What comes next is on its way while this is looked at.
        next = begin(to);
        await this.#verifyStretch(reading, { to, size, marks, check });
        [reading, next] = [next, undefined];
      }
    } catch (thrown) {
      // What is still being checked stands before that, so the fault that is told is the first one in the ledger.
      if (thrown instanceof Found) await this.#signatures?.settled();
      throw thrown;
    } finally {
      await Promise.all([reading?.close(), next?.close()]);
    }
  }

  async #verifyStretch(
    reading: Reading,
    { to, size, marks, check }: { to: number; size: number; marks: readonly Mark[]; check: EntryCheck },
  ): Promise<void> {
    const from = this.#tree.size;
    const [tiles, due] = await Promise.all([reading.tiles, this.#due(from, to, marks, reading)]);
    const storedTiles = tilesByName(tiles);
    for await (const group of reading.entries) {
      this.#verifyGroup(group, to, { due, storedTiles, check });
      await this.#signatures?.room();
      this.#expected.onProgress?.(this.#tree.size, size);
      if (this.#expected.stop?.aborted === true && this.#canBeKept()) {
        this.#interrupted = true;
        break;
      }
    }
    if (this.#tree.size < to && !this.#interrupted) {
      throw new Found('missing', this.#tree.size, 'the entry is missing');
    }
    await this.#keep();
  }

  /** What roots have to agree with on this stretch, in the order of sizes, the last one first. */
  async #due(from: number, to: number, marks: readonly Mark[], reading: Reading): Promise<Mark[]> {
    const [batches, checkpoints] = await Promise.all([reading.batches, reading.checkpoints]);
    const rules = { logKey: this.#logKey, signatures: this.#signatures !== undefined };
    const due: Mark[] = [
      ...batches.map((batch) => ({ size: batch.size, check: (root: Buffer) => this.#batches.check(batch, root) })),
      ...checkpoints.map((stored) => ({
        size: stored.size,
        check: (root: Buffer) => checkStoredCheckpoint(stored, root, rules),
      })),
      ...marks.filter(({ size }) => from < size && size <= to),
    ];
    return due.sort((a, b) => a.size - b.size).reverse();
  }

  #verifyGroup(
    entries: readonly StoredEntry[],
    to: number,
    { due, storedTiles, check }: { due: Mark[]; storedTiles: ReadonlyMap<string, FullTile>; check: EntryCheck },
  ): void {
    for (const entry of entries) {
      const index = this.#tree.size;
      if (index === to) {
        throw new Found('duplicate', entry.index < to ? entry.index : to - 1, 'the entry, or its body, is there twice');
      }
      const key = check.check(entry, index);
      if (key === undefined) this.#erased += 1;
      else this.#checkSignature(entry, key);
      this.#erasures.pass(entry);
      this.#tree.push(entry.leafHash);
      for (let mark = due.at(-1); mark?.size === this.#tree.size; mark = due.at(-1)) {
        mark.check(this.#tree.root());
        due.pop();
      }
      if (this.#tree.size % fullTileWidth === 0) this.#checkTiles(storedTiles);
    }
  }

  #checkSignature({ author, body, index }: StoredEntry, key: KeyObject): void {
    if (this.#signatures === undefined || body === undefined) return;
    const signed = { key, message: signedBytes(body), signature: signatureOf(body) };
    this.#signatures.add(signed, () => new Found('signature', index, `not signed by the key of ${author}`));
  }

  #checkTiles(stored: ReadonlyMap<string, FullTile>): void {
    for (const { level, index, hashes } of this.#tree.takeFilled()) {
      const tile = stored.get(`${level}/${index}`);
      this.#tiles += 1;
      if (tile?.hashes.equals(hashes)) continue;
      const problem = tile === undefined ? 'is missing' : 'does not follow from the entries below it';
      const message = `tile ${index} of level ${level}, which begins at this entry, ${problem}`;
      throw new Found('tile', index * fullTileWidth ** (level + 1), message);
    }
  }

  /** Where a tile ends, a later run finds the tree again. */
  #canBeKept(): boolean {
    return this.#tree.size % fullTileWidth === 0;
  }

  async #keep(): Promise<void> {
    const { keep, origin, collectorKey } = this.#expected;
    const signatures = this.#signatures !== undefined;
    if (keep === undefined || !this.#canBeKept()) return;
    // Nothing is said to be verified while its signature is still being checked.
    await this.#signatures?.settled();
    const [tree, authors, batches] = [this.#tree, this.#authors, this.#batches];
    const erasures = this.#erasures.soFar(tree.size);
    const counts = { batchedTo: batches.size, batches: batches.count, tiles: this.#tiles, erased: this.#erased };
    await keep(verifiedPart({ origin, collectorKey, signatures, tree, authors, erasures, ...counts }));
  }

  /** What is stored beside the entries, and what is stored beyond them. */
  #checkEnd(extent: StoredExtent, size: number): void {
    checkStrayEntries(extent, size);
    this.#batches.checkEnd(size);
    checkStrays(extent, size);
    const { range } = this.#tree;
    if (!this.#tree.root().equals(extent.root)) {
      throw new Found('root', null, 'the stored root does not follow from the entries');
    }
    if (!encodeRange(range).equals(extent.edge)) {
      throw new Found('root', null, 'the stored right edge of the tree does not follow from the entries');
    }
    checkAuthors(extent, this.#authors);
  }
}

/** @returns the size of the tree. */
function checkExtent(extent: StoredExtent, { origin, checkpoints = [] }: Expectations): number {
  const size = decodeDecimal(extent.size);
  if (size === undefined)
    throw new Found('head', null, `the tree head says ${extent.size} entries, which no ledger has`);
  if (!extent.single)
    throw new Found('head', null, 'there is more than the one tree head, or it is not marked as such');
  if (extent.origin !== origin)
    throw new Found('head', null, `the tree head is of ${shortened(extent.origin)}, not of ${origin}`);
  const [lost] = checkpoints.filter((kept) => kept.size > size);
  if (lost === undefined) return size;
  const gone = lost.size - size === 1 ? `entry ${size} was` : `entries ${size} to ${lost.size - 1} were`;
  const message = `${lost.name} knows ${lost.size} entries, the ledger has only ${size}: ${gone} removed`;
  throw new Found('checkpoint', size, message);
}

function checkStrayEntries({ strays: { entry, body } }: StoredExtent, size: number): void {
  const beyond = `the tree head counts ${size} entries`;
  if (entry !== null) throw new Found('head', strayIndex(entry, size), `entry ${entry} is stored, ${beyond}`);
  if (body !== null) throw new Found('body', strayIndex(body, size), `the body of entry ${body} is stored, ${beyond}`);
}

function checkStrays({ strays: { batch, checkpoint, tile } }: StoredExtent, size: number): void {
  const beyond = `the tree head counts ${size} entries`;
  if (batch !== null) throw new Found('batch', null, `a batch of size ${batch} is stored, ${beyond}`);
  if (checkpoint !== null)
    throw new Found('checkpoint', null, `a checkpoint of size ${checkpoint} is stored, ${beyond}`);
  if (tile === null) return;
  const [level, n] = tile;
  throw new Found(
    'tile',
    null,
    `tile ${n} of level ${level} is stored, which a ledger of ${size} entries does not have`,
  );
}

/** What lies behind the end begins with the first entry there, whatever number it was given. */
function strayIndex(text: string, size: number): number {
  const index = Number(text);
  return Number.isSafeInteger(index) && index >= 0 ? index : size;
}

function tilesByName(tiles: readonly FullTile[]): ReadonlyMap<string, FullTile> {
  const named = new Map<string, FullTile>();
  for (const tile of tiles) {
    const name = `${tile.level}/${tile.index}`;
    const first = tile.index * fullTileWidth ** (tile.level + 1);
    if (named.has(name)) throw new Found('tile', first, `tile ${tile.index} of level ${tile.level} is there twice`);
    named.set(name, tile);
  }
  return named;
}
