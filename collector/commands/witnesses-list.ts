import { amount } from '../../common/amount.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { defaultWitnesses } from '../../common/witnesses.ts';
import { postgresWantedStore, postgresWitnessStore } from '../postgres/witness-store.ts';
import { viewOf, type WitnessesView } from '../witness/published.ts';
import { createRosterMaker } from '../witness/roster.ts';
import { type CommandContext, formatTable, show, withCollectorData } from './context.ts';
import { contradictedField, contradictionOf } from './contradicted.ts';

/** Who witnesses the ledger, what each cosigned last, and what no quorum vouches for yet. */
export async function witnessesList(context: CommandContext): Promise<number> {
  const { ledger, manifest } = context.settings;
  const contradicted = await withCollectorData(context, async (data) => {
    const { database } = data;
    const found = await contradictionOf(context, data);
    const store = postgresWitnessStore(database.db);
    // What the running collector made of the manifest, and not what it says at this moment.
    const kept = manifest.repository === undefined ? undefined : await postgresWantedStore(database.db).wanted();
    const roster = createRosterMaker(ledger.origin)(await store.activeNodes(), kept ?? defaultWitnesses);
    show(context, { ...(await viewOf(roster, store)), ...contradictedField(found) }, formatWitnesses);
    return found;
  });
  return contradicted === undefined ? exitCodes.done : exitCodes.findings;
}

function formatWitnesses({ quorum, ledger_size, witnessed_size, unwitnessed, witnesses }: WitnessesView): string {
  const rows = witnesses.map((one) => [
    one.name,
    one.kind,
    String(one.last_size ?? '-'),
    one.last_at ?? 'never',
    one.key,
  ]);
  const table = formatTable([['WITNESS', 'KIND', 'COSIGNED', 'AT', 'KEY'], ...rows]);
  const wanted = quorum.problem ?? `quorum: ${quorum.required} of ${quorum.of} (${quorum.rule})`;
  const gap =
    unwitnessed === null
      ? 'all of it witnessed'
      : `entries ${unwitnessed.from} to ${unwitnessed.to - 1} not witnessed since ${unwitnessed.since}`;
  return `${table}${wanted}\nledger of ${amount(ledger_size, 'entry', 'entries')}, witnessed up to ${witnessed_size}: ${gap}\n`;
}
