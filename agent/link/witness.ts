import { type Checkpoint, type OpenedCheckpoint, openCheckpoint } from '../../common/checkpoint.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { clip } from '../../common/fields.ts';
import type { StatementOf } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import { formatNote, signaturesBy, type VerifierKey } from '../../common/note.ts';
import { verifyConsistency } from '../../common/proof.ts';

/** A signed tree head as the collector sends it. */
export interface CheckpointUpdate {
  /** C2SP signed note. */
  readonly note: string;
  /** RFC 6962 consistency proof from the checkpoint held. */
  readonly consistency: readonly Buffer[];
}

export type ForkStatement = StatementOf<'witness.fork'>;

/** Remembers the last checkpoint of one log and lets nothing pass that is not its continuation. */
export interface Witness {
  /** Last checkpoint accepted. */
  readonly held: Checkpoint | undefined;
  /** The same as a signed note, with the log's own signature only. */
  readonly heldNote: string | undefined;
  /** Set once the log has contradicted itself; from then on nothing is accepted. */
  readonly fork: ForkStatement | undefined;
  /**
   * Takes the next checkpoint. Making it durable is the caller's duty, and losing it is safe: an older one held means an
   * older one to be consistent with.
   * @throws AppError `auth.signature` or `ledger.proof` for what the log's key did not sign: that is no evidence against the
   *   log, since anybody can send it. `ledger.forked` for what it did sign and cannot stand beside the checkpoint held;
   *   this one is kept.
   */
  accept(update: CheckpointUpdate): Checkpoint;
  /**
   * Takes a checkpoint of the same log that is no later than the one held, whose `consistency` leads from it to the one held.
   * @throws AppError as {@link accept}: signed by the log and not on the way to what is held, it is as much of a fork.
   */
  recall(update: CheckpointUpdate): OpenedCheckpoint;
}

/**
 * A witness of the log whose key is `logKey` (its name is the log's origin).
 * @param heldNote the checkpoint remembered from before, if any.
 * @throws AppError `auth.signature` or `ledger.proof` when `heldNote` is not a checkpoint of this log.
 */
export function createWitness(logKey: VerifierKey, heldNote: string | undefined): Witness {
  let held = heldNote === undefined ? undefined : openCheckpoint(heldNote, logKey);
  let fork: ForkStatement | undefined;
  return {
    get held() {
      return held?.checkpoint;
    },
    get heldNote() {
      return held && evidence(held, logKey);
    },
    get fork() {
      return fork;
    },
    accept: ({ note, consistency }) => {
      if (fork !== undefined) throw forked(logKey, fork.body.reason);
      const offered = openCheckpoint(note, logKey);
      const reason = held === undefined ? undefined : contradiction(held.checkpoint, offered.checkpoint, consistency);
      if (held !== undefined && reason !== undefined) {
        fork = forkStatement(logKey, { held, offered, reason });
        throw forked(logKey, reason);
      }
      held = offered;
      return offered.checkpoint;
    },
    recall: ({ note, consistency }) => {
      if (fork !== undefined) throw forked(logKey, fork.body.reason);
      const earlier = openCheckpoint(note, logKey);
      if (held === undefined || held.checkpoint.size < earlier.checkpoint.size) {
        throw new AppError(
          'validation.protocol',
          'a checkpoint came as an earlier one that is later than the one held',
        );
      }
      const reason = contradiction(earlier.checkpoint, held.checkpoint, consistency);
      if (reason === undefined) return earlier;
      fork = forkStatement(logKey, { held, offered: earlier, reason });
      throw forked(logKey, reason);
    },
  };
}

/** Why `offered` cannot be a later state of the log that `held` is a state of; undefined when it can. */
export function contradiction(held: Checkpoint, offered: Checkpoint, proof: readonly Buffer[]): string | undefined {
  if (offered.size < held.size) return `rolled back from ${held.size} to ${offered.size} entries`;
  try {
    verifyConsistency({
      oldSize: held.size,
      oldRoot: held.root,
      newSize: offered.size,
      newRoot: offered.root,
      proof,
    });
    return undefined;
  } catch (thrown) {
    return toAppError(thrown).message;
  }
}

interface Contradiction {
  readonly held: OpenedCheckpoint;
  readonly offered: OpenedCheckpoint;
  readonly reason: string;
}

function forkStatement(logKey: VerifierKey, { held, offered, reason }: Contradiction): ForkStatement {
  return {
    kind: 'witness.fork',
    body: { held: evidence(held, logKey), offered: evidence(offered, logKey), reason: clip(reason) },
  };
}

/** The note with the log's own signature only: cosignatures prove nothing more and may not fit into an entry. */
function evidence({ note }: OpenedCheckpoint, logKey: VerifierKey): string {
  const text = formatNote({ text: note.text, signatures: signaturesBy(note, logKey).slice(0, 1) });
  return text.slice(0, limits.maxHeldNoteChars);
}

function forked(logKey: VerifierKey, reason: string): AppError {
  return new AppError(
    'ledger.forked',
    `the log ${logKey.name} contradicts itself: ${reason}. Nothing more is sent to it; both checkpoints are kept as evidence. ` +
      'Find out who changed the ledger, then run "sigilwatch-agent witness release --reason TEXT"',
    { details: { origin: logKey.name } },
  );
}
