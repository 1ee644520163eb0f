import { type Checkpoint, openCheckpoint } from '../../common/checkpoint.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { rootOf } from '../../common/merkle.ts';
import { formatNote, signaturesBy, type VerifierKey } from '../../common/note.ts';
import { consistencyProof, verifyConsistency } from '../../common/proof.ts';
import type { CheckpointFile, Contradiction, EvidenceFolder } from './checkpoint-file.ts';
import type { TailGuard } from './sequencer.ts';
import type { TreeHead } from './store.ts';
import type { Tail, TreeStore } from './tail.ts';
import { TileReader } from './tile-reader.ts';

/** A checkpoint that carries the ledger's own signature. */
export interface OwnCheckpoint extends Checkpoint {
  /** With the ledger's signature only: cosignatures prove nothing more about the ledger. */
  readonly note: string;
}

/** The checkpoint in `note`. @throws AppError `auth.signature` or `ledger.proof` when the key of `logKey` did not sign it. */
export function openOwn(note: string, logKey: VerifierKey): OwnCheckpoint {
  const opened = openCheckpoint(note, logKey);
  const signatures = signaturesBy(opened.note, logKey).slice(0, 1);
  return { ...opened.checkpoint, note: formatNote({ text: opened.note.text, signatures }) };
}

/**
 * Why the tree that ends with `tail` is no continuation of `known`; undefined when it is. Proven from the stored tiles,
 * none of them from a cache: what was true of the database before says nothing about it now.
 * @throws AppError `database.unreachable` (retryable) when it cannot be read.
 */
export async function whyNotContained(known: Checkpoint, tail: Tail, tree: TreeStore): Promise<string | undefined> {
  const { range } = tail.head;
  if (range.size < known.size) return `it ends at ${range.size} entries, ${known.size - range.size} are missing`;
  try {
    const proof = await consistencyProof(known.size, range.size, new TileReader(tree).at(tail));
    verifyConsistency({ oldSize: known.size, oldRoot: known.root, newSize: range.size, newRoot: rootOf(range), proof });
    return undefined;
  } catch (thrown) {
    const { code, message } = toAppError(thrown);
    if (code === 'ledger.proof') return `its first ${known.size} entries are not the ones that were published`;
    if (code === 'ledger.tampered') return message;
    throw thrown;
  }
}

export interface GuardOptions {
  readonly logKey: VerifierKey;
  readonly file: Pick<CheckpointFile, 'read'>;
  readonly evidence: EvidenceFolder;
  readonly logger: Logger;
}

/**
 * Knows the newest checkpoint that the ledger's key is known to have signed, and lets no end of the log pass that does not
 * continue it. Once contradicted, it stays so for as long as the process lives: whether the database or what was
 * published is wrong is for a person to find out.
 */
export class HistoryGuard implements TailGuard {
  readonly #logKey: VerifierKey;
  readonly #file: Pick<CheckpointFile, 'read'>;
  readonly #evidence: EvidenceFolder;
  readonly #logger: Logger;
  #newest: OwnCheckpoint | undefined;
  #contradiction: Contradiction | undefined;
  #refusal: Promise<AppError> | undefined;

  constructor({ logKey, file, evidence, logger }: GuardOptions) {
    this.#logKey = logKey;
    this.#file = file;
    this.#evidence = evidence;
    this.#logger = logger;
  }

  /** The largest checkpoint known to be signed by the ledger's key and contained in the ledger. */
  get newest(): OwnCheckpoint | undefined {
    return this.#newest;
  }

  get contradiction(): Contradiction | undefined {
    return this.#contradiction;
  }

