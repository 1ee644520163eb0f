import { join } from 'node:path';
import type { Clock } from '../../common/clock.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { AgentSettings } from '../config.ts';
import { DesiredFolder } from '../desired/folder.ts';
import type { Identity } from '../identity.ts';
import { type Outbox, openOutbox } from '../outbox/outbox.ts';
import { lookAt } from './local-server.ts';
import type { ExportSource } from './source.ts';

/**
 * The outbox of an agent that does not run, which cannot be started meanwhile.
 * @throws AppError `state.conflict` when one runs after all; as `openOutbox`.
 */
export async function openStopped(
  { dataDir, outbox }: Pick<AgentSettings, 'dataDir' | 'outbox'>,
  { node, keys }: Identity,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): Promise<Outbox> {
  return openOutbox({
    ...{ dir: join(dataDir, 'outbox'), author: node, privateKey: keys.privateKey, clock, logger },
    maxBytes: outbox.maxBytes,
    reservedShare: limits.outboxReservedShare,
  });
}

/** What a bundle may build on is known to a running agent only: without one, a whole one is asked for. */
export function stoppedSource(dataDir: string, outbox: Outbox): ExportSource {
  return {
    look: async () => {
      const shown = await new DesiredFolder(dataDir).shown();
      const commit = shown?.adopted?.commit ?? null;
      return { ...lookAt(outbox, { current: undefined }), holding: { commit, base: null, takes: true } };
    },
    read: async (afterSeq) => {
      const bounds = { maxEntries: limits.maxAppendEntries, maxBytes: limits.maxAppendBytes };
      const entries = await outbox.read(afterSeq, bounds);
      return entries.map(({ entry, bytes, signature }) => ({ seq: entry.seq, bytes, signature }));
    },
    close: () => outbox.close(),
  };
}
