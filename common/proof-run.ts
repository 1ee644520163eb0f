import { decodeBase64Hash } from './encoding.ts';
import { AppError } from './errors.ts';
import { largestPowerOfTwo, nodeHash } from './merkle.ts';

/** The way from the root down to a leaf of RFC 6962's tree: at each node, whether it goes on to the right. */
type Turns = readonly boolean[];

/** A verified proof, by depth: 0 is the root, `turns.length` the leaf. */
interface Way {
  readonly turns: Turns;
  /** Hashes on the way. */
  readonly nodes: Buffer[];
  /** Hash and spelling of the other child of the node above; nothing at depth 0. */
  readonly siblings: (Buffer | undefined)[];
  readonly texts: (string | undefined)[];
}

/**
 * Verifies inclusion proofs in one tree (RFC 9162 §2.1.3.2), one after another. What a proof shares with the last good one is
 * compared and not hashed again, so that neighbours cost about two hashes each instead of one per level. Accepts exactly
 * what `verifyInclusion` accepts.
 */
export class InclusionRun {
  readonly #size: number;
  readonly #root: Buffer;
  #last: Way | undefined;

  constructor({ size, root }: { readonly size: number; readonly root: Buffer }) {
    this.#size = size;
    this.#root = root;
  }

  /**
   * @param proof base64, the leaf's sibling first.
   * @throws AppError `ledger.proof` unless it proves that leaf `index` of the tree has the hash `leaf`.
   */
  verify(index: number, leaf: Buffer, proof: readonly string[]): void {
    if (index >= this.#size) throw refused(`there is no index ${index} in a tree of size ${this.#size}`);
    const turns = turnsTo(index, this.#size);
    const depth = turns.length;
    if (proof.length !== depth) throw refused(`the proof has ${proof.length} hashes where there must be ${depth}`);
    const last = this.#last;
    const shared = last === undefined ? 0 : commonLength(last.turns, turns);
    // Of the same leaf nothing would be left to hash, and its hash has to be.
    this.#last =
      last === undefined || shared === depth
        ? this.#climb(turns, leaf, proof)
        : join(last, shared, { turns, leaf, proof });
  }

  #climb(turns: Turns, leaf: Buffer, proof: readonly string[]): Way {
    const way: Way = { turns, nodes: [], siblings: [], texts: [] };
    const top = climbTo(0, way, { turns, leaf, proof });
    if (!top.equals(this.#root)) throw refused('the proof does not lead to the root of the checkpoint');
    return way;
  }
}

interface Claim {
  readonly turns: Turns;
  readonly leaf: Buffer;
  readonly proof: readonly string[];
}

/** The way of a claim that parts from the last one at depth `shared`: there, each ends in what is the other's sibling. */
function join(last: Way, shared: number, claim: Claim): Way {
  const { turns, proof } = claim;
  const depth = turns.length;
  for (let at = 1; at <= shared; at++) {
    if (proof[depth - at] !== last.texts[at])
      throw refused('a hash of the proof is not the one that was proved before');
  }
  const way: Way = { turns, nodes: [], siblings: [], texts: [] };
  const reached = climbTo(shared + 1, way, claim);
  const [met, passed] = [last.siblings[shared + 1], last.nodes[shared + 1]];
  if (met === undefined || passed === undefined) throw new AppError('internal.error', 'a verified proof has gaps');
  if (!reached.equals(met)) throw refused('the proof does not lead to a hash that was proved before');
  if (way.siblings[shared + 1]?.equals(passed) !== true) {
    throw refused('a hash of the proof is not the one that was proved before');
  }
  for (let at = 0; at <= shared; at++) {
    way.nodes[at] = last.nodes[at] ?? reached;
    way.siblings[at] = last.siblings[at];
    way.texts[at] = last.texts[at];
  }
  return way;
}

/** Hashes from the leaf up to the node at depth `top`, filling `way` from there down. @returns that node's hash. */
function climbTo(top: number, way: Way, { turns, leaf, proof }: Claim): Buffer {
  const depth = turns.length;
  let hash = leaf;
  for (let at = depth; at >= top; at--) {
    way.nodes[at] = hash;
    if (at === 0) break;
    const text = proof[depth - at] ?? '';
    const sibling = decodeBase64Hash(text);
    if (sibling === undefined) throw refused('a hash of the proof is not the base64 of a SHA-256 hash');
    way.siblings[at] = sibling;
    way.texts[at] = text;
    if (at > top) hash = turns[at - 1] === true ? nodeHash(sibling, hash) : nodeHash(hash, sibling);
  }
  return hash;
}

function turnsTo(index: number, size: number): Turns {
  const turns: boolean[] = [];
  let [at, leaves] = [index, size];
  let left = largestPowerOfTwo(Math.max(1, leaves - 1));
  while (leaves > 1) {
    while (left >= leaves) left /= 2;
    const right = at >= left;
    turns.push(right);
    at = right ? at - left : at;
    leaves = right ? leaves - left : left;
  }
  return turns;
}

function commonLength(a: Turns, b: Turns): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length += 1;
  return length;
}

function refused(message: string): AppError {
  return new AppError('ledger.proof', message);
}