  /** Takes note of a checkpoint that the ledger contains. */
  learn(checkpoint: OwnCheckpoint): void {
    if (checkpoint.size >= (this.#newest?.size ?? 0)) this.#newest = checkpoint;
  }

  /** @throws AppError `ledger.tampered` once the ledger has contradicted itself. */
  async requireTrusted(): Promise<void> {
    if (this.#refusal !== undefined) throw await this.#refusal;
  }

  async admission(): Promise<(tail: Tail, store: TreeStore) => Promise<void>> {
    const newest = this.#newest;
    const noted = await this.#noted();
    return async (tail, store) => {
      await this.requireTrusted();
      if (newest !== undefined) await this.require(newest, tail, store);
      if (noted !== undefined) await this.require(noted, tail, store);
    };
  }

  /** What another process has put into the file since, if it goes further. What cannot be read there is the publisher's to judge. */
  async #noted(): Promise<OwnCheckpoint | undefined> {
    const note = await this.#file.read();
    if (note === undefined || note === this.#newest?.note) return undefined;
    try {
      const noted = openOwn(note, this.#logKey);
      return noted.size > (this.#newest?.size ?? 0) ? noted : undefined;
    } catch {
      return undefined;
    }
  }

  rolledBack(known: TreeHead, found: TreeHead | undefined): Promise<AppError> {
    const newest = this.#newest === undefined ? [] : [this.#newest.note];
    const there = found === undefined ? 'no ledger' : `another tree of ${found.range.size} entries`;
    return this.contradict(`the database held ${known.range.size} entries and now holds ${there}`, newest, found);
  }

  /** @throws AppError `ledger.tampered`, for good, unless the tree that ends with `tail` continues `known`. */
  async require(known: OwnCheckpoint, tail: Tail, tree: TreeStore): Promise<void> {
    const why = await whyNotContained(known, tail, tree);
    if (why === undefined) return this.learn(known);
    const other = this.#newest === undefined || this.#newest.note === known.note ? [] : [this.#newest.note];
    const reason = `the database does not continue the checkpoint of ${known.size} entries that was published: ${why}`;
    throw await this.contradict(reason, [known.note, ...other], tail.head);
  }

  /** @returns what everybody is told from now on. The first contradiction counts. */
  contradict(reason: string, notes: readonly string[], found: TreeHead | undefined): Promise<AppError> {
    this.#refusal ??= this.#keep({ reason, notes, found: found && shownHead(found) });
    return this.#refusal;
  }

  /** The same, told with `error` and without new evidence: what it is contradicted by is remembered already. */
  refuse(error: AppError, contradiction: Contradiction): AppError {
    this.#contradiction ??= contradiction;
    this.#refusal ??= Promise.resolve(error);
    return error;
  }

  async #keep(contradiction: Contradiction): Promise<AppError> {
    this.#contradiction = contradiction;
    // Refused without it too: a full disk must not make a fork out of a rollback.
    const file = await this.#evidence.keep(contradiction).catch((error: unknown) => {
      this.#logger.error('ledger.evidence_not_kept', { error, notes: contradiction.notes });
      return undefined;
    });
    const { reason, found } = contradiction;
    const error = new AppError('ledger.tampered', refusal(this.#logKey.name, reason, file), {
      details: { reason, found: found ?? null, evidence: file ?? null },
    });
    this.#logger.error('ledger.contradicted', { reason, found, evidence: file, error });
    return error;
  }
}

function refusal(origin: string, reason: string, file: string | undefined): string {
  const evidence = file === undefined ? '' : ` Evidence: ${file}.`;
  return `${origin} contradicts itself: ${reason}. Nothing is signed or recorded any more.${evidence}${howToRecover}`;
}

/** What helps, in the order in which it should be tried; docs/recovery.md says it step by step. */
export const howToRecover = `
Stop every collector on this database. Agents keep what they have to say meanwhile. Then:
  1. Put the newer database back: the volume, the standby, or the backup with its write-ahead log replayed to the end.
  2. Or fill the lost entries in again: sigilwatch-collector ledger recover FILE... (exports, the git mirror).
  3. Or, if they are lost for good, begin a new ledger, and keep what is left of this one as evidence.
Do not delete the checkpoint file to get going: it only says what was promised. docs/recovery.md has every step.`;

export function shownHead({ range }: TreeHead): { size: number; root: string } {
  return { size: range.size, root: rootOf(range).toString('base64') };
}
