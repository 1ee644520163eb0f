import type { KeyObject } from 'node:crypto';
import type { Checkpoint } from '../../common/checkpoint.ts';
import { assertFollows, type ChainHead, collectorAuthor, entryHash, genesis, parseEntry } from '../../common/entry.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { publicKeyFromRaw, rawPublicKey, verifyBytesAsync } from '../../common/keys.ts';
import { nodeKinds } from '../../common/kinds.ts';
import { emptyRange, encodeRange, leafHash, rootOf } from '../../common/merkle.ts';
import { fullTileWidth, type TileId } from '../../common/tiles.ts';
import { growTail, type Tail } from './tail.ts';

/*
 * Verification of a stored ledger from its entries alone: everything else that is stored and that later entries are
 * judged by (hashes, columns, tiles, tree head, chain heads, node keys) is derived again and compared. Believes nobody but the holder of the collector's key.
 */

/** An entry as it lies in the database: columns, and what was signed unless retention has dropped it. */
export interface StoredEntry {
  readonly index: number;
  readonly author: string;
  readonly seq: number;
  readonly kind: string;
  /** RFC 3339 with milliseconds. */
  readonly at: string;
  /** Hex. */
  readonly entryHash: string;
  readonly leafHash: Buffer;
  readonly body: { readonly bytes: Buffer; readonly signature: Buffer } | undefined;
}

/** The stored tree head, and how many rows there are, all as of one moment. */
export interface StoredExtent {
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
  readonly edge: Buffer;
  readonly entries: number;
  readonly tiles: number;
  /** Where the next entry of each author is going to be attached. */
  readonly heads: readonly { readonly author: string; readonly seq: number; readonly hash: string }[];
  /** Hex of the raw keys that nodes are let in with. */
  readonly keys: readonly { readonly node: string; readonly publicKey: string }[];
}

/** Where the stored rows come from. Read-only; entries may be appended while it is read. */
export interface StoredLedger {
  extent(): Promise<StoredExtent | undefined>;
  /** Entries with indexes from `from` up to but not including `to`, in order. */
  entries(from: number, to: number): Promise<readonly StoredEntry[]>;
  tiles(ids: readonly TileId[]): Promise<readonly (Buffer | undefined)[]>;
}

export interface Expectations {
  readonly origin: string;
  readonly collectorKey: KeyObject;
  /** A checkpoint kept from earlier, its signature already verified: the ledger must contain its tree. */
  readonly checkpoint?: Checkpoint | undefined;
  /** Called after every batch with the number of entries verified so far. */
  readonly onProgress?: (verified: number, size: number) => void;
}

export const faults = [
  'head',
  'missing',
  'body',
  'columns',
  'leaf_hash',
  'chain',
  'author',
  'signature',
  'tile',
  'root',
  'author_heads',
  'nodes',
  'checkpoint',
] as const;

/** The first thing that is wrong. */
export interface LedgerFault {
  readonly fault: (typeof faults)[number];
  /** The entry it was found at; null when it is about the ledger as a whole. */
  readonly index: number | null;
  readonly message: string;
}

export interface VerifyReport {
  readonly size: number;
  readonly root: Buffer;
  readonly authors: number;
  readonly fault: LedgerFault | undefined;
}

/** What is known after some prefix of the ledger. */
interface State {
  tail: Tail;
  readonly heads: Map<string, ChainHead>;
  /** The key in force for each author. */
  readonly keys: Map<string, KeyObject>;
}

/** Thrown inside this module to get out of nested steps with the first fault. */
class Found extends Error {
  readonly found: LedgerFault;

  constructor(fault: LedgerFault['fault'], index: number | null, message: string) {
    super(message);
    this.found = { fault, index, message };
  }
}

/** The parts of an entry that every version of it has; bodies of kinds that do not matter here are not looked into. */
interface Outline {
  readonly author: string;
  readonly seq: number;
  readonly prev: string;
  readonly at: string;
  readonly kind: string;
}

