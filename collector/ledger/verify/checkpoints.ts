import { type Checkpoint, openCheckpoint, parseCheckpoint } from '../../../common/checkpoint.ts';
import { toAppError } from '../../../common/errors.ts';
import { parseNote, type VerifierKey } from '../../../common/note.ts';
import { Found } from './fault.ts';
import type { StoredCheckpoint } from './source.ts';

export interface CheckpointRules {
  readonly logKey: VerifierKey;
  /** Whether signatures are checked. */
  readonly signatures: boolean;
}

/**
 * A checkpoint that was put to the witnesses, beside the root that the entries lead to. Signed by the log's own key, one that
 * differs would be the proof of two histories.
 * @throws Found
 */
export function checkStoredCheckpoint(stored: StoredCheckpoint, root: Buffer, rules: CheckpointRules): void {
  const which = `the checkpoint of size ${stored.size} that is kept for the witnesses`;
  const said = readOrFail(stored, rules, which);
  if (said.size !== stored.size) throw new Found('checkpoint', null, `${which} is one of size ${said.size}`);
  if (said.root.equals(root)) return;
  throw new Found('checkpoint', null, `${which} has another root than these entries lead to: there were two histories`);
}

function readOrFail({ note }: StoredCheckpoint, { logKey, signatures }: CheckpointRules, which: string): Checkpoint {
  try {
    return signatures ? openCheckpoint(note, logKey).checkpoint : parseCheckpoint(parseNote(note).text);
  } catch (thrown) {
    throw new Found('checkpoint', null, `${which} was changed: ${toAppError(thrown).message}`);
  }
}
