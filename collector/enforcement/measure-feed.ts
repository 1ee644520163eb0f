import pLimit from 'p-limit';
import type { Clock } from '../../common/clock.ts';
import { announcementIn } from '../../common/enforcement/announcement.ts';
import { toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { MeasureCarrier, MeasureRow, MeasureStore } from './measure-ports.ts';

export interface MeasureFeedOptions {
  readonly store: MeasureStore;
  readonly carrier: MeasureCarrier;
  readonly clock: Pick<Clock, 'now'>;
  readonly logger: Logger;
}

/**
 * Tells nodes what holds orders back, so that one that is cut off knows it too. A node is told all that concerns it when its session
 * begins, or when it follows another commit, and everything new at once. Calls never throw or wait.
 *
 * Crash points: nothing is kept here. A node whose connection ends before it was told everything is told again by the next one.
 */
export interface MeasureFeed {
  /** A node has opened a session, or has adopted another commit. */
  came(node: string): void;
  /** Something may be on record that is new; also to be called every now and then, for what nobody has announced. */
  look(): void;
  /** Begins nothing more; resolves when what is under way is done. */
  stop(): Promise<void>;
}

export function createMeasureFeed(options: MeasureFeedOptions): MeasureFeed {
  return new Feed(options);
}

class Feed implements MeasureFeed {
  readonly #options: MeasureFeedOptions;
  /** Others need the database too. */
  readonly #slots = pLimit(limits.enforcementRoundsAtOnce);
  readonly #inTurn = pLimit(1);
  /** Nodes that have not been told all that concerns them yet. */
  readonly #owed = new Set<string>();
  /** Up to where everything new was told; undefined until it is known where this process began. */
  #toldTo: number | undefined;
  #lookAgain = false;
  #stopped = false;
  readonly #running = new Set<Promise<void>>();
  #failed = '';

  constructor(options: MeasureFeedOptions) {
    this.#options = options;
  }

  came(node: string): void {
    this.#owed.add(node);
    this.#run(() => this.#slots(() => this.#tellAll(node)));
  }

  look(): void {
    if (this.#lookAgain) return;
    this.#lookAgain = true;
    this.#run(async () => {
      await this.#inTurn(async () => {
        this.#lookAgain = false;
        await this.#tellNew();
      });
      for (const node of this.#owed) await this.#slots(() => this.#tellAll(node));
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#running);
  }

  async #tellAll(node: string): Promise<void> {
    const { store, carrier, clock } = this.#options;
    // What is put on record from here on is told to all who are here then.
    await this.#inTurn(() => this.#begin());
    // Somebody else was faster, or it has gone again.
    if (!this.#owed.delete(node) || !carrier.nodes().includes(node)) return;
    try {
      const { rows, areAll } = await store.measuresFor(node, clock.now());
      const its = rows.filter((row) => concerns(row, node, clock.now()));
      const sent = its.slice(-limits.maxMeasuresTold).map((row) => carrier.tell(node, row));
      carrier.measured(node, areAll && its.length <= limits.maxMeasuresTold && sent.every((one) => one));
    } catch (thrown) {
      this.#owed.add(node);
      throw thrown;
    }
  }

  async #tellNew(): Promise<void> {
    const { store, carrier, clock } = this.#options;
    let after = await this.#begin();
    for (let more = true; more; ) {
      const rows = await store.measuresAfter(after);
      for (const row of rows) {
        for (const node of carrier.nodes()) {
          if (!concerns(row, node, clock.now())) continue;
          // It does not read; that it was not told everything is the last thing that it is told.
          if (!carrier.tell(node, row)) carrier.measured(node, false);
        }
      }
      after = rows.at(-1)?.index ?? after;
      this.#toldTo = after;
      more = rows.length >= limits.maxMeasuresRead;
    }
  }

  async #begin(): Promise<number> {
    this.#toldTo ??= await this.#options.store.lastMeasure();
    return this.#toldTo;
  }

  #run(work: () => Promise<void>): void {
    if (this.#stopped) return;
    const mine = work()
      .then(
        () => {
          this.#failed = '';
        },
        (thrown: unknown) => {
          const { code, message } = toAppError(thrown);
          if (this.#failed !== code) this.#options.logger.warn('measures.not_told', { code, message });
          this.#failed = code;
        },
      )
      .finally(() => this.#running.delete(mine));
    this.#running.add(mine);
  }
}

/** Whether a node has to be told; what ends a silence does not say whose it was. */
function concerns({ said, order }: MeasureRow, node: string, nowMs: number): boolean {
  switch (said.kind) {
    case 'enforcement.frozen':
    case 'enforcement.released':
    case 'drift.unsilenced':
      return true;
    case 'drift.silenced':
      return (said.body.scope.node ?? node) === node && Date.parse(said.body.until) > nowMs;
    case 'change.announced': {
      const announced = announcementIn(said.body.text);
      return announced !== undefined && (announced.node ?? node) === node && Date.parse(announced.until) > nowMs;
    }
    case 'order.rejected':
      return order !== null && order.node === node;
    default:
      return said satisfies never;
  }
}
