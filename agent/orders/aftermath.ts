import type { Clock } from '../../common/clock.ts';
import type { EngineControl } from '../docker/control.ts';
import type { Engine } from '../docker/engine.ts';
import type { OrderBook } from './book.ts';
import type { EvidenceFolder } from './evidence.ts';
import { isSuperseded, laterOutcome } from './outcome.ts';
import type { OrderWatch } from './ports.ts';
import type { OrderRecord } from './records.ts';
import { replacementNames } from './replace.ts';

export interface AftermathOptions {
  readonly book: OrderBook;
  readonly watch: Pick<OrderWatch, 'standing' | 'observed'>;
  readonly engine: Pick<Engine, 'inspect'>;
  readonly controlFor: (entry: OrderRecord['entry']) => EngineControl;
  readonly evidence: Pick<EvidenceFolder, 'prune'>;
  readonly clock: Pick<Clock, 'now'>;
}

/** What is left to do about orders once they were carried out. */
export interface Aftermath {
  /** What was seen may say more about them. */
  followUp(): Promise<void>;
  /** Removes containers that were replaced and have been kept for long enough. */
  letGo(): Promise<void>;
  tidy(): Promise<void>;
}

export function createAftermath(options: AftermathOptions): Aftermath {
  const { book, watch, engine, controlFor, evidence, clock } = options;

  /** Unless somebody has started it again: then it is somebody's. */
  async function remove(hash: string, record: OrderRecord): Promise<void> {
    const { containerId, container } = record.order;
    const found = containerId === null ? undefined : await engine.inspect(containerId);
    const isAsLeft = found?.container.name === replacementNames(container, hash).kept;
    if (containerId !== null && isAsLeft && found?.container.state !== 'running') {
      await controlFor(record.entry).remove(containerId);
    }
    await book.remember(hash, { ...record, keptUntilMs: null });
  }

  const aftermath: Aftermath = {
    followUp: async () => {
      const { standing, observed } = watch;
      if (standing === undefined) return;
      for (const [hash, record] of book.all) {
        if (record.state !== 'executed' && record.state !== 'verified') continue;
        const later = laterOutcome(record, { standing, containers: observed }, clock.now());
        if (later === undefined || isSuperseded(record, book.all.values())) continue;
        await book.end(hash, record, { outcome: later.state, code: null, reason: later.reason });
      }
    },
    letGo: async () => {
      const nowMs = clock.now();
      for (const [hash, record] of book.all) {
        if (record.keptUntilMs !== null && nowMs >= record.keptUntilMs) await remove(hash, record);
      }
    },
    tidy: async () => {
      await aftermath.letGo();
      await book.tidy();
      await evidence.prune(clock.now());
    },
  };
  return aftermath;
}
