import { limits } from '../../common/limits.ts';
import type { IssuedOrder } from '../orders/issued.ts';
import type { MeasureWord } from '../orders/measure-book.ts';

/** Who takes what the collector sends beside acks. Calls return at once and never throw. */
export interface Receiver {
  /** An order that was proved to be in the ledger. */
  order(issued: IssuedOrder): void;
  /** A measure that was proved to be in the ledger, or how far they have been told. */
  measure(word: MeasureWord): void;
  /** A git bundle and the commit it is about; nothing of it is believed yet. */
  bundle(commit: string, bundle: Buffer): void;
}

/** Stands between the link, which is there first, and whoever acts on what comes. Keeps the last few until somebody does. */
export interface Mailbox extends Receiver {
  /** From now on everything goes to `receiver`, what waits first. */
  deliverTo(receiver: Receiver): void;
}

const maxWaiting = 64;

export function createMailbox(): Mailbox {
  const waiting: ((receiver: Receiver) => void)[] = [];
  let words: MeasureWord[] = [];
  let receiver: Receiver | undefined;
  const pass = (deliver: (to: Receiver) => void): void => {
    if (receiver !== undefined) deliver(receiver);
    else waiting.push(deliver);
    // The collector sends again what was not answered.
    if (waiting.length > maxWaiting) waiting.shift();
  };
  return {
    order: (issued) => pass((to) => to.order(issued)),
    measure: (word) => {
      if (receiver !== undefined) return receiver.measure(word);
      words.push(word);
      // Nobody tells them again in this session.
      if (words.length > limits.maxMeasuresWaiting) words = [{ type: 'lost' }];
    },
    bundle: (commit, bundle) => pass((to) => to.bundle(commit, bundle)),
    deliverTo: (taker) => {
      receiver = taker;
      for (const word of words.splice(0)) taker.measure(word);
      for (const deliver of waiting.splice(0)) deliver(taker);
    },
  };
}
