import { randomBytes } from 'node:crypto';
import { rfc3339 } from '../../common/clock.ts';
import { nodeName } from '../../common/fields.ts';
import { nodeList, nodeRevoke, nodeToken } from '../api/fleet-contract.ts';
import { type FleetPorts, issueJoinToken, revokeNode } from '../fleet/enrolment.ts';
import type { Queryable } from '../postgres/pool.ts';
import { listNodes, type NodeRow } from '../postgres/query-store.ts';
import { actingFor } from './acting.ts';
import { snakeCased } from './json.ts';
import { type Paging, page } from './paging.ts';
import type { Serve } from './serving.ts';

const paging: Paging<NodeRow, string, NodeRow> = {
  list: 'nodes',
  key: nodeName,
  keyOf: ({ node }) => node,
  show: (row) => ({ ...row, stores: snakeCased(row.stores) }),
};

export interface NodesRoutesNeeds {
  readonly db: Queryable;
  readonly ports: FleetPorts;
  /** How long a join token is good for. */
  readonly ttlMs: number;
}

/** The nodes, and who may become or stay one. */
export function addNodesRoutes(serve: Serve, { db, ports, ttlMs }: NodesRoutesNeeds): void {
  serve.json(nodeList, async ({ query: { state, ...rest } }) => {
    const filter = { state: state === 'all' ? undefined : state };
    return page(paging, rest, (at) => listNodes(db, filter, at));
  });
  serve.json(nodeToken, async (asked) => {
    const { node } = asked.params;
    const { token, expiresAt, logFingerprint } = await issueJoinToken(actingFor(ports, asked), {
      ...{ node, ttlMs, randomBytes },
    });
    return { node, token, expires_at: rfc3339(expiresAt), log_fingerprint: logFingerprint };
  });
  serve.json(nodeRevoke, async (asked) => {
    const { node } = asked.params;
    const { fingerprint } = await revokeNode(actingFor(ports, asked), { node, reason: asked.body.reason });
    return { node, fingerprint, revoked: true as const };
  });
}
