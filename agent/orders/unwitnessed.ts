import type { Refusal } from '../../common/enforcement/permission.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { Journal } from '../ports.ts';

export interface UnwitnessedOptions {
  readonly journal: Pick<Journal, 'append'>;
  readonly logger: Logger;
}

/**
 * Orders that too few witnesses have seen. That one came is put on record, since a collector that is what it should be sends none: it may
 * be in a history that is shown to this node alone. It is not remembered as refused, though: whoever sends it first, before its
 * time or to get rid of it, does not keep the node from obeying it once a quorum has seen it.
 */
export interface Unwitnessed {
  /** Whether that was said of it already. */
  has(hash: string, refusal: Refusal): boolean;
  tell(hash: string, refusal: Refusal): Promise<void>;
}

export function createUnwitnessed({ journal, logger }: UnwitnessedOptions): Unwitnessed {
  const told = new Set<string>();
  return {
    has: (hash, { code }) => code === 'unwitnessed' && told.has(hash),
    tell: async (hash, { code, reason }) => {
      const body = { order: hash, outcome: 'refused', code, reason, evidence: null, containerId: null } as const;
      await journal.append([{ kind: 'order.result', body }]);
      logger.warn('order.unwitnessed', { order: hash, reason });
      for (const oldest of told) if (told.size >= limits.unwitnessedRemembered) told.delete(oldest);
      told.add(hash);
    },
  };
}
