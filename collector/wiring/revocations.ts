import pLimit from 'p-limit';
import { toAppError } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import type { Teardown } from '../../common/teardown.ts';
import type { CollectorSettings } from '../config.ts';
import { revokedChannel } from '../postgres/access-store.ts';
import { listen } from '../postgres/listen.ts';
import { presenceName } from '../presence/session-name.ts';
import type { NodeKeys } from '../ws/ports.ts';
import type { Sockets } from '../ws/server.ts';

export interface RevocationNeeds {
  readonly nodes: NodeKeys;
  readonly sockets: Pick<Sockets, 'sessions' | 'disconnect'>;
  readonly logger: Logger;
}

/** Ends sessions whose key does not count any more. */
export interface Revocations {
  /** Somebody says that the key of `node` was revoked or replaced. Anybody who may use the database can say so. */
  announced(node: string): void;
  /** Announcements may have been missed. */
  lookAtAll(): void;
}

/**
 * An announcement only says where to look: what counts is the key in the table of nodes. A session that cannot be looked
 * up is ended, since the agent comes back and its key is looked at then.
 */
export function createRevocations({ nodes, sockets, logger }: RevocationNeeds): Revocations {
  const oneAtATime = pLimit(1);
  /** Not looked at yet: however often one is announced, one look is enough. */
  const waiting = new Set<string>();

  async function look(node: string): Promise<void> {
    waiting.delete(node);
    const session = sockets.sessions().find((open) => open.node === node);
    if (session === undefined) return;
    try {
      const key = await nodes.key(node);
      if (key !== undefined && !key.revoked && key.fingerprint === session.fingerprint) return;
      sockets.disconnect(node, `the key of ${node} was revoked or replaced`);
    } catch (thrown) {
      logger.error('revocation.look_failed', { node, error: toAppError(thrown) });
      sockets.disconnect(node, `whether the key of ${node} still counts cannot be told now`);
    }
  }

  const announced = (node: string): void => {
    if (waiting.has(node) || !sockets.sessions().some((open) => open.node === node)) return;
    waiting.add(node);
    void oneAtATime(() => look(node));
  };
  return {
    announced,
    lookAtAll: () => {
      for (const { node } of sockets.sessions()) announced(node);
    },
  };
}

export interface FollowNeeds extends RevocationNeeds {
  /** Of the database. */
  readonly url: string;
  readonly teardown: Teardown;
}

/** Ends sessions of revoked keys, whichever collector or command revoked them. Its session in the database says that a collector runs. */
export async function followRevocations(settings: CollectorSettings, needs: FollowNeeds): Promise<void> {
  const { url, logger, teardown } = needs;
  const revocations = createRevocations(needs);
  const listener = await listen({
    database: { url, applicationName: presenceName(settings) },
    channel: revokedChannel,
    onNotify: revocations.announced,
    onListening: revocations.lookAtAll,
    logger,
  });
  teardown.add('revocation listener', () => listener.stop());
}
