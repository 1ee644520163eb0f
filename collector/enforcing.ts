import { randomBytes } from 'node:crypto';
import type { Clock } from '../common/clock.ts';
import { announcementNamespace } from '../common/enforcement/announcement.ts';
import { enforcementPolicy } from '../common/enforcement/policy.ts';
import { wantedIn } from '../common/enforcement/wanted.ts';
import { toAppError } from '../common/errors.ts';
import type { Kind } from '../common/kinds.ts';
import { limits } from '../common/limits.ts';
import type { Logger } from '../common/log.ts';
import type { Teardown } from '../common/teardown.ts';
import type { CollectorSettings } from './config.ts';
import type { ManifestFollower } from './desired/follower.ts';
import { createEnforcementDesk } from './enforcement/desk.ts';
import type { EnforcementMetrics } from './enforcement/desk-ports.ts';
import type { OrderCarrier, Recorder } from './enforcement/ports.ts';
import type { ManifestInForce } from './enforcement/situation.ts';
import { sshSignatures } from './enforcement/ssh-keygen.ts';
import { postgresPlanningStore } from './postgres/enforcement-store.ts';
import type { Db } from './postgres/pool.ts';

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
  /** False when the node has no open session here. */
  sendDesired(node: string, commit: string, bundle: Buffer): boolean;
}

/** What decides about orders and brings commits to the nodes, wired to database, manifest and sessions. */
export interface Enforcing {
  readonly manifest: () => ManifestInForce | undefined;
  saw(node: string, kinds: readonly Kind[]): void;
  nodeCame(node: string): void;
  /** Something about enforcement was put on record in another way. */
  heard(): void;
  start(carrier: NodeCarrier): void;
}

export function createEnforcing(settings: CollectorSettings, needs: EnforcingNeeds): Enforcing {
  const { db, ledger, follower, metrics, clock, logger, teardown } = needs;
  const manifest = policyOf(follower);
  let carrier: NodeCarrier | undefined;
  const check = sshSignatures(settings.manifest.allowedSigners, announcementNamespace);
  const desk = createEnforcementDesk({
    ...{ ledger, manifest, clock, logger },
    store: postgresPlanningStore(db),
    carrier: {
      nodes: () => carrier?.orders.nodes() ?? [],
      send: (node, dispatch) => carrier?.orders.send(node, dispatch) ?? false,
    },
    verifyAnnouncement: async (text, approval) => (await check(approval, text)).holds,
    random: randomBytes,
    metrics,
  });

  /** From the commit that all of them have had, or whole to one that has just come: what it has is not known yet. */
  async function bring(nodes: readonly string[], have: string | undefined): Promise<void> {
    try {
      const bundle = await follower?.bundleFor(have);
      if (bundle === undefined) return;
      if (bundle.bytes.length > maxBundleBytes) {
        logger.warn('desired.bundle_too_large', { commit: bundle.commit, bytes: bundle.bytes.length });
        return;
      }
      for (const node of nodes) carrier?.sendDesired(node, bundle.commit, bundle.bytes);
    } catch (thrown) {
      const { code, message } = toAppError(thrown);
      logger.warn('desired.not_sent', { code, message });
    }
  }

  return {
    manifest,
    saw: (node, kinds) => desk.saw(node, kinds),
    heard: () => desk.heard(),
    nodeCame: (node) => {
      desk.nodeCame(node);
      void bring([node], undefined);
    },
    start: (sessions) => {
      carrier = sessions;
      let before = follower?.adopted?.commit;
      const stopListening = follower?.onChange(({ commit }) => {
        void bring(sessions.orders.nodes(), before);
        before = commit;
        desk.heard();
      });
      desk.start();
      teardown.add('enforcement', async () => {
        stopListening?.();
        await desk.stop();
      });
    },
  };
}

/** Base64 takes four characters for three bytes. */
const maxBundleBytes = Math.floor(limits.maxBundleChars / 4) * 3;

/** The policy is read out of each manifest once. */
function policyOf(follower: ManifestFollower | undefined): () => ManifestInForce | undefined {
  let known: ManifestInForce | undefined;
  return () => {
    const adopted = follower?.adopted;
    if (adopted === undefined) return undefined;
    if (known?.commit !== adopted.commit) {
      const { commit, adoptedAtMs, manifest } = adopted;
      known = { commit, adoptedAtMs, policy: enforcementPolicy(manifest), wanted: wantedIn(manifest) };
    }
    return known;
  };
}
