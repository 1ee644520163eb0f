import { exitCodes } from '../../common/exit-codes.ts';
import { limits } from '../../common/limits.ts';
import type { Db } from '../postgres/pool.ts';
import { listNodes, type NodeRow } from '../postgres/query-store.ts';
import { type CommandContext, formatTable, show, withCollectorData } from './context.ts';
import { contradictedField, contradictionOf } from './contradicted.ts';

/** All nodes that were ever enrolled. */
export async function nodesList(context: CommandContext): Promise<number> {
  const contradicted = await withCollectorData(context, async (data) => {
    const found = await contradictionOf(context, data);
    const items = await allNodes(data.database.db);
    show(context, { items, ...contradictedField(found) }, () => formatNodes(items));
    return found;
  });
  return contradicted === undefined ? exitCodes.done : exitCodes.findings;
}

async function allNodes(db: Db): Promise<readonly NodeRow[]> {
  const nodes: NodeRow[] = [];
  for (;;) {
    const page = await listNodes(db, { state: undefined }, { after: nodes.at(-1)?.node, limit: limits.pageSizeMax });
    nodes.push(...page);
    if (page.length < limits.pageSizeMax) return nodes;
  }
}

function formatNodes(nodes: readonly NodeRow[]): string {
  if (nodes.length === 0) return 'no nodes yet; make a join token with "sigilwatch-collector nodes token NAME"\n';
  const rows = nodes.map((row) => [
    row.node,
    row.state,
    row.last_entry_at?.toISOString() ?? 'never',
    row.coverage ?? '-',
    String(row.containers ?? '-'),
    String(row.open_drifts ?? '-'),
    row.fingerprint,
  ]);
  return formatTable([['NODE', 'STATE', 'LAST ENTRY', 'COVERAGE', 'CONTAINERS', 'DRIFTS', 'KEY'], ...rows]);
}
