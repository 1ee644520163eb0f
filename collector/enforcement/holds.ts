import { expectedBy, frozenHold, silencedBy } from '../../common/enforcement/measures.ts';
import { windowHolding } from '../../common/enforcement/permission.ts';
import { answerTo } from '../../common/enforcement/policy.ts';
import { clip, hex64 } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';
import type { OrderAction } from '../../common/order.ts';
import { laterOf } from './freeze.ts';
import { heldByHistory } from './history.ts';
import type { OpenDrift } from './ports.ts';
import type { Hold, Situation } from './situation.ts';

type Look = (open: OpenDrift, at: Situation) => Hold | undefined;

/** The first thing that holds up an answer to a drift taken by itself; undefined when nothing does. Pure. */
export function holdOf(open: OpenDrift, at: Situation): Hold | undefined {
  for (const look of looks) {
    const hold = look(open, at);
    if (hold !== undefined) return hold;
  }
  return undefined;
}

/** What answers the drift; undefined where it is put on record and no more. */
export function actionOf({ drift }: OpenDrift, { manifest }: Pick<Situation, 'manifest'>): OrderAction | undefined {
  return answerTo(manifest.policy, drift);
}

const otherCommit: Look = (_open, { node, manifest }) => {
  if (node.adopted?.commit === manifest.commit) return undefined;
  const its = node.adopted === null ? 'no commit' : clip(node.adopted.commit).slice(0, 12);
  return { code: 'commit', reason: `${node.node} follows ${its}, and ${manifest.commit.slice(0, 12)} is in force` };
};

const auditOnly: Look = (_open, { manifest }) =>
  manifest.policy.mode === 'audit'
    ? { code: 'mode', reason: 'config.enforcement_mode is audit: nothing is done about drift' }
    : undefined;

const alertOnly: Look = (open, at) => {
  if (actionOf(open, at) !== undefined) return undefined;
  const { rule, action } = at.manifest.policy.answers[open.drift.kind];
  const said = `${rule} puts it on record and no more`;
  const pointless = 'a container that is made anew has the same files mounted: put them right where they are';
  return { code: 'alert_only', reason: action === undefined ? said : pointless };
};

const silenced: Look = ({ node, drift }, { silences, nowMs }) => {
  const bodies = silences.map(({ body }) => body);
  return silencedBy({ node, drift }, bodies, nowMs);
};

const announced: Look = ({ node, drift }, { announcements, imageIds, nowMs }) => {
  const imageId = drift.containerId === null ? undefined : imageIds.get(drift.containerId);
  return expectedBy({ node, drift, imageId }, announcements, nowMs);
};

const frozen: Look = (_open, at) => (at.frozen ? frozenHold(at.manifest.commit) : undefined);

const settling: Look = (open, { settled, manifest, node, nowMs }) => {
  const byIt = open.commit === manifest.commit && open.openedAtMs >= (node.adopted?.atMs ?? 0);
  const untilMs = byIt ? Math.max(settled.fleetMs, settled.ownMs) : settled.fleetMs;
  if (nowMs >= untilMs) return undefined;
  return {
    code: 'settling',
    reason: 'nodes have just adopted the commit, and their drifts are watched first',
    untilMs,
  };
};

const inGrace: Look = (open, { manifest, seenMs, earlier, nowMs }) => {
  const { graceMs, rule } = manifest.policy.answers[open.drift.kind];
  // Without a grace period no clock matters.
  if (graceMs === 0) return undefined;
  const began = earlier?.get(open.drift.id) ?? { sinceMs: open.openedAtMs, openedIndex: open.openedIndex };
  const sinceMs = laterOf(began.sinceMs, seenMs.get(began.openedIndex) ?? nowMs);
  const untilMs = sinceMs + graceMs + limits.graceSlackMs;
  if (nowMs >= untilMs) return undefined;
  return { code: 'grace', reason: `the grace period of ${rule} lasts ${graceMs / 1_000} s`, untilMs };
};

/** What is made and never started does no harm, and whoever made it may be about to start it: that is then told at once. */
const starting: Look = ({ drift, openedIndex, openedAtMs }, { seenMs, nowMs }) => {
  if (drift.kind !== 'UNAUTHORIZED_CONTAINER') return undefined;
  if (!drift.differences.some(({ field, observed }) => field === 'state' && observed === 'created')) return undefined;
  const untilMs = laterOf(openedAtMs, seenMs.get(openedIndex) ?? nowMs) + limits.startWithinMs;
  return nowMs < untilMs ? { code: 'starting', reason: 'the container does not run yet', untilMs } : undefined;
};

const inWindow: Look = (open, at) => {
  const action = actionOf(open, at);
  const name = action === undefined ? undefined : windowHolding({ action }, at.manifest.policy, at.nowMs);
  if (name === undefined) return undefined;
  // Windows begin and end with a minute.
  const untilMs = (Math.floor(at.nowMs / minuteMs) + 1) * minuteMs;
  return { code: 'window', reason: `the maintenance window "${clip(name)}" is open`, untilMs };
};

const minuteMs = 60_000;

/** Drifts are told by nodes, and what one of them makes up must not stop the others' orders. */
const unnamed: Look = ({ drift }) => {
  const { containerId, kind } = drift;
  const named = containerId === null ? kind === 'MISSING_CONTAINER' : hex64.safeParse(containerId).success;
  return named ? undefined : { code: 'unnamed', reason: 'the drift names no container that could be ordered about' };
};

const looks: readonly Look[] = [
  otherCommit,
  auditOnly,
  alertOnly,
  silenced,
  announced,
  frozen,
  settling,
  inGrace,
  starting,
  inWindow,
  unnamed,
  heldByHistory,
];
