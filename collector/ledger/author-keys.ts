import type { KeyObject } from 'node:crypto';
import { collectorAuthor } from '../../common/entry.ts';
import { publicKeyFromRaw } from '../../common/keys.ts';
import { collectorKinds, kinds, nodeKinds, type Statement } from '../../common/kinds.ts';
import type { VerifierKey } from '../../common/note.ts';
import type { Policy } from '../../common/policy.ts';
import { nodeWitnessName } from '../../common/witnesses.ts';

const allKinds: ReadonlySet<string> = new Set(kinds);
const kindsOfNodes: ReadonlySet<string> = nodeKinds;
const kindsOfCollector: ReadonlySet<string> = collectorKinds;

/** The parts of an entry that every version of it has. */
export interface Outline {
  readonly author: string;
  readonly seq: number;
  readonly prev: string;
  readonly at: string;
  readonly kind: string;
}

/** The key an entry has to be signed with; without one, why. */
export type AuthorKey =
  | { readonly key: KeyObject; readonly from: 'log' | 'ledger' | 'policy' }
  | { readonly key: undefined; readonly why: 'revoked' | 'unknown' };

/** Reads nothing but the outline: entries of kinds that a later version knows are proved just the same. */
export function readOutline(text: string): Outline | undefined {
  try {
    const { author, seq, prev, at, kind } = JSON.parse(text);
    if ([author, prev, at, kind].every((member) => typeof member === 'string') && Number.isSafeInteger(seq)) {
      return { author, seq, prev, at, kind };
    }
  } catch {
    // Told by the caller, like JSON that is no entry.
  }
  return undefined;
}

/** Whether a known kind is that of another author: a node's in the collector's name, or the other way round. */
export function isForeignKind({ author, kind }: Pick<Outline, 'author' | 'kind'>): boolean {
  return allKinds.has(kind) && !(author === collectorAuthor ? kindsOfCollector : kindsOfNodes).has(kind);
}

/**
 * Whose key counts while entries are read in order. The collector signs with the log's key. A node's key is the one it was
 * enrolled with by entries read before; without any, the one it witnesses with by the policy.
 */
export class AuthorKeys {
  readonly #logKey: VerifierKey;
  readonly #byPolicy = new Map<string, KeyObject>();
  /** By the entries; undefined once revoked. */
  readonly #byLedger = new Map<string, KeyObject | undefined>();

  constructor(logKey: VerifierKey, { witnesses }: Pick<Policy, 'witnesses'>) {
    this.#logKey = logKey;
    for (const { key } of witnesses) this.#byPolicy.set(key.name, key.publicKey);
  }

  of(author: string): AuthorKey {
    if (author === collectorAuthor) return { key: this.#logKey.publicKey, from: 'log' };
    const enrolled = this.#byLedger.get(author);
    if (enrolled !== undefined) return { key: enrolled, from: 'ledger' };
    if (this.#byLedger.has(author)) return { key: undefined, why: 'revoked' };
    const known = this.#byPolicy.get(nodeWitnessName(this.#logKey.name, author));
    return known === undefined ? { key: undefined, why: 'unknown' } : { key: known, from: 'policy' };
  }

  /** @throws AppError `auth.signature` for an enrolment with something that is no key. */
  learn(statement: Statement): void {
    if (statement.kind === 'node.enrolled') {
      const { node, publicKey } = statement.body;
      this.#byLedger.set(node, publicKeyFromRaw(Buffer.from(publicKey, 'base64')));
    }
    if (statement.kind === 'node.revoked') this.#byLedger.set(statement.body.node, undefined);
  }
}
