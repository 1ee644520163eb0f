import { splitLeaf } from '../../../common/entry.ts';
import { type AppError, toAppError } from '../../../common/errors.ts';
import { type JudgedCheckpoint, missingQuorum, weighCheckpoint } from '../../../common/judgement.ts';
import { verifyBytes } from '../../../common/keys.ts';
import { leafHash } from '../../../common/merkle.ts';
import type { Policy } from '../../../common/policy.ts';
import { verifyInclusion } from '../../../common/proof.ts';
import { parseTlogProof } from '../../../common/tlog-proof.ts';
import { AuthorKeys, isForeignKind, type Outline, readOutline } from '../author-keys.ts';
import type { ExportFault } from './verify.ts';

/** What a file is found to say, as far as it could be read. */
export interface Findings {
  readonly judged: JudgedCheckpoint | undefined;
  readonly faults: readonly ExportFault[];
}

export interface ProofFindings extends Findings {
  readonly index: number | undefined;
  readonly outline: Outline | undefined;
  /** Whether the author's signature was verified; false when no key of the author is known. */
  readonly signed: boolean;
}

export interface ProofNeeds {
  readonly policy: Policy;
  readonly requireSignatures: boolean;
}

/** The checkpoint as the policy judges it; too few witnesses are a fault, and what it proves can be looked at all the same. */
export function judgeNote(note: string, policy: Policy): Findings {
  try {
    const judged = weighCheckpoint(note, policy);
    const missing = missingQuorum(judged, policy);
    return { judged, faults: missing === undefined ? [] : [faultOf('quorum', null, missing)] };
  } catch (thrown) {
    return { judged: undefined, faults: [faultOf('checkpoint', null, toAppError(thrown))] };
  }
}

/** Verifies a proof file with its entry inside. Rejects nothing: what is wrong is in the answer. */
export function verifyProofFile(text: string, needs: ProofNeeds): ProofFindings {
  const proof = attempt(() => parseTlogProof(text));
  if ('failed' in proof) return nothing([faultOf('line', null, proof.failed)]);
  const { index, hashes, checkpoint, extra } = proof.done;
  const { judged, faults } = judgeNote(checkpoint, needs.policy);
  if (judged === undefined) return { ...nothing(faults), index };
  const split = attempt(() => splitLeaf(extra ?? Buffer.alloc(0)));
  if (extra === undefined || 'failed' in split) {
    const message =
      'there is no entry in the file, so nothing is known to be proved; make it with "ledger proof", or, when the body of the entry was erased, verify the export that still has it';
    return { ...nothing([...faults, { fault: 'line', index, line: null, message }]), judged, index };
  }
  const { size, root } = judged.checkpoint;
  const included = attempt(() => verifyInclusion({ leafHash: leafHash(extra), index, size, root, proof: hashes }));
  // What is not proved says nothing, not even who is meant to have said it.
  if ('failed' in included) {
    return { ...nothing([...faults, faultOf('proof', index, included.failed)]), judged, index };
  }
  const author = checkAuthor(index, split.done, judged, needs);
  return { judged, index, outline: author.outline, signed: author.signed, faults: [...faults, ...author.faults] };
}

function checkAuthor(
  index: number,
  { bytes, signature }: { bytes: Buffer; signature: Buffer },
  { logKey }: JudgedCheckpoint,
  { policy, requireSignatures }: ProofNeeds,
): Pick<ProofFindings, 'outline' | 'signed' | 'faults'> {
  const outline = readOutline(bytes.toString('utf8'));
  const fault = (kind: ExportFault['fault'], message: string) => ({
    outline,
    signed: false,
    faults: [{ fault: kind, index, line: null, message }],
  });
  if (outline === undefined) return fault('author', 'what was logged is not an entry');
  if (isForeignKind(outline)) return fault('author', `${outline.author} may not make a ${outline.kind} entry`);
  const known = new AuthorKeys(logKey, policy).of(outline.author);
  if (known.key === undefined) {
    const message = `no key of ${outline.author} is known to check the signature with`;
    return requireSignatures ? fault('signature', message) : { outline, signed: false, faults: [] };
  }
  if (verifyBytes(known.key, bytes, signature)) return { outline, signed: true, faults: [] };
  const whose = known.from === 'policy' ? 'that the policy has for it as a witness' : 'of the log';
  return fault('signature', `not signed with the key of ${outline.author} ${whose}`);
}

function nothing(faults: readonly ExportFault[]): ProofFindings {
  return { judged: undefined, index: undefined, outline: undefined, signed: false, faults };
}

function faultOf(fault: ExportFault['fault'], index: number | null, { message }: AppError): ExportFault {
  return { fault, index, line: null, message };
}

function attempt<T>(work: () => T): { readonly done: T } | { readonly failed: AppError } {
  try {
    return { done: work() };
  } catch (thrown) {
    return { failed: toAppError(thrown) };
  }
}
