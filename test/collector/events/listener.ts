import { local } from '../../../collector/auth/caller.ts';
import type { EventFilter } from '../../../collector/events/event.ts';
import type { Start } from '../../../collector/events/feed.ts';
import type { Admission } from '../../../collector/events/ports.ts';
import type { EventStream, EventStreams } from '../../../collector/events/streams.ts';

export const admission: Admission = { caller: local, stillAllowed: async () => true };

/** Somebody who follows, keeps the cursor, and can come back anywhere. */
export interface Listener {
  /** Indexes of the events it was told of, in order, over all its streams. */
  readonly heard: number[];
  /** Names of the notes, in order. */
  readonly notes: string[];
  /** Where it would go on; undefined before it knows. */
  readonly cursor: number | undefined;
  readonly isOpen: boolean;
  open(streams: EventStreams, start?: Start): Promise<void>;
  close(): void;
}

/** @param pause taken before each batch: how slowly it reads. */
export function listener(filter: EventFilter, pause: () => Promise<void> = async () => {}): Listener {
  const heard: number[] = [];
  const notes: string[] = [];
  let cursor: number | undefined;
  let current: EventStream | undefined;

  const read = async (stream: EventStream): Promise<void> => {
    for (;;) {
      await pause();
      const items = await stream.subscription.next();
      // What was on its way to somebody who has gone does not arrive.
      if (items === undefined || current !== stream) break;
      for (const item of items) {
        if (item.is === 'event') {
          heard.push(item.event.index);
          cursor = item.event.index;
        } else {
          notes.push(item.note.type);
          if ('after' in item.note) cursor = item.note.after;
        }
      }
    }
    stream.close('left');
    if (current === stream) current = undefined;
  };
  return {
    heard,
    notes,
    get cursor() {
      return cursor;
    },
    get isOpen() {
      return current !== undefined;
    },
    open: async (streams, start = cursor === undefined ? 'now' : { after: cursor }) => {
      current = await streams.open(admission, filter, start);
      void read(current);
    },
    close: () => {
      const stream = current;
      current = undefined;
      stream?.close('left');
    },
  };
}
