import {
  appendLeaves,
  type CompactRange,
  coveringNodes,
  emptyRange,
  emptyRoot,
  leafHash,
  type NodeId,
  nodeHash,
} from '../../common/merkle.ts';
import type { HashReader } from '../../common/proof.ts';

/** A tree to prove things about: every complete subtree can be read from it. */
export interface Tree {
  readonly range: CompactRange;
  readonly reader: HashReader;
}

/** The leaf hash of a leaf that says its index. */
export function numberedLeaf(index: number): Buffer {
  return leafHash(Buffer.from(`leaf ${index}`));
}

export function numberedLeaves(count: number, from = 0): Buffer[] {
  return Array.from({ length: count }, (_, i) => numberedLeaf(from + i));
}

/** MTH(D[n]) of RFC 6962 §2.1, word by word. */
export function naiveRoot(leaves: readonly Buffer[]): Buffer {
  const [only] = leaves;
  if (only === undefined) return emptyRoot;
  if (leaves.length === 1) return only;
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return nodeHash(naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k)));
}

export function treeOf(leaves: readonly Buffer[]): Tree {
  return grow({ range: emptyRange, reader: { read: () => Promise.reject(new Error('nothing to read')) } }, leaves);
}

/**
 * A tree whose first `size` leaves are all the same, so that any of its nodes is known from its level alone, and
 * that can therefore be as large as one likes.
 */
export function uniformTree(size: number): Tree {
  const levels = [numberedLeaf(0)];
  for (let level = 0; level < 53; level++) {
    const below = levels[level] ?? emptyRoot;
    levels.push(nodeHash(below, below));
  }
  const hashOf = (node: NodeId) => levels[node.level] ?? emptyRoot;
  return {
    range: { size, hashes: coveringNodes(0, size).map(hashOf) },
    reader: { read: (nodes) => Promise.resolve(nodes.map(hashOf)) },
  };
}

/** `tree` with leaves appended, whose nodes are read from memory and all others from the tree before. */
export function grow(tree: Tree, leaves: readonly Buffer[]): Tree {
  const added = new Map<string, Buffer>();
  const range = appendLeaves(tree.range, leaves, (node, hash) => added.set(`${node.level}/${node.index}`, hash));
  const readOne = async (node: NodeId): Promise<Buffer[]> => {
    const hash = added.get(`${node.level}/${node.index}`);
    return hash === undefined ? [...(await tree.reader.read([node]))] : [hash];
  };
  return { range, reader: { read: async (nodes) => (await Promise.all(nodes.map(readOne))).flat() } };
}

/** The reader, with a count of its calls and of the hashes asked for. */
export function counting(reader: HashReader): HashReader & { calls: number; nodes: number } {
  return {
    calls: 0,
    nodes: 0,
    read(nodes) {
      this.calls += 1;
      this.nodes += nodes.length;
      return reader.read(nodes);
    },
  };
}
