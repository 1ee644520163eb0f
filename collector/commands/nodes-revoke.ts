import { exitCodes } from '../../common/exit-codes.ts';
import { nodeRevoke } from '../api/fleet-contract.ts';
import { withApi } from './api.ts';
import { type CommandContext, requireNodeName, show } from './context.ts';

/** Revokes a node's key; every running collector cuts its session. */
export function nodesRevoke(context: CommandContext, wish: { node: string; reason: string }): Promise<number> {
  const node = requireNodeName(wish.node);
  return withApi(context, async ({ api }) => {
    const revoked = await api.call(nodeRevoke, { params: { node }, body: { reason: wish.reason } });
    show(context, revoked, ({ fingerprint }) => `the key ${fingerprint} of ${node} is revoked\n`);
    return exitCodes.done;
  });
}
