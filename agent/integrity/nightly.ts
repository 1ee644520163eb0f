import { randomBytes } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { rfc3339 } from '../../common/clock.ts';
import { isDue, type Timetable } from '../../common/due.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { timestamp } from '../../common/fields.ts';
import { findingsOf, type IntegrityReport, newReportId } from '../../common/integrity-report.ts';
import type { Statement } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { takeRunLock } from '../data/run-lock.ts';
import type { Journal, StateChange } from '../ports.ts';
import { everySlot } from '../schedule.ts';
import type { ReportArchive } from './archive.ts';
import { type FindGoodCopies, type IntegrityRun, knownBefore, nothingKnown, reportOf } from './report.ts';
import { checkFailed, type StoreCheck } from './store-check.ts';

/** A store that can be asked for a full check; the answer may never come, when the watch is stopped or its disk hangs. */
export interface CheckedStore {
  readonly name: string;
  /** Why its scan does not get on, while it does not. */
  readonly stalled: string | undefined;
  check(): Promise<StoreCheck>;
}

export interface NightlyOptions {
  readonly node: string;
  readonly stores: readonly CheckedStore[];
  /** How many secrets signatures are checked with. */
  readonly eventSecrets: number;
  readonly archive: ReportArchive;
  readonly findGoodCopies: FindGoodCopies;
  readonly timetable: Timetable;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** When the last run began, or this node when there was none: RFC 3339. */
const lastRunKey = 'integrity/last';

/** A store that a run waits for. */
interface Awaited {
  readonly store: CheckedStore;
  readonly giveUp: (why: string) => void;
}

/** A run that was made, and is not on record yet. */
interface Unsaid {
  readonly statement: Statement;
  readonly change: StateChange;
}

/**
 * Has all stores checked completely, one after the other, whenever the timetable says so, and puts it on record. A run that was missed,
 * because the node was off, asleep or stopped in the middle of it, is made up once.
 *
 * Crash points: the archive comes before the entry, and the time of the run is remembered with the entry, in one write. A crash before
 * that leaves a report without an entry, and the run is made again; after it, nothing is.
 */
export class Nightly {
  readonly #options: NightlyOptions;
  readonly #stopping = new AbortController();
  #unsaid: Unsaid | undefined;
  #current: Promise<void> | undefined;
  #awaited: Awaited | undefined;
  #ended: Promise<void> = Promise.resolve();

  constructor(options: NightlyOptions) {
    this.#options = options;
  }

  /** Looks every minute, until it is stopped. */
  start(): void {
    const { signal } = this.#stopping;
    const onTick = async () => void this.look();
    this.#ended = everySlot({ clock: this.#options.clock, intervalMs: limits.scanIntervalMs, signal, onTick });
  }

  /** A run under way is given up; it is made again after the next start. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#ended;
    await this.#current;
  }

  /** Makes a run if one is due, or sees to the one under way. Never rejects. */
  async look(): Promise<void> {
    if (this.#current !== undefined) return this.#giveUpStalled();
    this.#current = this.#lookAnew();
    await this.#current;
    this.#current = undefined;
  }

  /** One store on a disk that hangs must not keep the others from being checked. */
  #giveUpStalled(): void {
    const why = this.#awaited?.store.stalled;
    if (why !== undefined) this.#awaited?.giveUp(why);
  }

  async #lookAnew(): Promise<void> {
    try {
      if (this.#unsaid !== undefined) await this.#say(this.#unsaid);
      else if (await this.#isDue()) await this.#runAlone();
    } catch (thrown) {
      const error = toAppError(thrown);
      this.#options.logger.error('integrity.failed', { code: error.code, error });
    }
  }

  async #isDue(): Promise<boolean> {
    const { journal, clock, timetable } = this.#options;
    const last = timestamp.safeParse((await journal.state(lastRunKey)).get(lastRunKey));
    if (last.success) return isDue(timetable, Date.parse(last.data), clock.now());
    // Each store is scanned in full at its first start anyway; from here on, runs can be missed.
    await journal.append([], [{ key: lastRunKey, value: rfc3339(clock.now()) }]);
    return false;
  }

