import type { Clock } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import type { Teardown } from '../../common/teardown.ts';
import { applicationName, type OpenDatabase } from '../database.ts';
import type { EventMetrics } from '../events/ports.ts';
import { createEventStreams, type EventStreams } from '../events/streams.ts';
import { appendedChannel, postgresEventStore } from '../postgres/event-store.ts';
import { listen } from '../postgres/listen.ts';

export interface EventingNeeds {
  readonly database: OpenDatabase;
  readonly metrics: EventMetrics;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly teardown: Teardown;
}

/**
 * What every stream of live events of this process is read from.
 * @throws AppError `database.unreachable`.
 */
export async function openEventStreams(needs: EventingNeeds): Promise<EventStreams> {
  const { database, metrics, clock, logger, teardown } = needs;
  const streams = createEventStreams({ store: postgresEventStore(database.db), logger, clock, metrics });
  teardown.add('event streams', () => streams.stop());
  const listener = await listen({
    database: { url: database.url, applicationName },
    channel: appendedChannel,
    onNotify: streams.wake,
    onListening: streams.wake,
    logger,
  });
  teardown.add('event listener', () => listener.stop());
  return streams;
}
