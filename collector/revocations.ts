import pLimit from 'p-limit';
import { toAppError } from '../common/errors.ts';
import type { Logger } from '../common/log.ts';
import type { NodeKeys } from './ws/ports.ts';
import type { Sockets } from './ws/server.ts';

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
