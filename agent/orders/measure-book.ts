import { z } from 'zod';
import { type Clock, rfc3339 } from '../../common/clock.ts';
import { announcementIn, type JudgedDrift } from '../../common/enforcement/announcement.ts';
import {
  expectedBy,
  frozenHold,
  type MeasureHold,
  rejectedHold,
  silencedBy,
} from '../../common/enforcement/measures.ts';
import { toAppError } from '../../common/errors.ts';
import { timestamp } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { driftDigest } from '../../common/order.ts';
import type { Journal, StateChange } from '../ports.ts';
import {
  changeOf,
  isOver,
  type MeasureChange,
  type MeasureRecord,
  measureRecord,
  type RememberedFor,
  type ToldMeasure,
} from './measure-records.ts';

/** What a node hears of measures, in this order. */
export type MeasureWord =
  /** A session has begun: what concerns the node is told anew. */
  | { readonly type: 'session' }
  | { readonly type: 'told'; readonly measure: ToldMeasure }
  /** What concerned the node when the session began has been told, or not all of it. */
  | { readonly type: 'measured'; readonly all: boolean }
  /** Something was told that nobody could keep. */
  | { readonly type: 'lost' };

export interface MeasureBookOptions {
  readonly node: string;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly logger: Logger;
}

const prefix = 'measure/';
/** Name of the note that everything was told. Without it a journal that is empty is one that was lost, as far as anybody can tell. */
const completeName = 'complete';
const completeNote = z.strictObject({ at: timestamp });

/**
 * What this node knows of the measures that hold orders back, for when it has to decide alone; in memory as in the journal.
 *
 * What is told counts at once, and is written as soon as the journal takes it. A crash in between forgets it, and ends the
 * connection too: with the next one it is told again. That everything was told is a note of its own: while it is missing, because
 * nobody has told anything yet, something could not be remembered, or the journal was lost, the node knows that it does not know.
 */
export class MeasureBook {
  readonly #options: MeasureBookOptions;
  #records = new Map<string, MeasureRecord>();
  /** Names whose records are not written yet. */
  readonly #unwritten = new Set<string>();
  /** When everything was told, RFC 3339; undefined while there may be more than is known. */
  #completeAt: string | undefined;
  /** Something was lost since the session began. */
  #lostNow = false;
  #taken = { minute: 0, count: 0 };
  #writing: Promise<boolean> | undefined;
  #failed = '';

  constructor(options: MeasureBookOptions) {
    this.#options = options;
  }

