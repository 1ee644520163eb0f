import { createHash } from 'node:crypto';
import { demand, type Head, openCheckpoint, type Policy, strictBase64 } from './tile-auditor-notes.ts';

/**
 * An auditor as anybody could write one: knows the published standards (RFC 6962 and 9162, C2SP tlog-tiles, tlog-proof, and
 * those of `tile-auditor-notes.ts`), the log's policy and its address, and uses none of our code.
 */

export { type Head, logAlone, type Policy, parsePolicy, Rejected } from './tile-auditor-notes.ts';

const tileWidth = 256;
const hashLength = 32;

/** Reads a resource of the log by its path below the prefix: `checkpoint`, `tile/0/000`. @throws when there is none. */
export type Fetch = (path: string) => Promise<Buffer>;

export interface Audited {
  readonly head: Head;
  readonly entries: readonly Buffer[];
  readonly leafHashes: readonly Buffer[];
}

/**
 * Checks everything that the log serves: the checkpoint by the policy, every entry, every tile of every level, the root, and
 * that the trees of all `saved` checkpoints are beginnings of this one.
 * @throws Rejected, or whatever `fetch` throws.
 */
export async function audit(fetch: Fetch, policy: Policy, saved: readonly Head[] = []): Promise<Audited> {
  const head = openCheckpoint(await fetch('checkpoint'), policy);
  const entries = await readEntries(fetch, head.size);
  const leafHashes = entries.map(leafHashOf);
  await checkTiles(fetch, leafHashes);
  demand(rootOf(leafHashes).equals(head.root), `the root of ${head.size} entries is not that of the checkpoint`);
  for (const { origin, size, root } of saved) {
    demand(origin === head.origin, `an earlier checkpoint was of ${origin}`);
    demand(size <= head.size, `the log had ${size} entries and has ${head.size} now`);
    demand(
      rootOf(leafHashes.slice(0, size)).equals(root),
      `the first ${size} entries are not those of an earlier checkpoint`,
    );
  }
  return { head, entries, leafHashes };
}

/** All entries below `size`, from the bundles. */
export async function readEntries(fetch: Fetch, size: number): Promise<Buffer[]> {
  const entries: Buffer[] = [];
  for (let tile = 0; tile * tileWidth < size; tile++) {
    const width = Math.min(tileWidth, size - tile * tileWidth);
    const bundle = await fetch(`tile/entries/${tilePath(tile, width)}`);
    let found = 0;
    for (let at = 0; at < bundle.length; found++) {
      demand(at + 2 <= bundle.length, `bundle ${tile} ends in a length`);
      const end = at + 2 + bundle.readUInt16BE(at);
      demand(end <= bundle.length, `bundle ${tile} ends in an entry`);
      entries.push(bundle.subarray(at + 2, end));
      at = end;
    }
    demand(found === width, `bundle ${tile} has ${found} entries instead of ${width}`);
  }
  return entries;
}

/** Every tile of every level, against what follows from the leaves. */
async function checkTiles(fetch: Fetch, leafHashes: readonly Buffer[]): Promise<void> {
  for (let level = 0, expected = leafHashes; expected.length > 0; level++) {
    const served = await readHashes(fetch, level, leafHashes.length);
    expected.forEach((hash, at) => {
      demand(served[at]?.equals(hash) === true, `hash ${at} of tile level ${level} does not follow from the entries`);
    });
    const full = Math.floor(expected.length / tileWidth);
    expected = Array.from({ length: full }, (_, tile) =>
      rootOf(served.slice(tile * tileWidth, (tile + 1) * tileWidth)),
    );
  }
}

/** All hashes of one tile level in a log of `size` entries. */
export async function readHashes(fetch: Fetch, level: number, size: number): Promise<Buffer[]> {
  const count = Math.floor(size / tileWidth ** level);
  const hashes: Buffer[] = [];
  for (let tile = 0; tile * tileWidth < count; tile++) {
    hashes.push(...(await readTile(fetch, level, { tile, width: Math.min(tileWidth, count - tile * tileWidth) })));
  }
  return hashes;
}

