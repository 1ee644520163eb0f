import { rfc3339 } from '../../common/clock.ts';
import type { Body, Statement } from '../../common/kinds.ts';
import type { Logger } from '../../common/log.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import type { DiskSpace } from '../data/disk.ts';
import type { ContainerObserver } from '../observer.ts';
import type { Journal, StateChange } from '../ports.ts';
import type { Tick } from '../schedule.ts';
import { appendPeriodic } from './account.ts';
import {
  type Coverage,
  clockStepMs,
  coverageGap,
  coverageOf,
  type Gap,
  joinDropped,
  type PastScan,
  skipReason,
} from './coverage.ts';
import type { Owed } from './owed.ts';

export interface CoverageAccountOptions {
  readonly journal: Journal;
  readonly owed: Owed;
  readonly scanIntervalMs: number;
  /** Collector's clock minus ours, once known. */
  readonly clockOffsetMs: () => number | undefined;
  /** What was observed last: the containers' own records tell of a stretch that nobody watched. */
  readonly containers: () => Iterable<ObservedContainer>;
  readonly settled: ContainerObserver['settled'];
  /** What a report says beside its minute. */
  readonly contents: () => Pick<Body<'report'>, 'containers' | 'drifts' | 'stores' | 'commit'>;
  /** Never rejects. Without it, reports say nothing of it. */
  readonly disk: (() => Promise<DiskSpace | undefined>) | undefined;
  /** Does what may fail, and tells it. Resolves to false when it failed; never rejects. */
  readonly guarded: (doing: string, work: () => Promise<unknown>) => Promise<boolean>;
  readonly logger: Logger;
}

/** A scan that is done. */
export interface DoneScan extends Tick {
  readonly began: Omit<PastScan, 'coverage'>;
  readonly scanMs: number;
  /** Whether the engine answered. */
  readonly engineUp: boolean;
}

/** One scan interval, done. */
export interface Cycle {
  readonly slot: number;
  readonly coverage: Coverage;
  readonly scanMs: number;
}

/** Key of the last accounted interval, RFC 3339: where the next run finds out how long nobody watched. */
const lastSlotKey = 'slot';

/** Accounts for every scan interval: by a report, or by a gap that says why there is none. */
export class CoverageAccount {
  readonly #options: CoverageAccountOptions;
  #lastSlot: number | undefined;
  #lastScan: PastScan | undefined;

  constructor(options: CoverageAccountOptions) {
    this.#options = options;
  }

  /** Takes up where the last run ended. @throws AppError as `Journal.state` */
  async restore(): Promise<void> {
    const lastSlot = (await this.#options.journal.state(lastSlotKey)).get(lastSlotKey);
    if (typeof lastSlot === 'string' && !Number.isNaN(Date.parse(lastSlot))) this.#lastSlot = Date.parse(lastSlot);
  }

  /** Tells of the intervals that were skipped before this one, if any, and of this one. Never rejects. */
  async tell({ slot, delayMs, began, scanMs, engineUp }: DoneScan): Promise<Cycle> {
    const { guarded, clockOffsetMs, scanIntervalMs } = this.#options;
    const stepMs = clockStepMs(this.#lastScan, began);
    const skipped = this.#skipped(slot, stepMs);
    if (skipped !== undefined) {
      const mark = slotMark(slot - scanIntervalMs);
      await guarded('gap', () => this.tellGap(skipped, [mark]));
    }
    const wentBack = this.#lastSlot !== undefined && slot <= this.#lastSlot;
    const circumstances = { engineUp, delayMs, clockOffsetMs: clockOffsetMs(), clockStepMs: stepMs, wentBack };
    const cycle: Cycle = { slot, coverage: coverageOf(circumstances), scanMs };
    this.#lastSlot = slot;
    this.#lastScan = { ...began, coverage: cycle.coverage };
    await this.#report(cycle);
    return cycle;
  }

  /** @throws AppError as `Owed.say` */
  async tellGap(gap: Gap, changes: readonly StateChange[] = []): Promise<void> {
    const { containers, owed, logger } = this.#options;
    const statement = coverageGap(gap, containers());
    const { from, to, reason } = statement.body;
    logger.warn('coverage.gap', { from, to, reason });
    await owed.say(statement, changes);
  }

  /** The intervals between the last one and this, if any. */
  #skipped(slot: number, stepMs: number): Gap | undefined {
    if (this.#lastSlot === undefined) return undefined;
    const fromMs = this.#lastSlot + this.#options.scanIntervalMs;
    return fromMs < slot ? { fromMs, toMs: slot, reason: skipReason(this.#lastScan, stepMs) } : undefined;
  }

  /**
   * The report of one interval; when the journal does not take it, its absence is accounted for instead. So it is while anything is
   * owed: the mark may not pass that, or a crash would lose it, and a report before its mark would be told again as a gap.
   */
  async #report(cycle: Cycle): Promise<void> {
    const { guarded, owed, journal, settled } = this.#options;
    await guarded('owed', () => owed.settle());
    const mark = slotMark(cycle.slot);
    const disk = await this.#options.disk?.();
    const say = () => appendPeriodic(journal, this.#statement(cycle, disk), [mark]);
    const said = owed.size === 0 && (await guarded('report', () => settled(say)));
    if (!said) this.#oweReport(cycle.slot);
  }

  #statement({ slot, coverage, scanMs }: Cycle, disk: DiskSpace | undefined): Statement {
    const { containers, drifts, stores, commit } = this.#options.contents();
    const body = { minute: rfc3339(slot), coverage, scanMs, containers, drifts, stores, commit };
    return { kind: 'report', body: { ...body, ...(disk && { disk }) } };
  }

  #oweReport(slot: number): void {
    const { owed, scanIntervalMs } = this.#options;
    const gap = coverageGap({ fromMs: slot, toMs: slot + scanIntervalMs, reason: 'dropped' }, []);
    const changes = [slotMark(slot)];
    const joined = joinDropped(owed.last?.statement, gap);
    if (joined === undefined) owed.add(gap, changes);
    else owed.replaceLast({ statement: joined, changes });
  }
}

function slotMark(slot: number): StateChange {
  return { key: lastSlotKey, value: rfc3339(slot) };
}
