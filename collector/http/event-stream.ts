import { limits } from '../../common/limits.ts';
import type { EventStream } from '../events/streams.ts';
import type { Item } from '../events/subscription.ts';

/** What server-sent events are answered with. `X-Accel-Buffering` keeps nginx from holding them back. */
export const eventStreamHeaders = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'no-store',
  'X-Accel-Buffering': 'no',
} as const;

/**
 * A stream as the body of an answer, in the form of the HTML standard, 9.2. It is read only as fast as it leaves: whoever
 * does not read stops the reading, not the memory.
 * @param cut ends the connection under it, when nothing has left for too long.
 */
export function eventStreamBody(stream: EventStream, cut: () => void): ReadableStream<Uint8Array> {
  const { subscription } = stream;
  stream.onCut = cut;
  let isFirst = true;
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const items = await subscription.next();
        if (items === undefined) {
          stream.close('left');
          controller.close();
          return;
        }
        const chunks = items.map(encoded);
        if (isFirst) chunks.unshift(Buffer.from(`retry: ${limits.eventRetryMs}\n`));
        isFirst = false;
        controller.enqueue(Buffer.concat(chunks));
        stream.sent(items.filter(({ is }) => is === 'event').length);
      },
      cancel: () => stream.close('left'),
    },
    { highWaterMark: 0 },
  );
}

/** `id` alone moves on where an `EventSource` reconnects, and tells its page nothing. */
function encoded(item: Item): Buffer {
  if (item.is === 'event') {
    return Buffer.concat([Buffer.from(`id: ${item.event.index}\ndata: `), item.event.json, blank]);
  }
  const { note } = item;
  switch (note.type) {
    case 'filtering':
    case 'heartbeat':
      return Buffer.from(`: ${note.type}\nid: ${note.after}\n\n`);
    case 'behind':
    case 'ended':
      return Buffer.from(`id: ${note.after}\nevent: ${note.type}\ndata: ${JSON.stringify(note)}\n\n`);
    case 'refused':
      // Nobody can send a message here.
      return Buffer.alloc(0);
    default:
      return note satisfies never;
  }
}

const blank = Buffer.from('\n\n');
