import type { Clock } from '../../common/clock.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { Holding } from '../../common/protocol.ts';
import type { ManifestFollower } from '../desired/follower.ts';
import { createAnnouncements } from '../enforcement/announcements.ts';
import type { OrderVouchers, VerifyAnnouncement } from '../enforcement/desk-ports.ts';
import { createDispatcher, type DispatcherOptions } from '../enforcement/dispatcher.ts';
import { createMeasureFeed } from '../enforcement/measure-feed.ts';
import type { MeasureDispatch, MeasureStore } from '../enforcement/measure-ports.ts';
import type { OrderDispatch } from '../enforcement/ports.ts';
import type { ManifestInForce } from '../enforcement/situation.ts';
import type { Told } from './answer.ts';

export interface TellingPorts {
  readonly orders: DispatcherOptions['store'];
  readonly measures: MeasureStore;
  readonly follower: Pick<ManifestFollower, 'adopted' | 'bundleFor'> | undefined;
  readonly manifest: ManifestInForce | undefined;
  readonly vouchers: Pick<OrderVouchers, 'newest'>;
  readonly verifyAnnouncement: VerifyAnnouncement;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Everything that waits for a node, as it would be sent if the node opened a session now. */
export async function toldTo(
  node: string,
  holding: Holding | null,
  ports: TellingPorts,
): Promise<Omit<Told, 'batches'>> {
  const measures = await measuresFor(node, ports);
  return { desired: await desiredFor(holding, ports), ...measures, orders: await ordersFor(node, ports) };
}

async function desiredFor(holding: Holding | null, { follower, logger }: TellingPorts): Promise<Told['desired']> {
  const { commit, base, takes } = holding ?? { commit: null, base: null, takes: true };
  if (!takes || follower?.adopted === undefined || follower.adopted.commit === commit) return undefined;
  const bundle = await follower.bundleFor(base ?? undefined);
  if (bundle === undefined || bundle.bytes.length <= limits.maxOfferedBundleBytes) return bundle;
  logger.warn('desired.not_sent', { commit: bundle.commit, bytes: bundle.bytes.length });
  return undefined;
}

async function measuresFor(node: string, { measures: store, clock, logger }: TellingPorts) {
  const measures: MeasureDispatch[] = [];
  let areAllMeasures = false;
  const feed = createMeasureFeed({
    ...{ store, clock, logger },
    carrier: {
      nodes: () => [node],
      tell: (_, measure) => measures.push(measure) > 0,
      measured: (_, all) => {
        areAllMeasures = all;
        return true;
      },
    },
  });
  feed.came(node);
  await feed.stop();
  return { measures, areAllMeasures };
}

async function ordersFor(node: string, ports: TellingPorts): Promise<readonly OrderDispatch[]> {
  const { manifest, clock, logger } = ports;
  if (manifest === undefined) return [];
  const orders: OrderDispatch[] = [];
  const dispatcher = createDispatcher({
    store: ports.orders,
    believed: createAnnouncements({ verify: ports.verifyAnnouncement, logger }).inForce,
    carrier: { nodes: () => [node], send: (_, order) => orders.push(order) > 0 },
    metrics: { sent: () => {} },
    manifest: () => manifest,
    // Nobody here can be asked: witnesses vouch in the rounds of a collector that runs.
    vouchers: { newest: (by) => ports.vouchers.newest(by), hurry: () => {} },
  });
  await dispatcher.waiting([node], manifest, clock.now());
  return orders;
}
