import type { KeyObject } from 'node:crypto';
import { collectorAuthor, genesis } from '../../../common/entry.ts';
import { toAppError } from '../../../common/errors.ts';
import { publicKeyFromRaw, rawPublicKey } from '../../../common/keys.ts';
import type { StatementOf } from '../../../common/kinds.ts';
import { Found } from './fault.ts';
import type { StoredExtent } from './source.ts';

/** An author as the entries so far make him. */
export interface Author {
  /** The chain's last entry: its number, hex hash and index; 0, the genesis hash and -1 without one. */
  seq: number;
  hash: string;
  index: number;
  /** The key in force. */
  key: KeyObject | undefined;
}

/** What the entries say about a node's keys; times in milliseconds since the Unix epoch. */
export interface Enrolment {
  /** Base64 of the raw key, as enrolled. */
  readonly publicKey: string;
  readonly fingerprint: string;
  readonly enrolledMs: number;
  readonly enrolledIndex: number;
  readonly firstIndex: number;
  readonly revoked: { readonly ms: number; readonly index: number } | null;
}

/** Chains and keys after some first part of the ledger. */
export class Authors {
  readonly #authors = new Map<string, Author>();
  readonly #nodes = new Map<string, Enrolment>();

  constructor(collectorKey: KeyObject) {
    this.get(collectorAuthor).key = collectorKey;
  }

  get all(): ReadonlyMap<string, Author> {
    return this.#authors;
  }

  get nodes(): ReadonlyMap<string, Enrolment> {
    return this.#nodes;
  }

  /** Authors who have said something. */
  get count(): number {
    let count = 0;
    for (const { seq } of this.#authors.values()) count += seq > 0 ? 1 : 0;
    return count;
  }

  get(name: string): Author {
    const known = this.#authors.get(name);
    if (known !== undefined) return known;
    const author: Author = { ...genesis, index: -1, key: undefined };
    this.#authors.set(name, author);
    return author;
  }

  enrol(
    { node, publicKey, fingerprint }: StatementOf<'node.enrolled'>['body'],
    at: { index: number; ms: number },
  ): void {
    const firstIndex = this.#nodes.get(node)?.firstIndex ?? at.index;
    this.restoreNode(node, {
      publicKey,
      fingerprint,
      enrolledMs: at.ms,
      enrolledIndex: at.index,
      firstIndex,
      revoked: null,
    });
  }

  revoke(node: string, at: { index: number; ms: number }): void {
    this.get(node).key = undefined;
    const enrolment = this.#nodes.get(node);
    if (enrolment?.revoked === null) this.#nodes.set(node, { ...enrolment, revoked: at });
  }

  /** @throws Found for a key that is none. */
  restoreNode(node: string, enrolment: Enrolment): void {
    this.#nodes.set(node, enrolment);
    this.get(node).key = enrolment.revoked === null ? keyOf(enrolment) : undefined;
  }
}

function keyOf({ publicKey, enrolledIndex }: Enrolment): KeyObject {
  try {
    return publicKeyFromRaw(Buffer.from(publicKey, 'base64'));
  } catch (thrown) {
    throw new Found('body', enrolledIndex, toAppError(thrown).message);
  }
}

/**
 * What the next entries are going to be judged by: changed there, the ledger would go wrong from its own next entry on.
 * @throws Found
 */
export function checkAuthors({ heads, nodes }: StoredExtent, authors: Authors): void {
  const spoken = [...authors.all].filter(([, { seq }]) => seq > 0);
  compare(
    'author_heads',
    'chain head',
    heads.map(({ author, ...head }) => [author, { ...head }]),
    spoken.map(([author, { seq, hash, index }]) => [author, { seq: `${seq}`, hash, index: `${index}` }, index]),
  );
  compare(
    'nodes',
    'node',
    nodes.map(({ node, ...enrolment }) => [node, { ...enrolment }]),
    [...authors.nodes].map(([node, enrolment]) => [node, asStored(enrolment), enrolment.enrolledIndex]),
  );
}

function asStored({ publicKey, fingerprint, enrolledMs, enrolledIndex, firstIndex, revoked }: Enrolment) {
  return {
    publicKey: Buffer.from(publicKey, 'base64').toString('hex'),
    fingerprint,
    enrolledAt: micros(enrolledMs),
    enrolledIndex: `${enrolledIndex}`,
    firstIndex: `${firstIndex}`,
    revokedAt: revoked === null ? null : micros(revoked.ms),
  };
}

/** Exact beyond 2^53 too. */
function micros(ms: number): string {
  return String(BigInt(ms) * 1_000n);
}

type Columns = Readonly<Record<string, string | null>>;

/** @throws Found naming the first author, in the order of the ledger, whose row is not what the entries lead to. */
function compare(
  fault: 'author_heads' | 'nodes',
  what: string,
  stored: readonly (readonly [name: string, Columns])[],
  derived: readonly (readonly [name: string, Columns, index: number])[],
): void {
  const rows = new Map(stored);
  for (const [name, expected, index] of [...derived].sort((a, b) => a[2] - b[2])) {
    const found = rows.get(name);
    if (found === undefined) throw new Found(fault, index, `the row of the ${what} ${name} is missing`);
    for (const [column, value] of Object.entries(expected)) {
      if (found[column] === value) continue;
      const message = `${column} of the ${what} ${name} is ${shown(found[column])}, the entries lead to ${shown(value)}`;
      throw new Found(fault, index, message);
    }
    rows.delete(name);
  }
  const [extra] = rows.keys();
  if (extra !== undefined) throw new Found(fault, null, `there is a ${what} ${extra} that no entry leads to`);
  if (stored.length > derived.length) throw new Found(fault, null, `a row of a ${what} is there twice`);
}

function shown(value: string | null | undefined): string {
  if (value === null || value === undefined) return 'none';
  return value.length > 24 ? `${value.slice(0, 16)}...` : value;
}

/** Raw key in base64, as entries carry it. */
export function base64Key(key: KeyObject): string {
  return rawPublicKey(key).toString('base64');
}
