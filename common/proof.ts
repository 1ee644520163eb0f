import { hashBytes } from './encoding.ts';
import { AppError } from './errors.ts';
import { coveringNodes, emptyRoot, foldSubtrees, half, largestPowerOfTwo, type NodeId, nodeHash } from './merkle.ts';

/*
 * Inclusion and consistency proofs of RFC 6962 §2.1.1 and §2.1.2, checked as in RFC 9162 §2.1.3.2 and §2.1.4.2.
 *
 * Verification throws instead of answering false: a forgotten `if` then fails closed, and the error says which of
 * the many things that can be wrong was wrong.
 */

/**
 * Where hashes of complete subtrees come from. One call per proof, however large, so a database answers in one round
 * trip. Answers in the order asked, and fails rather than leaving a hash out. May run concurrently; only nodes
 * of a committed tree are asked for, so answers never change.
 */
export interface HashReader {
  read(nodes: readonly NodeId[]): Promise<readonly Buffer[]>;
}

export interface InclusionClaim {
  readonly leafHash: Buffer;
  readonly index: number;
  readonly size: number;
  readonly root: Buffer;
  readonly proof: readonly Buffer[];
}

export interface ConsistencyClaim {
  readonly oldSize: number;
  readonly oldRoot: Buffer;
  readonly newSize: number;
  readonly newRoot: Buffer;
  readonly proof: readonly Buffer[];
}

/**
 * Inclusion proofs of many leaves in one tree. `proofs[i]` lists, leaf's sibling first, positions in `hashes`; the upper
 * nodes are the same for neighbours, so n consecutive leaves cost about `2n + log2(size)` hashes instead of
 * `n * log2(size)`.
 */
export interface SharedProofs {
  readonly hashes: readonly Buffer[];
  readonly proofs: readonly (readonly number[])[];
}

/** The leaves `start` up to but not including `end`: one subtree of RFC 6962, complete or on the right edge. */
interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * Proof that leaf `index` is in the tree of `size` leaves, the leaf's sibling first.
 * @throws AppError `ledger.proof` unless `index < size`.
 */
export async function inclusionProof(index: number, size: number, reader: HashReader): Promise<Buffer[]> {
  return readSpans(inclusionSpans(index, size), reader);
}

/**
 * Inclusion proofs of all `indexes` (any order, repeats allowed) in one read.
 * @throws AppError `ledger.proof` unless every index is below `size`.
 */
export async function inclusionProofs(
  indexes: readonly number[],
  size: number,
  reader: HashReader,
): Promise<SharedProofs> {
  for (const index of indexes) requireIndex(index, size);
  const spans: Span[] = [];
  const paths = indexes.map((index) => ({ index, proof: [] as number[] }));
  layPaths({ start: 0, end: size }, paths, spans);
  return { hashes: await readSpans(spans, reader), proofs: paths.map(({ proof }) => proof) };
}

/** A leaf and the places of its siblings, as far up as they are known. */
interface Path {
  readonly index: number;
  readonly proof: number[];
}

/** All leaves below a node have the same siblings above it, so every subtree that is one is noted in `spans` just once. */
function layPaths({ start, end }: Span, below: readonly Path[], spans: Span[]): void {
  if (below.length === 0 || end - start <= 1) return;
  const middle = start + splitPoint(end - start);
  const [left, right] = [
    { start, end: middle },
    { start: middle, end },
  ];
  const inLeft = below.filter(({ index }) => index < middle);
  const inRight = below.filter(({ index }) => index >= middle);
  layPaths(left, inLeft, spans);
  layPaths(right, inRight, spans);
  addSibling(inLeft, right, spans);
  addSibling(inRight, left, spans);
}

function addSibling(below: readonly Path[], sibling: Span, spans: Span[]): void {
  if (below.length === 0) return;
  const at = spans.push(sibling) - 1;
  for (const { proof } of below) proof.push(at);
}

/**
 * The proof of the `which`-th leaf, as {@link verifyInclusion} takes it.
 * @throws AppError `ledger.proof` when the table, which may come from an untrusted peer, has no such proof or hash.
 */
