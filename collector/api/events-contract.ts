import { z } from 'zod';
import { nodeName } from '../../common/fields.ts';
import { alertSeverities, kinds } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import { contract } from './contract.ts';
import { entry } from './ledger-contract.ts';

/** Path of the stream, for server-sent events and WebSockets. */
export const eventsPath = '/api/v1/events';

export const eventSeverity = z.enum(alertSeverities);
export const eventKinds = z.array(z.enum(kinds)).min(1).max(limits.maxFilterKinds);

/** One entry that was appended, as it is told. */
export const event = entry
  .extend({
    type: z.literal('event'),
    node: z.string().nullable().describe('the one it is about; null where it is about several, or none'),
    severity: eventSeverity,
  })
  .meta({ id: 'Event' });

/** An index to go on after; -1 is before the first entry. */
export const eventCursor = z
  .string()
  .regex(/^(-1|[0-9]{1,15})$/, 'the index of an entry, or -1 to begin with the first one')
  .transform(Number);

/** What somebody wants to hear, and from where. Kinds are separated by commas. */
export const eventQuery = z.strictObject({
  node: nodeName.optional().describe('only entries about this node'),
  kind: z
    .string()
    .max(2_048)
    .transform((text) => text.split(','))
    .pipe(eventKinds)
    .optional()
    .describe('only entries of this kind, or of these, separated by commas'),
  severity: eventSeverity.optional().describe('only entries that are at least so grave'),
  after: eventCursor.optional().describe('goes on after the entry with this index; -1 begins with the first'),
  recent: z
    .string()
    .regex(/^[0-9]{1,9}$/, 'a whole number')
    .transform(Number)
    .pipe(z.number().min(1).max(limits.maxRecentEvents))
    .optional()
    .describe('begins with so many of the latest entries that match'),
});

export type EventQuery = z.output<typeof eventQuery>;

export const eventFollow = contract({
  operation: 'events.follow',
  method: 'get',
  path: eventsPath,
  permission: 'events.read',
  summary: 'What is appended to the ledger, as it happens: server-sent events, or a WebSocket by upgrade',
  query: eventQuery,
  answers: { 200: { media: ['text/event-stream'], description: 'each event as JSON, with its index for an id' } },
});