  /** Nothing while somebody else makes a run; then it is still due a minute later. */
  async #runAlone(): Promise<void> {
    const giveBack = await this.#lock();
    if (giveBack === undefined) return;
    try {
      await this.#make();
    } finally {
      await giveBack();
    }
  }

  async #lock(): Promise<(() => Promise<void>) | undefined> {
    const { archive, logger } = this.#options;
    try {
      await archive.prepare();
      return await takeRunLock(archive.folder, 'integrity run');
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code === 'state.busy') return undefined;
      // A disk that takes no lock is no reason to leave the stores unchecked.
      logger.error('integrity.unlocked', { code: error.code, error });
      return async () => {};
    }
  }

  async #make(): Promise<void> {
    const { node, stores, eventSecrets, clock, logger } = this.#options;
    const startedMs = clock.now();
    const checks: StoreCheck[] = [];
    for (const store of stores) {
      const check = await this.#checked(store);
      if (check === undefined) return;
      checks.push(check);
    }
    const run = {
      id: newReportId(startedMs, randomBytes),
      node,
      startedMs,
      finishedMs: clock.now(),
      checks,
      eventSecrets,
    };
    const { report, sha256 } = await this.#archived(run);
    const { id, status } = report;
    const findings = report.stores.reduce((sum, store) => sum + findingsOf(store), 0);
    logger[status === 'ok' ? 'info' : 'warn']('integrity.report', { id, status, stores: stores.length, findings });
    const change = { key: lastRunKey, value: report.startedAt };
    await this.#say({ statement: statementOf(report, sha256), change });
  }

  /** Undefined when the agent stops. */
  async #checked(store: CheckedStore): Promise<StoreCheck | undefined> {
    const { clock } = this.#options;
    const [startedAt, startedMs] = [rfc3339(clock.now()), clock.monotonicMs()];
    const stalled = new Promise<StoreCheck>((resolve) => {
      const giveUp = (why: string) => {
        const begun = { store: store.name, startedAt, durationMs: clock.monotonicMs() - startedMs };
        resolve(checkFailed(begun, new AppError('store.unreadable', why), []));
      };
      this.#awaited = { store, giveUp };
    });
    try {
      return await unlessAborted(Promise.race([store.check(), stalled]), this.#stopping.signal);
    } finally {
      this.#awaited = undefined;
    }
  }

  /** What the disk does not take still goes on record, without a digest. */
  async #archived(run: IntegrityRun): Promise<{ report: IntegrityReport; sha256: string | null }> {
    const { archive, findGoodCopies, logger } = this.#options;
    let report = reportOf(run, nothingKnown);
    try {
      report = reportOf(run, await knownBefore(run.checks, archive, findGoodCopies));
      return { report, sha256: await archive.add(report) };
    } catch (thrown) {
      const error = toAppError(thrown);
      logger.error('integrity.unarchived', { code: error.code, error });
      return { report, sha256: null };
    }
  }

  async #say(run: Unsaid): Promise<void> {
    this.#unsaid = run;
    await this.#options.journal.append([run.statement], [run.change]);
    this.#unsaid = undefined;
  }
}

function statementOf(report: IntegrityReport, sha256: string | null): Statement {
  const { id, status, startedAt, finishedAt } = report;
  const stores = report.stores.map((store) => {
    return { store: store.store, status: store.status, counts: store.counts, findings: findingsOf(store) };
  });
  return { kind: 'integrity.report', body: { report: id, status, startedAt, finishedAt, sha256, stores } };
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const give = () => resolve(undefined);
    if (signal.aborted) return give();
    signal.addEventListener('abort', give, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', give));
  });
}
