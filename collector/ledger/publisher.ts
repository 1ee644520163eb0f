import { signCheckpoint } from '../../common/checkpoint.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import type { KeyPair } from '../../common/keys.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { rootOf } from '../../common/merkle.ts';
import { type NoteSigner, noteSigner, signatureTypes, type VerifierKey, verifierKey } from '../../common/note.ts';
import type { CheckpointFile, Contradiction, EvidenceFolder } from './checkpoint-file.ts';
import { type HistoryGuard, howToRecover, type OwnCheckpoint, openOwn, shownHead } from './guard.ts';
import { firstUnheld, openIfOurs, readRemembered, type Unheld } from './remembered.ts';
import type { Sequencer } from './sequencer.ts';
import type { LedgerStore } from './store.ts';
import type { Tail } from './tail.ts';

export interface PublishedCheckpoint {
  readonly size: number;
  readonly root: Buffer;
  /** C2SP signed note. */
  readonly note: string;
}

export interface PublisherOptions {
  readonly origin: string;
  readonly keys: KeyPair;
  readonly store: LedgerStore;
  readonly tails: Pick<Sequencer, 'latestTail'>;
  readonly guard: HistoryGuard;
  readonly file: CheckpointFile;
  readonly evidence: EvidenceFolder;
  readonly logger: Logger;
}

