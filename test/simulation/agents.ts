import assert from 'node:assert/strict';
import { createWitness, type Witness } from '../../agent/link/witness.ts';
import type { Ledger } from '../../collector/ledger/ledger.ts';
import type { PublishedCheckpoint } from '../../collector/ledger/publisher.ts';
import type { Checkpoint } from '../../common/checkpoint.ts';
import { cosign, verifyCosignatures, withCosignature } from '../../common/cosignature.ts';
import type { SignedEntry } from '../../common/entry.ts';
import { leafHash } from '../../common/merkle.ts';
import {
  formatNote,
  type NoteSigner,
  noteSigner,
  parseNote,
  signatureTypes,
  type VerifierKey,
  verifierKey,
} from '../../common/note.ts';
import { expandProof, verifyInclusion } from '../../common/proof.ts';
import { firstEntryMs, type TestAuthor, testAuthor } from '../authors.ts';
import { collectorKeys, testOrigin } from '../ledgers.ts';

const logKey = verifierKey(testOrigin, signatureTypes.ed25519, collectorKeys.publicKey);

/** One node: says things, waits for answers, and is a witness. */
export class SimulatedAgent {
  readonly author: TestAuthor;
  pending: SignedEntry[] = [];
  /** The process that has welcomed it; a new one, under the same address too, is another. */
  connectedTo: Ledger | undefined;
  readonly acknowledged: { readonly signed: SignedEntry; readonly index: number }[] = [];
  readonly #signer: NoteSigner;
  readonly #cosigner: VerifierKey;
  #witness: Witness = createWitness(logKey, undefined);
  /** Its disk: checkpoints with its own signature, newest last. */
  readonly #remembered: string[] = [];

  constructor(name: string) {
    this.author = testAuthor(name);
    const keyName = `${testOrigin}/${name}`;
    this.#signer = noteSigner(keyName, signatureTypes.cosignatureV1, this.author.keys);
    this.#cosigner = verifierKey(keyName, signatureTypes.cosignatureV1, this.author.keys.publicKey);
  }

  /** What it says when it connects. */
  get heldNote(): string | undefined {
    return this.#remembered.at(-1);
  }

  get held(): Checkpoint | undefined {
    return this.#witness.held;
  }

  /** What an agent checks before it lets go of entries. */
  async receive(
    ledger: Ledger,
    checkpoint: PublishedCheckpoint,
    { offered, indexes }: { offered: readonly SignedEntry[]; indexes: readonly number[] },
  ): Promise<void> {
    const shared = await ledger.inclusion(indexes, checkpoint.size);
    for (const [at, { bytes, signature }] of offered.entries()) {
      const index = indexes[at] ?? Number.NaN;
      const { size, root } = checkpoint;
      verifyInclusion({ leafHash: leafHash(bytes, signature), index, size, root, proof: expandProof(shared, at) });
    }
    await this.accept(ledger, checkpoint);
    this.pending = this.pending.filter((signed) => !offered.includes(signed));
    for (const [at, signed] of offered.entries()) this.acknowledged.push({ signed, index: indexes[at] ?? Number.NaN });
  }

  /** Checks a checkpoint against the one held, cosigns it and keeps it. */
  async accept(ledger: Ledger, { note, size }: PublishedCheckpoint): Promise<void> {
    const from = this.#witness.held?.size ?? 0;
    const consistency = from <= size ? await ledger.consistency(from, size) : [];
    this.#witness.accept({ note, consistency });
    const opened = parseNote(note);
    const cosigned = withCosignature(opened, cosign(opened.text, this.#signer, firstEntryMs));
    assert.equal(verifyCosignatures(cosigned, [this.#cosigner]).length, 1);
    this.#remembered.push(formatNote(cosigned));
  }

  /** The agent's machine lost power: what it remembers may be older than what it saw. */
  restart(forgets: number): void {
    this.connectedTo = undefined;
    this.#remembered.splice(Math.max(0, this.#remembered.length - forgets), forgets);
    this.#witness = createWitness(logKey, this.heldNote);
  }
}
