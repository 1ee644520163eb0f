import { afterEach } from 'node:test';
import { createEnforcementDesk, type EnforcementDesk } from '../../../collector/enforcement/desk.ts';
import type { OrderVouchers } from '../../../collector/enforcement/desk-ports.ts';
import type { HoldCode, ManifestInForce } from '../../../collector/enforcement/situation.ts';
import type { OrderOutcome } from '../../../common/order.ts';
import { enforcementWorld } from '../../fakes/enforcement.ts';
import { type LoggedEvent, recordingLogger } from '../../wire.ts';
import { commit, driftOf, manifestOf, nowMs } from './situations.ts';

const open: EnforcementDesk[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((desk) => desk.stop()));
});

interface Settings {
  readonly manifest?: ManifestInForce;
  /** Nodes of the fleet; they adopted the commit an hour ago. */
  readonly nodes?: readonly string[];
  readonly vouchers?: OrderVouchers;
}

/** A fleet, a ledger, and collectors to come; their desks are stopped after each test. */
export function bench({ manifest = manifestOf(), nodes = ['node1'], vouchers }: Settings = {}) {
  const world = enforcementWorld(nowMs);
  for (const node of nodes) world.rows.push({ node, adopted: { commit, atMs: nowMs - 3_600_000 }, containers: 10 });
  const current: { manifest: ManifestInForce | undefined } = { manifest };
  const events: LoggedEvent[] = [];
  const held = new Map<HoldCode, number>();
  const counts = { sent: 0, frozen: 0, failed: 0 };
  const collector = (here = nodes) => {
    const carrier = world.carrier(here);
    const desk = createEnforcementDesk({
      ...{ store: world.store, ledger: world.ledger, carrier, clock: world.clock, schedule: world.schedule },
      manifest: () => current.manifest,
      ...(vouchers && { vouchers }),
      verifyAnnouncement: async (_text, { approver }) => approver === 'ada',
      random: (bytes) => Buffer.alloc(bytes, world.recorded.length + 1),
      logger: recordingLogger(events),
      metrics: {
        ordered: () => {},
        sent: () => void counts.sent++,
        frozen: () => void counts.frozen++,
        failed: () => void counts.failed++,
        held: (code, change) => void held.set(code, (held.get(code) ?? 0) + change),
      },
    });
    open.push(desk);
    return { desk, carrier };
  };
  const ordered = () => world.orders().map(({ order }) => `${order.action} ${order.container} on ${order.node}`);
  const answer = (outcome: OrderOutcome) => {
    const { hash = '' } = world.orders().at(-1) ?? {};
    const body = { order: hash, outcome, code: null, reason: outcome, evidence: null, containerId: null };
    world.tell(hash, { kind: 'order.result', body });
  };
  const recordedKinds = () => world.recorded.map(({ kind }) => kind);
  return { world, current, events, held, counts, collector, ordered, answer, recordedKinds };
}

export const miner = driftOf('UNAUTHORIZED_CONTAINER', 'miner');
