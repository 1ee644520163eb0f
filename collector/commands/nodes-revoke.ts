import { exitCodes } from '../../common/exit-codes.ts';
import { systemClock } from '../clock.ts';
import { revokeNode } from '../fleet/enrolment.ts';
import { postgresEnrolment } from '../postgres/access-store.ts';
import { type CommandContext, requireNodeName, show, withLedger } from './context.ts';

/** Revokes a node's key; every running collector cuts its session. */
export async function nodesRevoke(context: CommandContext, wish: { node: string; reason: string }): Promise<number> {
  const node = requireNodeName(wish.node);
  await withLedger(context, async ({ ledger, database }) => {
    const ports = { store: postgresEnrolment(database.db), ledger, clock: systemClock };
    const { fingerprint } = await revokeNode(ports, { node, reason: wish.reason });
    show(context, { node, fingerprint, revoked: true }, () => `the key ${fingerprint} of ${node} is revoked\n`);
  });
  return exitCodes.done;
}