async function readTile(
  fetch: Fetch,
  level: number,
  { tile, width }: { tile: number; width: number },
): Promise<Buffer[]> {
  const bytes = await fetch(`tile/${level}/${tilePath(tile, width)}`);
  demand(
    bytes.length === width * hashLength,
    `tile ${tile} of level ${level} has ${bytes.length} bytes for ${width} hashes`,
  );
  return Array.from({ length: width }, (_, at) => bytes.subarray(at * hashLength, (at + 1) * hashLength));
}

/** `x001/x234/067`, and `.p/17` behind it for a tile that is not full. */
export function tilePath(index: number, width: number): string {
  const groups = [];
  for (let rest = index; groups.length === 0 || rest > 0; rest = Math.floor(rest / 1_000)) {
    groups.unshift(`${groups.length === 0 ? '' : 'x'}${String(rest % 1_000).padStart(3, '0')}`);
  }
  return groups.join('/') + (width === tileWidth ? '' : `.p/${width}`);
}

export function leafHashOf(leaf: Buffer): Buffer {
  return createHash('sha256').update(Buffer.of(0)).update(leaf).digest();
}

function nodeHash(left: Buffer, right: Buffer): Buffer {
  return createHash('sha256').update(Buffer.of(1)).update(left).update(right).digest();
}

/** Merkle tree hash over leaf hashes (RFC 6962 section 2.1). */
export function rootOf(hashes: readonly Buffer[]): Buffer {
  const [only] = hashes;
  if (only === undefined) return createHash('sha256').digest();
  if (hashes.length === 1) return only;
  const split = splitOf(hashes.length);
  return nodeHash(rootOf(hashes.slice(0, split)), rootOf(hashes.slice(split)));
}

/** The largest power of two below `n`. */
function splitOf(n: number): number {
  let split = 1;
  while (split * 2 < n) split *= 2;
  return split;
}

/** A tree as its tiles show it, from which any proof can be put together (tlog-tiles). */
export class TiledTree {
  readonly #fetch: Fetch;
  readonly #size: number;
  readonly #tiles = new Map<string, Promise<Buffer[]>>();

  constructor(fetch: Fetch, size: number) {
    this.#fetch = fetch;
    this.#size = size;
  }

  /** PATH(index, D[size]) of RFC 6962 section 2.1.1. */
  inclusion(index: number): Promise<Buffer[]> {
    return this.#path(index, 0, this.#size);
  }

  /** PROOF(from, D[size]) of RFC 6962 section 2.1.2. */
  consistency(from: number): Promise<Buffer[]> {
    return from === 0 || from === this.#size
      ? Promise.resolve([])
      : this.#subproof(from, { start: 0, end: this.#size, whole: true });
  }

