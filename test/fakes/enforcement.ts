import { setImmediate } from 'node:timers/promises';
import type { PlanningStore } from '../../collector/enforcement/desk-ports.ts';
import type {
  EndedDriftRow,
  GovernedNodeRow,
  OpenDrift,
  OrderCarrier,
  OrderDispatch,
  OrderEventRow,
  OrderStatus,
  Recorder,
  Replica,
  StoredOrder,
} from '../../collector/enforcement/ports.ts';
import { rfc3339 } from '../../common/clock.ts';
import type { Drift } from '../../common/drift.ts';
import { genesis, sealEntry } from '../../common/entry.ts';
import type { Body, Statement } from '../../common/kinds.ts';
import { type Order, orderHash } from '../../common/order.ts';
import { testAuthor } from '../authors.ts';

/** A ledger and what is read from it, in memory; the carrier of one collector; and a clock that only moves when it is told to. */
export interface EnforcementWorld {
  readonly store: PlanningStore;
  readonly ledger: Recorder;
  readonly clock: { now(): number; monotonicMs(): number };
  /** Runs work when the clock gets there. */
  readonly schedule: (ms: number, work: () => void) => () => void;
  /** Moves the clock, and gives what is due its turn, in order. */
  advance(ms: number): Promise<void>;
  /** Calls of the store, by name; emptied by whoever wants to count anew. */
  readonly asked: string[];
  /** What was put on record. */
  readonly recorded: Statement[];
  readonly rows: GovernedNodeRow[];
  readonly replicas: Map<string, Replica[]>;
  readonly imageIds: Map<string, string>;
  open(node: string, drift: Drift, others?: Partial<OpenDrift>): OpenDrift;
  resolve(node: string, id: string): void;
  /** The order's node answers, or somebody says something of it. */
  tell(hash: string, said: OrderEventRow['said']): void;
  orders(): readonly StoredOrder[];
  /** What the next calls of the store, and of `record` by kind, end with instead, in turn. */
  readonly failures: Map<string, Error[]>;
  /** A collector's sessions. */
  carrier(
    nodes: readonly string[],
  ): OrderCarrier & { readonly sent: (OrderDispatch & { node: string })[]; here: string[] };
}

interface Measured<K extends 'enforcement.frozen' | 'drift.silenced' | 'change.announced'> {
  readonly index: number;
  readonly body: Body<K>;
}

