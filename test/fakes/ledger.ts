import type { KeyObject } from 'node:crypto';
import type { Placed, SessionLedger } from '../../collector/ws/ports.ts';
import { type Checkpoint, openCheckpoint, signCheckpoint } from '../../common/checkpoint.ts';
import {
  type ChainHead,
  entryHash,
  genesis,
  genesisHash,
  headAfter,
  leafData,
  type SignedEntry,
} from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { generateKeyPair, type KeyPair } from '../../common/keys.ts';
import { appendLeaves, type CompactRange, emptyRange, leafHash, type NodeId, rootOf } from '../../common/merkle.ts';
import { formatVerifierKey, noteSigner, signatureTypes, verifierKey } from '../../common/note.ts';
import { consistencyProof, type HashReader, inclusionProofs } from '../../common/proof.ts';

export interface MemoryLedger extends SessionLedger {
  readonly vkey: string;
  /** Takes entries under any key. */
  append(entries: readonly SignedEntry[], signedWith?: KeyObject): Promise<readonly Placed[]>;
  /** What is in the log, by index. */
  readonly entries: readonly SignedEntry[];
  /** Calls of `append`, the repeated ones included. */
  readonly appends: number;
  /** The next `times` appends are refused as busy. */
  busy(times: number): void;
  /** The next append is committed, but its caller only learns that something broke. */
  loseReply(): void;
  /** Calls back after each append, once it is committed and before the caller hears of it. */
  onCommitted(listener: () => void): void;
  /**
   * A log with the same key that agrees on the first `size` entries and then goes its own way. It belongs to a dishonest
   * collector: what others hold against it does not stop it.
   */
  fork(size: number): MemoryLedger;
  /** The same log put back to an old backup of `size` entries, in the hands of an honest collector. */
  restored(size: number): MemoryLedger;
}

/** A transparency log in memory: the real tree, proofs and checkpoints over an array. */
export function memoryLedger(
  options: { origin?: string; keys?: KeyPair; entries?: readonly SignedEntry[]; shameless?: boolean } = {},
): MemoryLedger {
  const { origin = 'test.example/ledger', keys = generateKeyPair(), shameless = false } = options;
  const logKey = verifierKey(origin, signatureTypes.ed25519, keys.publicKey);
  const signer = noteSigner(origin, signatureTypes.ed25519, keys);
  const entries: SignedEntry[] = [];
  const nodes = new Map<string, Buffer>();
  const heads = new Map<string, ChainHead>();
  const places = new Map<string, { index: number; hash: string }>();
  const sizes = new Map<number, CompactRange>([[0, emptyRange]]);
  let range = emptyRange;
  let appends = 0;
  let refusals = 0;
  let losesReply = false;
  let committed = (): void => {};

  const name = ({ level, index }: NodeId): string => `${level}/${index}`;
  const reader: HashReader = {
    read: async (ids) =>
      ids.map((id) => {
        const hash = nodes.get(name(id));
        if (hash === undefined) throw new Error(`no node ${name(id)}`);
        return hash;
      }),
  };

  function place(signed: SignedEntry): Placed {
    const { author, seq, prev } = signed.entry;
    const known = places.get(`${author}/${seq}`);
    const hash = entryHash(signed.bytes);
    if (known !== undefined && known.hash === hash) return { seq, index: known.index };
    if (known !== undefined) throw new AppError('ledger.equivocation', `another entry is number ${seq} of ${author}`);
    const head = heads.get(author) ?? genesis;
    if (seq !== head.seq + 1 || prev !== head.hash) throw new AppError('ledger.sequence', `${seq} after ${head.seq}`);
    const index = range.size;
    range = appendLeaves(range, [leafHash(leafData(signed))], (node, nodeHash) => nodes.set(name(node), nodeHash));
    sizes.set(range.size, range);
    entries.push(signed);
    heads.set(author, headAfter(signed));
    places.set(`${author}/${seq}`, { index, hash });
    return { seq, index };
  }

  for (const entry of options.entries ?? []) place(entry);
  return {
    origin,
    vkey: formatVerifierKey(logKey),
    entries,
    get appends() {
      return appends;
    },
    busy: (times) => {
      refusals = times;
    },
    loseReply: () => {
      losesReply = true;
    },
    onCommitted: (listener) => {
      committed = listener;
    },
    fork: (size) => memoryLedger({ origin, keys, entries: entries.slice(0, size), shameless: true }),
    restored: (size) => memoryLedger({ origin, keys, entries: entries.slice(0, size) }),
    append: async (batch) => {
      appends += 1;
      if (refusals > 0) {
        refusals -= 1;
        throw new AppError('state.busy', 'too many entries are waiting', { retryable: true });
      }
      const placed = batch.map(place);
      committed();
      if (!losesReply) return placed;
      losesReply = false;
      throw new AppError('database.unreachable', 'the reply was lost', { retryable: true });
    },
    authorHead: async (author) => heads.get(author) ?? { seq: 0, hash: genesisHash },
    entryOf: async (author, seq) => {
      const index = places.get(`${author}/${seq}`)?.index;
      const signed = index === undefined ? undefined : entries[index];
      return index === undefined || signed === undefined ? undefined : { ...signed, index };
    },
    leafAt: async (index) => {
      const signed = entries[index];
      return signed === undefined ? undefined : { ...signed, index };
    },
    checkpoint: async () => {
      const head: Checkpoint = { origin, size: range.size, root: rootOf(range), extensions: [] };
      return { size: range.size, note: signCheckpoint(head, signer) };
    },
    inclusion: (indexes, size) => inclusionProofs(indexes, size, reader),
    consistency: async (oldSize, newSize) =>
      shameless && oldSize > newSize ? [] : consistencyProof(oldSize, newSize, reader),
    confront: async (note) => {
      if (shameless) return;
      const { size, root } = openCheckpoint(note, logKey).checkpoint;
      const own = sizes.get(size);
      if (own === undefined || !rootOf(own).equals(root)) {
        throw new AppError('ledger.tampered', `the ledger does not contain the tree of ${size} entries`);
      }
    },
  };
}