  /** Reads it back. What cannot be read may have been anything. */
  async restore(): Promise<void> {
    const state = await this.#options.journal.state(prefix);
    let completeAt: string | undefined;
    for (const [key, value] of state) {
      const name = key.slice(prefix.length);
      const parsed = measureRecord.safeParse(value);
      if (name === completeName) completeAt = completeNote.safeParse(value).data?.at;
      else if (parsed.success) this.#records.set(name, parsed.data);
      else this.#lose('what was remembered cannot be read');
    }
    if (!this.#lostNow) this.#completeAt = completeAt;
  }

  /** Writes all of it into a journal that was replaced and knows nothing of it. */
  retell(): Promise<void> {
    for (const name of this.#records.keys()) this.#unwritten.add(name);
    if (this.isComplete) this.#unwritten.add(completeName);
    return this.flush();
  }

  get all(): ReadonlyMap<string, MeasureRecord> {
    return this.#records;
  }

  /** Whether all that a collector could tell was told, and none of it was lost since. */
  get isComplete(): boolean {
    return this.#completeAt !== undefined;
  }

  /** Takes note at once; durable with {@link flush}. Never throws. */
  take(word: MeasureWord): void {
    if (word.type === 'session') this.#lostNow = false;
    else if (word.type === 'told') this.#told(word.measure);
    else if (word.type === 'lost') this.#lose('more was told than could wait');
    else if (!word.all) this.#lose('the collector could not tell all that stands');
    else if (!this.#lostNow && !this.isComplete) {
      this.#completeAt = rfc3339(this.#options.clock.now());
      this.#unwritten.add(completeName);
      this.#options.logger.info('measures.complete');
    }
    void this.flush();
  }

  /** Why this drift is not to be answered by this node alone, by the commit in force; undefined when nothing is known against it. */
  holdOf(judged: JudgedDrift, commit: string): MeasureHold | undefined {
    const nowMs = this.#options.clock.now();
    const records = [...this.#records.values()];
    const silences = records.flatMap((one) => (one.type === 'silence' && !one.ended ? [one] : []));
    const announcements = records.flatMap((one) => (one.type === 'change' ? (announcementIn(one.text) ?? []) : []));
    const digest = driftDigest(judged.drift);
    const isFrozen = records.some((one) => one.type === 'commit' && one.commit === commit && one.frozen);
    const isRejected = records.some(
      (one) =>
        one.type === 'rejection' && one.commit === commit && one.drift === judged.drift.id && one.digest === digest,
    );
    return (
      silencedBy(judged, silences, nowMs) ??
      expectedBy(judged, announcements, nowMs) ??
      (isFrozen ? frozenHold(commit) : undefined) ??
      (isRejected ? rejectedHold : undefined)
    );
  }

  /** Forgets what nothing depends on any more, and writes what the journal has not taken yet. */
  tidy(at: Omit<RememberedFor, 'nowMs'>): Promise<void> {
    const nowMs = this.#options.clock.now();
    for (const [name, record] of this.#records) {
      if (!isOver(record, { ...at, nowMs })) continue;
      this.#records.delete(name);
      this.#unwritten.add(name);
    }
    return this.flush();
  }

  /** Resolves when all of it is written, or the journal has refused it: then the next call tries again. Never rejects. */
  async flush(): Promise<void> {
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
    const isTaken = await this.#writing;
    // What came after the last look at what is unwritten, and before this write counted as over.
    if (isTaken && this.#unwritten.size > 0) await this.flush();
  }

  /** @returns whether the journal took it. */
  async #write(): Promise<boolean> {
    const { journal, logger } = this.#options;
    while (this.#unwritten.size > 0) {
      const names = [...this.#unwritten];
      this.#unwritten.clear();
      try {
        await journal.append(
          [],
          names.map((name) => this.#stateOf(name)),
        );
        this.#failed = '';
      } catch (thrown) {
        for (const name of names) this.#unwritten.add(name);
        const { code, message } = toAppError(thrown);
        if (this.#failed !== code) logger.warn('measures.unwritten', { code, message });
        this.#failed = code;
        return false;
      }
    }
    return true;
  }

  #stateOf(name: string): StateChange {
    const complete = this.#completeAt === undefined ? undefined : { at: this.#completeAt };
    return { key: `${prefix}${name}`, value: name === completeName ? complete : this.#records.get(name) };
  }

  #told(measure: ToldMeasure): void {
    const { node, clock, logger } = this.#options;
    const change = changeOf(measure, this.#records, { node, nowMs: clock.now() });
    if (change === undefined) return;
    const { index } = measure;
    if (!this.#hasRoomFor(change)) this.#lose('more stand than are remembered');
    else if (!this.#mayTake()) this.#lose('more were told in a minute than are taken up');
    else {
      const [name, record] = change;
      this.#records.set(name, record);
      this.#unwritten.add(name);
      logger.info('measure.noted', { kind: measure.said.kind, index });
    }
  }

  #hasRoomFor([name]: MeasureChange): boolean {
    return this.#records.has(name) || this.#records.size < limits.maxMeasuresRemembered;
  }

  /** Whoever owns the collector can make up as many as he likes; they must not wear the node's disk. */
  #mayTake(): boolean {
    const minute = Math.floor(this.#options.clock.monotonicMs() / 60_000);
    if (minute !== this.#taken.minute) this.#taken = { minute, count: 0 };
    this.#taken.count += 1;
    return this.#taken.count <= limits.maxMeasuresPerMinute;
  }

  #lose(reason: string): void {
    if (this.#lostNow) return;
    this.#lostNow = true;
    this.#completeAt = undefined;
    // Also where it was not complete before: what this program has not read back may be in the journal.
    this.#unwritten.add(completeName);
    this.#options.logger.warn('measures.lost', { reason, consequence: 'this node does nothing by itself' });
  }
}
