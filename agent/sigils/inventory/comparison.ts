import { limits } from '../../../common/limits.ts';
import type { InventoryCheck } from '../../../common/sigil-inventory.ts';
import { compareTimes, laterTime } from '../../../common/sigil-inventory.ts';
import type { Pacer } from '../pacer.ts';
import type { AcceptedChanges } from './accepted.ts';
import type { ByteFile } from './byte-file.ts';
import { type EntryView, HeldEntry, isOldForm, isPresent, isSound, writeEntry } from './entry.ts';
import { EntryReader } from './entry-file.ts';
import { InventoryWriter } from './inventory-file.ts';
import { EntrySorter, type Merge } from './sorter.ts';

/** What seems to be wrong by what a scan saw, until somebody has looked again. */
export interface Candidate {
  readonly check: InventoryCheck;
  readonly key: Buffer;
  /** `updatedAt` before and now; empty where there is none. */
  readonly before: string;
  readonly now: string;
  /** The new key beside which, or as which, the sigil stands; null when there is none. */
  readonly other: Buffer | null;
}

/** Told what a comparison comes to. */
export interface ComparisonSink {
  /** Whether the scan could see what is under that key. */
  isSeen(key: Buffer): boolean;
  /** At most `limits.sigilConfirmBatch` of them at once. */
  suspect(candidates: readonly Candidate[]): Promise<void>;
  /** A key of an older form is gone, and its sigil stands under a new one: it was migrated. */
  moved(key: Buffer): void;
}

const entriesPerRest = 64;

export interface ComparisonOptions {
  /** What the scan saw: all versions in order. */
  readonly versions: Merge;
  /** What was there before, or null. */
  readonly before: EntryReader | null;
  readonly store: string;
  /** Takes the new inventory; empty. */
  readonly target: ByteFile;
  /** For what has to be sorted. */
  readonly spill: ByteFile;
  readonly pacer: Pacer;
  readonly sink: ComparisonSink;
  readonly accepted: AcceptedChanges;
}

/**
 * Makes the new inventory out of the one before and what a scan saw, and says where they disagree. A key that was ever in it stays, with
 * the latest `updatedAt` that a sound record under it had: what was told once is found again by every full scan for as long as it is true.
 */
export class Comparison {
  private readonly options: ComparisonOptions;
  private readonly now = new HeldEntry();
  private candidates: Candidate[] = [];
  private steps = 0;
  /** Keys of the older forms. */
  private oldForms = 0;

  constructor(options: ComparisonOptions) {
    this.options = options;
  }

  /** @returns how many keys the new inventory has. @throws AppError `state.conflict` */
  async run(): Promise<number> {
    const { target, store } = this.options;
    const writer = await InventoryWriter.begin(target, store);
    await this.mergeKeys(writer);
    const made = await writer.finish();
    if (this.oldForms > 0) await this.joinIds(made);
    await this.flush();
    return writer.entries;
  }

  private async mergeKeys(writer: InventoryWriter): Promise<void> {
    const { versions } = this.options;
    const before = this.options.before ?? new EntryReader(this.options.spill, { from: 0, to: 0 });
    let hasNow = await this.nextVersion(versions);
    let hasBefore = await before.next();
    // Most steps wait for nothing, and waiting for nothing is what would take the most time.
    while (hasNow || hasBefore) {
      const order = !hasNow ? 1 : !hasBefore ? -1 : this.now.compareKey(before.entry);
      const [now, old] = [order <= 0 ? this.now : null, order >= 0 ? before.entry : null];
      if (now?.has(isPresent)) this.present(writer, now, old);
      else if (old !== null) this.absent(writer, old);
      if (writer.isFull) await writer.flush();
      const more = {
        now: order <= 0 ? this.nextVersion(versions) : hasNow,
        old: order >= 0 ? before.next() : hasBefore,
      };
      hasNow = typeof more.now === 'boolean' ? more.now : await more.now;
      hasBefore = typeof more.old === 'boolean' ? more.old : await more.old;
      if (this.stepIsDue()) await this.rest();
    }
  }

  /** Takes the newest version of the next key, and goes past the others; false at the end. */
  private nextVersion(versions: Merge): boolean | Promise<boolean> {
    const { entry } = versions;
    if (entry === null) return false;
    this.now.take(entry);
    return this.pastKey(versions);
  }

  private pastKey(versions: Merge): true | Promise<true> {
    do {
      const moved = versions.next();
      if (moved !== undefined) return moved.then(() => (this.isSameKey(versions) ? this.pastKey(versions) : true));
    } while (this.isSameKey(versions));
    return true;
  }

  private isSameKey({ entry }: Merge): boolean {
    return entry !== null && entry.compareKey(this.now) === 0;
  }

