import { z } from 'zod';
import type { Clock } from '../../common/clock.ts';
import type { JudgedDrift } from '../../common/enforcement/announcement.ts';
import {
  expectedBy,
  frozenHold,
  type MeasureHold,
  rejectedHold,
  silencedBy,
} from '../../common/enforcement/measures.ts';
import { toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { driftDigest } from '../../common/order.ts';
import type { Journal, StateChange } from '../ports.ts';
import {
  announcementIn,
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
/** Name of the note that there is more than is remembered. */
const lostName = 'lost';
const lostNote = z.strictObject({ since: z.number() });

/**
 * What this node knows of the measures that hold orders back, for when it has to decide alone; in memory as in the journal.
 *
 * What is told counts at once, and is written as soon as the journal takes it. A crash in between forgets it, and ends the
 * connection too: with the next one it is told again. What could not be remembered leaves a note, and until everything has been told
 * anew the node knows that it does not know.
 */
export class MeasureBook {
  readonly #options: MeasureBookOptions;
  #records = new Map<string, MeasureRecord>();
  /** Names whose records are not written yet. */
  readonly #unwritten = new Set<string>();
  #lostSinceMs: number | undefined;
  /** Something was lost since the session began. */
  #lostNow = false;
  #taken = { minute: 0, count: 0 };
  #writing: Promise<void> | undefined;
  #failed = '';

  constructor(options: MeasureBookOptions) {
    this.#options = options;
  }

  /** Reads it back. What cannot be read may have been anything. */
  async restore(): Promise<void> {
    const state = await this.#options.journal.state(prefix);
    for (const [key, value] of state) {
      const name = key.slice(prefix.length);
      const parsed = measureRecord.safeParse(value);
      if (name === lostName) this.#lostSinceMs = lostNote.safeParse(value).data?.since ?? this.#options.clock.now();
      else if (parsed.success) this.#records.set(name, parsed.data);
      else this.#lose('what was remembered cannot be read');
    }
  }

  /** Writes all of it into a journal that was replaced and knows nothing of it. */
  retell(): Promise<void> {
    for (const name of this.#records.keys()) this.#unwritten.add(name);
    if (this.#lostSinceMs !== undefined) this.#unwritten.add(lostName);
    return this.flush();
  }

  get all(): ReadonlyMap<string, MeasureRecord> {
    return this.#records;
  }

  /** Since when there may be measures that are not known here, Unix milliseconds; undefined while there are none. */
  get lostSinceMs(): number | undefined {
    return this.#lostSinceMs;
  }

  /** Takes note at once; durable with {@link flush}. Never throws. */
  take(word: MeasureWord): void {
    if (word.type === 'session') this.#lostNow = false;
    else if (word.type === 'told') this.#told(word.measure);
    else if (word.type === 'lost') this.#lose('more was told than could wait');
    else if (!word.all) this.#lose('the collector could not tell all that stands');
    else if (!this.#lostNow && this.#lostSinceMs !== undefined) {
      this.#lostSinceMs = undefined;
      this.#unwritten.add(lostName);
      this.#options.logger.info('measures.known_again');
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
    await this.#writing;
  }

  async #write(): Promise<void> {
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
        return;
      }
    }
  }

  #stateOf(name: string): StateChange {
    const lost = this.#lostSinceMs === undefined ? undefined : { since: this.#lostSinceMs };
    return { key: `${prefix}${name}`, value: name === lostName ? lost : this.#records.get(name) };
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
    this.#lostNow = true;
    if (this.#lostSinceMs !== undefined) return;
    this.#lostSinceMs = this.#options.clock.now();
    this.#unwritten.add(lostName);
    this.#options.logger.warn('measures.lost', { reason, consequence: 'this node does nothing by itself' });
  }
}
