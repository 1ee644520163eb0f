import type { AgentStatus } from '../../../agent/health/status.ts';
import type { EntryItem } from '../api.ts';
import { type Fleet, images, type Member } from '../fleet.ts';
import { demand, found, observe } from '../observe.ts';
import type { Screen } from '../screen.ts';
import type { Step } from './step.ts';

const node = 'lyra';
const stranger = `${node}-stranger`;
const queue = `${node}-queue`;
/** Waiting entries to see before the link comes back: the changes, and some reports. */
const heldEntries = 14;
/** The longer it was cut off, the longer an agent waits between two tries. */
const catchUpDeadlineMs = 120_000;

/** A node that is cut off goes on watching, keeps what it has to say, and says all of it once it can. */
export const cutOff: Step = {
  name: 'cut_off',
  title: 'A node is cut off, and catches up',
  run: async (fleet, screen) => {
    const member = fleet.member(node);
    const cut = await cutLink(fleet, member, screen);
    const expectedDrifts = await changeContainers(fleet, member, screen);
    const held = await screen.during('reports gather', gather(member));
    await tellOutbox(fleet, screen, 'and reports', held);
    await demandSilence(fleet, cut.headSeq);

    const since = performance.now();
    fleet.lyraLink.refuse(false);
    screen.cause(`the link of ${node} is restored`);
    const catching = seeCaughtUp(fleet, held.outbox.headSeq, since);
    const { value: newest, afterMs } = await screen.during(`waiting for ${node} to try again`, catching);
    screen.seen(
      'caught up',
      afterMs,
      `${held.outbox.depth} entries came, ${node}'s number ${newest.seq} is in the ledger`,
    );

    const chain = await fleet.api.entries(node);
    demandGapless(chain);
    screen.detail(`${node}'s chain has no gap: 1 to ${chain.length}, each entry naming the hash of the one before`);
    demandDrifts(chain, cut.headSeq, expectedDrifts);
    screen.detail(
      `nothing is missing: ${expectedDrifts.length} of ${expectedDrifts.length} drift entries from while it was cut off`,
    );
    return {
      seen_after_ms: afterMs,
      node,
      outbox_entries: held.outbox.depth,
      outbox_bytes: held.outbox.bytes,
      chain_entries: chain.length,
      gapless: true,
      drift_entries: expectedDrifts.length,
    };
  },
};

/** @returns how far the node's chain went when its agent noticed; some of that may have been on its way still */
async function cutLink(fleet: Fleet, { agent }: Member, screen: Screen): Promise<{ headSeq: number }> {
  const since = performance.now();
  fleet.lyraLink.refuse(true);
  fleet.lyraLink.cutAll();
  screen.cause(`${node} is cut off from the collector`);
  const { value } = await observe({
    expected: `the agent of ${node} notices`,
    since,
    look: async () => {
      const status = await agent.status();
      return found(status.link.state === 'connected' ? undefined : status, status.link);
    },
  });
  return value.outbox;
}

/** A drift may also change on its way, as a container does that is created first and then started. */
const decisive: ReadonlySet<string> = new Set(['drift.opened', 'drift.resolved']);

/** One entry that must come of a change, as `kind id`. */
type ExpectedDrift = string;

/** Changes containers; after each change the cut off agent must know. @returns what it will have to say, in order */
async function changeContainers(fleet: Fleet, member: Member, screen: Screen): Promise<readonly ExpectedDrift[]> {
  const { engine, containers } = member;
  const queueId = containers.get(queue) ?? '';
  const change = async (what: string, act: () => Promise<unknown>, openDrifts: number) => {
    await act();
    const knowing = knows(member, what, openDrifts);
    await tellOutbox(fleet, screen, what, await screen.during(what, knowing));
  };
  let strangerId = '';
  const runStranger = async () => {
    strangerId = await engine.run(stranger, images.stranger);
  };
  await change(`${stranger} started`, runStranger, 1);
  await change(`${queue} stopped`, () => engine.stop(queueId), 2);
  await change(`${stranger} removed`, () => engine.remove(strangerId), 1);
  await change(`${queue} started`, () => engine.start(queueId), 0);
  const [unwanted, missing] = [`UNAUTHORIZED_CONTAINER/${strangerId}`, `MISSING_CONTAINER/${queue}`];
  return [
    `drift.opened ${unwanted}`,
    `drift.opened ${missing}`,
    `drift.resolved ${unwanted}`,
    `drift.resolved ${missing}`,
  ];
}

async function knows({ agent }: Member, what: string, openDrifts: number): Promise<AgentStatus> {
  const { value } = await observe({
    expected: `${what}: the agent of ${node}, cut off, knows of ${openDrifts} open drifts`,
    since: performance.now(),
    look: async () => {
      const status = await agent.status();
      return found(status.openDrifts === openDrifts ? status : undefined, status);
    },
  });
  return value;
}

/** Waits until the outbox holds more than the changes. */
async function gather({ agent }: Member): Promise<AgentStatus> {
  const { value } = await observe({
    expected: `the outbox of ${node} grows to ${heldEntries} entries`,
    since: performance.now(),
    look: async () => {
      const status = await agent.status();
      return found(status.outbox.depth >= heldEntries ? status : undefined, status.outbox);
    },
  });
  return value;
}

async function tellOutbox({ api }: Fleet, screen: Screen, what: string, { outbox }: AgentStatus): Promise<void> {
  const newest = await api.newest(node);
  const holds = `${String(outbox.depth).padStart(3)} entries, ${String(outbox.bytes).padStart(6)} bytes`;
  screen.detail(`${what.padEnd(22)}  outbox ${holds}; the ledger has ${node}'s entries up to ${newest?.seq ?? 0}`);
}

/** The step would show nothing if entries had found another way. */
async function demandSilence({ api }: Fleet, headSeq: number): Promise<void> {
  const newest = await api.newest(node);
  const expected = `while ${node} is cut off, none of its entries after ${headSeq} come to the ledger`;
  demand(expected, (newest?.seq ?? 0) <= headSeq, newest);
}

function seeCaughtUp({ api }: Fleet, headSeq: number, since: number) {
  return observe({
    expected: `entry ${headSeq} of ${node}, written while it was cut off, is in the ledger`,
    since,
    deadlineMs: catchUpDeadlineMs,
    look: async () => {
      const newest = await api.newest(node);
      return found(newest !== undefined && newest.seq >= headSeq ? newest : undefined, newest);
    },
  });
}

function demandGapless(chain: readonly EntryItem[]): void {
  const broken = chain.find(({ seq, entry }, i) => {
    return seq !== i + 1 || (i > 0 && entry.prev !== chain[i - 1]?.entry_hash);
  });
  demand(`${node}'s entries are numbered from 1 without gaps and chained by hash`, broken === undefined, broken);
}

function demandDrifts(chain: readonly EntryItem[], afterSeq: number, expected: readonly ExpectedDrift[]): void {
  const told = chain.filter(({ seq, kind }) => seq > afterSeq && decisive.has(kind)).map(driftOf);
  demand(`in ${node}'s chain, in this order: ${expected.join(', ')}`, told.join() === expected.join(), told);
}

function driftOf({ kind, entry: { body } }: EntryItem): ExpectedDrift {
  const { drift, id } = body;
  const opened = typeof drift === 'object' && drift !== null && 'id' in drift ? drift.id : undefined;
  return `${kind} ${opened ?? id}`;
}
