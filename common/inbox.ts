/** What an inbox does to the socket it reads from. */
export interface FrameSource {
  pause(): void;
  resume(): void;
}

export interface InboxOptions<Frame> {
  readonly source: FrameSource;
  /** Deals with one frame. When it rejects, the inbox is done: nothing further is handled and the source stays paused. */
  readonly handle: (frame: Frame) => Promise<void>;
  readonly fail: (thrown: unknown) => void;
}

/**
 * Hands frames on one at a time, in order, and keeps the socket paused meanwhile: a peer that sends faster than it is
 * served is slowed by TCP. What still waits here are the frames of one chunk that had been read before the pause.
 * @returns the function to give each frame to; it never throws.
 */
export function createInbox<Frame>({ source, handle, fail }: InboxOptions<Frame>): (frame: Frame) => void {
  const waiting: Frame[] = [];
  let busy = false;
  let over = false;

  const drain = async (): Promise<void> => {
    busy = true;
    source.pause();
    for (let frame = waiting.shift(); frame !== undefined; frame = waiting.shift()) await handle(frame);
    busy = false;
    source.resume();
  };

  return (frame) => {
    if (over) return;
    waiting.push(frame);
    if (busy) return;
    drain().catch((thrown: unknown) => {
      over = true;
      waiting.length = 0;
      fail(thrown);
    });
  };
}
