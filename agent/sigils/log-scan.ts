import { limits } from '../../common/limits.ts';
import type { FileWindow } from './file-window.ts';
import { type LogProblem, LogReader, logBlockBytes } from './log-format.ts';
import type { StoreFile } from './store-files.ts';

/** Receives the records of a log; views that live until the returned promise settles. */
export type LogRecordHandler = (record: Buffer, endsAt: number) => Promise<void>;

export interface LogReading {
  /** Where the next reading may start without missing a record. */
  readonly resumeAt: number;
  readonly problems: readonly LogProblem[];
}

/**
 * Reads a log or MANIFEST from `startAt`, which must be a record boundary, to the size it had when it was opened.
 * A problem is only believed when a second reading finds it at the same place: the writer may have been in the middle of
 * that page.
 * @throws AppError `store.unreadable`
 */
export async function readLog(
  window: FileWindow,
  file: StoreFile,
  startAt: number,
  handle: LogRecordHandler,
): Promise<LogReading> {
  const first = await readOnce(window, file, startAt, handle);
  if (first.problems.length === 0) return first;
  const second = await readOnce(window, file, startAt, async () => {});
  const places = new Set(second.problems.map((problem) => problem.offset));
  const problems = first.problems.filter((problem) => places.has(problem.offset));
  // Where the first look was wrong, records behind it went unread; the next scan takes them from the start.
  const steady = problems.length === first.problems.length;
  return { resumeAt: steady ? first.resumeAt : startAt, problems };
}

async function readOnce(
  window: FileWindow,
  file: StoreFile,
  startAt: number,
  handle: LogRecordHandler,
): Promise<LogReading> {
  window.use(file);
  const reader = new LogReader(startAt, limits.sigilMaxLogRecordBytes);
  const problems: LogProblem[] = [];
  for (let at = startAt; at < file.bytes; ) {
    const block = await window.bytes(at, Math.min(logBlockBytes - (at % logBlockBytes), file.bytes - at));
    if (block.length === 0) break;
    for (const item of reader.read(block, at)) {
      if (Buffer.isBuffer(item)) await handle(item, reader.resumeAt);
      else problems.push(item);
    }
    at += block.length;
  }
  return { resumeAt: reader.resumeAt, problems };
}
