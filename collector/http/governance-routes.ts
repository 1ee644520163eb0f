import pLimit from 'p-limit';
import { z } from 'zod';
import { limits } from '../../common/limits.ts';
import { governanceStatus } from '../api/governance-contract.ts';
import {
  governanceLimitsOf,
  governedSinceMs,
  nodeStatus,
  ruleStatuses,
  windowStatuses,
} from '../enforcement/governance-status.ts';
import type { OperatorPorts } from '../enforcement/operator.ts';
import { silenceView } from '../enforcement/view.ts';
import type { Queryable } from '../postgres/pool.ts';
import { readMeasures } from '../postgres/standing-measure-store.ts';
import { type Paging, page } from './paging.ts';
import type { Serve } from './serving.ts';

type NodeStatus = ReturnType<typeof nodeStatus>;

const paging: Paging<NodeStatus, string, NodeStatus> = {
  list: 'governance',
  key: z.string(),
  keyOf: ({ node }) => node,
  show: (status) => status,
};

/** How far orders may go now. */
export function addGovernanceRoutes(serve: Serve, { store, manifest, clock }: OperatorPorts, db: Queryable): void {
  const fewAtOnce = pLimit(limits.governanceReadsAtOnce);
  serve.json(governanceStatus, async ({ query: { node, ...rest } }) => {
    const nowMs = clock.now();
    const [{ frozen, silences }, inForce] = [await readMeasures(db, nowMs), manifest()];
    const standing = silences.map(silenceView);
    if (inForce === undefined) {
      const nothing = { commit: null, mode: null, frozen: false, limits: null, rules: [], windows: [] };
      return { ...nothing, silences: standing, nodes: { items: [], next_cursor: null } };
    }
    const { policy, commit } = inForce;
    const nodes = await page(paging, rest, async ({ after = '', limit }) => {
      const rows = (await store.nodes()).filter((row) => row.node > after && (node ?? row.node) === row.node);
      const some = rows.sort((a, b) => (a.node < b.node ? -1 : 1)).slice(0, limit);
      const look = async (row: (typeof some)[number]) =>
        nodeStatus(row, inForce, await store.ordersOf(row.node, governedSinceMs(policy, nowMs), nowMs), nowMs);
      return Promise.all(some.map((row) => fewAtOnce(() => look(row))));
    });
    return {
      commit,
      mode: policy.mode,
      frozen: frozen.some(({ body }) => body.commit === commit),
      limits: governanceLimitsOf(policy),
      rules: ruleStatuses(policy, silences, nowMs),
      windows: windowStatuses(policy, nowMs),
      silences: standing,
      nodes,
    };
  });
}