export function expandProof(shared: SharedProofs, which: number): Buffer[] {
  const proof = shared.proofs[which];
  if (proof === undefined) throw refused(`the shared proofs have no proof number ${which}`);
  return proof.map((at) => {
    const hash = shared.hashes[at];
    if (hash === undefined) throw refused(`proof number ${which} names hash ${at}, which the table does not have`);
    return hash;
  });
}

/**
 * Proof that the tree of `newSize` leaves extends the one of `oldSize`; empty when either is trivial.
 * @throws AppError `ledger.proof` unless `oldSize <= newSize`.
 */
export async function consistencyProof(oldSize: number, newSize: number, reader: HashReader): Promise<Buffer[]> {
  return readSpans(consistencySpans(oldSize, newSize), reader);
}

/**
 * Size and root belong together and come from one verified checkpoint: a proof alone says little about the size.
 * @throws AppError `ledger.proof` unless the claim's leaf is at its index in the tree with its size and root.
 */
export function verifyInclusion(claim: InclusionClaim): void {
  const { index, size, proof } = claim;
  requireIndex(index, size);
  requireHashes('inclusion proof', [claim.leafHash, claim.root, ...proof]);
  const sides = siblingSides(index, size - 1);
  requireLength('inclusion proof', proof, sides.length);
  let hash = claim.leafHash;
  sides.forEach((side, i) => {
    hash = join(side, hash, proof[i]);
  });
  if (!hash.equals(claim.root)) throw refused(`the inclusion proof of index ${index} does not lead to the root`);
}

/** @throws AppError `ledger.proof` unless the new tree of the claim begins with all leaves of the old one. */
export function verifyConsistency(claim: ConsistencyClaim): void {
  const { oldSize, oldRoot, newSize, newRoot, proof } = claim;
  requireGrowth(oldSize, newSize);
  requireHashes('consistency proof', [oldRoot, newRoot, ...proof]);
  if (oldSize === 0 || oldSize === newSize) verifyTrivialGrowth(claim);
  else verifyGrowth(claim);
}

/** Every tree extends the empty one and itself; what is left to check is that the roots say the same. */
function verifyTrivialGrowth({ oldSize, oldRoot, newSize, newRoot, proof }: ConsistencyClaim): void {
  requireLength('consistency proof', proof, 0);
  if (oldSize === 0 && !oldRoot.equals(emptyRoot)) throw refused('a tree of size 0 has only one possible root');
  if (oldSize === newSize && !oldRoot.equals(newRoot)) throw refused(`two different roots for size ${newSize}`);
}

function verifyGrowth({ oldSize, oldRoot, newSize, newRoot, proof }: ConsistencyClaim): void {
  // RFC 9162 §2.1.4.2 step 4: climb to the top of the subtree that ends where the old tree ends.
  let [index, last] = [oldSize - 1, newSize - 1];
  while (index % 2 === 1) [index, last] = [half(index), half(last)];
  // The prover leaves this subtree out when it is the whole old tree: the verifier holds that root already.
  const [seed, ...path] = index === 0 ? [oldRoot, ...proof] : proof;
  if (seed === undefined) throw refused('the consistency proof is empty');
  const sides = siblingSides(index, last);
  requireLength('consistency proof', path, sides.length);
  let [oldHash, newHash] = [seed, seed];
  sides.forEach((side, i) => {
    if (side === 'left') oldHash = join(side, oldHash, path[i]);
    newHash = join(side, newHash, path[i]);
  });
  if (!oldHash.equals(oldRoot)) throw refused(`the consistency proof does not lead to the root of size ${oldSize}`);
  if (!newHash.equals(newRoot)) throw refused(`the consistency proof does not lead to the root of size ${newSize}`);
}

/** On which side of the path each proof hash stands, from node `index` of a row that ends with `last` up to the root. */
function siblingSides(index: number, last: number): ('left' | 'right')[] {
  const sides: ('left' | 'right')[] = [];
  while (last > 0) {
    if (index % 2 === 1 || index === last) {
      sides.push('left');
      // Without a right sibling a node of the right edge is its own parent, until it becomes a right child.
      while (index % 2 === 0 && index !== 0) [index, last] = [half(index), half(last)];
    } else {
      sides.push('right');
    }
    [index, last] = [half(index), half(last)];
  }
  return sides;
}

