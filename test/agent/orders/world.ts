import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import type { EngineControl } from '../../../agent/docker/control.ts';
import { dockerEngine } from '../../../agent/docker/dockerode.ts';
import { dockerControl } from '../../../agent/docker/dockerode-control.ts';
import { ContainerObserver } from '../../../agent/observer.ts';
import { OrderDesk } from '../../../agent/orders/desk.ts';
import { containerMaker } from '../../../agent/orders/make.ts';
import { Account } from '../../../agent/told/account.ts';
import { enforcementPolicy } from '../../../common/enforcement/policy.ts';
import { compileDesired } from '../../../common/manifest/compile.ts';
import { parseManifestFiles } from '../../../common/manifest/files.ts';
import { manifestFile } from '../../../common/manifest/manifest.ts';
import { driftDigest, type Order, orderHash } from '../../../common/order.ts';
import { fakeJournal } from '../../fakes/journal.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { memoryEvidence } from './ground.ts';

const commit = 'c'.repeat(40);
const actsAtOnce = `
config: {enforcement_mode: active, auto_rollback: true, grace_period_seconds: 0}
rollback: {enabled: true, backup_before_rollback: false}
governance: {cooldown: 0, blast_radius: 100}
drift_rules:
  unauthorized_containers: {action: terminate}
  missing_containers: {action: recreate}
  image_drift: {action: rollback}
  config_drift: {action: rollback}
`;

interface WorldOptions {
  readonly socketPath: string;
  readonly imagesDir: string;
  /** Waiting takes as long as it says, where it is for a process that ends or is checked; else it takes no time. */
  readonly waits?: boolean;
}

/** A node over a real or simulated engine whose program can be killed and started again; the journal is what stays. */
export function nodeWorld({ socketPath, imagesDir, waits = false }: WorldOptions) {
  const journal = fakeJournal();
  const evidence = memoryEvidence();
  let wanted = '';

  const adopted = () => {
    const manifest = parseManifestFiles(new Map([[manifestFile, `${actsAtOnce}${wanted}`]]));
    return { commit, manifest, signer: null, desired: compileDesired(manifest, 'node1') };
  };

  /** One run of the program. @param through what the engine's levers go through: where a crash is staged. */
  async function run(through: (control: EngineControl) => EngineControl = (control) => control) {
    const engine = dockerEngine({ socketPath });
    const account = new Account(journal);
    let passedMs = 0;
    // What containers do takes as long as it takes.
    const clock = { now: () => Date.now(), monotonicMs: () => performance.now() + passedMs };
    let desk: OrderDesk | undefined;
    const observer: ContainerObserver = new ContainerObserver({
      ...{ engine, journal: account, logger: quietLogger, clock },
      desired: adopted,
      inHand: () => desk?.inHand ?? { names: new Set(), ids: new Set() },
      onCompared: () => desk?.compared(),
    });
    desk = new OrderDesk({
      node: 'node1',
      ...{ watch: observer, journal: account, engine, evidence, clock },
      controlFor: () => through(dockerControl({ socketPath })),
      make: containerMaker({ engine, imagesDir }),
      verifyApprovals: async () => [],
      adopted: () => {
        const { desired, manifest } = adopted();
        return { commit, policy: enforcementPolicy(manifest), containers: desired.containers };
      },
      trusted: () => true,
      origin: () => 'repository',
      cutOffMs: () => undefined,
      connectedMs: () => 0,
      random: randomBytes,
      sleep: async (ms, signal) => {
        if (waits) return await setTimeout(ms, undefined, { signal });
        signal.throwIfAborted();
        passedMs += ms;
      },
      logger: quietLogger,
    });
    await desk.restore();
    await observer.restore();
    await observer.scan();
    const running = desk;
    const obey = async (order: Order): Promise<void> => {
      const proof = { entry: { text: '', signature: '' }, index: 0, hashes: [], checkpoint: '' };
      await running.receive({ hash: orderHash(order), order, approvals: [], proof });
      await running.settled();
    };
    return { desk: running, observer, obey };
  }

  return {
    journal,
    /** What the manifest wants, as YAML of its `containers`. */
    want: (containers: string) => {
      wanted = `containers: ${containers}\n`;
    },
    run,
    outcomes: () => journal.saidOf('order.result').map(({ body }) => body.outcome),
    lastReason: () => journal.saidOf('order.result').findLast(({ body }) => body.outcome !== 'verified')?.body.reason,
  };
}

export type NodeRun = Awaited<ReturnType<ReturnType<typeof nodeWorld>['run']>>;

/** What the collector would order for the one drift of this kind that stands. */
export function answerTo({ observer }: NodeRun, kind: keyof typeof answers, said: Partial<Order> = {}): Order {
  const found = [...(observer.standing ?? new Map()).values()].find(({ drift }) => drift.kind === kind);
  if (found === undefined) throw new Error(`no ${kind} stands`);
  const { drift } = found;
  const now = Date.now();
  return {
    node: 'node1',
    action: answers[kind],
    container: drift.container,
    containerId: drift.containerId,
    drift: { id: drift.id, kind, digest: driftDigest(drift) },
    commit,
    origin: 'rule',
    by: 'rule',
    reason: 'drift',
    approvals: 0,
    issuedAt: new Date(now).toISOString(),
    expiresAt: new Date(now + 60_000).toISOString(),
    nonce: randomBytes(16).toString('hex'),
    ...said,
  };
}

const answers = {
  UNAUTHORIZED_CONTAINER: 'terminate',
  MISSING_CONTAINER: 'restore',
  IMAGE_DRIFT: 'rollback',
  CONFIG_DRIFT: 'rollback',
} as const;