/** Signs tree heads, and refuses to sign what contradicts one signed before, by whomever that is brought up. */
export class Publisher {
  readonly #signer: NoteSigner;
  readonly #logKey: VerifierKey;
  readonly #options: PublisherOptions;
  /** What the file is known to hold. */
  #kept: { readonly note: string; readonly size: number } | undefined;
  /** The publication under way, and the one that everybody shares who came since it began. */
  #running: Promise<unknown> = Promise.resolve();
  #next: Promise<PublishedCheckpoint> | undefined;
  /** Size that is enough for everybody who shares that one. */
  #enough = 0;
  /** Writes of what contradicts the ledger, one at a time: the largest stays. */
  #remembering: Promise<void> = Promise.resolve();
  /** `size/root` of checkpoints found to be contained, oldest first; in a history that only grows they stay so. */
  readonly #contained = new Set<string>();

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#signer = noteSigner(options.origin, signatureTypes.ed25519, options.keys);
    this.#logKey = verifierKey(options.origin, signatureTypes.ed25519, options.keys.publicKey);
  }

  /** Set once the ledger has contradicted what was published; nothing is signed from then on. */
  get contradiction(): Contradiction | undefined {
    return this.#options.guard.contradiction;
  }

  /**
   * Holds the database against everything that is remembered outside of it. Before anything is written or signed.
   * @throws AppError `ledger.tampered` when the database does not contain what was published; `ledger.checkpoint_file` when
   *   what is remembered cannot be read, or is not of this ledger.
   */
  async resume(): Promise<void> {
    const { store, file, guard, logger, origin } = this.#options;
    const remembered = await readRemembered(this.#options, this.#logKey);
    const { own, shown } = remembered;
    const head = await store.head();
    const size = head?.range.size ?? 0;
    if (own === undefined && size > 0) {
      const meaning =
        'whether the database was put back to an older state cannot be seen here; agents will tell when they connect';
      logger.warn('ledger.checkpoint_file_missing', { path: file.path, ledgerSize: size, meaning });
    }
    const unheld = await firstUnheld(remembered, head, { store, memory: this.#options, origin });
    if (unheld !== undefined) {
      const contradiction = { reason: unheld.why, notes: [unheld.known.note], found: head && shownHead(head) };
      throw guard.refuse(refusedAtStart(unheld), contradiction);
    }
    for (const known of [own, ...shown]) if (known !== undefined) guard.learn(known);
    if (own !== undefined) this.#kept = own;
  }

  /**
   * The signed tree head as it is now. Kept in the file before anybody sees it.
   * @param enough size of a tree that will do, if one as large was committed from here: spares a look at the database.
   * @throws AppError `ledger.tampered` when the database no longer holds what was published; `ledger.checkpoint_file`
   *   (retryable) when the file cannot be written.
   */
  checkpoint(enough = Number.POSITIVE_INFINITY): Promise<PublishedCheckpoint> {
    this.#enough = Math.max(this.#enough, enough);
    // Not the one that is running: it may have looked at the head before the caller's entries were there.
    this.#next ??= this.#afterRunning(() => {
      const all = this.#enough;
      this.#enough = 0;
      this.#next = undefined;
      return this.#publish(all);
    });
    return this.#next;
  }

  /**
   * Compares a checkpoint that somebody holds with the ledger. Once the ledger is contradicted nothing is compared any
   * more, but how far it had been published is still learned from what is shown: recovery has to lead there.
   * @throws AppError `auth.signature` or `ledger.proof` when it is not one of ours, which says nothing; `ledger.tampered`
   *   when it is and the ledger does not contain its tree; `ledger.checkpoint_file` (retryable) as {@link checkpoint}.
   */
  async confront(note: string): Promise<void> {
    if (this.contradiction !== undefined) return this.#refuseAndRemember(note);
    const held = openOwn(note, this.#logKey);
    const name = `${held.size}/${held.root.toString('base64')}`;
    if (this.#contained.has(name)) return;
    await this.#face(held);
    // Another collector may have published it, and this one must not forget it either when the database does.
    if (held.size > (this.#kept?.size ?? 0)) await this.#afterRunning(() => this.#keep(held));
    this.#contained.add(name);
    const [oldest] = this.#contained;
    if (oldest !== undefined && this.#contained.size > limits.confrontedCheckpoints) this.#contained.delete(oldest);
  }

  /** @throws AppError `ledger.tampered`, whatever the note is. */
  async #refuseAndRemember(note: string): Promise<void> {
    const [held] = openIfOurs(note, this.#logKey);
    if (held !== undefined) await this.#afterRunning(() => this.#remember(held));
    await this.#options.guard.requireTrusted();
  }

  async close(): Promise<void> {
    await this.#running;
    await this.#remembering;
    await this.#options.file.close();
  }

  #afterRunning<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#running.then(work);
    this.#running = done.catch(() => {});
    return done;
  }

  async #publish(enough: number): Promise<PublishedCheckpoint> {
    const { tails, guard } = this.#options;
    await guard.requireTrusted();
    const tail = await this.#reconcile(await tails.latestTail(enough));
    const checkpoint = this.#sign(tail);
    await this.#keep(checkpoint);
    // Somebody may have brought a contradiction up meanwhile.
    await guard.requireTrusted();
    guard.learn(checkpoint);
    return checkpoint;
  }

  #sign({ head: { range } }: Tail): OwnCheckpoint {
    const { guard, origin } = this.#options;
    const root = rootOf(range);
    const before = guard.newest;
    if (before?.size === range.size && before.root.equals(root)) return before;
    const checkpoint = { origin, size: range.size, root, extensions: [] };
    return { ...checkpoint, note: signCheckpoint(checkpoint, this.#signer) };
  }

  /** What another process has put into the file meanwhile was published too. @returns a tail that contains it. */
  async #reconcile(tail: Tail): Promise<Tail> {
    const { file, logger } = this.#options;
    const noted = await file.read();
    if (noted === this.#kept?.note) return tail;
    this.#kept = undefined;
    if (noted === undefined) return tail;
    let foreign: OwnCheckpoint;
    try {
      foreign = openOwn(noted, this.#logKey);
    } catch (error) {
      // It was in order when we started. Whoever spoilt it, what was published from here is known.
      logger.error('ledger.checkpoint_file_spoilt', { path: file.path, error });
      return tail;
    }
    const latest = await this.#face(foreign, tail);
    this.#kept = foreign;
    return latest;
  }

  /** @returns a tail that contains `held`. @throws AppError `ledger.tampered` when there is none. */
  async #face(held: OwnCheckpoint, known?: Tail): Promise<Tail> {
    const { tails, guard, store } = this.#options;
    // It may be newer than what is known here, but not than the head as it is now.
    const tail = known !== undefined && known.head.range.size >= held.size ? known : await tails.latestTail();
    try {
      await guard.require(held, tail, store);
      return tail;
    } catch (thrown) {
      if (toAppError(thrown).code === 'ledger.tampered') await this.#remember(held);
      throw thrown;
    }
  }

  /** So that a restart, or another collector beside this one, does not sign what this one refused to. */
  #remember(held: OwnCheckpoint): Promise<void> {
    const { file, logger } = this.#options;
    const write = async () => {
      // Another one may have been remembered meanwhile, also by another process.
      const [there] = openIfOurs((await file.read()) ?? '', this.#logKey);
      if (held.size > Math.max(there?.size ?? 0, this.#kept?.size ?? 0)) await file.write(held);
    };
    // What is refused is refused with or without it.
    const failed = (error: unknown) => logger.error('ledger.checkpoint_file_failed', { path: file.path, error });
    this.#remembering = this.#remembering.then(write).catch(failed);
    return this.#remembering;
  }

  async #keep(checkpoint: OwnCheckpoint): Promise<void> {
    if (this.#kept !== undefined && this.#kept.size >= checkpoint.size) return;
    // A crash after this line leaves a file that is ahead of what anybody has seen, never behind; the database has it all.
    await this.#options.file.write(checkpoint);
    this.#kept = checkpoint;
  }
}

function refusedAtStart({ known, why, where }: Unheld): AppError {
  return new AppError(
    'ledger.tampered',
    `the database does not hold the ledger that was published from here: ${where} has a checkpoint of ${known.size} entries, ` +
      `but in the database ${why}. It was put back to an older state, or is another one. ` +
      `Nothing was signed or recorded.${howToRecover}`,
    { details: { published: known.size, root: known.root.toString('base64'), where, why } },
  );
}
