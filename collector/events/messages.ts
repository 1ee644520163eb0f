import { z } from 'zod';
import { nodeName } from '../../common/fields.ts';
import { eventKinds, eventSeverity } from '../api/events-contract.ts';

/** WebSocket subprotocol. Text frames, each one member of a tagged union below. */
export const eventsSubprotocol = 'sigilwatch.events.v1';

/** From the subscriber: what it wants to hear from now on. What is not given does not filter. */
export const subscriberMessage = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('filter'),
    node: nodeName.optional(),
    kind: z.union([eventKinds.element, eventKinds]).optional(),
    severity: eventSeverity.optional(),
  }),
]);

export type SubscriberMessage = z.infer<typeof subscriberMessage>;

/** Index of the last entry that was judged: going on with `after` at it misses nothing and repeats nothing. */
type Cursor = { readonly after: number };

/** To the subscriber, beside events themselves. `behind` and `ended` are the last word. */
export type Note =
  /** The first message, and the answer to each filter: entries beyond `after` are judged by it. */
  | ({ readonly type: 'filtering' } & Cursor)
  | ({ readonly type: 'heartbeat' } & Cursor)
  /** A message that was not understood; nothing has changed. */
  | { readonly type: 'refused'; readonly error_code: string; readonly message: string }
  /** Entries come faster than they are read. */
  | ({ readonly type: 'behind' } & Cursor)
  | ({ readonly type: 'ended'; readonly error_code: string; readonly message: string } & Cursor);

export type LastNote = Extract<Note, { type: 'behind' | 'ended' }>;
