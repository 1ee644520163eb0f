import { randomBytes } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { announcementNamespace } from '../../common/enforcement/announcement.ts';
import { enforcementPolicy } from '../../common/enforcement/policy.ts';
import { wantedIn } from '../../common/enforcement/wanted.ts';
import type { Kind } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { containersOn } from '../../common/manifest/compile.ts';
import type { Holding } from '../../common/protocol.ts';
import type { Teardown } from '../../common/teardown.ts';
import type { CollectorSettings } from '../config.ts';
import type { ManifestFollower } from '../desired/follower.ts';
import { createHanding } from '../desired/handing.ts';
import { createEnforcementDesk } from '../enforcement/desk.ts';
import type { EnforcementMetrics, OrderVouchers } from '../enforcement/desk-ports.ts';
import { createMeasureFeed } from '../enforcement/measure-feed.ts';
import type { MeasureCarrier } from '../enforcement/measure-ports.ts';
import type { OrderCarrier, Recorder } from '../enforcement/ports.ts';
import type { ManifestInForce } from '../enforcement/situation.ts';
import { sshSignatures } from '../enforcement/ssh-keygen.ts';
import { postgresPlanningStore } from '../postgres/enforcement-store.ts';
import { postgresMeasureStore } from '../postgres/measure-store.ts';
import type { Db } from '../postgres/pool.ts';

export interface EnforcingNeeds {
  readonly db: Db;
  readonly ledger: Recorder;
  /** The follower of the manifest; undefined when the settings name no repository, and then nothing is ordered. */
  readonly follower: ManifestFollower | undefined;
  readonly metrics: EnforcementMetrics;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly teardown: Teardown;
}

/** The agents' sessions of this collector, as enforcement needs them. */
export interface NodeCarrier {
  readonly orders: OrderCarrier;
  readonly measures: MeasureCarrier;
  /** False when the node has no open session here. */
  sendDesired(node: string, commit: string, bundle: Buffer): boolean;
}

/** What decides about orders and brings commits to the nodes, wired to database, manifest and sessions. */
export interface Enforcing {
  readonly manifest: () => ManifestInForce | undefined;
  saw(node: string, kinds: readonly Kind[]): void;
  nodeCame(node: string): void;
  nodeHolds(node: string, holding: Holding): void;
  /** Something about enforcement was put on record in another way. */
  heard(): void;
  /** Measures may be on record that no node was told of yet. */
  measured(): void;
  /** Witnesses have seen more of the ledger. */
  vouched(): void;
  start(carrier: NodeCarrier, vouchers: OrderVouchers): void;
}

export function createEnforcing(settings: CollectorSettings, needs: EnforcingNeeds): Enforcing {
  const { db, ledger, follower, metrics, clock, logger, teardown } = needs;
  const manifest = policyOf(follower);
  let carrier: NodeCarrier | undefined;
  let vouchers: OrderVouchers | undefined;
  const check = sshSignatures(settings.manifest, announcementNamespace);
  const desk = createEnforcementDesk({
    ...{ ledger, manifest, clock, logger },
    store: postgresPlanningStore(db),
    carrier: {
      nodes: () => carrier?.orders.nodes() ?? [],
      send: (node, dispatch) => carrier?.orders.send(node, dispatch) ?? false,
    },
    vouchers: {
      newest: async (by) => vouchers?.newest(by),
      hurry: (size) => vouchers?.hurry(size),
    },
    verifyAnnouncement: async (text, approval) => (await check(approval, text)).holds,
    random: randomBytes,
    metrics,
  });

  const handing = createHanding({
    ...{ follower, logger },
    send: (node, commit, bundle) => carrier?.sendDesired(node, commit, bundle) ?? false,
  });

  const feed = createMeasureFeed({
    ...{ clock, logger },
    store: postgresMeasureStore(db),
    carrier: {
      nodes: () => carrier?.measures.nodes() ?? [],
      tell: (node, dispatch) => carrier?.measures.tell(node, dispatch) ?? false,
      measured: (node, all) => carrier?.measures.measured(node, all) ?? false,
    },
  });

  return {
    manifest,
    saw: (node, kinds) => {
      // Of the commit that it follows from now on it was told only if it is frozen.
      if (kinds.includes('desired.adopted')) feed.came(node);
      desk.saw(node, kinds);
    },
    measured: () => feed.look(),
    heard: () => desk.heard(),
    vouched: () => desk.vouched(),
    nodeCame: (node) => {
      feed.came(node);
      desk.nodeCame(node);
      handing.came(node);
    },
    nodeHolds: handing.holds,
    start: (sessions, witnesses) => {
      carrier = sessions;
      vouchers = witnesses;
      const stopListening = follower?.onChange(() => {
        handing.changed();
        desk.heard();
      });
      desk.start();
      const looks = setInterval(() => feed.look(), limits.measureLookMs);
      teardown.add('measures', async () => {
        clearInterval(looks);
        await feed.stop();
      });
      teardown.add('enforcement', async () => {
        stopListening?.();
        await desk.stop();
      });
    },
  };
}

/** The policy is read out of each manifest once. */
export function policyOf(follower: ManifestFollower | undefined): () => ManifestInForce | undefined {
  let known: ManifestInForce | undefined;
  return () => {
    const adopted = follower?.adopted;
    if (adopted === undefined) return undefined;
    if (known?.commit !== adopted.commit) {
      const { commit, adoptedAtMs, earlier, manifest } = adopted;
      const containers = containersOn(manifest);
      const derived = {
        policy: enforcementPolicy(manifest),
        wanted: wantedIn(containers),
        wantedImages: (node: string) => containers(node).map(({ image }) => image),
      };
      known = { commit, adoptedAtMs, earlier, ...derived };
    }
    return known;
  };
}
