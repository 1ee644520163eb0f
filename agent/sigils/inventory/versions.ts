import { limits } from '../../../common/limits.ts';
import type { StoredRecord } from '../../../common/sigil.ts';
import { type SigilFacts, sigilFacts } from '../../../common/sigil-inventory.ts';
import type { RecordShape, Span } from '../../../common/sigil-shape.ts';
import { type EntryParts, isOldForm, isPresent, isSound } from './entry.ts';

/** Where stored versions go. */
export interface VersionSink {
  add(parts: EntryParts): void;
}

const quote = 0x22;
const nothing = Buffer.alloc(0);
const noTexts = { from: nothing, idStart: 0, idEnd: 0, timeStart: 0, timeEnd: 0 };
const none: Span = { start: 0, end: 0 };

/** Makes entries of the stored versions of sigils that a scan comes by. */
export class VersionTaker {
  private readonly sink: VersionSink;

  constructor(sink: VersionSink) {
    this.sink = sink;
  }

  /** A record that its shape has accepted. */
  sound(record: StoredRecord & { readonly sequence: number }, shape: RecordShape): void {
    const { key, keyLength, bytes, sequence } = record;
    const id = unquoted(bytes, shape.id);
    const time = shape.updatedAt === null ? none : unquoted(bytes, shape.updatedAt);
    const flags = isPresent | isSound | (shape.isTenant ? 0 : isOldForm);
    const idEnd = id.end - id.start > limits.maxInventoryIdBytes ? id.start : id.end;
    const timeEnd = time.end - time.start > limits.maxInventoryTimeBytes ? time.start : time.end;
    const spans = { idStart: id.start, idEnd, timeStart: time.start, timeEnd };
    this.add({ key, keyLength, sequence, flags, from: bytes, ...spans });
  }

  /** Any record of a sigil; of one that fails a check, nothing but its key is kept. */
  put(
    key: Buffer,
    value: Buffer,
    { sequence, isTenant, passes }: { readonly sequence: number; readonly isTenant: boolean; readonly passes: boolean },
  ): void {
    this.record(key, passes ? sigilFacts(value) : null, sequence, isTenant ? 0 : isOldForm);
  }

  /** A row of a table, which has no older forms. @param facts null of one that fails a check */
  row(key: Buffer, facts: SigilFacts | null, sequence: number): void {
    this.record(key, facts, sequence, 0);
  }

  deleted(key: Buffer, sequence: number): void {
    this.add({ key, keyLength: key.length, sequence, flags: 0, ...noTexts });
  }

  private record(key: Buffer, facts: SigilFacts | null, sequence: number, form: number): void {
    const place = { key, keyLength: key.length, sequence };
    if (facts === null) {
      this.add({ ...place, flags: isPresent | form, ...noTexts });
      return;
    }
    const id = bounded(Buffer.from(facts.id), limits.maxInventoryIdBytes);
    const time = bounded(Buffer.from(facts.updatedAt), limits.maxInventoryTimeBytes);
    const from = Buffer.concat([id, time]);
    const spans = { idStart: 0, idEnd: id.length, timeStart: id.length, timeEnd: from.length };
    this.add({ ...place, flags: isPresent | isSound | form, from, ...spans });
  }

  private add(parts: EntryParts): void {
    if (parts.keyLength <= limits.maxInventoryKeyBytes) this.sink.add(parts);
  }
}

function unquoted(bytes: Uint8Array, { start, end }: Span): Span {
  return bytes[start] === quote ? { start: start + 1, end: end - 1 } : { start, end };
}

function bounded(text: Buffer, maxBytes: number): Buffer {
  return text.length > maxBytes ? nothing : text;
}
