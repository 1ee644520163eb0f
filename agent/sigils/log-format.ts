import { maskedCrc } from './bytes.ts';

/** LevelDB `doc/log_format`: a log (and a MANIFEST) is a run of 32 KiB blocks filled with records. */
export const logBlockBytes = 32 * 1024;
const headerBytes = 7;
const recordType = { zero: 0, full: 1, first: 2, middle: 3, last: 4 } as const;

/** One bad place in a log file. */
export interface LogProblem {
  readonly check: 'log_checksum' | 'log_format';
  readonly offset: number;
  readonly detail: string;
}

/**
 * Puts the records of a log together from its blocks. Feed it the bytes of one block at a time, in order; it hands out
 * complete records and located problems, and after a problem goes on at the next block, where LevelDB's own records
 * start again. Bytes at the very end that do not make a complete record are no problem: the writer may be in the middle
 * of it, or have been killed there.
 */
export class LogReader {
  /** File offset just behind the last complete record: where a later reading resumes. */
  resumeAt: number;
  private parts: Buffer[] = [];
  private partsBytes = 0;
  private state: 'between' | 'within' | 'skipping' = 'between';
  /** Where zeros were found in place of a header; only a problem if records follow. */
  private zerosAt: number | null = null;
  private readonly maxRecordBytes: number;

  constructor(startAt: number, maxRecordBytes: number) {
    this.resumeAt = startAt;
    this.maxRecordBytes = maxRecordBytes;
  }

  /**
   * @param bytes the rest of one block, as far as the file goes
   * @param offset where `bytes` start in the file
   * @returns complete records and problems in file order; records are views that live as long as `bytes`
   */
  *read(bytes: Buffer, offset: number): Generator<Buffer | LogProblem> {
    let at = 0;
    const toBlockEnd = logBlockBytes - (offset % logBlockBytes);
    while (toBlockEnd - at >= headerBytes && bytes.length - at >= headerBytes) {
      const length = bytes.readUInt16LE(at + 4);
      const type = bytes[at + 6] ?? 0;
      const end = at + headerBytes + length;
      if (type === recordType.zero && length === 0) {
        this.zerosAt ??= offset + at;
        if (bytes.subarray(at).some((byte) => byte !== 0)) yield* this.breakAt(offset + at, 'a record has no header');
        return;
      }
      if (end > toBlockEnd) return yield* this.breakAt(offset + at, 'a record reaches past its block');
      if (end > bytes.length) {
        const next = nextRecord(bytes, at + 1);
        if (next < 0 && !isWhole(bytes.subarray(at))) return;
        yield* this.breakAt(
          offset + at,
          'a record claims more bytes than the file has, yet it ends there or others follow',
        );
        if (next < 0) return;
        at = next;
        continue;
      }
      if (maskedCrc(bytes.subarray(at + 6, end)) !== bytes.readUInt32LE(at)) {
        return yield* this.breakAt(offset + at, 'a record does not match its CRC-32C', 'log_checksum');
      }
      yield* this.zerosBefore();
      yield* this.fragment(type, bytes.subarray(at + headerBytes, end), offset + at, offset + end);
      at = end;
    }
  }

  /** The rest of the block cannot be trusted, and with it the record that was being put together. */
  private *breakAt(offset: number, detail: string, check: LogProblem['check'] = 'log_format'): Generator<LogProblem> {
    this.drop('skipping');
    this.zerosAt = null;
    yield { check, offset, detail };
  }

  private *zerosBefore(): Generator<LogProblem> {
    const offset = this.zerosAt;
    this.zerosAt = null;
    if (offset === null) return;
    this.drop('skipping');
    yield { check: 'log_format', offset, detail: 'a stretch of zeros stands where records were' };
  }

  private *fragment(type: number, data: Buffer, offset: number, end: number): Generator<Buffer | LogProblem> {
    if (type < recordType.full || type > recordType.last) {
      yield* this.breakAt(offset, 'a record has an unknown type');
      return;
    }
    const starts = type === recordType.full || type === recordType.first;
    const unexpected = starts ? this.state === 'within' : this.state === 'between';
    if (unexpected) yield* this.torn(offset, starts);
    // The rest of a record whose beginning was lost: reported where it was lost.
    if (!starts && this.state === 'skipping') return;
    if (type === recordType.full) yield this.complete(data, end);
    else if (type === recordType.first) this.begin(data);
    else yield* this.extend(type, data, offset, end);
  }

  private *torn(offset: number, starts: boolean): Generator<LogProblem> {
    this.drop('skipping');
    yield { check: 'log_format', offset, detail: starts ? 'a record has no end' : 'a record has no beginning' };
  }

  private begin(data: Buffer): void {
    this.drop('within');
    this.push(data);
  }

  private *extend(type: number, data: Buffer, offset: number, end: number): Generator<Buffer | LogProblem> {
    this.push(data);
    if (this.partsBytes > this.maxRecordBytes) {
      yield* this.breakAt(offset, `a record is longer than ${this.maxRecordBytes} bytes and was not checked`);
    } else if (type === recordType.last) {
      yield this.complete(Buffer.concat(this.parts), end);
    }
  }

  /** Copied: the next block is read into the same memory. */
  private push(data: Buffer): void {
    this.parts.push(Buffer.from(data));
    this.partsBytes += data.length;
  }

  private complete(record: Buffer, end: number): Buffer {
    this.drop('between');
    this.resumeAt = end;
    return record;
  }

  private drop(state: LogReader['state']): void {
    this.parts = [];
    this.partsBytes = 0;
    this.state = state;
  }
}

/** Whether a record that seems to go on behind the end of the file is complete for all but its length. */
function isWhole(record: Buffer): boolean {
  return maskedCrc(record.subarray(headerBytes - 1)) === record.readUInt32LE(0);
}

/**
 * The first intact record at or after `from`, or -1. Tells a last record that is still being written (nothing follows)
 * from one whose length was damaged (others do).
 */
function nextRecord(bytes: Buffer, from: number): number {
  for (let at = from; at + headerBytes <= bytes.length; at++) {
    const type = bytes[at + 6] ?? 0;
    if (type < recordType.full || type > recordType.last) continue;
    const end = at + headerBytes + bytes.readUInt16LE(at + 4);
    if (end <= bytes.length && maskedCrc(bytes.subarray(at + 6, end)) === bytes.readUInt32LE(at)) return at;
  }
  return -1;
}
