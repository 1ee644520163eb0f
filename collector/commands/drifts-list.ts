import { driftSchema } from '../../common/drift.ts';
import { driftKinds } from '../../common/drift-kind.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { type DriftRow, listDrifts } from '../postgres/query-store.ts';
import { type CommandContext, formatTable, requireNodeName, show } from './context.ts';
import { contradictedField } from './contradicted.ts';
import { lookAtEnforcement, moreLine, requireLimit, requireWord } from './enforcing.ts';
import { shownCell } from './ledger-replay.ts';

export interface DriftsListOptions {
  readonly node?: string;
  readonly kind?: string;
  readonly container?: string;
  readonly state?: string;
  readonly limit?: string;
}

const states = ['open', 'resolved', 'all'] as const;

/** Drifts, newest first, with both sides of each field. */
export async function driftsList(context: CommandContext, options: DriftsListOptions): Promise<number> {
  const filter = {
    node: options.node === undefined ? undefined : requireNodeName(options.node),
    kind: requireWord('--kind', driftKinds, options.kind),
    container: options.container,
    state: requireWord('--state', states, options.state) ?? 'open',
    ...{ from: undefined, to: undefined },
  };
  const limit = requireLimit(options.limit);
  const contradicted = await lookAtEnforcement(context, async (looking) => {
    const rows = await listDrifts(looking.db, filter, { after: undefined, limit: limit + 1 });
    const items = rows.slice(0, limit);
    const more = rows.length > limit;
    show(
      context,
      { items, more, ...contradictedField(looking.contradicted) },
      () => formatDrifts(items) + moreLine(more),
    );
    return looking.contradicted;
  });
  return contradicted === undefined ? exitCodes.done : exitCodes.findings;
}

function formatDrifts(drifts: readonly DriftRow[]): string {
  if (drifts.length === 0) return 'no such drifts\n';
  const cells = drifts.map((drift) => [
    String(drift.opened_index),
    drift.node,
    drift.kind,
    shownCell(drift.container),
    drift.state,
    drift.opened_at.toISOString(),
    shownCell(differenceLines(drift).join('; ')),
  ]);
  return formatTable([['INDEX', 'NODE', 'KIND', 'CONTAINER', 'STATE', 'SINCE', 'DESIRED -> OBSERVED'], ...cells]);
}

/** One for each field that differs. */
export function differenceLines({ differences }: Pick<DriftRow, 'differences'>): readonly string[] {
  const known = driftSchema.shape.differences.safeParse(differences);
  return known.success
    ? known.data.map(({ field, desired, observed }) => `${field}: ${desired ?? '-'} -> ${observed ?? '-'}`)
    : [JSON.stringify(differences)];
}