const batchEntries = 1_024;

/** Verifies all that is stored. Streams: memory does not grow with the ledger. Rejects only when it cannot read. */
export async function verifyLedger(stored: StoredLedger, expected: Expectations): Promise<VerifyReport> {
  const tail: Tail = { head: { origin: expected.origin, range: emptyRange }, partial: [] };
  const state: State = { tail, heads: new Map(), keys: new Map([[collectorAuthor, expected.collectorKey]]) };
  const fault = await firstFault(stored, expected, state);
  const { range } = state.tail.head;
  return { size: range.size, root: rootOf(range), authors: state.heads.size, fault };
}

async function firstFault(
  stored: StoredLedger,
  expected: Expectations,
  state: State,
): Promise<LedgerFault | undefined> {
  try {
    const extent = await stored.extent();
    if (extent === undefined) throw new Found('head', null, 'the ledger has no tree head');
    checkExtent(extent, expected);
    await verifyEntries(stored, expected, state, extent.size);
    checkHead(extent, state);
    checkAuthors(extent, state);
    return undefined;
  } catch (thrown) {
    if (thrown instanceof Found) return thrown.found;
    throw thrown;
  }
}

function checkExtent({ origin, size, entries, tiles }: StoredExtent, { checkpoint, ...expected }: Expectations): void {
  if (origin !== expected.origin) {
    throw new Found('head', null, `the tree head is of ${origin}, not of ${expected.origin}`);
  }
  if (checkpoint !== undefined && checkpoint.size > size) {
    const message = `the checkpoint knows ${checkpoint.size} entries, the ledger has only ${size}: entries were removed`;
    throw new Found('checkpoint', null, message);
  }
  if (entries > size) throw new Found('head', size, `${entries} entries are stored, the tree head counts ${size}`);
  const due = fullTiles(size);
  if (tiles > due) throw new Found('tile', null, `${tiles} full tiles are stored, a ledger of this size has ${due}`);
}

function fullTiles(size: number): number {
  let count = 0;
  for (let width = fullTileWidth; width <= size; width *= fullTileWidth) count += Math.floor(size / width);
  return count;
}

async function verifyEntries(stored: StoredLedger, expected: Expectations, state: State, size: number): Promise<void> {
  const { checkpoint } = expected;
  if (checkpoint?.size === 0) checkCheckpoint(checkpoint, state);
  for (let from = 0; from < size; from = state.tail.head.range.size) {
    // A batch ends where the checkpoint's tree ends, so that its root can be compared with that very prefix.
    const stop = checkpoint !== undefined && checkpoint.size > from ? checkpoint.size : size;
    const to = Math.min(from + batchEntries, stop, size);
    const entries = await stored.entries(from, to);
    const complete = await verifyBatch(entries, { from, to }, expected, state);
    await checkTiles(stored, complete);
    if (checkpoint?.size === to) checkCheckpoint(checkpoint, state);
    expected.onProgress?.(to, size);
  }
}

/** @returns the tiles that the batch completes. */
async function verifyBatch(
  entries: readonly StoredEntry[],
  { from, to }: { from: number; to: number },
  expected: Expectations,
  state: State,
) {
  const signatures: Promise<Found | undefined>[] = [];
  let found: Found | undefined;
  try {
    for (let index = from; index < to; index++) {
      signatures.push(verifyEntry(entries[index - from], index, expected, state));
    }
  } catch (thrown) {
    if (!(thrown instanceof Found)) throw thrown;
    found = thrown;
  }
  // Signatures of earlier entries come first: the fault that is told is the first one in the ledger.
  const forged = (await Promise.all(signatures)).find((fault) => fault !== undefined);
  if (forged !== undefined) throw forged;
  if (found !== undefined) throw found;
  const grown = growTail(
    state.tail,
    entries.map((entry) => entry.leafHash),
  );
  state.tail = grown.tail;
  return grown.tiles;
}