export function enforcementWorld(startMs: number): EnforcementWorld {
  let nowMs = startMs;
  let nextIndex = 100;
  const author = testAuthor('collector');
  const asked: string[] = [];
  const recorded: Statement[] = [];
  const rows: GovernedNodeRow[] = [];
  const replicas = new Map<string, Replica[]>();
  const imageIds = new Map<string, string>();
  const drifts: OpenDrift[] = [];
  const everOpened: OpenDrift[] = [];
  const ended: EndedDriftRow[] = [];
  const stored: {
    readonly hash: string;
    readonly index: number;
    readonly order: Order;
    readonly events: OrderEventRow[];
  }[] = [];
  const frozen: Measured<'enforcement.frozen'>[] = [];
  const released = new Set<string>();
  const silences: Measured<'drift.silenced'>[] = [];
  const announcements: Measured<'change.announced'>[] = [];
  const timers = new Set<{ readonly atMs: number; readonly work: () => void }>();
  const failures = new Map<string, Error[]>();

  const orders = (): readonly StoredOrder[] => stored.map((one) => ({ ...one, status: statusOf(one, nowMs) }));
  const answer = async <T>(name: string, value: () => T): Promise<T> => {
    asked.push(name);
    // A database answers in another turn.
    await setImmediate();
    const failure = failures.get(name)?.shift();
    if (failure !== undefined) throw failure;
    return value();
  };
  const dispatchable = ({ order, status, events }: StoredOrder): boolean =>
    status === 'requested' && events.filter(({ said }) => said.kind === 'order.approved').length >= order.approvals;

  function take(statement: Statement, index: number): void {
    const measured = { index };
    if (statement.kind === 'order.issued') {
      const { order } = statement.body;
      stored.push({ hash: orderHash(order), index, order, events: [] });
    } else if (statement.kind === 'enforcement.frozen') frozen.push({ ...measured, body: statement.body });
    else if (statement.kind === 'enforcement.released') released.add(statement.body.commit);
    else if (statement.kind === 'drift.silenced') silences.push({ ...measured, body: statement.body });
    else if (statement.kind === 'change.announced') announcements.push({ ...measured, body: statement.body });
  }

  return {
    ...{ asked, recorded, rows, replicas, imageIds, orders, failures },
    clock: { now: () => nowMs, monotonicMs: () => nowMs - startMs },
    schedule: (ms, work) => {
      const timer = { atMs: nowMs + ms, work };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    advance: async (ms) => {
      const untilMs = nowMs + ms;
      for (;;) {
        await rest();
        const [next] = [...timers].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs);
        if (next === undefined) break;
        timers.delete(next);
        nowMs = Math.max(nowMs, next.atMs);
        next.work();
      }
      nowMs = untilMs;
      await rest();
    },
    open: (node, drift, others = {}) => {
      const commit = rows.find((row) => row.node === node)?.adopted?.commit ?? null;
      const opened = { node, drift, openedIndex: nextIndex++, openedAtMs: nowMs, commit, ...others };
      drifts.push(opened);
      everOpened.push(opened);
      return opened;
    },
    resolve: (node, id) => {
      const at = drifts.findIndex((open) => open.node === node && open.drift.id === id);
      const [over] = at >= 0 ? drifts.splice(at, 1) : [];
      if (over?.drift.kind === 'UNAUTHORIZED_CONTAINER')
        ended.push({ ...over, endedMs: nowMs, endedIndex: nextIndex++ });
    },
    tell: (hash, said) => {
      const one = stored.find((order) => order.hash === hash);
      const node = said.kind === 'order.result' ? (one?.order.node ?? '') : 'collector';
      one?.events.push({ index: nextIndex++, node, atMs: nowMs, said });
    },
    ledger: {
      record: async (statement) => {
        await setImmediate();
        const failure = failures.get(statement.kind)?.shift();
        if (failure !== undefined) throw failure;
        const index = nextIndex++;
        const signed = sealEntry(statement, {
          author: 'collector',
          head: genesis,
          now: nowMs,
          privateKey: author.keys.privateKey,
        });
        recorded.push(statement);
        take(statement, index);
        return { ...signed, index };
      },
    },
    store: {
      openDrifts: (node) => answer('openDrifts', () => drifts.filter((open) => open.node === node)),
      driftsOfCommit: (commit, kinds) =>
        answer('driftsOfCommit', () =>
          everOpened
            .map((open) => ({ open, stands: drifts.includes(open) }))
            .filter(({ open, stands }) => open.commit === commit || (stands && kinds.includes(open.drift.kind)))
            .map(({ open: { node, openedAtMs, drift }, stands }) => {
              return { node, openedAtMs, kind: drift.kind, answerable: stands };
            }),
        ),
      nodes: () => answer('nodes', () => [...rows]),
      replicas: (container) => answer('replicas', () => replicas.get(container) ?? []),
      ordersOf: (node, sinceMs) =>
        answer('ordersOf', () =>
          orders().filter(({ order }) => order.node === node && Date.parse(order.issuedAt) >= sinceMs),
        ),
      dispatchable: (nodes) =>
        answer('dispatchable', () => orders().filter((one) => nodes.includes(one.order.node) && dispatchable(one))),
      requestedOn: (container) =>
        answer('requestedOn', () =>
          orders().filter(({ order, status }) => order.container === container && status === 'requested'),
        ),
      order: (hash) => answer('order', () => orders().find((one) => one.hash === hash)),
      ordersNamed: (prefix) =>
        answer('ordersNamed', () =>
          orders()
            .filter(({ hash }) => hash.startsWith(prefix))
            .slice(0, 2),
        ),
      listOrders: ({ container, status }) =>
        answer('listOrders', () =>
          orders().filter(
            (one) =>
              (container ?? one.order.container) === one.order.container && (status ?? one.status) === one.status,
          ),
        ),
      measures: () =>
        answer('measures', () => ({
          frozen: frozen.filter(({ body }) => !released.has(body.commit)),
          silences: silences.filter(({ body }) => Date.parse(body.until) > nowMs),
          announcements: [...announcements],
        })),
      wasFrozen: (commit) => answer('wasFrozen', () => frozen.some(({ body }) => body.commit === commit)),
      alertStands: (key) =>
        answer('alertStands', () => {
          const words = recorded.filter(
            ({ kind, body }) => kind.startsWith('alert.') && 'key' in body && body.key === key,
          );
          return words.at(-1)?.kind === 'alert.raised';
        }),
      endedDrifts: (node, { sinceMs, afterIndex }) =>
        answer('endedDrifts', () =>
          ended.filter((one) => one.node === node && one.endedMs >= sinceMs && one.endedIndex > afterIndex),
        ),
      imageId: (_node, containerId) => answer('imageId', () => imageIds.get(containerId)),
    },
    carrier: (nodes) => {
      const sent: (OrderDispatch & { node: string })[] = [];
      const carrier = {
        here: [...nodes],
        sent,
        nodes: () => carrier.here,
        send: (node: string, dispatch: OrderDispatch) => {
          if (!carrier.here.includes(node)) return false;
          carrier.sent.push({ ...dispatch, node });
          return true;
        },
      };
      return carrier;
    },
  };
}

function statusOf({ order, events }: Pick<StoredOrder, 'order' | 'events'>, nowMs: number): OrderStatus {
  const last = events.findLast(({ said }) => said.kind !== 'order.approved')?.said;
  if (last?.kind === 'order.result') return last.body.outcome;
  if (last?.kind === 'order.rejected') return 'rejected';
  return rfc3339(nowMs) >= order.expiresAt ? 'expired' : 'requested';
}

/** Lets everything go on that waits for nothing but its turn. */
export async function rest(): Promise<void> {
  for (let turn = 0; turn < 60; turn++) await setImmediate();
}
