import { toAppError } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import type { ForkReport } from '../ws/ports.ts';

/** As `Ledger.confront`. */
type Confront = (note: string) => Promise<void>;

/**
 * What became of an agent's word that the log contradicts itself: `proved` when one of the two checkpoints is ours and not
 * in the ledger, `refuted` when both are in it (then they are consistent with each other too), `unsigned` when one is not
 * ours at all, which proves nothing against anybody but whoever sent it.
 */
export type Verdict = 'proved' | 'refuted' | 'unsigned';

/**
 * Holds both checkpoints against the ledger. If they prove a fork, the ledger signs nothing more from then on.
 * @throws AppError when that could not be done (the database is away): nothing is known then.
 */
export async function lookInto(report: ForkReport, confront: Confront, logger: Logger): Promise<Verdict> {
  const found = [await outcomeOf(confront(report.held)), await outcomeOf(confront(report.offered))];
  const verdict = found.includes('tampered') ? 'proved' : found.includes('unsigned') ? 'unsigned' : 'refuted';
  const { node, reason } = report;
  if (verdict === 'proved') logger.error('witness.fork_proved', { ...report });
  else logger.warn(`witness.fork_${verdict}`, { node, reason });
  return verdict;
}

async function outcomeOf(confrontation: Promise<void>): Promise<'consistent' | 'tampered' | 'unsigned'> {
  try {
    await confrontation;
    return 'consistent';
  } catch (thrown) {
    const { code } = toAppError(thrown);
    if (code === 'ledger.tampered') return 'tampered';
    if (code === 'auth.signature' || code === 'ledger.proof') return 'unsigned';
    throw thrown;
  }
}