/** Checks all but the signature at once; that is checked on the thread pool meanwhile. */
function verifyEntry(
  entry: StoredEntry | undefined,
  index: number,
  expected: Expectations,
  state: State,
): Promise<Found | undefined> {
  if (entry?.index !== index) throw new Found('missing', index, 'the entry is missing');
  if (entry.body === undefined) throw new Found('body', index, 'the body of the entry is missing');
  const { bytes, signature } = entry.body;
  if (!leafHash(bytes, signature).equals(entry.leafHash)) {
    throw new Found('leaf_hash', index, 'body and signature are not those whose hash was logged');
  }
  const outline = readOutline(bytes, index);
  checkColumns(entry, outline, entryHash(bytes));
  checkChain(outline, index, state);
  const key = keyInForce(outline, index, state);
  learn(outline, bytes, index, expected, state);
  state.heads.set(outline.author, { seq: outline.seq, hash: entry.entryHash });
  return verifyBytesAsync(key, bytes, signature).then((valid) =>
    valid ? undefined : new Found('signature', index, `not signed by the key of ${outline.author}`),
  );
}

function readOutline(bytes: Buffer, index: number): Outline {
  try {
    const { author, seq, prev, at, kind } = JSON.parse(bytes.toString('utf8'));
    if ([author, prev, at, kind].every((text) => typeof text === 'string') && Number.isSafeInteger(seq)) {
      return { author, seq, prev, at, kind };
    }
  } catch {
    // Told below, like JSON that is no entry.
  }
  throw new Found('body', index, 'the body is not an entry');
}

function checkColumns(entry: StoredEntry, outline: Outline, hash: string): void {
  const pairs = [
    ['author', entry.author, outline.author],
    ['seq', entry.seq, outline.seq],
    ['kind', entry.kind, outline.kind],
    ['at', entry.at, outline.at],
    ['entry_hash', entry.entryHash, hash],
  ] as const;
  for (const [column, stored, signed] of pairs) {
    if (stored === signed) continue;
    throw new Found('columns', entry.index, `column ${column} says ${stored}, the signed entry says ${signed}`);
  }
}

function checkChain(outline: Outline, index: number, { heads }: State): void {
  try {
    assertFollows(heads.get(outline.author) ?? genesis, outline);
  } catch (thrown) {
    throw new Found('chain', index, toAppError(thrown).message);
  }
}

function keyInForce({ author, kind }: Outline, index: number, { keys }: State): KeyObject {
  const mayAuthor = author === collectorAuthor ? !isNodeKind(kind) : isNodeKind(kind);
  if (!mayAuthor) throw new Found('author', index, `${author} may not make a ${kind} entry`);
  const key = keys.get(author);
  if (key === undefined) throw new Found('author', index, `${author} had no key in force at this entry`);
  return key;
}

function isNodeKind(kind: string): boolean {
  const kinds: ReadonlySet<string> = nodeKinds;
  return kinds.has(kind);
}

/** Takes note of what the entry says about keys; the few entries that do are read in full. */
function learn(outline: Outline, bytes: Buffer, index: number, expected: Expectations, { keys }: State): void {
  const first = outline.kind === 'ledger.created';
  if (first !== (index === 0)) {
    throw new Found('author', index, 'the first entry, and no other, is the one that creates the ledger');
  }
  if (!first && outline.kind !== 'node.enrolled' && outline.kind !== 'node.revoked') return;
  const { kind, body } = parseOrFail(bytes, index);
  if (kind === 'ledger.created') checkCreation(body, expected);
  if (kind === 'node.enrolled') keys.set(body.node, keyOrFail(body.publicKey, index));
  if (kind === 'node.revoked') keys.delete(body.node);
}

function checkCreation(body: { origin: string; collectorKey: string }, { origin, collectorKey }: Expectations): void {
  if (body.origin !== origin) throw new Found('author', 0, `the ledger was created as ${body.origin}, not ${origin}`);
  if (body.collectorKey === rawPublicKey(collectorKey).toString('base64')) return;
  throw new Found('author', 0, "the ledger was created under another key than this collector's");
}