  private present(writer: InventoryWriter, now: EntryView, old: EntryView | null): void {
    const oldTime = old?.time ?? '';
    // What fails its checks is no witness for when it was made.
    const nowTime = now.has(isSound) ? now.time : '';
    const isSteady = old?.hasSameTime(now) ?? false;
    const isOlder = !isSteady && (compareTimes(nowTime, oldTime) ?? 0) < 0;
    const isMeant = isOlder && this.options.accepted.rolledBack(now.key, nowTime);
    if (isOlder && !isMeant) {
      this.suspect({ check: 'rolled_back', key: Buffer.from(now.key), before: oldTime, now: nowTime, other: null });
    }
    const flags = isPresent | (now.flags & isOldForm);
    const time = isSteady || isMeant ? now.time : laterTime(oldTime, nowTime);
    if (old === null || (now.hasId && time === now.time)) this.write(writer, now, flags);
    else this.writeParts(writer, { key: now, id: now.hasId ? now : old, time, flags });
  }

  private absent(writer: InventoryWriter, old: EntryView): void {
    const { key } = old;
    const { sink, accepted } = this.options;
    const isGone = sink.isSeen(key);
    if (!isGone) accepted.wait(key);
    else if (accepted.vanished(key)) return;
    // Of the older forms it may have been migrated; that is seen when the ids are joined.
    if (isGone && !old.has(isOldForm)) this.suspectVanished(key, old.time);
    this.write(writer, old, isGone ? old.flags & ~isPresent : old.flags);
  }

  private write(writer: InventoryWriter, entry: EntryView, flags: number): void {
    this.count(flags);
    writer.putAs(entry, flags);
  }

  private count(flags: number): void {
    if ((flags & isOldForm) !== 0) this.oldForms++;
  }

  private writeParts(
    writer: InventoryWriter,
    { key, id, time, flags }: { key: EntryView; id: EntryView; time: string; flags: number },
  ): void {
    this.count(flags);
    const from = Buffer.concat([id.id, Buffer.from(time, 'latin1')]);
    const spans = { idStart: 0, idEnd: id.idEnd - id.keyEnd, timeStart: id.idEnd - id.keyEnd, timeEnd: from.length };
    const parts = { key: key.key, keyLength: key.keyEnd - key.keyStart, sequence: 0, flags, from, ...spans };
    const { buffer, at } = writer.room;
    writer.wrote(writeEntry(buffer, at, parts));
  }

  /**
   * Brings the keys of each id together, a new form before the older ones. Only for stores that have older forms: `key` of what is
   * sorted is the id, and `id` the key.
   */
  private async joinIds(made: EntryReader): Promise<void> {
    const { spill, pacer } = this.options;
    const sorter = new EntrySorter(spill, pacer);
    for (let more = await made.next(); more; more = await made.next()) {
      const { entry } = made;
      if (entry.has(isOldForm) || (entry.has(isPresent) && entry.hasId)) {
        if (sorter.isFull) await sorter.relieve();
        const { bytes, keyStart, keyEnd, idEnd, end, flags } = entry;
        const spans = { idStart: keyStart, idEnd: keyEnd, timeStart: idEnd, timeEnd: end };
        const sequence = entry.has(isOldForm) ? 0 : 1;
        sorter.add({ key: entry.id, keyLength: idEnd - keyEnd, sequence, flags, from: bytes, ...spans });
      }
      if (this.stepIsDue()) await this.rest();
    }
    await this.lookAtIds(await sorter.merged());
  }

  private async lookAtIds(byId: Merge): Promise<void> {
    const first = this.now;
    let newKey: Buffer | null = null;
    for (let begun = false; byId.entry !== null; begun = true) {
      const { entry } = byId;
      if (!begun || entry.compareKey(first) !== 0) {
        first.take(entry);
        newKey = entry.has(isOldForm) ? null : Buffer.from(entry.id);
      }
      if (entry.has(isOldForm)) this.oldForm(entry, newKey);
      const moved = byId.next();
      if (moved !== undefined) await moved;
      if (this.stepIsDue()) await this.rest();
    }
  }

  private oldForm(entry: EntryView, newKey: Buffer | null): void {
    const key = Buffer.from(entry.id);
    if (!entry.has(isPresent)) {
      if (newKey === null) this.suspectVanished(key, entry.time);
      else this.options.sink.moved(key);
    } else if (newKey !== null) {
      this.suspect({ check: 'duplicate', key, before: '', now: entry.time, other: newKey });
    }
  }

  private suspectVanished(key: Buffer, before: string): void {
    this.suspect({ check: 'vanished', key: Buffer.from(key), before, now: '', other: null });
  }

  private suspect(candidate: Candidate): void {
    this.candidates.push(candidate);
  }

  /** Asked with every step. */
  private stepIsDue(): boolean {
    return ++this.steps % entriesPerRest === 0 || this.candidates.length >= limits.sigilConfirmBatch;
  }

  private async rest(): Promise<void> {
    const { pacer } = this.options;
    if (this.candidates.length >= limits.sigilConfirmBatch) await this.flush();
    if (pacer.due) await pacer.rest();
  }

  private async flush(): Promise<void> {
    const { candidates } = this;
    this.candidates = [];
    if (candidates.length > 0) await this.options.sink.suspect(candidates);
  }
}
