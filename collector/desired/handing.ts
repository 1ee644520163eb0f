import { toAppError } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import type { Holding } from '../../common/protocol.ts';
import type { ManifestFollower } from './follower.ts';

export interface HandingOptions {
  readonly follower: Pick<ManifestFollower, 'adopted' | 'bundleFor'> | undefined;
  /** False when the node has no open session here, or would not take as much. */
  readonly send: (node: string, commit: string, bundle: Buffer) => boolean;
  readonly logger: Logger;
}

/**
 * Hands the commit in force to the nodes: to each what leads there from the one that it says it has, and nothing to those that have it or
 * could not make use of it. What a node says is its own affair: at worst its bundle is whole.
 */
export interface Handing {
  /** A session has opened: the node has not said yet what it has, and what was under way is lost. */
  came(node: string): void;
  /** What a node says that it has. */
  holds(node: string, holding: Holding): void;
  /** Another commit is in force. */
  changed(): void;
}

interface Account {
  holding: Holding;
  /** The commit that was sent in this session, and what it builds on: the same is not sent twice. */
  sent: string;
  busy: boolean;
  again: boolean;
}

export function createHanding({ follower, send, logger }: HandingOptions): Handing {
  /** By node; there are no more of them than enrolled nodes. */
  const accounts = new Map<string, Account>();

  async function bring(node: string, account: Account): Promise<void> {
    account.again = true;
    if (account.busy) return;
    account.busy = true;
    while (account.again && accounts.get(node) === account) {
      account.again = false;
      await hand(node, account);
    }
    account.busy = false;
  }

  async function hand(node: string, account: Account): Promise<void> {
    const { commit, base, takes } = account.holding;
    if (!takes || follower?.adopted?.commit === commit) return;
    try {
      const bundle = await follower?.bundleFor(base ?? undefined);
      if (bundle === undefined || accounts.get(node) !== account) return;
      const what = `${bundle.commit} ${base ?? 'whole'}`;
      if (what === account.sent) return;
      if (send(node, bundle.commit, bundle.bytes)) account.sent = what;
      else logger.warn('desired.not_sent', { node, commit: bundle.commit, bytes: bundle.bytes.length });
    } catch (thrown) {
      const { code, message } = toAppError(thrown);
      logger.warn('desired.not_sent', { node, code, message });
    }
  }

  return {
    came: (node) => void accounts.delete(node),
    holds: (node, holding) => {
      const known = accounts.get(node);
      const account = known ?? { holding, sent: '', busy: false, again: false };
      account.holding = holding;
      accounts.set(node, account);
      void bring(node, account);
    },
    changed: () => {
      for (const [node, account] of accounts) void bring(node, account);
    },
  };
}
