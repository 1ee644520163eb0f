import { hash } from 'node:crypto';
import { hashBytes } from './encoding.ts';
import { AppError } from './errors.ts';

/*
 * The Merkle tree of RFC 6962 §2.1 (the same as RFC 9162 §2.1) over SHA-256. Sizes and indexes are safe integers; all
 * arithmetic on them is division and remainder, because JavaScript's bit operators cut to 32 bits.
 */

/** A complete subtree: the leaves from `index * 2^level`, `2^level` of them. Level 0 is the leaf hashes. */
export interface NodeId {
  readonly level: number;
  readonly index: number;
}

/**
 * Everything needed to append to a tree and to know its root: `hashes` are the complete subtrees that cover the leaves,
 * largest first, one for each set bit of `size`. A value: appending makes a new one.
 */
export interface CompactRange {
  readonly size: number;
  readonly hashes: readonly Buffer[];
}

/** Told about each subtree that an append completes, leaves included, children before parents. */
export type NodeVisitor = (node: NodeId, hash: Buffer) => void;

/** Domain separation of RFC 6962 §2.1: a leaf can never pass for an inner node. */
const leafPrefix = 0x00;
const nodePrefix = 0x01;

/** Root of the tree without leaves: the hash of nothing. */
export const emptyRoot: Buffer = hash('sha256', Buffer.alloc(0), 'buffer');

export const emptyRange: CompactRange = { size: 0, hashes: [] };

/** RFC 6962 leaf hash. The leaf may be given in consecutive parts, so that nobody needs to join them first. */
export function leafHash(...parts: readonly Uint8Array[]): Buffer {
  const input = Buffer.allocUnsafe(inputLength(parts));
  writeLeafInput(input, 0, parts);
  return hashLeaf(input);
}

/** RFC 6962 leaf hash of what {@link leafInputs} made. */
export function hashLeaf(input: Buffer): Buffer {
  return sha256(input);
}

/** What the leaf hashes of several leaves, each given in consecutive parts, are the SHA-256 of; one behind the other in memory. */
export function leafInputs(leaves: readonly (readonly Uint8Array[])[]): Buffer[] {
  const all = Buffer.allocUnsafe(leaves.reduce((sum, parts) => sum + inputLength(parts), 0));
  let at = 0;
  return leaves.map((parts) => {
    const start = at;
    at = writeLeafInput(all, start, parts);
    return all.subarray(start, at);
  });
}

/** By way of a text, which the runtime hands over in half the time that it takes for memory of its own. */
function sha256(input: Uint8Array): Buffer {
  return Buffer.from(hash('sha256', input, 'binary'), 'latin1');
}

function inputLength(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 1);
}

/** @returns where it ends. */
function writeLeafInput(into: Buffer, start: number, parts: readonly Uint8Array[]): number {
  into[start] = leafPrefix;
  let at = start + 1;
  for (const part of parts) {
    into.set(part, at);
    at += part.length;
  }
  return at;
}

/** RFC 6962 hash of an inner node over its two 32-byte children. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  const input = Buffer.allocUnsafe(1 + 2 * hashBytes);
  input[0] = nodePrefix;
  input.set(left, 1);
  input.set(right, 1 + hashBytes);
  return sha256(input);
}

/**
 * The range with `leafHashes` (32 bytes each) appended in order. Amortised one node hash per leaf; the hashes are
 * kept, not copied. `visit` hears of every subtree completed on the way, which is what a store has to keep.
 */
export function appendLeaves(
  range: CompactRange,
  leafHashes: readonly Buffer[],
  visit: NodeVisitor = () => {},
): CompactRange {
  const hashes = [...range.hashes];
  let size = range.size;
  for (const leaf of leafHashes) {
    pushLeaf(hashes, size, leaf, visit);
    size += 1;
  }
  return { size, hashes };
}

/** Adding a leaf is adding one to a binary number: each trailing set bit is a subtree the new one merges with. */
function pushLeaf(hashes: Buffer[], size: number, leaf: Buffer, visit: NodeVisitor): void {
  let node: NodeId = { level: 0, index: size };
  let merged = leaf;
  visit(node, merged);
  while (node.index % 2 === 1) {
    const left = hashes.pop();
    if (left === undefined) throw new AppError('internal.error', 'a compact range holds fewer hashes than its size');
    merged = nodeHash(left, merged);
    node = { level: node.level + 1, index: half(node.index) };
    visit(node, merged);
  }
  hashes.push(merged);
}

/** Root hash of the tree that `range` covers. */
export function rootOf(range: CompactRange): Buffer {
  return foldSubtrees(range.hashes) ?? emptyRoot;
}

/** Hash over adjacent complete subtrees, largest first, as RFC 6962 joins the right edge; undefined for none. */
export function foldSubtrees(hashes: readonly Buffer[]): Buffer | undefined {
  let folded = hashes.at(-1);
  for (let i = hashes.length - 2; i >= 0; i--) {
    const left = hashes[i];
    if (left !== undefined && folded !== undefined) folded = nodeHash(left, folded);
  }
  return folded;
}

/**
 * Complete subtrees that cover the leaves `start` up to but not including `end`, left to right. `start` is 0 or
 * a place where RFC 6962 splits the tree.
 */
export function coveringNodes(start: number, end: number): NodeId[] {
  const nodes: NodeId[] = [];
  for (let at = start; at < end; ) {
    const leaves = largestPowerOfTwo(end - at);
    nodes.push({ level: Math.log2(leaves), index: at / leaves });
    at += leaves;
  }
  return nodes;
}

/** The range's hashes, concatenated; the size travels beside them. */
export function encodeRange(range: CompactRange): Buffer {
  return Buffer.concat(range.hashes);
}

/**
 * The range of `size` leaves from the bytes {@link encodeRange} wrote.
 * @throws AppError `ledger.tampered` when the number of hashes is not the one `size` demands.
 */
export function decodeRange(size: number, bytes: Uint8Array): CompactRange {
  const count = Number.isSafeInteger(size) && size >= 0 ? coveringNodes(0, size).length : -1;
  if (bytes.length !== count * hashBytes) {
    throw new AppError('ledger.tampered', `tree head: ${bytes.length} bytes cannot be the right edge of size ${size}`);
  }
  // A copy, since database drivers hand out views into much larger buffers.
  return { size, hashes: splitHashes(Buffer.from(bytes)) };
}

/** Views of the consecutive 32-byte hashes in `bytes`. */
export function splitHashes(bytes: Buffer): Buffer[] {
  const hashes: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += hashBytes) hashes.push(bytes.subarray(at, at + hashBytes));
  return hashes;
}

/** Largest power of two that is at most `value` (a positive safe integer). */
export function largestPowerOfTwo(value: number): number {
  let power = 1;
  while (power <= value / 2) power *= 2;
  return power;
}

/** `value` shifted right by one bit, correct up to 2^53. */
export function half(value: number): number {
  return Math.floor(value / 2);
}
