import { parseEntry } from '../../../common/entry.ts';
import { formatExportEnd, formatExportEntry } from '../../../common/export-line.ts';
import { leafHash, nodeHash } from '../../../common/merkle.ts';
import { parseVerifierKey } from '../../../common/note.ts';
import { expandProof, type SharedProofs, verifyInclusion } from '../../../common/proof.ts';
import { fullTileWidth } from '../../../common/tiles.ts';
import { MissingStored, tampered } from '../erasure/missing.ts';
import type { StoredStatement } from '../erasure/record.ts';
import type { PublishedCheckpoint } from '../publisher.ts';

/** An entry as stored; without body where retention has dropped it. */
export interface StoredLeaf {
  readonly index: number;
  readonly kind: string;
  readonly leafHash: Buffer;
  readonly body: { readonly bytes: Buffer; readonly signature: Buffer } | undefined;
}

/** Where the entries of an export come from. Read-only, in order of index; entries may be appended meanwhile. */
export interface ExportSource {
  /** Entries from `from` up to but not including `to`. */
  leaves(from: number, to: number): Promise<readonly StoredLeaf[]>;
  /** The entries before index `before` that say whose keys count: the ledger's creation, enrolments and revocations. */
  keyStatements(before: number): Promise<readonly StoredLeaf[]>;
  /** Who authored entries from `from` up to but not including `to`. */
  authors(from: number, to: number): Promise<readonly string[]>;
  /** `ledger.erased` entries, in order, not believed. */
  erasures(): Promise<readonly StoredStatement[]>;
}

/** Whoever proves inclusion; the ledger. */
export interface Prover {
  /** Verifier key of the ledger. */
  readonly vkey: string;
  inclusion(indexes: readonly number[], size: number): Promise<SharedProofs>;
}

export interface ExportSpan {
  readonly from: number;
  readonly to: number;
}

export interface ExportOptions extends ExportSpan {
  readonly source: ExportSource;
  readonly prover: Prover;
  /** All proofs lead to it, and it goes into the last line; `to` is not beyond it. */
  readonly checkpoint: PublishedCheckpoint;
  /** Told after every block how many of the entries are out. */
  readonly onProgress?: (done: number, of: number) => void;
  /** Told of every entry of the span, once it is out. */
  readonly onEntry?: (leaf: StoredLeaf) => void;
}

/** Levels of the tree within one block of 256 neighbours. */
const blockHeight = 8;

/**
 * The lines of an export, newlines included, several to a piece. Every entry is checked against its hash, and every block's
 * proof against the checkpoint, so that what is exported verifies, or there is no export.
 * @throws AppError `ledger.tampered` naming the first entry that is not as it was logged.
 */
export async function* exportLines(options: ExportOptions): AsyncGenerator<string> {
  const { source, prover, checkpoint, from, to, onProgress, onEntry } = options;
  const bodies = missingBodies(source, prover);
  const context = await keyContext(source, { from, to });
  if (context.length > 0) yield (await Promise.all(context.map((leaf) => lineOf(leaf, prover, checkpoint)))).join('');
  for (let start = from; start < to; ) {
    const end = Math.min(to, start - (start % fullTileWidth) + fullTileWidth);
    const leaves = await source.leaves(start, end);
    requireAll(leaves, start, end);
    for (const leaf of leaves) requireAsLogged(leaf);
    await bodies.requireErased(leaves.filter(({ body }) => body === undefined));
    const proofs = await proofsOf(leaves, { source, prover, checkpoint });
    yield leaves.map((leaf, at) => line(leaf, proofs[at] ?? [])).join('');
    for (const leaf of leaves) onEntry?.(leaf);
    onProgress?.(end - from, to - from);
    start = end;
  }
  const indexes = context.map(({ index }) => index);
  yield `${formatExportEnd({ checkpoint: checkpoint.note, from, to, context: indexes })}\n`;
}

/**
 * What a reader has to know before the span: for each author in it the last enrolment, and its end if it was revoked
 * since; and what created the ledger. These bodies are never erased.
 */
async function keyContext(source: ExportSource, { from, to }: ExportSpan): Promise<readonly StoredLeaf[]> {
  if (from === 0 || from === to) return [];
  const authors = new Set(await source.authors(from, to));
  const chosen = new Map<string, StoredLeaf[]>();
  for (const leaf of await source.keyStatements(from)) {
    if (leaf.body === undefined) throw tampered(leaf.index, 'its body is missing, which is never erased');
    requireAsLogged(leaf);
    const { kind, body } = parseEntry(leaf.body.bytes);
    if (kind === 'ledger.created') chosen.set('', [leaf]);
    if (kind === 'node.enrolled' && authors.has(body.node)) chosen.set(body.node, [leaf]);
    if (kind === 'node.revoked' && authors.has(body.node)) chosen.get(body.node)?.push(leaf);
  }
  return [...chosen.values()].flat().sort((a, b) => a.index - b.index);
}

/**
 * One entry with its proof, the leaf's sibling first.
 * @throws AppError `ledger.tampered` when it is not as it was logged, or its body is gone and was not erased.
 */
