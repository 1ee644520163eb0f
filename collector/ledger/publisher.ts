import { openCheckpoint, signCheckpoint } from '../../common/checkpoint.ts';
import { AppError } from '../../common/errors.ts';
import type { KeyPair } from '../../common/keys.ts';
import { rootOf } from '../../common/merkle.ts';
import { type NoteSigner, noteSigner, signatureTypes, type VerifierKey, verifierKey } from '../../common/note.ts';
import type { Sequencer } from './sequencer.ts';

export interface PublishedCheckpoint {
  readonly size: number;
  readonly root: Buffer;
  /** C2SP signed note. */
  readonly note: string;
}

export interface PublisherOptions {
  readonly origin: string;
  readonly keys: KeyPair;
  readonly tails: Pick<Sequencer, 'latestTail'>;
}

/** Signs tree heads, and refuses to sign what contradicts one signed before. */
export class Publisher {
  readonly #origin: string;
  readonly #signer: NoteSigner;
  readonly #logKey: VerifierKey;
  readonly #tails: PublisherOptions['tails'];
  #published: PublishedCheckpoint | undefined;

  constructor({ origin, keys, tails }: PublisherOptions) {
    this.#origin = origin;
    this.#signer = noteSigner(origin, signatureTypes.ed25519, keys);
    this.#logKey = verifierKey(origin, signatureTypes.ed25519, keys.publicKey);
    this.#tails = tails;
  }

  /** @throws AppError `ledger.tampered` when the database no longer holds what was published from here before. */
  async checkpoint(): Promise<PublishedCheckpoint> {
    const before = this.#published;
    const { range } = (await this.#tails.latestTail()).head;
    const root = rootOf(range);
    if (before !== undefined) {
      if (before.size === range.size && before.root.equals(root)) return before;
      // A database put back to an old backup: signing on from there would be the fork that witnesses look for.
      if (before.size >= range.size) throw rolledBack(before.size, range.size);
    }
    const note = signCheckpoint({ origin: this.#origin, size: range.size, root, extensions: [] }, this.#signer);
    this.#published = { size: range.size, root, note };
    return this.#published;
  }

  async confront(note: string): Promise<void> {
    const { checkpoint } = openCheckpoint(note, this.#logKey);
    const { size } = await this.checkpoint();
    if (checkpoint.size > size) throw rolledBack(checkpoint.size, size);
  }
}

function rolledBack(published: number, found: number): AppError {
  return new AppError(
    'ledger.tampered',
    `the database holds another history of ${found} entries than the one published up to ${published}; was it put back to an old backup?`,
    { details: { published, found } },
  );
}
