import { hash, type KeyObject } from 'node:crypto';
import { collectorAuthor, parseEntry } from '../../../common/entry.ts';
import { toAppError } from '../../../common/errors.ts';
import { signatureBytes } from '../../../common/keys.ts';
import { collectorKinds, nodeKinds } from '../../../common/kinds.ts';
import { type Author, type Authors, base64Key } from './authors.ts';
import type { Erasures } from './erasures.ts';
import { Found, shortened } from './fault.ts';
import { hasOutline, type Outline, readOutline, TimeReader } from './outline.ts';
import type { StoredBody, StoredEntry } from './source.ts';

/** Kinds that later entries are judged by. Retention keeps their bodies. */
export const keptKinds: ReadonlySet<string> = new Set([
  'ledger.created',
  'node.enrolled',
  'node.revoked',
  'ledger.erased',
]);
const kindsOfNodes: ReadonlySet<string> = nodeKinds;
const kindsOfCollector: ReadonlySet<string> = collectorKinds;
/** Of what is hashed as a leaf, RFC 6962 §2.1. */
const leafPrefix = 0x00;
const leafPrefixBytes = 1;

export interface EntryRules {
  readonly origin: string;
  readonly collectorKey: KeyObject;
  readonly authors: Authors;
  readonly erasures: Erasures;
}

/** Checks entries in their order, each against its own body and against what the entries before it lead to. */
export class EntryCheck {
  readonly #rules: EntryRules;
  readonly #times = new TimeReader();

  constructor(rules: EntryRules) {
    this.#rules = rules;
  }

  /**
   * All but the signature.
   * @returns the key that must have made it; undefined where the body was erased.
   * @throws Found
   */
  check(entry: StoredEntry, index: number): KeyObject | undefined {
    if (entry.index !== index) throw misplaced(entry.index, index);
    const { body, misfit } = entry;
    if (misfit !== undefined) throw new Found('columns', index, `the row that the entry stands in ${misfit}`);
    if (body === undefined) {
      this.#checkErased(entry);
      return undefined;
    }
    if (body.leaf.length !== leafPrefixBytes + body.length + signatureBytes) {
      throw new Found('body', index, 'body and signature do not lie where their row says');
    }
    if (body.leaf[0] !== leafPrefix || hash('sha256', body.leaf, 'binary') !== entry.leafHash) {
      throw new Found('leaf_hash', index, `body and signature are not those whose hash was logged${hint(entry, body)}`);
    }
    return this.#checkBody(entry, signedBytes(body));
  }

  #checkBody(entry: StoredEntry, bytes: Buffer): KeyObject {
    const { index, kind } = entry;
    const author = this.#rules.authors.get(entry.author);
    const hashed = hash('sha256', bytes, 'hex');
    const next = { author: entry.author, kind, prev: author.hash, seq: author.seq + 1 };
    const asExpected =
      hashed === entry.entryHash &&
      entry.seq === next.seq &&
      entry.atMicros === 0 &&
      hasOutline(bytes, next, entry.atMs, this.#times);
    if (!asExpected) this.#checkOutline(entry, bytes, hashed);
    if (entry.outOfTime) throw new Found('columns', index, outOfTime);
    const key = this.#keyInForce(author, entry, index);
    if (index === 0 || keptKinds.has(kind)) this.#learn(bytes, entry);
    advance(author, entry);
    return key;
  }

  /** The long way: for entries laid out in another way, and to say what is wrong. */
  #checkOutline(entry: StoredEntry, bytes: Buffer, hashed: string): void {
    const { index, atMs, atMicros } = entry;
    const outline = readOutline(bytes);
    if (outline === undefined) throw new Found('body', index, 'the body is not an entry');
    const sameTime = atMicros === 0 && atMs === Date.parse(outline.at);
    const pairs = [
      ['author', entry.author, outline.author],
      ['seq', entry.seq, outline.seq],
      ['kind', entry.kind, outline.kind],
      ['at', sameTime ? outline.at : timeText(entry), outline.at],
      ['entry_hash', entry.entryHash, hashed],
    ] as const;
    for (const [column, stored, signed] of pairs) {
      if (stored === signed) continue;
      const [says, said] = [shortened(`${stored}`), shortened(`${signed}`)];
      throw new Found('columns', index, `column ${column} says ${says}, the signed entry says ${said}`);
    }
    follow(this.#rules.authors.get(outline.author), outline, index);
  }

