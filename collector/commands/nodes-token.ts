import { randomBytes } from 'node:crypto';
import { rfc3339 } from '../../common/clock.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { systemClock } from '../clock.ts';
import { issueJoinToken } from '../fleet/enrolment.ts';
import { postgresEnrolment } from '../postgres/access-store.ts';
import { type CommandContext, requireNodeName, show, withLedger } from './context.ts';

/** Makes a join token and says how to use it. */
export async function nodesToken(context: CommandContext, options: { node: string }): Promise<number> {
  const node = requireNodeName(options.node);
  const { fleet, http } = context.settings;
  await withLedger(context, async ({ ledger, database }) => {
    const ports = { store: postgresEnrolment(database.db), ledger, clock: systemClock };
    const issued = await issueJoinToken(ports, { node, ttlMs: fleet.joinTokenTtlMs, randomBytes });
    const { token: made, logFingerprint: log_fingerprint } = issued;
    const result = { node, token: made, expires_at: rfc3339(issued.expiresAt), log_fingerprint };
    const address = `http://${http.host}:${http.port}`;
    show(
      context,
      result,
      ({ token, expires_at }) =>
        `${token}\n\nOn ${node}, before ${expires_at}, once:\n\n  sigilwatch-agent enroll --collector ${address} --node ${node} --token ${token}\n\nIt will show the key of this log: ${log_fingerprint}\n`,
    );
  });
  return exitCodes.done;
}