  async #path(index: number, start: number, end: number): Promise<Buffer[]> {
    if (end - start === 1) return [];
    const middle = start + splitOf(end - start);
    if (index < middle) return [...(await this.#path(index, start, middle)), await this.#hash(middle, end)];
    return [...(await this.#path(index, middle, end)), await this.#hash(start, middle)];
  }

  async #subproof(
    from: number,
    { start, end, whole }: { start: number; end: number; whole: boolean },
  ): Promise<Buffer[]> {
    if (from === end) return whole ? [] : [await this.#hash(start, end)];
    const middle = start + splitOf(end - start);
    if (from <= middle)
      return [...(await this.#subproof(from, { start, end: middle, whole })), await this.#hash(middle, end)];
    return [...(await this.#subproof(from, { start: middle, end, whole: false })), await this.#hash(start, middle)];
  }

  /** MTH(D[start:end]), for a span that a tree of this size has a node for. */
  async #hash(start: number, end: number): Promise<Buffer> {
    const width = end - start;
    if (Number.isInteger(Math.log2(width)) && start % width === 0) return this.#node(start, width);
    const middle = start + splitOf(width);
    return nodeHash(await this.#hash(start, middle), await this.#hash(middle, end));
  }

  /** A complete subtree over a power of two of entries: from the highest tile level that reaches down to it. */
  async #node(start: number, width: number): Promise<Buffer> {
    const level = Math.floor(Math.log2(width) / 8);
    const [first, count] = [start / tileWidth ** level, width / tileWidth ** level];
    const tile = Math.floor(first / tileWidth);
    const hashes = await this.#tile(level, tile);
    const part = hashes.slice(first - tile * tileWidth, first - tile * tileWidth + count);
    demand(part.length === count, `tile ${tile} of level ${level} is too short`);
    return rootOf(part);
  }

  #tile(level: number, tile: number): Promise<Buffer[]> {
    const width = Math.min(tileWidth, Math.floor(this.#size / tileWidth ** level) - tile * tileWidth);
    const known = this.#tiles.get(`${level}/${tile}`) ?? readTile(this.#fetch, level, { tile, width });
    this.#tiles.set(`${level}/${tile}`, known);
    return known;
  }
}

/** RFC 9162 section 2.1.3.2. @throws Rejected */
export function checkInclusion(
  leafHash: Buffer,
  index: number,
  { head, proof }: { head: Head; proof: readonly Buffer[] },
): void {
  demand(index < head.size, `index ${index} is not below the tree size ${head.size}`);
  let [fn, sn, r] = [index, head.size - 1, leafHash];
  for (const p of proof) {
    demand(sn > 0, 'the inclusion proof is too long');
    if (fn % 2 === 1 || fn === sn) {
      r = nodeHash(p, r);
      while (fn % 2 === 0 && fn > 0) [fn, sn] = [fn / 2, Math.floor(sn / 2)];
    } else {
      r = nodeHash(r, p);
    }
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  demand(sn === 0 && r.equals(head.root), 'the inclusion proof does not lead to the root');
}

/** RFC 9162 section 2.1.4.2. @throws Rejected */
export function checkConsistency(first: Head, second: Head, path: readonly Buffer[]): void {
  demand(first.origin === second.origin, 'two logs');
  demand(first.size <= second.size, `the log had ${first.size} entries and has ${second.size} now`);
  if (first.size === 0 || first.size === second.size) {
    const isSame = first.size === 0 || first.root.equals(second.root);
    demand(path.length === 0 && isSame, 'two roots of one size, or a proof where none is needed');
    return;
  }
  const proof = Number.isInteger(Math.log2(first.size)) ? [first.root, ...path] : [...path];
  const [start, ...rest] = proof;
  let [fn, sn] = [first.size - 1, second.size - 1];
  while (fn % 2 === 1) [fn, sn] = [(fn - 1) / 2, Math.floor(sn / 2)];
  demand(start !== undefined && path.length > 0, 'the consistency proof is empty');
  let [fr, sr] = [start, start];
  for (const c of rest) {
    demand(sn > 0, 'the consistency proof is too long');
    if (fn % 2 === 1 || fn === sn) {
      [fr, sr] = [nodeHash(c, fr), nodeHash(c, sr)];
      while (fn % 2 === 0 && fn > 0) [fn, sn] = [fn / 2, Math.floor(sn / 2)];
    } else {
      sr = nodeHash(sr, c);
    }
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  const leads = fr.equals(first.root) && sr.equals(second.root) && sn === 0;
  demand(leads, 'the consistency proof does not lead from one root to the other');
}

/** What a `.tlog-proof` proves of a leaf: at which index of which tree it is (C2SP tlog-proof). @throws Rejected */
export function checkProofFile(file: Buffer, leaf: Buffer | undefined, policy: Policy) {
  const text = file.toString('utf8');
  const end = text.indexOf('\n\n');
  const [first, ...lines] = text.slice(0, end).split('\n');
  demand(end > 0 && first === 'c2sp.org/tlog-proof@v1', 'not a proof file');
  const extraLine = lines[0]?.startsWith('extra ') === true ? lines.shift() : undefined;
  const extra = extraLine === undefined ? undefined : strictBase64(extraLine.slice('extra '.length), 'the extra line');
  const [, index] = /^index (0|[1-9][0-9]{0,15})$/.exec(lines.shift() ?? '') ?? [];
  demand(index !== undefined, 'no index line');
  const proof = lines.map((line) => strictBase64(line, 'a line of the proof'));
  demand(
    proof.every((hash) => hash.length === hashLength),
    'a line of the proof is no hash',
  );
  const head = openCheckpoint(Buffer.from(text.slice(end + 2)), policy);
  const proven = leaf ?? extra;
  demand(proven !== undefined, 'nothing to prove');
  checkInclusion(leafHashOf(proven), Number(index), { head, proof });
  return { index: Number(index), head, leaf: proven };
}
