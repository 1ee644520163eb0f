import type { ServerResponse } from 'node:http';
import { AppError } from '../../common/errors.ts';
import { eventCursor, eventFollow } from '../api/events-contract.ts';
import { type EventStreams, wantedIn } from '../events/streams.ts';
import { admissionOf } from './admission.ts';
import { eventStreamBody, eventStreamHeaders } from './event-stream.ts';
import type { Gate, Serve } from './serving.ts';
import { requireWebSocket } from './upgrades.ts';

export interface EventsSources {
  /** Undefined where nothing runs that they could come from. */
  readonly streams: EventStreams | undefined;
  /** Origins of web pages that may connect, beside the collector's own. */
  readonly corsOrigins: readonly string[];
}

/** Live events as server-sent events, or for whoever asks for a WebSocket over that. */
export function addEventsRoutes(serve: Serve, gate: Gate, { streams, corsOrigins }: EventsSources): void {
  serve.raw(eventFollow, async ({ query, caller }, c) => {
    if (streams === undefined) throw new AppError('state.conflict', 'live events come from a collector that runs');
    const { outgoing, takeStream } = c.env ?? {};
    requireTurn(outgoing);
    if (takeStream !== undefined) requireWebSocket(c, corsOrigins);
    const { filter, start } = wantedIn(query, lastEventId(c.req.header('Last-Event-ID')));
    const admission = admissionOf(gate, caller, c.req.header('Authorization'));
    const stream = await streams.open(admission, filter, start);
    if (takeStream !== undefined) {
      takeStream(stream);
      return c.body(null, 204);
    }
    const cut = () => void outgoing?.destroy();
    return c.body(eventStreamBody(stream, cut), 200, eventStreamHeaders);
  });
}

/**
 * An answer that waits behind another one on its connection has no socket yet, and would not hear that the connection ended:
 * the stream would go on for nobody.
 * @throws AppError `state.conflict`.
 */
function requireTurn(outgoing: ServerResponse | undefined): void {
  if (outgoing === undefined || outgoing.socket !== null) return;
  const message = 'live events need a connection without an earlier request that is still being answered';
  throw new AppError('state.conflict', message);
}

/** What an `EventSource` sends when it connects again; empty before it has heard of any index. */
function lastEventId(header: string | undefined): number | undefined {
  if (header === undefined || header === '') return undefined;
  const parsed = eventCursor.safeParse(header);
  if (parsed.success) return parsed.data;
  throw new AppError('validation.request', `Last-Event-ID is not ${parsed.error.issues[0]?.message ?? 'an index'}`, {
    details: { parameter: 'Last-Event-ID' },
  });
}