export async function provedLeaf(
  index: number,
  { source, prover, checkpoint }: Pick<ExportOptions, 'source' | 'prover' | 'checkpoint'>,
): Promise<{ readonly leaf: StoredLeaf; readonly hashes: readonly Buffer[] }> {
  const [leaf] = await source.leaves(index, index + 1);
  if (leaf === undefined) throw tampered(index, 'it is missing from the database');
  requireAsLogged(leaf);
  if (leaf.body === undefined) await missingBodies(source, prover).requireErased([leaf]);
  const hashes = expandProof(await prover.inclusion([index], checkpoint.size), 0);
  requireProved(leaf, hashes, checkpoint);
  return { leaf, hashes };
}

function missingBodies(source: ExportSource, { vkey }: Prover): MissingStored {
  return new MissingStored(() => source.erasures(), parseVerifierKey(vkey).publicKey);
}

async function lineOf(leaf: StoredLeaf, prover: Prover, checkpoint: PublishedCheckpoint): Promise<string> {
  const hashes = expandProof(await prover.inclusion([leaf.index], checkpoint.size), 0);
  requireProved(leaf, hashes, checkpoint);
  return line(leaf, hashes.map(base64));
}

function line({ index, leafHash, body }: StoredLeaf, proof: readonly string[]): string {
  const text = body && { text: body.bytes.toString('utf8'), signature: body.signature };
  return `${formatExportEntry({ index, body: text, leafHash, proof })}\n`;
}

/** Proofs of neighbours from one block, as base64. */
async function proofsOf(
  leaves: readonly StoredLeaf[],
  { source, prover, checkpoint }: Pick<ExportOptions, 'source' | 'prover' | 'checkpoint'>,
): Promise<readonly (readonly string[])[]> {
  const [first] = leaves;
  if (first === undefined) return [];
  const start = first.index - (first.index % fullTileWidth);
  if (start + fullTileWidth > checkpoint.size) return edgeProofs(leaves, prover, checkpoint);
  // The block is a complete subtree: below it everything follows from its leaves, above it all proofs are the same.
  const all = leaves.length === fullTileWidth ? leaves : await source.leaves(start, start + fullTileWidth);
  requireAll(all, start, start + fullTileWidth);
  const levels = subtree(all.map((leaf) => leaf.leafHash));
  const hashes = expandProof(await prover.inclusion([first.index], checkpoint.size), 0);
  requireProved(first, [...siblings(levels, first.index - start), ...hashes.slice(blockHeight)], checkpoint);
  const above = hashes.slice(blockHeight).map(base64);
  const texts = levels.map((level) => level.map(base64));
  return leaves.map(({ index }) => [...siblings(texts, index - start), ...above]);
}

/** On the growing edge, where the tree has no regular shape. */
async function edgeProofs(
  leaves: readonly StoredLeaf[],
  prover: Prover,
  checkpoint: PublishedCheckpoint,
): Promise<readonly (readonly string[])[]> {
  const shared = await prover.inclusion(
    leaves.map(({ index }) => index),
    checkpoint.size,
  );
  return leaves.map((leaf, at) => {
    const hashes = expandProof(shared, at);
    requireProved(leaf, hashes, checkpoint);
    return hashes.map(base64);
  });
}

/** The levels of a complete subtree, leaves first, without its root. */
function subtree(leaves: readonly Buffer[]): Buffer[][] {
  const levels: Buffer[][] = [];
  for (let level = [...leaves]; level.length > 1; level = parents(level)) levels.push(level);
  return levels;
}

function parents(level: readonly Buffer[]): Buffer[] {
  const above: Buffer[] = [];
  for (let at = 0; at + 1 < level.length; at += 2) {
    const [left, right] = [level[at], level[at + 1]];
    if (left !== undefined && right !== undefined) above.push(nodeHash(left, right));
  }
  return above;
}

function siblings<T>(levels: readonly (readonly T[])[], at: number): T[] {
  return levels.flatMap((level, height) => level[Math.floor(at / 2 ** height) ^ 1] ?? []);
}

function requireAll(leaves: readonly StoredLeaf[], from: number, to: number): void {
  for (let index = from; index < to; index++) {
    if (leaves[index - from]?.index !== index) throw tampered(index, 'it is missing from the database');
  }
}

function requireAsLogged({ index, leafHash: logged, body }: StoredLeaf): void {
  if (body === undefined || leafHash(body.bytes, body.signature).equals(logged)) return;
  throw tampered(index, 'body and signature are not those whose hash was logged');
}

function requireProved(leaf: StoredLeaf, proof: readonly Buffer[], { size, root }: PublishedCheckpoint): void {
  try {
    verifyInclusion({ leafHash: leaf.leafHash, index: leaf.index, size, root, proof });
  } catch {
    throw tampered(leaf.index, 'its hash, or one of its neighbours up to the next 256, is not the one in the tree');
  }
}

function base64(hash: Buffer): string {
  return hash.toString('base64');
}