  #keyInForce(author: Author, said: Pick<StoredEntry, 'author' | 'kind'>, index: number): KeyObject {
    const allowed = said.author === collectorAuthor ? kindsOfCollector : kindsOfNodes;
    if (!allowed.has(said.kind)) {
      throw new Found('author', index, `${said.author} may not make a ${said.kind} entry`);
    }
    if (author.key === undefined) throw new Found('author', index, `${said.author} had no key in force at this entry`);
    return author.key;
  }

  /** The few entries that later ones are judged by are read in full. */
  #learn(bytes: Buffer, { index, atMs }: StoredEntry): void {
    const { authors } = this.#rules;
    const { kind, body } = parseOrFail(bytes, index);
    if ((kind === 'ledger.created') !== (index === 0)) {
      throw new Found('author', index, 'the first entry, and no other, is the one that creates the ledger');
    }
    if (kind === 'ledger.created') this.#checkCreation(body);
    if (kind === 'node.enrolled') authors.enrol(body, { index, ms: atMs });
    if (kind === 'node.revoked') authors.revoke(body.node, { index, ms: atMs });
  }

  #checkCreation(body: { readonly origin: string; readonly collectorKey: string }): void {
    const { origin, collectorKey } = this.#rules;
    if (body.origin !== origin) throw new Found('author', 0, `the ledger was created as ${body.origin}, not ${origin}`);
    if (body.collectorKey === base64Key(collectorKey)) return;
    throw new Found('author', 0, "the ledger was created under another key than this collector's");
  }

  /** Its leaf hash is still in the tree, and its place in the chain must still be the next one; no more can be known. */
  #checkErased(entry: StoredEntry): void {
    const { index, author, kind } = entry;
    const { erasures } = this.#rules;
    if (!erasures.covers(index)) throw erasures.uncovered(index);
    if (entry.outOfTime) throw new Found('columns', erasures.spanAt(index), outOfTime);
    if (keptKinds.has(kind)) throw new Found('body', index, `the body is missing, which no ${kind} entry may lose`);
    const known = this.#rules.authors.get(author);
    this.#keyInForce(known, entry, index);
    if (entry.seq !== known.seq + 1) {
      throw new Found('chain', index, `entry of ${author} has number ${entry.seq}; the chain stands at ${known.seq}`);
    }
    advance(known, entry);
  }
}

const outOfTime = 'times of entries that share a row are not in order, or too far from one another';

/** A body that lies in a wrong place is in itself in order, and says which one it is. */
function hint(entry: StoredEntry, body: StoredBody): string {
  const bytes = signedBytes(body);
  if (hash('sha256', bytes, 'hex') === entry.entryHash) return ': the signature or the logged hash was changed';
  const outline = readOutline(bytes);
  if (outline === undefined || (outline.author === entry.author && outline.seq === entry.seq)) return '';
  return `: the body is that of entry ${outline.seq} of ${shortened(outline.author)}, where entry ${entry.seq} of ${shortened(entry.author)} belongs`;
}

function misplaced(found: number, index: number): Found {
  if (found < index) return new Found('duplicate', found, 'the entry, or its body, is there twice');
  return new Found('missing', index, 'the entry is missing');
}

function follow(author: Author, { author: name, seq, prev }: Outline, index: number): void {
  if (seq === author.seq + 1 && prev === author.hash) return;
  const what = seq === author.seq + 1 ? 'names another predecessor' : `has number ${seq}`;
  throw new Found('chain', index, `entry of ${name} ${what}; the chain stands at ${author.seq}`);
}

function advance(author: Author, { seq, entryHash, index }: StoredEntry): void {
  author.seq = seq;
  author.hash = entryHash;
  author.index = index;
}

function parseOrFail(bytes: Buffer, index: number) {
  try {
    return parseEntry(bytes);
  } catch (thrown) {
    throw new Found('body', index, toAppError(thrown).message);
  }
}

function timeText({ atMs, atMicros }: StoredEntry): string {
  const valid = Math.abs(atMs) <= 8.64e15;
  return valid
    ? `${new Date(atMs).toISOString().slice(0, -1)}${String(atMicros).padStart(3, '0')}Z`
    : 'no time of ours';
}

/** The canonical bytes. */
export function signedBytes({ leaf, length }: StoredBody): Buffer {
  return leaf.subarray(leafPrefixBytes, leafPrefixBytes + length);
}

export function signatureOf({ leaf, length }: StoredBody): Buffer {
  return leaf.subarray(leafPrefixBytes + length);
}
