import { graceSeconds } from '../fleet.ts';
import { demand, found, observe } from '../observe.ts';
import type { Step } from './step.ts';

/** The stranger of the step before is ordered away, as the manifest says. */
export const order: Step = {
  name: 'order',
  title: 'An order, obeyed because the manifest permits it',
  run: async ({ api, member }, screen) => {
    const node = 'node1';
    const name = `${node}-stranger`;
    const since = performance.now();
    screen.cause(`the manifest terminates what nobody authorized after ${graceSeconds} s; nobody does anything`);
    const obeying = observe({
      expected: `an order to terminate ${name}, executed and verified by a later look`,
      since,
      look: async () => {
        const orders = await api.orders(node);
        const its = orders.find(({ container, action }) => container === name && action === 'terminate');
        return found(its?.status === 'verified' ? its : undefined, orders);
      },
    });
    const { value, afterMs } = await screen.during('waiting for the order', obeying);
    const gone = await observe({
      expected: `no open drift of ${name}`,
      since,
      look: async () => {
        const drifts = await api.openDrifts(node);
        return found(drifts.some(({ container }) => container === name) ? undefined : true, drifts);
      },
    });
    const executed = await api.executed(value.hash);
    screen.seen(`${value.action} ${value.status}`, Math.max(afterMs, gone.afterMs), `order ${value.hash.slice(0, 12)}`);
    screen.detail(
      `what was left of it is on ${node}, orders/${value.hash.slice(0, 12)}….json, and its digest in the ledger`,
    );
    const evidence = await member(node).evidenceOf(value.hash);
    demand('the evidence is the one that the ledger names', evidence === executed, { evidence, executed });
    return {
      seen_after_ms: afterMs,
      node,
      container: name,
      order: value.hash,
      status: value.status,
      evidence_sha256: evidence,
    };
  },
};
