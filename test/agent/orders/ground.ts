import type { EngineControl, Outcome } from '../../../agent/docker/control.ts';
import { OrderDesk, type OrderDeskOptions } from '../../../agent/orders/desk.ts';
import type { EvidenceFolder } from '../../../agent/orders/evidence.ts';
import type { IssuedOrder } from '../../../agent/orders/issued.ts';
import type { OrderWatch } from '../../../agent/orders/ports.ts';
import type { StandingDrift } from '../../../common/enforcement/permission.ts';
import type { ObservedContainer } from '../../../common/observed.ts';
import { type Order, orderHash } from '../../../common/order.ts';
import { commit, nowMs, policyOf, rogue, targetId } from '../../common/enforcement/ground.ts';
import { fakeJournal } from '../../fakes/journal.ts';
import { quietLogger } from '../../quiet-logger.ts';

export const seen: ObservedContainer = {
  id: targetId,
  name: 'rogue',
  image: 'app:1',
  imageId: `sha256:${'1'.repeat(64)}`,
  state: 'running',
  health: 'none',
  exitCode: 0,
  restartCount: 0,
  createdAt: '2026-01-01T00:00:00Z',
  startedAt: '2026-01-01T00:00:00Z',
  finishedAt: null,
};

/** Levers that move nothing and count every pull. */
export function countingControl() {
  const pulled: string[] = [];
  const pull =
    (name: string) =>
    async (id: string): Promise<Outcome> => {
      pulled.push(`${name} ${id}`);
      return 'done';
    };
  const control: EngineControl = {
    kill: async (id) => (await pull('kill')(id)) === 'done',
    stop: pull('stop'),
    start: pull('start'),
    remove: pull('remove'),
    rename: pull('rename'),
    setRestart: pull('setRestart'),
    pause: pull('pause'),
    unpause: pull('unpause'),
    create: async (name) => {
      pulled.push(`create ${name}`);
      return 'f'.repeat(64);
    },
    rawInspect: async () => ({}),
    logs: async () => 'last words\n',
    changes: async () => [],
    networks: async () => ({}),
    disconnect: pull('disconnect'),
    connect: pull('connect'),
    findImage: async () => undefined,
    loadImage: async () => {},
    tagImage: pull('tag'),
    untag: pull('untag'),
    close: () => {},
  };
  return { control, pulled };
}

export function memoryEvidence(): EvidenceFolder & { readonly files: ReadonlyMap<string, string> } {
  const files = new Map<string, string>();
  return {
    files,
    keep: async (name, text) => void files.set(name, text),
    has: async (name) => files.has(name),
    read: async (name) => files.get(name),
    prune: async () => {},
  };
}

/** A desk of node1, where one container runs that nobody wants and one that is as it should be. */
export function deskGround(said: Partial<OrderDeskOptions> = {}) {
  const journal = fakeJournal();
  const { control, pulled } = countingControl();
  const evidence = memoryEvidence();
  const clock = { at: nowMs, now: () => clock.at, monotonicMs: () => clock.at };
  const standing = new Map<string, StandingDrift>([[rogue.id, { drift: rogue, sinceMs: nowMs - 600_000 }]]);
  const api: ObservedContainer = { ...seen, id: 'b'.repeat(64), name: 'api' };
  const observed = new Map([seen, api].map((one) => [one.id, one]));
  const watch: OrderWatch = { look: async () => {}, scan: async () => {}, standing, observed };
  const options: OrderDeskOptions = {
    node: 'node1',
    ...{ watch, journal, evidence, clock },
    engine: {
      list: async () => new Map([...observed].map(([id, { name }]) => [id, name])),
      inspect: async () => undefined,
    },
    controlFor: () => control,
    make: async () => 'f'.repeat(64),
    verifyApprovals: async () => [],
    adopted: () => ({ commit, policy: policyOf(), containers: [] }),
    trusted: () => true,
    origin: () => 'repository',
    cutOffMs: () => undefined,
    connectedMs: () => 0,
    random: (bytes) => Buffer.alloc(bytes, 7),
    sleep: async () => {},
    logger: quietLogger,
    ...said,
  };
  const open = async () => {
    const desk = new OrderDesk(options);
    await desk.restore();
    return desk;
  };
  return { ...{ journal, pulled, evidence, clock, standing, observed }, open };
}

/** A collector has told the node of nothing that would hold it back, and said that this is all. */
export function tellAll({ measures }: OrderDesk): void {
  measures.take({ type: 'session' });
  measures.take({ type: 'measured', all: true });
}

/** An order as it comes out of the ledger, whose proof nobody looks at any more. */
export function issued(order: Order): IssuedOrder {
  const proof = { entry: { text: '', signature: '' }, index: 0, hashes: [], checkpoint: '' };
  return { hash: orderHash(order), order, approvals: [], proof };
}
