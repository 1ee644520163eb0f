import { announcementIn } from '../../common/enforcement/announcement.ts';
import { orderHash } from '../../common/order.ts';
import { type HoldFacts, heldUpBy } from './holding.ts';
import { type ManualWish, planManual } from './manual.ts';
import { findOrder, type OperatorPorts } from './operator.ts';
import { readOvertakings, type SincePorts } from './overtaken.ts';
import type { StoredOrder } from './ports.ts';
import { type OrderStory, orderFields, orderStory } from './view.ts';

type StoryPorts = Pick<OperatorPorts, 'store' | 'clock' | 'manifest' | 'witnessedSize'>;

/** What an order is held up by, as of now. */
async function holdFacts(ports: StoryPorts, stored: StoredOrder): Promise<HoldFacts> {
  const { store, clock } = ports;
  const [nowMs, manifest] = [clock.now(), ports.manifest()];
  const by = manifest?.policy.witnesses;
  const [nodes, measures, witnessedSize] = await Promise.all([
    store.nodes(),
    store.measures(nowMs),
    by === undefined ? undefined : ports.witnessedSize(by),
  ]);
  const overtakings = await readOvertakings({ store, believed: recordedAnnouncements }, [stored], measures, nowMs);
  return { manifest, nodes, overtakings: overtakings.get(stored.hash) ?? [], witnessedSize, nowMs };
}

/** Those that were good when they were put on record: whether their signers still may announce is for whoever decides. */
const recordedAnnouncements: SincePorts['believed'] = async (rows) =>
  rows.flatMap(({ body }) => announcementIn(body.text) ?? []);

/** An order with everything that was said of it, and what holds it up. */
export async function storyOf(ports: StoryPorts, stored: StoredOrder): Promise<OrderStory> {
  return orderStory(stored, heldUpBy(stored, await holdFacts(ports, stored)));
}

/** @throws AppError as {@link findOrder}. */
export async function storyNamed(ports: StoryPorts, name: string): Promise<OrderStory> {
  return storyOf(ports, await findOrder(ports, name));
}

/**
 * What an order would be, and what would hold it up. It has no hash: the one that is issued is another one.
 * @throws AppError as {@link planManual}.
 */
export async function planStory(ports: OperatorPorts, wish: ManualWish) {
  const order = await planManual(ports, wish);
  const planned = { hash: orderHash(order), index: 0, order, status: 'requested', events: [] } as const;
  const holds = heldUpBy(planned, await holdFacts(ports, planned));
  return { dry_run: true as const, ...orderFields(order), held_up_by: holds };
}

export type PlanStory = Awaited<ReturnType<typeof planStory>>;
