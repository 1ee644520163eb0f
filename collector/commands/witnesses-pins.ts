import { stringify } from 'yaml';
import { exitCodes } from '../../common/exit-codes.ts';
import { formatVerifierKey } from '../../common/note.ts';
import { defaultWitnesses, type PinnedNode } from '../../common/witnesses.ts';
import { postgresWitnessStore } from '../postgres/witness-store.ts';
import { createRosterMaker } from '../witness/roster.ts';
import { type CommandContext, show, withCollectorData } from './context.ts';
import { contradictedField, contradictionOf } from './contradicted.ts';

/**
 * The keys of the active nodes as a manifest pins them. Whoever commits them vouches for them: what this says is what the database
 * says, and on each node "sigilwatch-agent witness show" says what is so.
 */
export async function witnessesPins(context: CommandContext): Promise<number> {
  const contradicted = await withCollectorData(context, async (data) => {
    const found = await contradictionOf(context, data);
    const active = await postgresWitnessStore(data.database.db).activeNodes();
    const { witnesses } = createRosterMaker(context.settings.ledger.origin)(active, defaultWitnesses);
    const nodes = witnesses.map(({ label, key }) => ({ name: label, key: formatVerifierKey(key) }));
    show(context, { witnesses: { nodes }, ...contradictedField(found) }, formatPins);
    return found;
  });
  return contradicted === undefined ? exitCodes.done : exitCodes.findings;
}

function formatPins({
  witnesses: { nodes },
}: {
  readonly witnesses: { readonly nodes: readonly PinnedNode[] };
}): string {
  const check = '# compare each key with what "sigilwatch-agent witness show" says on its node before you commit it\n';
  return `${check}${stringify({ witnesses: { nodes } }, { lineWidth: 0 })}`;
}
