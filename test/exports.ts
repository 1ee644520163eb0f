import { type ExportSource, exportLines, type StoredLeaf } from '../collector/ledger/export/export.ts';
import type { Ledger } from '../collector/ledger/ledger.ts';
import type { PublishedCheckpoint } from '../collector/ledger/publisher.ts';
import { keptKinds } from '../collector/ledger/verify/entry.ts';
import { cosign, withCosignature } from '../common/cosignature.ts';
import { leafData, parseEntry } from '../common/entry.ts';
import { fingerprint, rawPublicKey } from '../common/keys.ts';
import { formatNote, parseNote, parseVerifierKey } from '../common/note.ts';
import { fleetPolicy, formatPolicy } from '../common/policy.ts';
import { expandProof } from '../common/proof.ts';
import { formatTlogProof } from '../common/tlog-proof.ts';
import { nodeWitnessKey, nodeWitnessSigner } from '../common/witnesses.ts';
import { firstEntryMs, type TestAuthor, testAuthor } from './authors.ts';
import { FakeLedgerStore } from './fakes/ledger-store.ts';
import { startLedger, testOrigin } from './ledgers.ts';

/** A ledger in memory with enrolled nodes, and what can be taken away from it. */
export interface ExportableLedger {
  readonly ledger: Ledger;
  readonly store: FakeLedgerStore;
  readonly source: ExportSource;
  readonly nodes: readonly TestAuthor[];
  /** Two of three witnesses have to cosign. */
  readonly policy: string;
  /** The newest checkpoint, cosigned by the first `witnesses` nodes. */
  checkpoint(witnesses?: number): Promise<PublishedCheckpoint>;
  /** As `ledger export` writes it. */
  exported(from: number, to: number, checkpoint?: PublishedCheckpoint): Promise<string>;
  /** Puts on record that the bodies from `from` up to but not including `to` are erased, and drops them from the source. */
  erase(from: number, to: number): Promise<void>;
  /** As `ledger proof` writes it. */
  proof(index: number, checkpoint?: PublishedCheckpoint): Promise<string>;
}

export async function enrol(ledger: Ledger, { name, keys }: TestAuthor): Promise<void> {
  const publicKey = rawPublicKey(keys.publicKey).toString('base64');
  const body = { node: name, publicKey, fingerprint: fingerprint(keys.publicKey), agentVersion: '0.1.0' };
  await ledger.record({ kind: 'node.enrolled', body });
}

/** Nodes lyra, node1 and node2, taking turns, until there are `entries`. */
export async function exportableLedger(entries: number): Promise<ExportableLedger> {
  const store = new FakeLedgerStore();
  const ledger = await startLedger(store);
  const nodes = ['lyra', 'node1', 'node2'].map(testAuthor);
  for (const node of nodes) await enrol(ledger, node);
  for (let turn = 0; store.entries.length < entries; turn++) {
    const author = nodes[turn % nodes.length];
    if (author !== undefined) await ledger.append(author.more(Math.min(7, entries - store.entries.length)));
  }
  const gone: { from: number; to: number }[] = [];
  const source = sourceOf(store, (index) => gone.some(({ from, to }) => from <= index && index < to));
  const witnesses = nodes.map(({ name, keys }) => ({ key: nodeWitnessKey(testOrigin, name, keys.publicKey) }));
  const checkpoint = async (count = 2) => {
    const newest = await ledger.checkpoint();
    const note = nodes.slice(0, count).reduce((signed, { name, keys }, at) => {
      const signer = nodeWitnessSigner(testOrigin, name, keys);
      return withCosignature(signed, cosign(signed.text, signer, firstEntryMs + at * 1_000));
    }, parseNote(newest.note));
    return { ...newest, note: formatNote(note) };
  };
  return {
    ...{ ledger, store, source, nodes, checkpoint },
    policy: formatPolicy(fleetPolicy({ log: { key: parseVerifierKey(ledger.vkey) }, witnesses, threshold: 2 })),
    exported: async (from, to, at) => {
      const lines = exportLines({ from, to, source, prover: ledger, checkpoint: at ?? (await checkpoint()) });
      let text = '';
      for await (const piece of lines) text += piece;
      return text;
    },
    erase: async (from, to) => {
      const keptBodies = store.entries.slice(0, to).filter(({ entry }) => keptKinds.has(entry.kind)).length;
      await ledger.record(erasedStatement({ from, to, keptBodies }));
      gone.push({ from, to });
    },
    proof: async (index, at) => {
      const { size, note } = at ?? (await checkpoint());
      const hashes = expandProof(await ledger.inclusion([index], size), 0);
      const [leaf] = await source.leaves(index, index + 1);
      if (leaf?.body === undefined) throw new Error(`there is no entry ${index}`);
      return formatTlogProof({ index, hashes, checkpoint: note, extra: leafData(leaf.body) });
    },
  };
}

/** An erasure that was carried out nowhere. */
export function erasedStatement(span: { readonly from: number; readonly to: number; readonly keptBodies: number }) {
  const digests = { root: '0'.repeat(64), base: '0'.repeat(64), columns: '0'.repeat(64) };
  const body = { ...span, entries: span.to - span.from, ...digests, exported: null, actor: 'test', reason: 'a test' };
  return { kind: 'ledger.erased', body } as const;
}

function sourceOf({ entries }: FakeLedgerStore, isErased: (index: number) => boolean): ExportSource {
  const leaf = ({ entry, index, leafHash, bytes, signature }: (typeof entries)[number]): StoredLeaf => {
    const erased = isErased(index) && !keptKinds.has(entry.kind);
    return { index, kind: entry.kind, leafHash, body: erased ? undefined : { bytes, signature } };
  };
  const aboutKeys = new Set(['ledger.created', 'node.enrolled', 'node.revoked']);
  return {
    leaves: async (from, to) => entries.slice(from, to).map(leaf),
    keyStatements: async (before) => {
      return entries
        .slice(0, before)
        .filter(({ bytes }) => aboutKeys.has(parseEntry(bytes).kind))
        .map(leaf);
    },
    authors: async (from, to) => [...new Set(entries.slice(from, to).map(({ entry }) => entry.author))],
    erasures: async () => entries.filter(({ entry }) => entry.kind === 'ledger.erased'),
  };
}