function parseOrFail(bytes: Buffer, index: number) {
  try {
    return parseEntry(bytes);
  } catch (thrown) {
    throw new Found('body', index, toAppError(thrown).message);
  }
}

function keyOrFail(publicKey: string, index: number): KeyObject {
  try {
    return publicKeyFromRaw(Buffer.from(publicKey, 'base64'));
  } catch (thrown) {
    throw new Found('body', index, toAppError(thrown).message);
  }
}

async function checkTiles(stored: StoredLedger, complete: readonly (TileId & { hashes: Buffer })[]): Promise<void> {
  if (complete.length === 0) return;
  const found = await stored.tiles(complete.map(({ level, index }) => ({ level, index })));
  complete.forEach(({ level, index, hashes }, i) => {
    const tile = found[i];
    if (tile?.equals(hashes)) return;
    const first = index * fullTileWidth ** (level + 1);
    const problem = tile === undefined ? 'is missing' : 'does not follow from the entries below it';
    throw new Found('tile', first, `tile ${index} of level ${level}, which begins at this entry, ${problem}`);
  });
}

function checkCheckpoint({ size, root }: Checkpoint, { tail }: State): void {
  if (rootOf(tail.head.range).equals(root)) return;
  const message = `the first ${size} entries do not lead to the root in the checkpoint: history was rewritten`;
  throw new Found('checkpoint', null, message);
}

function checkHead({ root, edge }: StoredExtent, { tail }: State): void {
  const { range } = tail.head;
  if (!rootOf(range).equals(root)) throw new Found('root', null, 'the stored root does not follow from the entries');
  if (encodeRange(range).equals(edge)) return;
  throw new Found('root', null, 'the stored right edge of the tree does not follow from the entries');
}

/** What the next entries are going to be checked against: changed there, the ledger would go wrong from its own next entry on. */
function checkAuthors({ heads, keys }: StoredExtent, state: State): void {
  const said = ({ seq, hash }: ChainHead) => `${seq} (${hash.slice(0, 16)})`;
  compareSets(
    new Map(heads.map(({ author, ...head }) => [author, said(head)])),
    new Map([...state.heads].map(([author, head]) => [author, said(head)])),
    (author, stored, derived) => {
      const message = `the stored chain head of ${author} is ${stored ?? 'missing'}, the entries lead to ${derived ?? 'none'}`;
      return new Found('author_heads', null, message);
    },
  );
  const enrolled = [...state.keys].filter(([author]) => author !== collectorAuthor);
  compareSets(
    new Map(keys.map(({ node, publicKey }) => [node, publicKey])),
    new Map(enrolled.map(([node, key]) => [node, rawPublicKey(key).toString('hex')])),
    (node, stored, derived) => {
      const shown = (key: string | undefined) => (key === undefined ? 'none' : key.slice(0, 16));
      return new Found(
        'nodes',
        null,
        `the stored key of ${node} is ${shown(stored)}, by the entries ${shown(derived)}`,
      );
    },
  );
}

/** @throws what `differs` makes of the first name whose values are not the same. */
function compareSets(
  stored: ReadonlyMap<string, string>,
  derived: ReadonlyMap<string, string>,
  differs: (name: string, stored: string | undefined, derived: string | undefined) => Found,
): void {
  for (const name of new Set([...stored.keys(), ...derived.keys()])) {
    const [found, expected] = [stored.get(name), derived.get(name)];
    if (found !== expected) throw differs(name, found, expected);
  }
}

/** The fault as an error, for callers that want to fail on it. */
export function tampered({ index, message }: LedgerFault): AppError {
  const where = index === null ? 'the ledger' : `entry ${index}`;
  return new AppError('ledger.tampered', `${where}: ${message}`, { details: { index } });
}
