import type { Body } from '../../common/kinds.ts';
import type { NodeFacts } from '../alerts/conditions.ts';
import type { Queryable } from './pool.ts';

interface FactsRow extends Pick<Body<'report'>, 'stores'> {
  readonly node: string;
  readonly enrolled_at: Date;
  readonly received_ms: number | null;
  readonly coverage: Body<'report'>['coverage'] | null;
}

/** Of all nodes whose keys are in force. */
export async function readNodeFacts(db: Queryable): Promise<readonly NodeFacts[]> {
  const { rows } = await db.query<FactsRow>(
    `select n.node, n.enrolled_at, n.coverage, n.stores, b.received_ms
       from nodes n
       left join lateral (select received_ms from batches where size > n.last_index order by size limit 1) b on true
      where n.revoked_at is null
      order by n.node`,
  );
  return rows.map(({ node, enrolled_at, received_ms, coverage, stores }) => ({
    node,
    heardAtMs: received_ms ?? enrolled_at.getTime(),
    report: coverage === null ? null : { coverage, stores },
  }));
}
