import { setTimeout as delay } from 'node:timers/promises';
import type { Registry } from 'prom-client';
import type { Clock } from '../../common/clock.ts';
import { toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { parseVerifierKey } from '../../common/note.ts';
import type { WitnessesWanted } from '../../common/witnesses.ts';
import type { OrderVouchers } from '../enforcement/desk-ports.ts';
import type { RoundCheckpoint, Witnessing } from '../ws/ports.ts';
import { witnessMetrics } from './metrics.ts';
import { createOrderQuorum } from './order-quorum.ts';
import { createOutsideCrowd, type OutsideCrowd } from './outside-crowd.ts';
import type { WitnessStore } from './ports.ts';
import { type PublishedWitnesses, publishWitnesses } from './published.ts';
import { createRosterMaker } from './roster.ts';
import { createRounds, type RoundBounds, type RoundLedger, type WitnessedOrders } from './rounds.ts';

/** What witnessing needs of the ledger. */
export interface WitnessedLedger extends RoundLedger {
  readonly vkey: string;
  consistency(oldSize: number, newSize: number): Promise<readonly Buffer[]>;
}

export interface WitnessingOptions {
  readonly ledger: WitnessedLedger;
  readonly store: WitnessStore;
  /** What the manifest wants at this moment. */
  readonly wanted: () => WitnessesWanted;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly orders?: WitnessedOrders;
  readonly bounds?: Partial<RoundBounds>;
}

/** Rounds, outside witnesses and what is published of them. */
export interface RunningWitnessing {
  /** For the agents' sessions. */
  readonly rounds: Witnessing;
  readonly published: PublishedWitnesses;
  /** For orders that have to be witnessed. */
  readonly vouchers: OrderVouchers;
  /** A word from another collector. */
  heard(word: string): void;
  /** Begins to hold rounds. */
  start(offer: (checkpoint: RoundCheckpoint) => void): void;
  /** Holds no more rounds; waits for what is being stored. */
  stop(): Promise<void>;
}

export function createWitnessing(options: WitnessingOptions): RunningWitnessing {
  const { ledger, store, wanted, registry, clock, logger, orders, bounds = {} } = options;
  const stopping = new AbortController();
  const rosterOf = createRosterMaker(ledger.origin);
  const roster = async () => rosterOf(await store.activeNodes(), wanted());
  const metrics = witnessMetrics(registry, () => store.standing());
  let offer: (checkpoint: RoundCheckpoint) => void = () => {};
  let running: Promise<void> | undefined;
  const crowd: OutsideCrowd = createOutsideCrowd({ ...options, metrics, add: (size, one) => rounds.add(size, one) });
  const logKey = parseVerifierKey(ledger.vkey);
  const quorum = createOrderQuorum({ logKey, store, confront: (note) => ledger.confront(note) });
  const rounds = createRounds({
    ...{ ledger, store, roster, clock, logger, metrics, bounds },
    ...{ signal: stopping.signal, ...(orders && { orders }) },
    offer: (checkpoint) => offer(checkpoint),
    offerOutside: (checkpoint, now) => crowd.offer(checkpoint, now),
  });
  const published = publishWitnesses({
    ...{ logKey, store, roster, clock, ...bounds },
    checkpoint: () => ledger.checkpoint(),
  });
  return {
    rounds,
    published,
    vouchers: { newest: (by) => quorum.newest(by, rounds.vouchedSize), hurry: (size) => rounds.hurry(size) },
    heard: (word) => rounds.heard(word),
    start: (offerHere) => {
      offer = offerHere;
      const everyMs = bounds.witnessRoundMs ?? limits.witnessRoundMs;
      running = Promise.all([
        repeat('witness.round_failed', everyMs, () => rounds.tick()),
        repeat('witness.prune_failed', limits.witnessPruneMs, () => store.prune(limits.witnessRoundsKeptMs)),
      ]).then(() => {});
    },
    stop: async () => {
      stopping.abort();
      await running;
      await rounds.close();
      await crowd.close();
      await rounds.close();
    },
  };

  /** One run after another; a failure is said once and tried again. */
  async function repeat(event: string, everyMs: number, work: () => Promise<void>): Promise<void> {
    let told = '';
    while (!stopping.signal.aborted) {
      try {
        await work();
        told = '';
      } catch (thrown) {
        const { code, message } = toAppError(thrown);
        if (told !== message) logger.warn(event, { code, message });
        told = message;
      }
      await delay(everyMs, undefined, { signal: stopping.signal }).catch(() => {});
    }
  }
}
