import type { Announcement } from '../../common/enforcement/announcement.ts';
import { covers, expectedBy } from '../../common/enforcement/measures.ts';
import { releasedIndex } from './counted-approvals.ts';
import type { EnforcementStore, OpenDrift, Replica, StandingMeasures, StoredOrder } from './ports.ts';
import { endangersReplica, lastReplica, readReplicas, replicasLeft } from './replicas.ts';

/*
 * Between the decision for an order and its way to the node may lie the time that approvers and witnesses take. What would have
 * kept a rule from ordering it now keeps it from being sent.
 */

/** Why an order of a rule is not sent now. */
export interface Overtaking {
  readonly code: 'frozen' | 'silenced' | 'expected' | 'last_replica';
  readonly reason: string;
}

/** What an order is judged by once more. */
export interface Since {
  readonly measures: Pick<StandingMeasures, 'frozen' | 'silences'>;
  /** Whose signatures hold. */
  readonly announcements: readonly Announcement[];
  /** The drift that it answers, as it stands; undefined when that is over, which the node sees by itself. */
  readonly open: OpenDrift | undefined;
  /** Of the image that its container runs; undefined where no announcement asks for it. */
  readonly imageId: string | undefined;
  /** Of its container; empty where it endangers none. */
  readonly replicas: readonly Replica[];
  readonly nowMs: number;
}

/** All that has come up since an order was decided and keeps it from being sent. Pure. */
export function overtakenBy({ order }: StoredOrder, since: Since): readonly Overtaking[] {
  if (order.origin !== 'rule' || order.drift === null) return [];
  const { node, container, action, commit } = order;
  const { kind } = order.drift;
  const { measures, announcements, open, imageId, replicas, nowMs } = since;
  const freeze = measures.frozen.find(({ body }) => body.commit === commit);
  const silence = measures.silences.find(({ body }) => covers(body, { node, container, kind }));
  const expected = open && expectedBy({ node, drift: open.drift, imageId }, announcements, nowMs);
  const last = lastReplica({ node, action, container, kind }, replicas);
  return [
    ...because('frozen', freeze && `the commit is frozen: ${freeze.body.reason}`),
    ...because(
      'silenced',
      silence && `silenced by ${silence.body.actor} until ${silence.body.until}: ${silence.body.reason}`,
    ),
    ...because('expected', expected?.reason),
    ...because('last_replica', last),
  ];
}

function because(code: Overtaking['code'], reason: string | undefined): Overtaking[] {
  return reason === undefined ? [] : [{ code, reason }];
}

export interface SincePorts {
  readonly store: Pick<EnforcementStore, 'openDrifts' | 'imageId' | 'replicas' | 'requestedOn'>;
  /** Those of the announced changes that are believed. */
  readonly believed: (rows: StandingMeasures['announcements'], nowMs: number) => Promise<readonly Announcement[]>;
}

/** What orders of rules are overtaken by, by their hash; all are looked at in one go. */
export async function readOvertakings(
  { store, believed }: SincePorts,
  stored: readonly StoredOrder[],
  measures: StandingMeasures,
  nowMs: number,
): Promise<ReadonlyMap<string, readonly Overtaking[]>> {
  const ofRules = stored.filter(({ order }) => order.origin === 'rule');
  if (ofRules.length === 0) return new Map();
  const nodes = new Set(ofRules.map(({ order }) => order.node));
  const endangered = new Set(ofRules.flatMap((one) => (isDangerous(one) ? one.order.container : [])));
  const [drifts, replicas, announcements] = await Promise.all([
    each(nodes, (node) => store.openDrifts(node)),
    each(endangered, (container) => readReplicas(store, container, nowMs)),
    believed(measures.announcements, nowMs),
  ]);
  const judged = ofRules.map(async (one) => {
    const { node, container, containerId, drift } = one.order;
    const open = drifts.get(node)?.find((standing) => standing.drift.id === drift?.id);
    const isNamed = announcements.some((announcement) => announcement.container === container);
    const imageId = isNamed && containerId !== null ? await store.imageId(node, containerId) : undefined;
    const its = replicas.get(container) ?? { all: [], requested: [] };
    // Of two that endanger each other, the one that could be sent first goes first: its node may be at it already.
    const requested = its.requested.filter((other) => releasedIndex(other) < releasedIndex(one));
    const left = replicasLeft({ ...its, requested }, node);
    const since = { measures, announcements, open, imageId, replicas: left, nowMs };
    return [one.hash, overtakenBy(one, since)] as const;
  });
  return new Map(await Promise.all(judged));
}

function isDangerous({ order: { action, drift } }: StoredOrder): boolean {
  return drift !== null && endangersReplica(action, drift.kind);
}

async function each<K, V>(keys: ReadonlySet<K>, read: (key: K) => Promise<V>): Promise<ReadonlyMap<K, V>> {
  return new Map(await Promise.all([...keys].map(async (key) => [key, await read(key)] as const)));
}
