import { leafData } from '../../common/entry.ts';
import { formatTlogProof } from '../../common/tlog-proof.ts';
import { type ExportSource, type Prover, provedLeaf } from '../ledger/export/export.ts';
import type { CoveringCheckpoint } from '../witness/covering.ts';
import type { RegistrationProof } from './arweave/pin.ts';

export interface RegistrationPorts {
  /** Ledger index of the registration that counts; undefined for an artifact that nobody has registered. */
  readonly registeredAt: (artifact: string) => Promise<number | undefined>;
  readonly source: ExportSource;
  readonly ledger: Prover;
  /** With the cosignatures that there are. */
  readonly covering: (size: number) => Promise<CoveringCheckpoint>;
}

/**
 * The registration as a proof file (C2SP tlog-proof) with the entry inside: what was said of the artifact, who signed it, and that
 * the ledger had it. It can be checked with the log's key alone, so nothing else has to be kept beside it.
 */
export function registrationProof({ registeredAt, source, ledger, covering }: RegistrationPorts): RegistrationProof {
  return async (artifact) => {
    const index = await registeredAt(artifact);
    if (index === undefined) return undefined;
    const checkpoint = await covering(index + 1);
    const { leaf, hashes } = await provedLeaf(index, { source, prover: ledger, checkpoint });
    const extra = leaf.body === undefined ? {} : { extra: leafData(leaf.body) };
    const file = Buffer.from(formatTlogProof({ index, hashes, checkpoint: checkpoint.note, ...extra }));
    return { file, witnessed: checkpoint.witnessed };
  };
}
