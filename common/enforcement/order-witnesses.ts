import { verifyCosignature } from '../cosignature.ts';
import { limits } from '../limits.ts';
import type { Governance } from '../manifest/governance.ts';
import { type NoteSignature, parseVerifierKey, type SignedNote, type VerifierKey } from '../note.ts';
import { type ManifestWitnesses, type Quorum, quorumSize } from '../witnesses.ts';

/*
 * Orders that others have to have seen. Whoever owns the log's key can show one node a history of its own, with an order in it
 * that nobody else ever sees. A node that wants to know better asks for a checkpoint, with the order in its tree, that a quorum
 * has cosigned; and it believes those alone whose keys are in the manifest that it has verified by itself.
 */

/** Who may say that an order is in everybody's ledger, and how many of them have to. */
export interface OrderWitnesses {
  /** C2SP verifier keys, none of them twice: of the nodes that the manifest pins, and of its outside witnesses. */
  readonly keys: readonly string[];
  /** At least 1. More than there are keys is a quorum that nobody reaches. */
  readonly required: number;
}

/** What a manifest demands; undefined where it demands nothing. */
export function orderWitnesses({
  governance,
  witnesses: { nodes, outside, quorum },
}: {
  readonly governance: Pick<Governance, 'witnessed_orders'>;
  readonly witnesses: ManifestWitnesses;
}): OrderWitnesses | undefined {
  if (!governance.witnessed_orders) return undefined;
  const keys = [...nodes, ...outside].map(({ key }) => key);
  return { keys, required: requiredOf(quorum, keys.length) };
}

/** No quorum is the smallest there can be: such a manifest has a mistake, and must not be the way around it. */
function requiredOf(quorum: Quorum, keys: number): number {
  return typeof quorum === 'number' ? quorum : Math.max(1, quorumSize(quorum, keys));
}

/** Those of `keys` (verifier keys) whose cosignature of the note holds. What does not hold counts for nothing, and spoils nothing. */
export function cosignersOf(note: SignedNote, keys: readonly string[]): readonly string[] {
  const lines = new Map(note.signatures.slice(0, maxLines).map((line) => [`${line.keyId} ${line.name}`, line]));
  return keys.filter((vkey) => {
    const key = parseVerifierKey(vkey);
    const line = lines.get(`${key.keyId} ${key.name}`);
    return line !== undefined && holds(note.text, line, key);
  });
}

/** As many as can count, and the log's own; what is beyond that is somebody's attempt to keep us busy. */
const maxLines = limits.maxPinnedNodes + limits.maxOutsideWitnesses + 1;

function holds(text: string, line: NoteSignature, key: VerifierKey): boolean {
  try {
    verifyCosignature(text, line, key);
    return true;
  } catch {
    return false;
  }
}