function join(side: 'left' | 'right', hash: Buffer, sibling: Buffer | undefined): Buffer {
  if (sibling === undefined) throw refused('the proof is too short');
  return side === 'left' ? nodeHash(sibling, hash) : nodeHash(hash, sibling);
}

/** PATH(m, D[n]) of RFC 6962 §2.1.1: the sibling subtrees from the leaf up. */
function inclusionSpans(index: number, size: number): Span[] {
  requireIndex(index, size);
  const siblings: Span[] = [];
  let [start, end] = [0, size];
  while (end - start > 1) {
    const middle = start + splitPoint(end - start);
    if (index < middle) {
      siblings.push({ start: middle, end });
      end = middle;
    } else {
      siblings.push({ start, end: middle });
      start = middle;
    }
  }
  return siblings.reverse();
}

/** PROOF(m, D[n]) of RFC 6962 §2.1.2, the subtree ending with the old tree first. */
function consistencySpans(oldSize: number, newSize: number): Span[] {
  requireGrowth(oldSize, newSize);
  if (oldSize === 0) return [];
  const siblings: Span[] = [];
  let [start, end] = [0, newSize];
  while (end !== oldSize) {
    const middle = start + splitPoint(end - start);
    if (oldSize <= middle) {
      siblings.push({ start: middle, end });
      end = middle;
    } else {
      siblings.push({ start, end: middle });
      start = middle;
    }
  }
  if (start !== 0) siblings.push({ start, end });
  return siblings.reverse();
}

/** RFC 6962's k: the largest power of two smaller than `leaves` (at least 2). */
function splitPoint(leaves: number): number {
  return largestPowerOfTwo(leaves - 1);
}

/** The hash of every span, from one read in which no node is asked for twice. */
async function readSpans(spans: readonly Span[], reader: HashReader): Promise<Buffer[]> {
  const nodes: NodeId[] = [];
  const placeOf = places(nodes);
  const parts = spans.map((span) => coveringNodes(span.start, span.end).map(placeOf));
  const hashes = nodes.length === 0 ? [] : await reader.read(nodes);
  requireLength('answer of the hash reader', hashes, nodes.length);
  requireHashes('answer of the hash reader', hashes);
  return parts.map((part) => foldSubtrees(part.flatMap((at) => hashes[at] ?? [])) ?? emptyRoot);
}

/** A function that answers the place of a node in `nodes`, adding the node when it is new. */
function places(nodes: NodeId[]): (node: NodeId) => number {
  const levels: Map<number, number>[] = [];
  return (node) => {
    const known = levels[node.level] ?? new Map<number, number>();
    levels[node.level] = known;
    const at = known.get(node.index) ?? nodes.push(node) - 1;
    known.set(node.index, at);
    return at;
  };
}

function requireIndex(index: number, size: number): void {
  requireSize(size);
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) {
    throw refused(`there is no index ${index} in a tree of size ${size}`);
  }
}

function requireGrowth(oldSize: number, newSize: number): void {
  requireSize(oldSize);
  requireSize(newSize);
  if (oldSize > newSize) throw refused(`a tree of size ${newSize} cannot extend one of size ${oldSize}`);
}

function requireSize(size: number): void {
  if (!Number.isSafeInteger(size) || size < 0) throw refused(`${size} is not a tree size`);
}

function requireLength(what: string, hashes: readonly Buffer[], expected: number): void {
  if (hashes.length !== expected) throw refused(`${what}: ${hashes.length} hashes where there must be ${expected}`);
}

function requireHashes(what: string, hashes: readonly Buffer[]): void {
  if (hashes.some((hash) => hash.length !== hashBytes)) throw refused(`${what}: a hash is not 32 bytes long`);
}

function refused(message: string): AppError {
  return new AppError('ledger.proof', message);
}
